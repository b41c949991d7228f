"""`benchmark news --only surveillance`: our rule beside those of the R package `surveillance`, by
which public health looks for outbreaks, on the same drawn streams.

Two questions. Does a threshold of our own baseline, made as Farrington's and Noufaily's are, agree
with the package's on the same days? And what do its rules find at the same false alarms? They see
the bad stories of a topic by day; the share of them in all stories, which ours uses too, none of
them takes.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import nbinom

from apps.news_monitor.baseline import History, estimate
from pipelines.benchmark_news import RULES, Score, SurgeRow, benchmark_surges
from pipelines.benchmark_power import drawn_stream
from pipelines.surge_scenarios import SURGES, Floats, Scenario, Stream
from shared.errors import ServiceError

Say = Callable[[str], None]

SCRIPT = Path(__file__).with_name("surveillance.R")
PACKAGE = 'quit(status = !nzchar(system.file(package = "surveillance")))'
WANTING = (
    "R's package surveillance is not installed: `apt-get install r-cran-surveillance`, or in R "
    'install.packages("surveillance")'
)
STORIES_A_DAY = 10
ALPHA = 0.001  # of a threshold, as in the script
BASELINE_DAYS, GUARD_DAYS = 84, 3
SETTLED = BASELINE_DAYS + GUARD_DAYS + 5  # days before the first that is judged
INJECTIONS = 120
INCIDENTS = 20
RIVALS = {"weekday": "Farrington flexible, by weekday (R)", "ratio": "NB likelihood ratio (R)"}
COMPARED = ("share + half count (triptych)", "Poisson count")
VOLUME = Scenario("volume 2x, 2 days", 2.0, 2, "volume")


@dataclass(frozen=True)
class Agreement:
    """Thresholds of the same days by both: how many, the part that are equal, that differ by one
    story at most, and the largest difference in stories. expected: median of ours over theirs."""

    days: int
    equal: float
    within_one: float
    largest: int
    expected: float


@dataclass(frozen=True)
class Asked:
    """Scores or thresholds of one column: `rule` on the days `first` to `last` (from 0) of counts
    by day."""

    rule: str
    counts: NDArray[np.int64]
    first: int
    last: int


def missing_r() -> str:
    """What to install, "" where R and the package are there."""
    command = shutil.which("Rscript")
    if command is None:
        return WANTING
    found = subprocess.run([command, "-e", PACKAGE], capture_output=True, check=False)
    return WANTING if found.returncode else ""


def ask_r(asked: Sequence[Asked]) -> list[pd.DataFrame]:
    """For each a row a day: expected, dispersion, upper, score. Raises ServiceError if R fails."""
    with tempfile.TemporaryDirectory(prefix="triptych-r-") as work:
        series, wanted, output = (Path(work) / f"{name}.csv" for name in ("s", "w", "o"))
        pd.concat(
            [
                pd.DataFrame({"series": number, "count": one.counts})
                for number, one in enumerate(asked)
            ]
        ).to_csv(series, index=False)
        pd.DataFrame(
            [
                (number, one.rule, number, one.first + 1, one.last + 1)
                for number, one in enumerate(asked)
            ],
            columns=["id", "rule", "series", "first", "last"],
        ).to_csv(wanted, index=False)
        command = ["Rscript", "--vanilla", str(SCRIPT), *map(str, (series, wanted, output))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServiceError(f"{SCRIPT.name}: {' '.join(done.stderr.split())[-300:]}")
        found = dict(iter(pd.read_csv(output).groupby("id")))
    return [found[number].reset_index(drop=True) for number in range(len(asked))]


def agreement(seed: int, *, days: int = 100, topics: int = 10, incidents: int = 0) -> Agreement:
    """Of the upper quantile of bad stories a day, by the 84 days before the last three. All days
    are alike, so that both see the same past whatever they make of weekdays; but for `incidents`,
    days with fifteen bad stories more."""
    rng = np.random.default_rng(seed)
    length = SETTLED + days
    counts = rng.negative_binomial(2.0, 0.5, (length, topics))  # mean 2, variance twice that
    counts[rng.integers(length, size=incidents), rng.integers(topics, size=incidents)] += 15
    theirs = ask_r([Asked("flat", column, SETTLED, length - 1) for column in counts.T])
    ours = [_thresholds(counts, day) for day in range(SETTLED, length)]
    upper = np.array([limit for limit, _ in ours])  # (days, topics)
    gap = np.abs(upper - np.column_stack([one["upper"] for one in theirs]))
    expected = np.array([mean for _, mean in ours])
    ratio = expected / np.column_stack([one["expected"] for one in theirs])
    return Agreement(
        gap.size,
        float((gap == 0).mean()),
        float((gap <= 1).mean()),
        int(gap.max()),
        float(np.median(ratio)),
    )


def _thresholds(counts: NDArray[np.int64], day: int) -> tuple[Floats, Floats]:
    """(topics,) each, by the monitor's own baseline: the smallest count that no more than ALPHA of
    days exceed, and what is expected."""
    past = counts[day - GUARD_DAYS - BASELINE_DAYS : day - GUARD_DAYS].astype(np.float64)
    alike = np.zeros(len(past), dtype=np.int64)
    usual = estimate(History(past, past, np.ones_like(past), alike, np.ones(24)), 0.02)
    mean = usual.negative_rate * usual.week[:, 0]
    phi = usual.negative_dispersion
    return np.asarray(nbinom.ppf(1.0 - ALPHA, mean / (phi - 1.0), 1.0 / phi)), mean


@dataclass
class RScores:
    """A rule of the package as the benchmark asks for it: first every question is noted, then R is
    asked once, then the same questions are answered in their order."""

    rule: str
    stream: Stream
    asked: list[Asked] = field(default_factory=list)
    answers: Iterator[pd.DataFrame] | None = None
    base: Floats | None = None  # (days, I), of the stream as it is

    def __call__(self, stream: Stream, days: NDArray[np.int64]) -> Floats:
        """As Score. Only topics that an injection changed are asked anew."""
        before, after = (one.daily()[1].astype(np.int64) for one in (self.stream, stream))
        scores = np.zeros((len(days), after.shape[1])) if self.base is None else self.base[days]
        for topic in range(after.shape[1]):
            if stream is self.stream or (before[:, topic] == after[:, topic]).all():
                continue
            if self.answers is None:
                end = int(days[-1])
                self.asked.append(Asked(self.rule, after[: end + 1, topic], int(days[0]), end))
            else:
                scores[:, topic] = next(self.answers)["score"]
        return scores

    def answer(self) -> None:
        """Ask R all that was noted."""
        columns = self.stream.daily()[1].astype(np.int64).T
        last = self.stream.days - 1
        whole = [Asked(self.rule, column, SETTLED, last) for column in columns]
        found = ask_r([*whole, *self.asked])
        self.base = np.zeros((self.stream.days, len(columns)))
        for topic, one in enumerate(found[: len(columns)]):
            self.base[SETTLED:, topic] = one["score"]
        self.answers = iter(found[len(columns) :])


def beside_r(seed: int, say: Say, *, injections: int = INJECTIONS) -> list[SurgeRow]:
    """Ours and the package's rules on one stream: surges, and a doubled volume.

    Raises ServiceError when R fails.
    """
    stream = drawn_stream(STORIES_A_DAY, seed)
    rivals = {name: RScores(rule, stream) for rule, name in RIVALS.items()}
    rules: dict[str, Score] = {**{name: RULES[name] for name in COMPARED}, **rivals}

    def measured(chosen: dict[str, Score]) -> list[SurgeRow]:
        return benchmark_surges(
            stream,
            seed=seed,
            injections=injections,
            scenarios=(*SURGES, VOLUME),
            rules=chosen,
            burn_in=SETTLED,
        )

    measured(dict(rivals))
    for name, rival in rivals.items():
        say(f"{name}: {len(rival.asked)} surges and {stream.days - SETTLED} days of ten topics")
        rival.answer()
    return measured(rules)
