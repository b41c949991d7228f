"""Labels against accuracy on BANKING77: rows the model asks for, beside rows drawn at random.

The encoder stays frozen. Both arms of a seed start with the same rows, and the rows they are
measured on are never chosen from.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.public_sets import banking
from shared.evaluation.intervals import mean_of, paired_bootstrap
from shared.inference.remembered import RememberingEmbedder
from shared.inference.runtime import Embedder
from shared.training.active_learning import CurvePoint, Strategy, simulate

PER_LABEL = 5
ROUNDS = 5
STRATEGIES: tuple[Strategy, ...] = ("active", "random")
Say = Callable[[str], None]


@dataclass(frozen=True)
class ActiveRow:
    """Accuracy after `labels` rows, means over the seeds; gain: active less random, with its 95 %
    interval over the test rows."""

    labels: int
    active: float
    random: float
    gain: float
    low: float
    high: float


def benchmark_active(
    datasets: Path,
    embedder: Callable[[], Embedder],
    seeds: Sequence[int],
    say: Say,
    *,
    per_label: int = PER_LABEL,
    rounds: int = ROUNDS,
    threads: int = 2,
) -> list[ActiveRow]:
    """The curve from `per_label` rows a label up, each round adding as many again.

    datasets: the folder with chatbot/. embedder: makes the frozen encoder; called once.
    Raises DataError when BANKING77 is not there.
    """
    parts = banking(datasets)
    pool, test = parts.train, parts.held
    encoder = RememberingEmbedder(embedder())
    curves = {
        (strategy, seed): simulate(
            pool, test, embedder=encoder, strategy=strategy, per_label=per_label,
            batch=per_label * len(pool.names), rounds=rounds, seed=seed, threads=threads, say=say,
        )
        for seed in seeds for strategy in STRATEGIES
    }  # fmt: skip
    rows = list(_rows(curves, seeds))
    for row in rows:
        say(_line(row))
    return rows


def _rows(
    curves: dict[tuple[Strategy, int], tuple[CurvePoint, ...]], seeds: Sequence[int]
) -> Iterator[ActiveRow]:
    for step, point in enumerate(curves["active", seeds[0]]):
        # (t,) share of the seeds in which a test row was labelled right.
        right = {
            strategy: np.mean([curves[strategy, seed][step].right for seed in seeds], axis=0)
            for strategy in STRATEGIES
        }
        gain = paired_bootstrap(
            mean_of(right["active"]), mean_of(right["random"]), len(point.right)
        )
        yield ActiveRow(
            point.labels,
            float(right["active"].mean()),
            float(right["random"].mean()),
            gain.value,
            gain.low,
            gain.high,
        )


def _line(row: ActiveRow) -> str:
    return (
        f"{row.labels:>7,} labels  active {row.active:.4f}  random {row.random:.4f}  "
        f"gain {row.gain:+.4f} ({row.low:+.4f} to {row.high:+.4f})"
    )
