"""`triptych benchmark few`: ten labelled rows of each label, frozen, fine-tuned, by contrast, and
with the texts of all other rows, whose labels nobody sees.

Rows of each label are drawn by seed from the training parts of BANKING77 and CLINC150, and every
system learns from the same; all are asked about development parts that decided nothing.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.benchmark_pretraining import drawn
from pipelines.public_sets import BANKING, CLINC, Parts, all_there, banking, clinc, nothing_in
from shared.errors import DataError, ModelNotFoundError
from shared.evaluation.intervals import Difference, Interval, bootstrap, mean_of, paired_bootstrap
from shared.inference.classifier import FusedClassifier
from shared.inference.model_encoders import open_base_encoder
from shared.inference.remembered import RememberingEmbedder
from shared.inference.runtime import Embedder
from shared.pretrained import PretrainedEncoder, resolve
from shared.settings import Home
from shared.training.examples import Examples
from shared.training.fusion import fit_fused
from shared.training.head_data import HeadData
from shared.training.learning import learn
from shared.training.options import TrainOptions
from shared.training.scorers import fit_linear
from shared.training.self_training import self_train

Say = Callable[[str], None]
Right = NDArray[np.float64]
SHOTS = (10,)
BASES = ("minilm", "mpnet")
SETS: Mapping[str, tuple[str, Callable[[Path], Parts], Sequence[str]]] = {
    "banking": ("BANKING77", banking, BANKING),
    "clinc": ("CLINC150", clinc, (CLINC,)),
}
LOGISTIC, FUSION = "frozen + logistic regression", "frozen fusion"
NAMED = "frozen fusion, labels' names too"
SELF_TRAINED = "frozen fusion, other rows unlabelled"
TUNED_MORE = "fusion, contrastive, other rows unlabelled"
# What is asked of the product besides the options of all.
LEARNED: Mapping[str, Mapping[str, object]] = {
    NAMED: {"method": "frozen"},
    "fusion, plain fine-tuning": {"contrastive": 0.0, "keep": "best"},
    "fusion, contrastive": {},
    TUNED_MORE: {},
}


@dataclass(frozen=True)
class FewRow:
    """Accuracy of one system with its 95 % interval, and how much more it is than of each frozen
    one on the same encoder, paired by question; means over the seeds. kept: share of the seeds in
    which the fine-tuned encoder joined the fusion. minutes: of training, without encoding the texts
    by the frozen encoder."""

    data: str
    shots: int
    base: str
    system: str
    accuracy: Interval
    to_logistic: Difference
    to_fusion: Difference
    kept: float
    minutes: float

    def line(self) -> str:
        """For people."""
        found = (
            f"{self.data:<10} {self.shots:>3} a label  {self.base:<7} {self.system:<43} "
            f"{self.accuracy.value:.4f} ({self.accuracy.low:.4f} to {self.accuracy.high:.4f})  "
            f"{self.minutes:>5.1f} min"
        )
        if self.system in (LOGISTIC, FUSION):
            return found
        return (
            f"{found}  {_points(self.to_logistic)} to logistic regression, "
            f"{_points(self.to_fusion)} to the frozen fusion"
        )


@dataclass(frozen=True)
class Answered:
    """right: (n,) 1 where a system was right."""

    right: Right
    kept: bool
    minutes: float


def benchmark_few(
    datasets: Path | None,
    *,
    home: Home,
    options: TrainOptions,
    seeds: Sequence[int],
    say: Say,
    sets: Sequence[str] = (),
    shots: Sequence[int] = SHOTS,
    bases: Sequence[str] = BASES,
) -> list[FewRow]:
    """Every system on every set and base encoder that is there.

    datasets: folder of public sets, the home's where none is named. seeds: each draws its own rows.
    options.method: of the fine-tuned systems. sets: names of SETS; all where none is named.

    Raises DataError: no set is there, or one of `sets` is not known.
    """
    folder = datasets or home.datasets
    unknown = sorted(set(sets) - set(SETS))
    if unknown:
        raise DataError(f"no set {unknown[0]!r}: expected one of {', '.join(SETS)}")
    encoders = list(_opened(bases, home, options, say))
    rows: list[FewRow] = []
    for name, (data, read, needs) in SETS.items():
        wanted = not sets or name in sets
        if not wanted or not all_there([folder / path for path in needs], say):
            continue
        parts = read(folder)
        for count in shots:
            for base, embedder in encoders:
                for row in _rows(data, parts, count, base, embedder, options, seeds, say):
                    say(row.line())
                    rows.append(row)
    if not rows:
        raise nothing_in(folder)
    return rows


def _opened(
    bases: Sequence[str], home: Home, options: TrainOptions, say: Say
) -> Iterator[tuple[PretrainedEncoder, Embedder]]:
    for name in bases:
        try:
            base = resolve(name, cache=home.cache)
        except ModelNotFoundError as error:
            say(f"skipped {name}: {error}")
            continue
        opened = open_base_encoder(
            base, cache=home.cache, threads=options.threads, device=options.device
        )
        yield base, RememberingEmbedder(opened)


def _rows(
    data: str,
    parts: Parts,
    shots: int,
    base: PretrainedEncoder,
    embedder: Embedder,
    options: TrainOptions,
    seeds: Sequence[int],
    say: Say,
) -> Iterator[FewRow]:
    """All systems on one encoder."""
    train, held = parts.train, parts.held
    found: dict[str, list[Answered]] = {}
    for seed in seeds:
        chosen = drawn(train, shots, seed)
        few = train.take(chosen)
        others = train.take(np.setdiff1d(np.arange(len(train)), chosen)).texts
        for system, answered in _answers(few, others, held, base, embedder, options, seed, say):
            found.setdefault(system, []).append(answered)
    right = {
        system: np.mean([one.right for one in answers], axis=0) for system, answers in found.items()
    }

    def gain(system: str, rival: str) -> Difference:
        ours, theirs = mean_of(right[system]), mean_of(right[rival])
        return paired_bootstrap(ours, theirs, len(held), groups=held.groups)

    for system, answers in found.items():
        yield FewRow(
            data,
            shots,
            base.name,
            system,
            bootstrap(mean_of(right[system]), len(held), groups=held.groups),
            gain(system, LOGISTIC),
            gain(system, FUSION),
            float(np.mean([one.kept for one in answers])),
            float(np.mean([one.minutes for one in answers])),
        )


def _answers(
    few: Examples,
    others: Sequence[str],
    held: Examples,
    base: PretrainedEncoder,
    embedder: Embedder,
    options: TrainOptions,
    seed: int,
    say: Say,
) -> Iterator[tuple[str, Answered]]:
    """System -> its answers to the held-out rows. others: the texts of rows that are not drawn."""
    # Before any clock runs: the frozen encoder is the same for all.
    for texts in (held.texts, few.texts, others):
        embedder.features(texts)
    threads = options.threads or 2
    started = time.perf_counter()
    model = fit_linear(embedder.encode(few.texts), few.targets(few.names), "single")
    best = model.margins(embedder.encode(held.texts)).argmax(1)
    minutes = (time.perf_counter() - started) / 60
    yield LOGISTIC, Answered(_right([few.names[at] for at in best], held), False, minutes)
    started = time.perf_counter()
    fused = fit_fused(few, embedder=embedder, seed=seed, threads=threads)
    yield FUSION, _asked(fused.classifier, held, started)
    started = time.perf_counter()
    taught = self_train(few, others, embedder=embedder, seed=seed, threads=threads)
    yield SELF_TRAINED, _asked(taught.classifier, held, started)
    for system, changed in LEARNED.items():
        own = replace(options, seed=seed, **changed)  # type: ignore[arg-type]
        more = tuple(others) if system == TUNED_MORE else ()
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            learned = learn(
                [HeadData("intent", few, unlabelled=more)], base=base, embedder=embedder,
                options=own, folder=Path(folder) / "encoder", say=say,
            )  # fmt: skip
            yield system, _asked(learned.classifier("intent"), held, started)


def _asked(classifier: FusedClassifier, held: Examples, started: float) -> Answered:
    minutes = (time.perf_counter() - started) / 60
    best = classifier.score(held.texts).probabilities.argmax(1)
    said = [classifier.labels[at] for at in best]
    return Answered(_right(said, held), classifier.finetuned is not None, minutes)


def _right(said: Sequence[str], held: Examples) -> Right:
    return np.asarray(np.array(said) == np.array(held.single), dtype=np.float64)


def _points(gain: Difference) -> str:
    return f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
