"""`triptych shrink`: an encoder and tables of unlabelled texts in, a smaller encoder out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.pretrain import read_texts
from shared.intake import take_in
from shared.pretrained import resolve
from shared.settings import Home
from shared.tables import Column
from shared.training.corpus import corpus_of, without_copies
from shared.training.encoder_work import check_free, check_one_process
from shared.training.examples import Split, from_table, split
from shared.training.options import StudentKind, TrainOptions
from shared.training.students import Plan, Student, check_options, shrink

Say = Callable[[str], None]
HELD_OUT_EXAMPLES = 0.25  # of the labelled rows, to compare accuracy on


def shrink_on_tables(
    tables: Sequence[Path],
    mapping: Mapping[str, str],
    *,
    output: Path,
    kind: StudentKind,
    layers: int | None,
    into: str | None,
    examples: Path | None,
    allowed_drop: float,
    options: TrainOptions,
    home: Home,
    force: bool,
    say: Say,
) -> Student:
    """Make options.base smaller on the texts of all tables and write the student into `output`.

    into: the encoder that the student begins as, options.base itself by default. examples: a table
    with a label for each text, to compare accuracy on a part of it; copies of that part are not
    learned from. Rows that cannot be used go to reports/rejects of the home.

    Raises: DataError: a table, too few texts, or `output` is there already.
        SettingsError: under several processes, more layers than there are, or as check_options.
        ModelError: the base encoder, or a student that misses the gate.
    """
    # What is refused is refused before the tables are read, which may take minutes.
    check_free(output)
    check_one_process("shrinking")
    teacher = resolve(options.base, cache=home.cache)
    start = None if into is None else resolve(into, cache=home.cache)
    plan = Plan(kind, layers, allowed_drop, into=start)
    check_options(kind, options)
    texts = read_texts(tables, mapping, home=home, say=say)
    labelled = None
    if examples is not None:
        labelled = _labelled(examples, mapping, options.seed, home, say)
        texts = without_copies(texts, labelled.validation.texts)
    corpus = corpus_of(texts, seed=options.seed)
    say(corpus.line())
    return shrink(
        corpus,
        teacher=teacher,
        plan=replace(plan, examples=labelled),
        options=options,
        folder=output.resolve(),
        cache=home.cache,
        force=force,
        say=say,
    )


def _labelled(path: Path, mapping: Mapping[str, str], seed: int, home: Home, say: Say) -> Split:
    table = take_in(
        path,
        [Column("text"), Column("label")],
        mapping=mapping,
        rejects=home.reports / "rejects",
        say=say,
    )
    return split(from_table(table, "single"), fraction=HELD_OUT_EXAMPLES, seed=seed)


def lines_of(done: Student) -> list[str]:
    """How near the student is to its teacher and what it saves, for a person."""
    found, gate = done.parity, done.plan.gate
    lines = [
        f"Beside its teacher on held-out texts: cosine {found.cosine_mean:.3f} "
        f"({gate.cosine_mean:g} or more), same nearest neighbour {found.neighbour_agreement:.3f} "
        f"({gate.neighbour_agreement:g} or more)"
    ]
    if done.accuracy is not None:
        told, drop = done.accuracy, done.accuracy.drop
        lines.append(
            f"Accuracy of the frozen fusion on {told.held_out} held-out rows, by "
            f"{done.replaced.name} and by the student: {told.replaced:.3f} -> {told.student:.3f}; "
            f"lost {drop.value:.3f} ({drop.low:.3f} to {drop.high:.3f}), at most "
            f"{gate.metric_drop:g} allowed"
        )
    for name, speed in done.speed.items():
        lines.append(
            f"{name:<8} {speed.alone:8.2f} ms for one text {speed.batched:8.2f} ms a text in "
            f"batches {done.megabytes[name]:8.1f} MB"
        )
    if done.failures:
        lines.append(f"It misses the gate and was forced: {'; '.join(done.failures)}")
    lines.append(f"Encoder: {done.folder} ({done.source}, licence {done.licence})")
    lines.append(f"To use it: triptych train APP --base {done.folder} --method frozen")
    return lines
