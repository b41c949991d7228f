"""`benchmark news`: what needs no recipe of its own, each part by its name in PARTS."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from pipelines.benchmark_labels import (
    PHRASEBANK,
    PLACES,
    SENTFIN,
    TOPICS,
    TWEETS,
    LabelRow,
    benchmark_labels,
    sentfin_headlines,
)
from pipelines.benchmark_news import SurgeRow
from pipelines.benchmark_power import quiet_controls, surge_power
from pipelines.benchmark_rows import Row, Say
from pipelines.benchmark_surges import measure_surges
from pipelines.benchmark_surveillance import INCIDENTS, agreement, beside_r, missing_r
from pipelines.benchmark_tuned import tuned_folds, tuned_together, tuned_unseen
from pipelines.public_sets import all_there
from shared.errors import DataError
from shared.settings import Home
from shared.training.options import TrainOptions

LABELS, SURGES, POWER, QUIET = "labels", "surges", "power", "quiet"
SURVEILLANCE = "surveillance"
# Asked for by name alone, for each takes an hour and more.
TUNED: Mapping[str, Callable[..., Iterator[LabelRow]]] = {
    "tuned": tuned_folds,
    "tuned-every": partial(tuned_folds, every=True),
    "tuned-unseen": tuned_unseen,
    "tuned-together": tuned_together,
}
PARTS = (LABELS, SURGES, POWER, QUIET, SURVEILLANCE, *TUNED)


def measure_headlines(
    sets: Path,
    parts: Sequence[str],
    learning: TrainOptions,
    home: Home,
    say: Say,
    *,
    named: bool,
) -> Iterator[Row]:
    """Those of the parts that are of PARTS, once. learning: how labels are learned; its seed is
    that of all. named: they were asked for by name.

    Raises: DataError: the R package is asked for by name, and is not there.
    """
    seed = learning.seed
    if LABELS in parts:
        yield from _label_rows(benchmark_labels(sets, home=home, options=learning, say=say))
    if SURGES in parts:
        yield from _surges(sets, seed, home, say)
    if POWER in parts:
        yield from _power(seed, say)
    if QUIET in parts:
        yield from _surge_rows("quiet:", quiet_controls(seed, say))
    if SURVEILLANCE in parts:
        yield from _surveillance(seed, say, named=named)
    for name, measure in TUNED.items():
        if name in parts and named:
            yield from _label_rows(measure(sets, home=home, options=learning, say=say))


def _label_rows(rows: Iterable[LabelRow]) -> Iterator[Row]:
    for row in rows:
        found = row.found
        yield Row(row.data, row.system, row.measure, found.value, found.low, found.high, None)


def _surges(sets: Path, seed: int, home: Home, say: Say) -> Iterator[Row]:
    streams = sorted((sets / "finance" / "replay_headlines").glob("*.csv.gz"))[:1]
    tweets, bank, topics, other = (
        sets / PLACES[name] for name in (TWEETS, PHRASEBANK, TOPICS, SENTFIN)
    )
    if not streams or not all_there([tweets, bank, topics, other], say):
        say("skipped surges: they need these sets, and finance/replay_headlines")
        return
    known = sentfin_headlines(other)
    found = measure_surges((tweets, bank), topics, streams[0], known, seed=seed, home=home, say=say)
    yield from _surge_rows("surge", found)


def _power(seed: int, say: Say) -> Iterator[Row]:
    for size, found in surge_power(seed, say):
        yield from _surge_rows(f"{size} stories a day, surge", found)


def _surveillance(seed: int, say: Say, *, named: bool) -> Iterator[Row]:
    missing = missing_r()
    if missing and named:
        raise DataError(missing)
    if missing:
        say(f"skipped surveillance: {missing}")
        return
    for incidents in (0, INCIDENTS):
        found = agreement(seed, incidents=incidents)
        data = f"{found.days} Farrington thresholds, {incidents} incidents"
        for measure, value in (
            ("equal", found.equal),
            ("one story off at most", found.within_one),
            ("largest difference", found.largest),
            ("expected count, ratio", found.expected),
        ):
            yield Row(data, "our baseline, to the package's", measure, value, None, None, None)
    yield from _surge_rows("R:", beside_r(seed, say))


def _surge_rows(kind: str, found: Sequence[SurgeRow]) -> Iterator[Row]:
    for row in found:
        data = f"{kind} {row.scenario}, {row.budget} asked"
        measure = "alarms a trial" if row.quiet else "recall"
        yield Row(data, row.rule, measure, row.recall, row.recall_low, row.recall_high, None)
        yield Row(data, row.rule, "false alarms a topic-week", row.false_alarms, row.false_low,
                  row.false_high, None)  # fmt: skip
        if row.delay_days is not None and not row.quiet:
            yield Row(data, row.rule, "days until found", row.delay_days, None, None, None)
