"""More news about a topic than usual that is no worse than usual: attention, never an alert.

A trade fair doubles a topic's stories and is no bad news. It is noted for the pages, with the same
hysteresis as an alert, and mails nobody; while bad news of the topic scores above its threshold it
is left alone, for then the alert tells of it.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, insert, select, update

from apps.news_monitor.alerts import Moment
from apps.news_monitor.baseline import Floats
from apps.news_monitor.detector_state import TopicStates
from apps.news_monitor.episodes import EpisodeRule, Phase, advance
from apps.news_monitor.judging_tables import attention
from apps.news_monitor.surges import Scan
from apps.news_monitor.tables import topic

LIMIT = 4.0
"""-log10 of the chance of so many stories, over all windows looked at."""
RATIO = 2.0
MIN_STORIES = 10


@dataclass(frozen=True)
class Attention:
    """A topic with more stories than usual. window_hours, stories, usual_stories, negative: of the
    window that showed it when it opened; usual_share in [0, 1]; resolved_at None: still so."""

    topic: str
    opened_at: datetime
    resolved_at: datetime | None
    window_hours: int
    stories: int
    usual_stories: float
    negative: int
    usual_share: float
    score: float

    @property
    def share(self) -> float:
        return self.negative / self.stories if self.stories else 0.0


def volume_scores(scan: Scan, moment: int) -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
    """Of each topic: the best score (I,) over its windows, that window (I,), and whether all
    windows are back in their usual band (I,)."""
    stories, chance = scan.stories[moment], scan.p_volume[moment]  # (I, W)
    many = (stories >= MIN_STORIES) & (stories >= RATIO * scan.expected_stories[moment])
    known = scan.days[moment] >= scan.rule.min_history_days
    score = np.where(many & known, -np.log10(np.maximum(chance, 1e-300)), 0.0)
    window = score.argmax(axis=1)
    calm = (chance / len(scan.rule.windows_hours) > 0.10).all(axis=1)
    return score.max(axis=1), window, np.asarray(calm)


def notice(
    connection: Connection,
    state: TopicStates,
    moment: Moment,
    config_id: int,
    rule: EpisodeRule,
    blocked: NDArray[np.bool_],
) -> list[Attention]:
    """One moment through the state machine; what opened, in the caller's transaction.

    blocked (I,): topics of whose volume nothing is said now: bad news, or too few sources.
    """
    score, window, calm = volume_scores(moment.scan, moment.index)
    if not state.episodes.phase.any() and float(score.max()) < LIMIT:
        return []  # nothing opens and nothing is open: most hours are like this
    hour = int(moment.at.timestamp() // 3600)
    limits = np.full(len(score), LIMIT)
    state.episodes, change = advance(state.episodes, score, calm, hour, limits, rule, blocked)
    opened = []
    for i in np.flatnonzero(change.opened).tolist():
        found = _found(moment, i, int(window[i]), float(score[i]))
        state.alerts[i] = _store(connection, found, config_id, moment.topic_ids[i])
        opened.append(found)
    lively = (state.episodes.phase == Phase.FIRING) & (score >= LIMIT) & ~blocked
    for i in np.flatnonzero(lively | change.resolved | change.reopened).tolist():
        mine = attention.c.id == state.alerts[i]
        over = moment.at if change.resolved[i] else None
        connection.execute(update(attention).where(mine).values(resolved_at=over))
        connection.execute(
            update(attention)
            .where(mine, attention.c.peak_score < float(score[i]))
            .values(peak_score=float(score[i]))
        )
    return opened


def _found(moment: Moment, i: int, window: int, score: float) -> Attention:
    scan, t = moment.scan, moment.index
    return Attention(
        topic=moment.counts.topics[i],
        opened_at=moment.at,
        resolved_at=None,
        window_hours=scan.rule.windows_hours[window],
        stories=int(scan.stories[t, i, window]),
        usual_stories=float(scan.expected_stories[t, i, window]),
        negative=int(scan.negative[t, i, window]),
        usual_share=float(scan.share[t, i]),
        score=score,
    )


def _store(connection: Connection, found: Attention, config_id: int, topic_id: int) -> int:
    return int(
        connection.execute(
            insert(attention)
            .values(
                config_id=config_id,
                topic_id=topic_id,
                opened_at=found.opened_at,
                peak_score=found.score,
                window_hours=found.window_hours,
                stories=found.stories,
                usual_stories=found.usual_stories,
                negative=found.negative,
                usual_share=found.usual_share,
            )
            .returning(attention.c.id)
        ).scalar_one()
    )


def attention_since(connection: Connection, since: datetime, limit: int = 100) -> list[Attention]:
    """What opened since then or is still open, the newest first. score: the best it reached."""
    rows = connection.execute(
        select(attention, topic.c.name)
        .join(topic, topic.c.id == attention.c.topic_id)
        .where((attention.c.opened_at > since) | attention.c.resolved_at.is_(None))
        .order_by(attention.c.opened_at.desc(), topic.c.name)
        .limit(limit)
    )
    return [
        Attention(
            topic=row.name,
            opened_at=row.opened_at,
            resolved_at=row.resolved_at,
            window_hours=row.window_hours,
            stories=row.stories,
            usual_stories=row.usual_stories,
            negative=row.negative,
            usual_share=row.usual_share,
            score=row.peak_score,
        )
        for row in rows
    ]


def attention_line(found: Attention) -> str:
    """Such as "Technology: 38 stories in 48 hours (usual 12), 10% of them negative (usual 13%):
    more attention, no alert"."""
    return (
        f"{found.topic}: {found.stories} stories in {found.window_hours} hours (usual "
        f"{found.usual_stories:.0f}), {found.share:.0%} of them negative (usual "
        f"{found.usual_share:.0%}): more attention, no alert"
    )
