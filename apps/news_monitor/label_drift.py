"""Has what the model says of the news moved beyond what its own weeks make likely?

Compared are the last week and the four weeks before it, by whole UTC days and one model: the part
of stories of each sentiment, of those it is unsure or sure of, and of each topic. A part of n
stories of a week is no binomial, for days differ: their correlation rho is estimated from the four
weeks, and the chance of the week's count is a beta-binomial's. All parts are looked at every day;
so a chance is told only where it times the parts, the days of a year and both directions is far
below one (Bonferroni): about one line a year without a cause, if days were all that varies.

What moved, the news or the model, no count can say: a person who reads some stories can.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, case, func, select

from apps.news_monitor.archives import counted
from apps.news_monitor.bucket_counts import first_bucket_hour, of_model
from apps.news_monitor.ingest import epoch_hour
from apps.news_monitor.labels import SENTIMENTS, SURE
from apps.news_monitor.tables import bucket, company, item, prediction, topic
from apps.news_monitor.tails import beta_binomial_mid_p, overdispersion

WEEK, BEFORE = 7, 28
VERY_SURE = 0.9
LOOKS = 365 * 2
"""A year's, upwards and downwards."""
MARGIN = 4.0
"""Rho is an estimate from 28 days: without a margin drawn weeks told up to three lines a year."""
MIN_STORIES = 50
"""In the week and, times four, before it: fewer say little of any part."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """A part of stories that moved. share: of the last week; usual: of the four before; chance: of
    a week as far off, for one look at one part."""

    what: str
    share: float
    usual: float
    chance: float


@dataclass(frozen=True)
class LabelDrift:
    """parts: how many were looked at, 0 where there is too little to look at. found: those that
    moved beyond chance, the least likely first."""

    parts: int
    found: tuple[Drift, ...]


def read_drift(connection: Connection, model_id: int, until: datetime) -> LabelDrift:
    """Of a model's labels up to the last midnight (UTC) before `until`."""
    end = epoch_hour(until) // 24
    begin = end - WEEK - BEFORE
    first = first_bucket_hour(connection, model_id)
    if first is None or first > begin * 24:
        return LabelDrift(0, ())
    counts = dict(_labels(connection, model_id, begin, end))
    stories = counts.pop("stories")
    if stories[-WEEK:].sum() < MIN_STORIES or stories[:-WEEK].sum() < MIN_STORIES * BEFORE / WEEK:
        return LabelDrift(0, ())
    counts |= _topics(connection, model_id, begin, end)
    return drift(stories, counts)


def drift(stories: Floats, counts: dict[str, Floats]) -> LabelDrift:
    """stories (35,): of each day, the last week last. counts: what -> stories of it, (35,) each."""
    parts = {what: number for what, number in counts.items() if number.sum()}
    found = []
    for what, number in parts.items():
        one = _moved(what, number, stories)
        if one.chance * MARGIN * LOOKS * len(parts) < 1.0:
            found.append(one)
    return LabelDrift(len(parts), tuple(sorted(found, key=lambda one: one.chance)))


def _moved(what: str, k: Floats, n: Floats) -> Drift:
    """The chance of a week's part as far from the usual as this, on its side.

    A week of days of n_d stories with correlation rho within a day has the variance of one draw of
    N = sum n_d stories with rho' where 1 + (N - 1) rho' = sum n_d (1 + (n_d - 1) rho) / N; the four
    weeks behind the usual share add their own uncertainty, 1 / (their effective number + 1).
    """
    before, week = slice(None, -WEEK), slice(-WEEK, None)
    # Half a story of each kind: a part that was never seen is not impossible.
    usual = float((k[before].sum() + 0.5) / (n[before].sum() + 1.0))
    mean = np.full(BEFORE, usual)
    rho = overdispersion(k[before], n[before], mean, np.ones(BEFORE))
    total, past = float(n[week].sum()), float(n[before].sum())
    weekly = (_spread(n[week], rho) - 1.0) / max(total - 1.0, 1.0)
    known = past / _spread(n[before], rho)
    within = min(weekly + (1.0 - weekly) / (known + 1.0), 0.999)
    seen = float(k[week].sum())
    above = float(beta_binomial_mid_p(seen, total, usual, within))
    # From below by the mirror image: a tail keeps its digits only when it is summed from its end.
    below = float(beta_binomial_mid_p(total - seen, total, 1.0 - usual, within))
    return Drift(what, seen / total, usual, min(above, below))


def _spread(n: Floats, rho: float) -> float:
    """How many times a binomial's is the variance of a sum over days."""
    return float((n * (1.0 + np.maximum(n - 1.0, 0.0) * rho)).sum() / max(n.sum(), 1.0))


def _labels(
    connection: Connection, model_id: int, begin: int, end: int
) -> Iterator[tuple[str, Floats]]:
    """Stories, and those of each sentiment and certainty, by day of [begin, end)."""
    day = item.c.hour.op("/")(24)
    best = case(
        *((prediction.c.label == name, prediction.c[f"p_{name}"]) for name in SENTIMENTS),
        else_=0.0,
    )
    flags = {
        **{f"{name} stories": prediction.c.label == name for name in SENTIMENTS},
        "stories it is unsure of": best < SURE,
        f"stories it is {VERY_SURE:.0%} sure of": best >= VERY_SURE,
    }
    query = (
        select(day, func.count(), *(func.sum(case((yes, 1), else_=0)) for yes in flags.values()))
        .select_from(item)
        .join(prediction, prediction.c.item_id == item.c.id)
        .where(
            item.c.hour >= begin * 24,
            item.c.hour < end * 24,
            item.c.story_id == item.c.id,
            of_model(model_id),
            counted(connection),
        )
        .group_by(day)
    )
    cells = np.zeros((end - begin, len(flags) + 1))
    for number, *values in connection.execute(query):
        cells[int(number) - begin] = values
    yield from zip(("stories", *flags), cells.T, strict=True)


def _topics(connection: Connection, model_id: int, begin: int, end: int) -> dict[str, Floats]:
    """topic -> its stories by day; companies are left out."""
    day = bucket.c.hour.op("/")(24)
    query = (
        select(topic.c.name, day, func.sum(bucket.c.stories))
        .join(topic, topic.c.id == bucket.c.topic_id)
        .where(
            bucket.c.model_id == model_id,
            bucket.c.hour >= begin * 24,
            bucket.c.hour < end * 24,
            bucket.c.topic_id.not_in(select(company.c.topic_id)),
        )
        .group_by(topic.c.name, day)
    )
    found: dict[str, Floats] = {}
    for name, number, stories in connection.execute(query):
        of_day = found.setdefault(f"stories about {name}", np.zeros(end - begin))
        of_day[int(number) - begin] = stories
    return found


def drift_lines(found: Sequence[Drift]) -> tuple[str, ...]:
    """For a mail, a line each."""
    return tuple(
        f"{one.what[:1].upper()}{one.what[1:]}: {one.share:.0%} in the last week, {one.usual:.0%} "
        f"in the four before (chance 1 in {1 / max(one.chance, 1e-12):,.0f})"
        for one in found
    )
