"""`triptych benchmark sizes`: the curve of quality against milliseconds, from fp32 to a table.

On BANKING77: the questions of the training part, without their labels, are what students learn and
what static scales are measured on. The frozen fusion then learns from the same labelled rows with
each encoder, and is asked about the development part, of whose questions no student has seen a
near duplicate.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.public_sets import banking
from shared.evaluation.intervals import Difference, Interval, bootstrap, mean_of, paired_bootstrap
from shared.inference.runtime import ONNX_FOLDER, Embedder, load_embedder
from shared.pretrained import PretrainedEncoder, resolve
from shared.settings import Home
from shared.training.corpus import Corpus, corpus_of, without_copies
from shared.training.examples import Examples
from shared.training.machine import quiet_libraries, threads_limited
from shared.training.options import STUDENT_LAYERS, StudentKind, TrainOptions
from shared.training.student_figures import (
    BATCH,
    Speed,
    fused_hits,
    measure_speed,
    megabytes_of,
)
from shared.training.students import Plan, made_once

Say = Callable[[str], None]
TIMED_TEXTS = 256


@dataclass(frozen=True)
class Size:
    """One encoder. accuracy: of the frozen fusion; drop: fp32 minus this one, paired by question,
    None for fp32 itself; megabytes: of the weights; seconds: to make it from fp32."""

    name: str
    accuracy: Interval
    drop: Difference | None
    speed: Speed
    megabytes: float
    seconds: float


@dataclass(frozen=True, eq=False)
class _Made:
    name: str
    embedder: Embedder
    megabytes: float
    seconds: float


def benchmark_sizes(
    datasets: Path | None,
    *,
    home: Home,
    options: TrainOptions,
    say: Say,
    layers: int = STUDENT_LAYERS,
) -> list[Size]:
    """Make options.base smaller in every way there is, and measure.

    datasets: folder of public sets, the home's where none is named.

    Raises: DataError: BANKING77 is not there. ModelError: the base encoder.
    """
    sets = datasets or home.datasets
    parts = banking(sets)
    train, held = parts.train, parts.held
    corpus = corpus_of(without_copies(train.texts, held.texts), seed=options.seed)
    say(corpus.line())
    base = resolve(options.base, cache=home.cache)
    made: list[_Made] = []
    hits: dict[str, NDArray[np.bool_]] = {}
    with tempfile.TemporaryDirectory() as work, threads_limited(options.threads):
        for one in _encoders(base, corpus, options, layers, Path(work), say):
            made.append(one)
            hits[one.name] = fused_hits(train, held, one.embedder, options, _silent)
            say(f"{one.name}: {hits[one.name].sum()} of {len(held)} right")
        speed = measure_speed({m.name: m.embedder for m in made}, held.texts[:TIMED_TEXTS])
    found = [
        _size(m, hits[m.name], hits[made[0].name] if at else None, held, speed[m.name])
        for at, m in enumerate(made)
    ]
    for line in lines_of(found):
        say(line)
    return found


def _silent(_: str) -> None:
    pass


def _size(
    made: _Made,
    hits: NDArray[np.bool_],
    whole: NDArray[np.bool_] | None,
    held: Examples,
    speed: Speed,
) -> Size:
    """whole: the rows that fp32 has right, None for fp32 itself."""
    ours = mean_of(hits)
    drop = None
    if whole is not None:
        drop = paired_bootstrap(mean_of(whole), ours, len(held), groups=held.groups)
    accuracy = bootstrap(ours, len(held), groups=held.groups)
    return Size(made.name, accuracy, drop, speed, made.megabytes, made.seconds)


def _encoders(
    base: PretrainedEncoder,
    corpus: Corpus,
    options: TrainOptions,
    layers: int,
    work: Path,
    say: Say,
) -> Iterator[_Made]:
    """fp32 first; the others are compared with it."""
    threads = options.threads
    whole = load_embedder(base.path, precision="fp32", prefix=base.prefix, threads=threads)
    yield _Made("fp32", whole, megabytes_of(base.path), 0.0)
    started = time.perf_counter()
    rounded = load_embedder(
        base.path, precision="int8", prefix=base.prefix, threads=threads, cache=work
    )  # made here and now: its seconds are told
    size = megabytes_of(base.path, work / ONNX_FOLDER / rounded.fingerprint)
    yield _Made("int8, a scale for each token", rounded, size, time.perf_counter() - started)
    for name, kind, kept in (
        ("int8, static scales", StudentKind.STATIC_INT8, None),
        ("table of token vectors", StudentKind.TABLE, None),
        (f"student of {layers} layers, int8", StudentKind.LAYERS, layers),
    ):
        started = time.perf_counter()
        with quiet_libraries():
            made_once(corpus, base, Plan(kind, kept), options, work / kind.value, say)
        seconds = time.perf_counter() - started
        folder = work / kind.value / "encoder"
        embedder = load_embedder(
            folder,
            precision="auto" if kind is StudentKind.TABLE else "int8",
            threads=threads,
        )
        yield _Made(name, embedder, megabytes_of(folder), seconds)


def lines_of(sizes: Sequence[Size]) -> list[str]:
    """The curve as a table, the slowest first, aligned."""
    head = (
        f"{'encoder':<30} {'accuracy':<22} {'lost to fp32':<27} {'ms alone':>9} "
        f"{f'ms of {BATCH}':>9} {'MB':>7} {'made in':>8}"
    )
    lines = [head]
    for size in sorted(sizes, key=lambda size: -size.speed.batched):
        accuracy = f"{size.accuracy.value:.4f} ({size.accuracy.low:.3f}-{size.accuracy.high:.3f})"
        lost = size.drop
        drop = "" if lost is None else f"{lost.value:+.4f} ({lost.low:+.3f} to {lost.high:+.3f})"
        lines.append(
            f"{size.name:<30} {accuracy:<22} {drop:<27} {size.speed.alone:>9.2f} "
            f"{size.speed.batched:>9.2f} {size.megabytes:>7.1f} {size.seconds:>6.0f} s"
        )
    return lines
