"""What a candidate says otherwise than the released model, of the stories that both labelled."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, and_, func, select

from apps.news_monitor.tables import (
    by_one_reading,
    company,
    item,
    item_topic,
    prediction,
    said_negative,
    topic,
)
from apps.news_monitor.trends import share_interval

EXAMPLES = 50


@dataclass(frozen=True)
class TopicPair:
    """Stories of one topic or company by each model, and by both; of these stories, those counted
    as bad, of a company by what they say of it."""

    topic: str
    released: int
    candidate: int
    both: int
    released_negative: int
    candidate_negative: int


@dataclass(frozen=True)
class Example:
    """A story of which the two say something else."""

    title: str
    released: str
    candidate: str
    released_p_negative: float
    candidate_p_negative: float


@dataclass(frozen=True)
class LabelDifference:
    """sentiments: (released, candidate) -> stories. negative_*: counted as bad by each, and by
    both. examples: those with the widest difference of their chance of bad news first. companies:
    none before the candidate has read for them."""

    sentiments: Mapping[tuple[str, str], int]
    released_negative: int
    candidate_negative: int
    both_negative: int
    topics: tuple[TopicPair, ...]
    companies: tuple[TopicPair, ...]
    examples: tuple[Example, ...]

    @property
    def stories(self) -> int:
        return sum(self.sentiments.values())

    @property
    def same(self) -> int:
        """Stories of the same sentiment."""
        return sum(n for (ours, theirs), n in self.sentiments.items() if ours == theirs)

    @property
    def agreement(self) -> tuple[float, float, float]:
        """The part with the same sentiment, and its 95 % range; (0, 0, 1) without stories."""
        low, high = share_interval(np.array([self.same]), np.array([self.stories]))
        return self.same / max(self.stories, 1), float(low[0]), float(high[0])


def label_difference(connection: Connection, released: int, candidate: int) -> LabelDifference:
    """Of two models by id, over all stories that have a label by each."""
    ours, theirs = prediction.alias("released"), prediction.alias("candidate")
    labelled = select(func.min(prediction.c.item_id)).where(prediction.c.model_id == candidate)
    # Without it SQLite may walk through all that the released model ever labelled.
    first = int(connection.execute(labelled).scalar_one() or 0)
    pair = and_(
        ours.c.item_id >= first,
        ours.c.item_id == theirs.c.item_id,
        ours.c.model_id == released,
        theirs.c.model_id == candidate,
    )
    both = theirs.join(ours, pair)
    said = (ours.c.label, theirs.c.label, ours.c.negative, theirs.c.negative)
    sentiments: Counter[tuple[str, str]] = Counter()
    ours_bad = theirs_bad = both_bad = 0
    counted = select(*said, func.count()).select_from(both).group_by(*said)
    for our_label, their_label, bad, worse, number in connection.execute(counted):
        sentiments[our_label, their_label] += number
        ours_bad += number if bad else 0
        theirs_bad += number if worse else 0
        both_bad += number if bad and worse else 0
    widest = (
        select(item.c.title, item.c.summary, ours.c.label, theirs.c.label.label("other"))
        .add_columns(ours.c.p_negative, theirs.c.p_negative.label("other_p"))
        .select_from(both.join(item, item.c.id == theirs.c.item_id))
        .where((ours.c.label != theirs.c.label) | (ours.c.negative != theirs.c.negative))
        .order_by(func.abs(ours.c.p_negative - theirs.c.p_negative).desc(), item.c.id.desc())
        .limit(EXAMPLES)
    )
    examples = tuple(
        Example(row.title or row.summary, row.label, row.other, row.p_negative, row.other_p)
        for row in connection.execute(widest)
    )
    topics, companies = (
        _subjects(connection, released, candidate, first, companies=wanted)
        for wanted in (False, True)
    )
    return LabelDifference(sentiments, ours_bad, theirs_bad, both_bad, topics, companies, examples)


def _subjects(
    connection: Connection, released: int, candidate: int, first: int, *, companies: bool
) -> tuple[TopicPair, ...]:
    """Topics, or companies; the largest of the released model first. first: no story before it has
    both labels."""
    other = prediction.alias("other")
    listed = item_topic.c.topic_id.in_(select(company.c.topic_id))
    counts: dict[int, dict[str, int]] = {}
    for name, mine, twin in (
        ("released", released, candidate),
        ("candidate", candidate, released),
    ):
        query = (
            select(item_topic.c.topic_id, said_negative(), func.count())
            .join(prediction, by_one_reading())
            .join(other, and_(other.c.item_id == item_topic.c.item_id, other.c.model_id == twin))
            .where(
                item_topic.c.item_id >= first,
                item_topic.c.model_id == mine,
                listed if companies else ~listed,
            )
            .group_by(item_topic.c.topic_id, said_negative())
        )
        for number, bad, stories in connection.execute(query):
            of_topic = counts.setdefault(number, Counter())
            of_topic[name] += stories
            of_topic[f"{name}_negative"] += stories if bad else 0
    twin_topic = item_topic.alias("twin")
    shared = (
        select(item_topic.c.topic_id, func.count())
        .join(
            twin_topic,
            and_(
                twin_topic.c.item_id == item_topic.c.item_id,
                twin_topic.c.topic_id == item_topic.c.topic_id,
                twin_topic.c.model_id == candidate,
            ),
        )
        .where(
            item_topic.c.item_id >= first,
            item_topic.c.model_id == released,
            item_topic.c.topic_id.in_(list(counts)),
        )
        .group_by(item_topic.c.topic_id)
    )
    for number, stories in connection.execute(shared):
        counts[number]["both"] = stories
    names = {row.id: row.name for row in connection.execute(select(topic.c.id, topic.c.name))}
    fields = ("released", "candidate", "both", "released_negative", "candidate_negative")
    found = [
        TopicPair(names[number], *(each.get(field, 0) for field in fields))
        for number, each in counts.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.released, one.topic)))
