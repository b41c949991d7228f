"""What the pages show, read from the tables; no model is loaded for it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, func, inspect, null, select

from apps.news_monitor.broad import Portion
from apps.news_monitor.bucket_counts import read_counts
from apps.news_monitor.decisions import WORDS
from apps.news_monitor.episodes import Phase
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.judging_tables import (
    alert,
    broad,
    broad_member,
    decision,
    detector_config,
    detector_state,
    evaluation,
)
from apps.news_monitor.labels import Worth
from apps.news_monitor.responses import Answers, answerable, answers_to
from apps.news_monitor.tables import REPLAY_DATABASE, bucket, model_version, topic
from apps.news_monitor.telling_tables import outbox, recipient
from apps.news_monitor.trends import share_interval, trend_frame
from shared.settings import Home, database_url
from shared.storage import create_engine

ALERTS_LISTED = 200
ALERTS_OF_ONE = 50
SQLITE = "sqlite:///"
LIVE = "Running monitor"
STATES = {
    Phase.QUIET: "quiet",
    Phase.PENDING: "pending",
    Phase.FIRING: "firing",
    Phase.COOLING: "cooling down",
}


@dataclass(frozen=True)
class TopicTile:
    """A topic at the last moment judged, over the window with the best score.

    low, high: 95 % range of the share. why: what stopped the score, in words. state: quiet,
    pending, firing or cooling down. coverage: the part of its usual items whose sources deliver,
    None while nothing is usual.
    """

    topic: str
    state: str
    stories: int
    negative: int
    usual_share: float
    window_hours: int
    score: float
    threshold: float
    why: str
    low: float
    high: float
    coverage: float | None

    @property
    def share(self) -> float:
        return self.negative / self.stories if self.stories else 0.0


@dataclass(frozen=True)
class AlertRow:
    """An alert with its evidence; mails: recipient -> state of the mail; answers: of readers."""

    id: int
    state: str
    resolved_at: datetime | None
    evidence: Evidence
    mails: Mapping[str, str]
    answers: Answers


@dataclass(frozen=True)
class Heard:
    """share in [0, 1]: of a topic's usual items, those whose sources deliver; missing: the sources
    that do not, the weightiest first."""

    share: float
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Detector:
    """The configuration that judged last. until: up to when; topics: name -> id."""

    config_id: int
    model_id: int
    model: str
    until: datetime
    topics: dict[str, int]


def databases(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
    """What there is to look at: the running monitor's database, and those of replays under
    `home`/reports. name -> URL; a page makes no tables, so only what exists is listed. A live
    database the monitor has not written to yet stands last."""
    live = database_url(home, environ)
    there = not live.startswith(SQLITE) or _file_of(live).is_file()
    found = {LIVE: live} if there else {}
    for path in sorted(home.reports.glob(f"*/{REPLAY_DATABASE}")):
        found[f"Replay {path.parent.name}"] = f"{SQLITE}{path}"
    if there and len(found) > 1:
        with reading(live) as connection:
            if connection is None:
                found[LIVE] = found.pop(LIVE)
    return found


def _file_of(url: str) -> Path:
    return Path(url.removeprefix(SQLITE))


@contextmanager
def reading(url: str) -> Iterator[Connection | None]:
    """A connection for one page view, or None while the monitor has no tables there."""
    engine = create_engine(url, read_only=True)
    try:
        with engine.begin() as connection:
            has_tables = inspect(connection).has_table(alert.name)
            yield connection if has_tables else None
    finally:
        engine.dispose()


def last_detector(connection: Connection, *, companies: bool = False) -> Detector | None:
    """The configuration of the topics, or of the companies, with the newest evaluation; None before
    the first."""
    of_companies = detector_config.c.settings_json.contains('"companies": "', autoescape=True)
    row = connection.execute(
        select(
            detector_config.c.id,
            detector_config.c.model_id,
            detector_config.c.settings_json,
            detector_config.c.evaluated_until,
            model_version.c.name,
        )
        .join(model_version, model_version.c.id == detector_config.c.model_id)
        .where(
            detector_config.c.evaluated_until.is_not(None),
            of_companies if companies else ~of_companies,
        )
        .order_by(detector_config.c.evaluated_until.desc(), detector_config.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    names = json.loads(row.settings_json)["topics"]
    found = connection.execute(select(topic.c.name, topic.c.id).where(topic.c.name.in_(names)))
    ids = {entry.name: entry.id for entry in found}
    return Detector(
        row.id, row.model_id, row.name, row.evaluated_until, {name: ids[name] for name in names}
    )


def topic_tiles(connection: Connection, detector: Detector) -> list[TopicTile]:
    """Every followed topic as last judged, firing ones first, then by score."""
    rows = connection.execute(
        select(evaluation).where(
            evaluation.c.config_id == detector.config_id, evaluation.c.at == detector.until
        )
    ).all()
    phases = {
        row.topic_id: STATES[Phase(row.phase)]
        for row in connection.execute(
            select(detector_state).where(detector_state.c.config_id == detector.config_id)
        )
    }
    heard = coverage_now(connection, detector)
    tiles = []
    for name, number in detector.topics.items():
        mine = [row for row in rows if row.topic_id == number]
        if not mine:
            continue
        best = max(mine, key=lambda row: (row.score, -row.p_share))
        low, high = share_interval(np.array([best.negative]), np.array([best.stories]))
        tiles.append(
            TopicTile(
                topic=name,
                state=phases.get(number, "quiet"),
                stories=best.stories,
                negative=best.negative,
                usual_share=best.usual_share,
                window_hours=best.window_hours,
                score=best.score,
                threshold=best.threshold,
                why=WORDS[best.gate],
                low=float(low[0]),
                high=float(high[0]),
                coverage=heard[name].share if name in heard else None,
            )
        )
    order = {"firing": 0, "pending": 1, "cooling down": 2, "quiet": 3}
    return sorted(tiles, key=lambda tile: (order[tile.state], -tile.score, tile.topic))


def coverage_now(connection: Connection, detector: Detector) -> dict[str, Heard]:
    """topic -> what was heard of it at the last moment judged; without those of whom nothing was
    decided then, or for whom nothing is usual yet."""
    if not inspect(connection).has_table(decision.name):
        return {}
    rows = connection.execute(
        select(decision.c.topic_id, decision.c.coverage, decision.c.missing_json).where(
            decision.c.config_id == detector.config_id,
            decision.c.topic_id.in_(list(detector.topics.values())),
            decision.c.at == detector.until,
            decision.c.coverage.is_not(None),
        )
    )
    names = {number: name for name, number in detector.topics.items()}
    return {
        names[row.topic_id]: Heard(row.coverage, tuple(json.loads(row.missing_json)))
        for row in rows
    }


def worth_of(connection: Connection, model_id: int) -> Worth | None:
    """What the model's "negative" is worth; None where nobody measured, or an earlier version of
    the monitor wrote the database."""
    columns = {column["name"] for column in inspect(connection).get_columns(model_version.name)}
    if model_version.c.negative_recall.name not in columns:
        return None
    query = select(model_version.c.negative_recall, model_version.c.negative_false_rate)
    row = connection.execute(query.where(model_version.c.id == model_id)).one()
    return None if row[0] is None or row[1] is None else Worth(row[0], row[1])


def topic_trend(
    connection: Connection, detector: Detector, name: str, days: int, *, bucket_hours: int = 24
) -> pd.DataFrame:
    """Counts and share with its interval of one topic (TREND_COLUMNS) by day, or by so many hours,
    up to the last moment judged, which comes last."""
    end = int(detector.until.timestamp() // 3600)
    first = connection.execute(
        select(func.min(bucket.c.hour)).where(bucket.c.model_id == detector.model_id)
    ).scalar_one()
    if first is None:
        first = end - 24
    counts = read_counts(
        connection,
        model_id=detector.model_id,
        topics=[name],
        topic_ids=[detector.topics[name]],
        first_hour=max(first, end - days * 24),
        end_hour=end,
    )
    frame = trend_frame(counts, bucket_hours=bucket_hours)
    return frame[frame["start"] < pd.Timestamp(detector.until)]


def alert_rows(connection: Connection, limit: int = ALERTS_LISTED) -> list[AlertRow]:
    """The newest alerts first."""
    rows = connection.execute(
        select(alert).order_by(alert.c.opened_at.desc(), alert.c.id.desc()).limit(limit)
    ).all()
    numbers = [row.id for row in rows]
    lead = _leads(connection, numbers)  # alert -> the alert that carries their common mail
    mails: dict[int, dict[str, str]] = {}
    owed = (
        select(outbox.c.alert_id, outbox.c.kind, recipient.c.email, outbox.c.state)
        .add_columns(outbox.c.last_error)
        # A database of an earlier version lacks it.
        .add_columns(outbox.c.content_json if answerable(connection) else null())
        .join(recipient, recipient.c.id == outbox.c.recipient_id)
        .where(outbox.c.alert_id.in_([*numbers, *lead.values()]))
        .order_by(outbox.c.id)
    )
    for mail in connection.execute(owed):
        portion = Portion.from_json(mail[-1]) if mail.kind == "broad" else None
        said = f"{mail.state}: {mail.last_error}" if mail.last_error else mail.state
        told = [mail.alert_id]
        if portion is not None:
            said += " (with other topics)"
            told = [n for n, first in lead.items() if first == mail.alert_id and portion.holds(n)]
        for number in told:
            mails.setdefault(number, {})[mail.email] = said
    answers = answers_to(connection, numbers)
    return [_alert_row(row, mails.get(row.id, {}), answers) for row in rows]


def alerts_about(connection: Connection, detector: Detector, name: str) -> list[AlertRow]:
    """Alerts of one topic or company, the newest first, without their mails."""
    rows = connection.execute(
        select(alert.c.id, alert.c.state, alert.c.resolved_at, alert.c.evidence_json)
        .where(alert.c.topic_id == detector.topics[name])
        .order_by(alert.c.opened_at.desc())
        .limit(ALERTS_OF_ONE)
    ).all()
    answers = answers_to(connection, [row.id for row in rows])
    return [_alert_row(row, {}, answers) for row in rows]


def _alert_row(row: Any, mails: dict[str, str], answers: Mapping[int, Answers]) -> AlertRow:
    return AlertRow(
        row.id,
        row.state,
        row.resolved_at,
        Evidence.from_json(row.evidence_json),
        mails,
        answers[row.id],
    )


def _leads(connection: Connection, numbers: Sequence[int]) -> dict[int, int]:
    if not inspect(connection).has_table(broad.name):  # a replay of an earlier version
        return {}
    query = (
        select(broad_member.c.alert_id, broad.c.lead_alert_id)
        .join(broad, broad.c.id == broad_member.c.broad_id)
        .where(broad_member.c.alert_id.in_(numbers))
    )
    return {row.alert_id: row.lead_alert_id for row in connection.execute(query)}
