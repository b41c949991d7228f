"""What is injected into a stream of counted stories: surges that should be found, and what is no
surge and must stay quiet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from apps.news_monitor.stories import CopyIndex, story_text
from apps.news_monitor.trends import Counts

Floats = NDArray[np.float64]
Kind = Literal[
    "bad news", "volume", "good news", "outage", "copies", "each copy", "weekend", "holiday",
    "new model", "mixed models",
]  # fmt: skip
SATURDAY, SUNDAY = 5, 6
NEW_RECALL, NEW_FALSE_RATE = 0.9, 0.1
"""Of a model that follows: of what was negative it calls so many negative, and of the rest."""
PUBLISHERS = (
    "Agency", "Courier", "Gazette", "Herald", "Post", "Times", "Tribune", "Echo", "Globe", "Star",
)  # fmt: skip
TELLINGS = (
    "{}", "{} - {publisher}", "{}.", "UPDATE 1-{}", "{} | {publisher}", "BREAKING: {}", "{}...",
    "'{}'",
)  # fmt: skip
EVENTS = (
    "{} shares plunge after regulators ground its newest aircraft over safety fears",
    "{} to cut {} jobs as losses widen and demand for its engines collapses",
    "Court orders {} to pay {} million to customers it misled about fees",
    "{} warns of a second loss this year after fire halts its largest refinery",
)
FIRMS = ("Northern Air", "Harbour Bank", "Delmar Oil", "Keystone Motors", "Alba Telecom")


@dataclass(frozen=True)
class Stream:
    """counts: stories and negative ones; positive: (H, I) alike. recall: the chance that a story
    of an injected surge is counted as negative, 1 where labels are given."""

    counts: Counts
    positive: NDArray[np.int64]
    recall: float = 1.0

    @property
    def days(self) -> int:
        return self.counts.hours // 24

    def daily(self) -> tuple[Floats, Floats, Floats]:
        """(days, I): stories, negative, positive."""
        shape = (-1, 24, len(self.counts.topics))
        return (
            self.counts.stories.reshape(shape).sum(axis=1).astype(np.float64),
            self.counts.negative.reshape(shape).sum(axis=1).astype(np.float64),
            self.positive.reshape(shape).sum(axis=1).astype(np.float64),
        )

    def weekday(self, day: int) -> int:
        """Monday = 0."""
        return (self.counts.start.weekday() + day) % 7

    def of(
        self, stories: NDArray[np.int64], negative: NDArray[np.int64], positive: NDArray[np.int64]
    ) -> "Stream":
        """The same with other counts."""
        counts = replace(self.counts, stories=stories, negative=negative)
        return replace(self, counts=counts, positive=positive)

    def cells(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(H, I), copies: stories, negative, positive."""
        return self.counts.stories.copy(), self.counts.negative.copy(), self.positive.copy()


@dataclass(frozen=True)
class Scenario:
    """What happens for `days`, and how many days `after` it an alarm still counts.

    bad news, volume, good news: `size` times the usual number of negative stories, of all alike, of
    good ones. outage: none come, and all of them on the day after, as if told then. copies: one bad
    story told `size` times, by as many publishers, counted as the monitor counts it; each copy: as
    if it were not. weekend: nothing but Saturday and Sunday. holiday: a working day with a Sunday's
    stories, in all topics, which nobody told. new model: all labels are those of a model that calls
    more negative; mixed models: those before it are still the old one's.
    """

    name: str
    size: float
    days: int
    kind: Kind = "bad news"
    after: int = 0

    @property
    def watched(self) -> int:
        """Days on which an alarm counts, from the first."""
        return self.days + self.after

    @property
    def quiet(self) -> bool:
        """Whether an alarm is a false one."""
        return self.kind != "bad news"


SURGES = (
    Scenario("3x, 2 days", 3.0, 2),
    Scenario("5x, 2 days", 5.0, 2),
    Scenario("3x, 4 days", 3.0, 4),
)
QUIET = (
    Scenario("volume 2x, 2 days", 2.0, 2, "volume"),
    Scenario("good news 5x, 2 days", 5.0, 2, "good news"),
    Scenario("outage, 2 days", 1.0, 2, "outage", after=1),
    Scenario("one bad story, 10 copies", 10.0, 1, "copies", after=2),
    Scenario("the same, each counted", 10.0, 1, "each copy", after=2),
    Scenario("weekend", 1.0, 2, "weekend", after=1),
    Scenario("holiday nobody told", 1.0, 1, "holiday", after=2),
    Scenario("new model, own past", 1.0, 7, "new model"),
    Scenario("new model, mixed past", 1.0, 7, "mixed models"),
)
SCENARIOS = (*SURGES, *QUIET)


def first_day(stream: Stream, scenario: Scenario, onset: int, earliest: int) -> int:
    """The day on which it begins: the one that was drawn, or one of its week that is of the kind,
    not before `earliest`."""
    weekday = stream.weekday(onset)
    if scenario.kind == "weekend":
        onset -= (weekday - SATURDAY) % 7
    elif scenario.kind == "holiday" and weekday >= SATURDAY:
        onset -= weekday - SATURDAY + 1
    return onset if onset >= earliest else onset + 7


def inject(
    stream: Stream, scenario: Scenario, topic: int, onset: int, rng: np.random.Generator
) -> Stream:
    """The stream with the scenario in one topic, or in all where it concerns all."""
    return INJECTED[scenario.kind](stream, scenario, topic, onset, rng)


