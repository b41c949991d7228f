"""`triptych benchmark pretraining`: what unlabelled texts add, with few labels and with all.

On BANKING77: the questions of the training part, without their labels, are the firm's own texts.
Each objective's encoder and the untouched one then learn from the same labelled rows, and are asked
about the development part, of whose questions pretraining has seen no near duplicate.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.public_sets import banking
from shared.evaluation.intervals import bootstrap, mean_of, paired_bootstrap
from shared.inference.model_encoders import open_base_encoder
from shared.inference.remembered import RememberingEmbedder
from shared.inference.runtime import Embedder
from shared.pretrained import resolve
from shared.settings import Home
from shared.training.corpus import corpus_of, without_copies
from shared.training.examples import Examples
from shared.training.fusion import fit_fused
from shared.training.options import PretrainingObjective, TrainOptions
from shared.training.pretraining import pretrain
from shared.training.scorers import fit_linear

Say = Callable[[str], None]
SHOTS: tuple[int | None, ...] = (5, 10, 50, None)  # rows of each label, None: all
UNTOUCHED = "untouched"
LOGISTIC, FUSION = "frozen + logistic regression", "fusion"


@dataclass(frozen=True)
class PretrainingRow:
    """Accuracy of one system with its 95 % interval, and how much more it is than on the untouched
    encoder, paired by question; both over all seeds' answers. shots: rows of a label, None: all."""

    encoder: str
    system: str
    shots: int | None
    accuracy: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float

    def line(self) -> str:
        labels = "all labels" if self.shots is None else f"{self.shots} labels a class"
        found = (
            f"{self.encoder}, {self.system}, {labels}: accuracy {self.accuracy:.4f} "
            f"({self.low:.4f} to {self.high:.4f})"
        )
        if self.encoder == UNTOUCHED:
            return found
        return f"{found}, {self.gain:+.4f} ({self.gain_low:+.4f} to {self.gain_high:+.4f})"


def benchmark_pretraining(
    datasets: Path | None,
    *,
    home: Home,
    options: TrainOptions,
    seeds: Sequence[int],
    say: Say,
    objectives: Sequence[PretrainingObjective] = tuple(PretrainingObjective),
    shots: Sequence[int | None] = SHOTS,
) -> list[PretrainingRow]:
    """Pretrain options.base once for each objective, with options.seed, and measure.

    datasets: folder of public sets, the home's where none is named. seeds: each draws its own
    labelled rows, the same for all encoders.

    Raises: DataError: BANKING77 is not there. ModelError: the base encoder.
    """
    sets = datasets or home.datasets
    parts = banking(sets)
    train, held = parts.train, parts.held
    corpus = corpus_of(without_copies(train.texts, held.texts), seed=options.seed)
    say(corpus.line())
    rows: list[PretrainingRow] = []
    with tempfile.TemporaryDirectory() as folder:
        base = resolve(options.base, cache=home.cache)
        made = {UNTOUCHED: base}
        for objective in objectives:
            done = pretrain(
                corpus,
                encoder=base,
                objective=objective,
                options=options,
                folder=Path(folder) / objective.value,
                say=say,
            )
            made[objective.value] = resolve(str(done.folder), cache=home.cache)
        embedders = {
            name: RememberingEmbedder(
                open_base_encoder(
                    found,
                    cache=Path(folder) / "cache",
                    threads=options.threads,
                    device=options.device,
                )
            )
            for name, found in made.items()
        }
        for count in shots:
            for row in _rows(train, held, embedders, count, seeds, options.threads or 2):
                say(row.line())
                rows.append(row)
    return rows


def _rows(
    train: Examples,
    held: Examples,
    embedders: Mapping[str, Embedder],
    shots: int | None,
    seeds: Sequence[int],
    threads: int,
) -> Iterator[PretrainingRow]:
    """Every encoder and system with one number of labels."""
    right: dict[tuple[str, str], list[NDArray[np.bool_]]] = {}
    for seed in seeds:
        part = train.take(drawn(train, shots, seed))
        for name, embedder in embedders.items():
            for system, answers in _answers(part, held, embedder, seed, threads):
                hits = np.array(answers) == np.array(held.single)
                right.setdefault((name, system), []).append(hits)
    for (name, system), runs in right.items():
        ours, theirs = (np.mean(r, axis=0) for r in (runs, right[UNTOUCHED, system]))  # (rows,)
        value = bootstrap(mean_of(ours), len(held), groups=held.groups)
        gain = paired_bootstrap(mean_of(ours), mean_of(theirs), len(held), groups=held.groups)
        yield PretrainingRow(
            name, system, shots, value.value, value.low, value.high,
            gain.value, gain.low, gain.high,
        )  # fmt: skip


def drawn(examples: Examples, shots: int | None, seed: int) -> NDArray[np.int64]:
    """Row numbers of `shots` random rows of each label (all where it has fewer, or for None)."""
    if shots is None:
        return np.arange(len(examples))
    rng = np.random.default_rng(seed)
    labels = np.array(examples.single)
    chosen = [rng.permutation(np.flatnonzero(labels == name))[:shots] for name in examples.names]
    return np.sort(np.concatenate(chosen))


def _answers(
    train: Examples, held: Examples, embedder: Embedder, seed: int, threads: int
) -> Iterator[tuple[str, list[str]]]:
    """System -> the label it gives each held-out row."""
    model = fit_linear(embedder.encode(train.texts), train.targets(train.names), "single")
    best = model.margins(embedder.encode(held.texts)).argmax(1)
    yield LOGISTIC, [train.names[at] for at in best]
    classifier = fit_fused(train, embedder=embedder, seed=seed, threads=threads).classifier
    best = classifier.score(held.texts).probabilities.argmax(1)
    yield FUSION, [classifier.labels[at] for at in best]
