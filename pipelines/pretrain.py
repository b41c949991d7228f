"""`triptych pretrain`: tables of unlabelled texts in, an encoder for `--base` out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shared.intake import take_in
from shared.pretrained import resolve
from shared.settings import Home
from shared.tables import Column
from shared.training.corpus import corpus_of
from shared.training.encoder_work import check_free, check_one_process
from shared.training.options import PretrainingObjective, TrainOptions
from shared.training.pretraining import NEIGHBOURS, Pretrained, pretrain
from shared.training.pretraining_stage import Trained

Say = Callable[[str], None]


def pretrain_on_tables(
    tables: Sequence[Path],
    mapping: Mapping[str, str],
    *,
    output: Path,
    objective: PretrainingObjective,
    options: TrainOptions,
    home: Home,
    say: Say,
) -> Pretrained:
    """Pretrain options.base on the texts of all tables and write the encoder into `output`.

    Rows that cannot be used go to reports/rejects of the home, and `say` tells how many.

    Raises: DataError: a table, too few texts, or `output` is there already.
        SettingsError: under several processes. ModelError: the base encoder.
    """
    # What is refused is refused before the tables are read, which may take minutes.
    check_free(output)
    check_one_process("pretraining")
    encoder = resolve(options.base, cache=home.cache)
    corpus = corpus_of(read_texts(tables, mapping, home=home, say=say), seed=options.seed)
    say(corpus.line())
    return pretrain(
        corpus,
        encoder=encoder,
        objective=objective,
        options=options,
        folder=output.resolve(),
        say=say,
    )


def read_texts(
    tables: Sequence[Path], mapping: Mapping[str, str], *, home: Home, say: Say
) -> list[str]:
    """The texts of all tables."""
    texts: list[str] = []
    for path in tables:
        table = take_in(
            path,
            [Column("text")],
            mapping=mapping,
            rejects=home.reports / "rejects",
            say=say,
        )
        texts += [str(text) for text in table.frame["text"]]
    return texts


def lines_of(done: Pretrained) -> list[str]:
    """What was learned and what it did to the vectors, for a person."""
    return [
        *(_stage_line(stage) for stage in done.stages),
        f"Of the {NEIGHBOURS} nearest neighbours of a held-out text "
        f"{done.neighbours_kept:.0%} are the same as before",
        f"Encoder: {done.folder} ({done.base.name}, licence {done.base.licence}, trained further)",
        f"To fine-tune it: triptych train APP --base {done.folder}",
        "Whether it helps is to be measured: train without --base too, and compare the reports",
    ]


def _stage_line(stage: Trained) -> str:
    changes = ", ".join(
        f"{name.replace('_', ' ')} {stage.before[name]:.3f} -> {value:.3f}"
        for name, value in stage.after.items()
    )
    metric = next(iter(stage.after))  # the loss stands first
    verdict = "" if stage.after[metric] < stage.before[metric] else "; it learned nothing of use"
    return (
        f"{stage.objective} on held-out texts: {changes}{verdict}; step {stage.best_step} of "
        f"{stage.steps}, {stage.seconds:.0f} s, {stage.stopped_because}"
    )