Inject = Callable[[Stream, Scenario, int, int, np.random.Generator], Stream]


def _more(
    stream: Stream, scenario: Scenario, topic: int, onset: int, rng: np.random.Generator
) -> Stream:
    """c times the usual means (c - 1) times it added."""
    n, k, good = stream.daily()
    usual_n, usual_k = float(n[:, topic].mean()), float(k[:, topic].mean())
    usual_good = float(good[:, topic].mean())
    stories, negative, positive = stream.cells()
    for day in range(onset, onset + scenario.days):
        if scenario.kind == "volume":
            added = int(rng.poisson((scenario.size - 1.0) * usual_n))
            bad = int(rng.binomial(added, usual_k / max(usual_n, 1e-9)))
        elif scenario.kind == "good news":
            added, bad = int(rng.poisson((scenario.size - 1.0) * usual_good)), 0
        else:
            added = bad = int(rng.poisson((scenario.size - 1.0) * usual_k))
            if stream.recall < 1.0:
                bad = int(rng.binomial(added, stream.recall))
        hour = day * 24 + int(rng.integers(24))
        stories[hour, topic] += added
        negative[hour, topic] += bad
        if scenario.kind == "good news":
            positive[hour, topic] += added
    return stream.of(stories, negative, positive)


def _late(
    stream: Stream, scenario: Scenario, topic: int, onset: int, _rng: np.random.Generator
) -> Stream:
    """Of one topic, all that the days from the onset on would have told is told in the first hour
    after them."""
    end = onset + scenario.days
    moved = stream.cells()
    for cells in moved:
        cells[end * 24, topic] += cells[onset * 24 : end * 24, topic].sum()
        cells[onset * 24 : end * 24, topic] = 0
    return stream.of(*moved)


def _copied(
    stream: Stream, scenario: Scenario, topic: int, onset: int, rng: np.random.Generator
) -> Stream:
    told = round(scenario.size)
    if scenario.kind == "copies":
        told = stories_told(tellings(told, rng), stream, onset)
    bad = told if stream.recall == 1.0 else told * int(rng.random() < stream.recall)
    stories, negative, positive = stream.cells()
    hour = onset * 24 + int(rng.integers(24))
    stories[hour, topic] += told
    negative[hour, topic] += bad
    return stream.of(stories, negative, positive)


def tellings(number: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """(headline, publisher) of one event as so many publishers put it when they take it from a
    wire: with their name, an update's mark, another case or full stop."""
    firm, event = FIRMS[rng.integers(len(FIRMS))], EVENTS[rng.integers(len(EVENTS))]
    headline = event.format(firm, rng.integers(100, 9000))
    told = []
    for place in range(number):
        publisher = PUBLISHERS[place % len(PUBLISHERS)]
        written = TELLINGS[rng.integers(len(TELLINGS))].format(headline, publisher=publisher)
        told.append((written.upper() if rng.random() < 0.1 else written, publisher))
    return told


def stories_told(told: list[tuple[str, str]], stream: Stream, day: int) -> int:
    """How many stories the monitor's index of copies makes of them, an hour apart each."""
    begin = stream.counts.start + timedelta(days=day)
    texts = [story_text(title, (publisher,)) for title, publisher in told]
    times = [begin + timedelta(hours=place) for place in range(len(told))]
    return len(set(CopyIndex().add(range(len(told)), texts, times)))


def _nothing(
    stream: Stream, _scenario: Scenario, _topic: int, _onset: int, _rng: np.random.Generator
) -> Stream:
    return stream


def _holiday(
    stream: Stream, _scenario: Scenario, _topic: int, onset: int, rng: np.random.Generator
) -> Stream:
    """Each story of the day comes with the chance that makes it a Sunday."""
    volume = stream.daily()[0].sum(axis=1)
    days = np.array([stream.weekday(day) for day in range(stream.days)])
    usual = [float(volume[days == which].mean()) for which in (SUNDAY, stream.weekday(onset))]
    share = min(usual[0] / max(usual[1], 1e-9), 1.0)
    stories, negative, positive = stream.cells()
    day = slice(onset * 24, onset * 24 + 24)
    rest = rng.binomial(stories[day] - negative[day] - positive[day], share)
    negative[day] = rng.binomial(negative[day], share)
    positive[day] = rng.binomial(positive[day], share)
    stories[day] = rest + negative[day] + positive[day]
    return stream.of(stories, negative, positive)


def _relabelled(
    stream: Stream, scenario: Scenario, _topic: int, onset: int, rng: np.random.Generator
) -> Stream:
    """By the new model from the onset on, or all of it as if it had labelled the past too."""
    stories, negative, positive = stream.cells()
    since = slice(onset * 24 if scenario.kind == "mixed models" else 0, None)
    good, bad = positive[since], negative[since]
    falsely = rng.binomial(good, NEW_FALSE_RATE)
    rest = rng.binomial(stories[since] - bad - good, NEW_FALSE_RATE)
    positive[since] = good - falsely
    negative[since] = rng.binomial(bad, NEW_RECALL) + falsely + rest
    return stream.of(stories, negative, positive)


INJECTED: Mapping[Kind, Inject] = {
    "bad news": _more,
    "volume": _more,
    "good news": _more,
    "outage": _late,
    "copies": _copied,
    "each copy": _copied,
    "weekend": _nothing,
    "holiday": _holiday,
    "new model": _relabelled,
    "mixed models": _relabelled,
}
