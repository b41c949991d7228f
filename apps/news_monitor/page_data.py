"""What the pages show, read from the tables; no model is loaded for it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
from sqlalchemy import Connection, func, inspect, select

from apps.news_monitor.bucket_counts import read_counts
from apps.news_monitor.coverage import read_delivery
from apps.news_monitor.decisions import WORDS
from apps.news_monitor.episodes import Phase
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.ingest import epoch_hour
from apps.news_monitor.judging_tables import (
    alert,
    broad,
    broad_member,
    detector_config,
    detector_state,
    evaluation,
)
from apps.news_monitor.responses import Answers, answers_to
from apps.news_monitor.settings import FetchSettings
from apps.news_monitor.tables import REPLAY_DATABASE, bucket, model_version, source, topic
from apps.news_monitor.telling_tables import outbox, recipient
from apps.news_monitor.trends import trend_frame
from shared.settings import Home, database_url
from shared.storage import create_engine

ALERTS_LISTED = 200
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

    why: what stopped the score, in words. state: quiet, pending, firing or cooling down.
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
    tiles = []
    for name, number in detector.topics.items():
        mine = [row for row in rows if row.topic_id == number]
        if not mine:
            continue
        best = max(mine, key=lambda row: (row.score, -row.p_share))
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
            )
        )
    order = {"firing": 0, "pending": 1, "cooling down": 2, "quiet": 3}
    return sorted(tiles, key=lambda tile: (order[tile.state], -tile.score, tile.topic))


def topic_trend(connection: Connection, detector: Detector, name: str, days: int) -> pd.DataFrame:
    """Daily counts and share with its interval of one topic (TREND_COLUMNS), newest day last."""
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
    return trend_frame(counts)


def source_frame(connection: Connection) -> pd.DataFrame:
    """Every feed: when it last answered, how much it usually brings, what is wrong with it.

    Silent is what its own past makes all but impossible, at the last hour judged.
    """
    detector = last_detector(connection)
    brings: dict[int | str, tuple[float, int, bool]] = {}
    if detector is not None:
        found = read_delivery(
            connection, hours=[epoch_hour(detector.until)], overdue=FetchSettings().overdue
        )
        brings = {
            key: (float(found.usual[0, o]), int(found.quiet[0, o]), bool(found.absent[0, o]))
            for o, key in enumerate(found.outlets.keys)
        }
    rows = connection.execute(
        select(source).where(source.c.enabled.is_(True)).order_by(source.c.url)
    ).all()
    return pd.DataFrame(
        [
            {
                "feed": row.title or row.url,
                "address": row.url,
                "last answer": row.last_ok_at,
                "state": row.last_status or "not asked yet",
                "usual a day": round(brings.get(row.id, (0.0, 0, False))[0], 1),
                "hours without news": brings.get(row.id, (0.0, 0, False))[1],
                "silent": brings.get(row.id, (0.0, 0, False))[2],
                "failures in a row": row.error_count,
                "problem": row.last_error,
                "next check": row.next_check_at,
            }
            for row in rows
        ]
    )


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
        .join(recipient, recipient.c.id == outbox.c.recipient_id)
        .where(outbox.c.alert_id.in_([*numbers, *lead.values()]))
        .order_by(outbox.c.id)
    )
    for mail in connection.execute(owed):
        said = f"{mail.state}: {mail.last_error}" if mail.last_error else mail.state
        told = [mail.alert_id]
        if mail.kind == "broad":
            said += " (with other topics)"
            told = [number for number, first in lead.items() if first == mail.alert_id]
        for number in told:
            mails.setdefault(number, {})[mail.email] = said
    answers = answers_to(connection, numbers)
    return [
        AlertRow(
            row.id,
            row.state,
            row.resolved_at,
            Evidence.from_json(row.evidence_json),
            mails.get(row.id, {}),
            answers[row.id],
        )
        for row in rows
    ]


def _leads(connection: Connection, numbers: Sequence[int]) -> dict[int, int]:
    if not inspect(connection).has_table(broad.name):  # a replay of an earlier version
        return {}
    query = (
        select(broad_member.c.alert_id, broad.c.lead_alert_id)
        .join(broad, broad.c.id == broad_member.c.broad_id)
        .where(broad_member.c.alert_id.in_(numbers))
    )
    return {row.alert_id: row.lead_alert_id for row in connection.execute(query)}
