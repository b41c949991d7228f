"""The laboratory: a stored period judged again under another configuration, in its own space.

Stories, labels and counts are read where they are; everything that judging writes (configurations,
thresholds, decisions, alerts) goes into tables of the same names in a space of its own: a file with
SQLite, a schema with PostgreSQL, both gone afterwards. The detector is the monitor's own, nobody is
mailed or called, and the database that is read is not changed.
"""

import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, UpdateBase, event, func, select, text

from apps.news_monitor.alert_difference import Episode
from apps.news_monitor.detection import Detector
from apps.news_monitor.detection_report import DetectionReport
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.following import Followed, list_read
from apps.news_monitor.judging_tables import (
    alert,
    alert_item,
    attention,
    attention_state,
    broad,
    broad_member,
    calibration,
    decision,
    detector_config,
    detector_state,
    evaluation,
)
from apps.news_monitor.page_data import SQLITE, last_detector
from apps.news_monitor.predictions import KnownModel
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.tables import bucket, company, metadata, model_version, topic
from apps.news_monitor.telling_tables import (
    acknowledgement,
    outbox,
    recipient,
    silenced,
    silenced_rise,
    webhook_call,
)
from shared.errors import DataError
from shared.storage import create_engine

WRITTEN = (
    detector_config,
    calibration,
    evaluation,
    detector_state,
    alert,
    alert_item,
    recipient,
    outbox,
    decision,
    broad,
    broad_member,
    attention,
    attention_state,
    silenced,
    silenced_rise,
    webhook_call,
    acknowledgement,
)
"""All that judging writes to, or reads by the number of an alert, which means another one there."""


@dataclass(frozen=True)
class StoredModel:
    """A model version whose labels are in the database, from the first to the last hour of them.
    companies: None where not all its stories were read for them."""

    id: int
    name: str
    fingerprint: str
    topics: dict[str, int]
    first_hour: int
    last_hour: int
    companies: Followed | None


@dataclass(frozen=True)
class Tried:
    """What a configuration would have told. threshold: in force at the end, and that of companies,
    where they were judged and there is one."""

    alerts: tuple[Episode, ...]
    evaluated: int
    threshold: float | None
    company_threshold: float | None = None

    @property
    def line(self) -> str:
        """For people."""
        starts = "nothing" if self.threshold is None else f"{self.threshold:.1f}"
        companies = (
            ""
            if self.company_threshold is None
            else f" (of companies at {self.company_threshold:.1f})"
        )
        return f"{self.evaluated} moments, alerts start at {starts}{companies}"


class _StoredLabels:
    """A model that is known by its labels alone."""

    def __init__(self, model: StoredModel) -> None:
        self.name, self.fingerprint = model.name, model.fingerprint
        self.topics = tuple(model.topics)

    def words_for_negative(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        return [() for _ in texts]


def stored_models(connection: Connection) -> list[StoredModel]:
    """The models by which stories were counted: the one that judged last, then the newest first."""
    judging = last_detector(connection)
    counted = (
        select(bucket.c.model_id, bucket.c.topic_id, topic.c.name.label("topic"))
        .add_columns(company.c.topic_id.is_not(None).label("is_company"))
        .add_columns(func.min(bucket.c.hour).label("first"), func.max(bucket.c.hour).label("last"))
        .join(topic, topic.c.id == bucket.c.topic_id)
        .outerjoin(company, company.c.topic_id == topic.c.id)
        .group_by(bucket.c.model_id, bucket.c.topic_id, topic.c.name, company.c.topic_id)
    )
    rows = connection.execute(counted.order_by(topic.c.name)).all()
    # By name: a database of an earlier version has fewer columns.
    named = select(model_version.c.id, model_version.c.name, model_version.c.fingerprint).order_by(
        model_version.c.id.desc()
    )
    found = []
    for version in connection.execute(named).all():
        counts = [row for row in rows if row.model_id == version.id]
        mine = [row for row in counts if not row.is_company]
        if not mine:
            continue
        companies = {row.topic: row.topic_id for row in counts if row.is_company}
        listed = list_read(connection, version.id) if companies else None
        found.append(
            StoredModel(
                version.id,
                version.name,
                version.fingerprint,
                {row.topic: row.topic_id for row in mine},
                min(row.first for row in mine),
                max(row.last for row in mine),
                None if listed is None else Followed(companies, listed),
            )
        )
    return sorted(found, key=lambda one: judging is None or one.id != judging.model_id)


def try_out(
    url: str,
    settings: NewsSettings,
    model: StoredModel,
    *,
    since: datetime,
    until: datetime,
    companies: bool = False,
    tell: Callable[[datetime], None] | None = None,
) -> Tried:
    """Judge the topics of the database at `url` from `since` to `until` as these settings would
    have; what lies before is history. companies: judge them as well, by the list that the stories
    were read by. tell: called after each week.

    Raises: SettingsError: a topic of the settings that the model does not know. DataError: a period
    that ends before it begins, or companies that the model's stories were not all read for.
    """
    if since >= until:
        raise DataError(f"the period ends ({until:%Y-%m-%d}) before it begins ({since:%Y-%m-%d})")
    if companies and model.companies is None:
        raise DataError(
            f"companies cannot be judged by {model.name}: its stories were not all read for a list "
            "of them; name one under [news] companies and let the monitor read, or leave them out"
        )
    silent = settings.model_copy(update={"recipients": (), "webhooks": ()})
    with own_space(url) as engine:
        labelled = KnownModel(model.id, _StoredLabels(model), model.topics)
        detector = Detector(engine, labelled, silent, now=since)
        found = detector.run(until, since=since, keep_all=False, tell=tell)
        named = DetectionReport()
        if companies:
            detector = Detector(engine, labelled, silent, now=since, companies=model.companies)
            named = detector.run(until, since=since, keep_all=False, tell=tell)
        with engine.begin() as connection:
            rows = connection.execute(
                select(alert.c.evidence_json, alert.c.resolved_at).order_by(
                    alert.c.opened_at, alert.c.id
                )
            ).all()
    alerts = [_episode(Evidence.from_json(row.evidence_json), row.resolved_at) for row in rows]
    return Tried(tuple(alerts), found.evaluated, found.threshold, named.threshold)


def _episode(evidence: Evidence, resolved_at: datetime | None) -> Episode:
    return Episode(
        evidence.topic,
        evidence.opened_at,
        resolved_at,
        evidence.severity,
        evidence.score,
        evidence.negative,
        evidence.stories,
        evidence.expected,
        tuple(line.title for line in evidence.headlines),
    )


@contextmanager
def own_space(url: str) -> Iterator[Engine]:
    """An engine that reads the database at `url` and writes beside it, while it is open. It raises
    RuntimeError for a statement that writes to any other table than WRITTEN."""
    if url.startswith(SQLITE):
        with tempfile.TemporaryDirectory(prefix="triptych-laboratory-") as folder:
            # Read-only as pages are: it never takes the monitor's write lock.
            engine = create_engine(f"{SQLITE}{Path(folder) / 'own.db'}", read_only=True)
            event.listen(engine, "connect", _beside(url.removeprefix(SQLITE)))
            event.listen(engine, "before_execute", _refuse_foreign)
            try:
                metadata.create_all(engine, tables=WRITTEN, checkfirst=False)
                yield engine
            finally:
                engine.dispose()
        return
    name = f"triptych_laboratory_{secrets.token_hex(6)}"
    engine = create_engine(url)
    event.listen(engine, "connect", _before(name))
    event.listen(engine, "before_execute", _refuse_foreign)
    try:
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {name}"))
        metadata.create_all(engine, tables=WRITTEN, checkfirst=False)
        yield engine
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA IF EXISTS {name} CASCADE"))
        engine.dispose()


def _refuse_foreign(
    _connection: Connection, statement: Any, _rows: Any, _parameters: Any, _options: Any
) -> None:
    # A name that the own space lacks is found in the database that is read: without this a table
    # forgotten above would be written to there.
    if isinstance(statement, UpdateBase) and statement.table not in WRITTEN:
        raise RuntimeError(f"the laboratory has no table {statement.table} of its own")


def _beside(file: str) -> Callable[[Any, object], None]:
    """A table that the own file lacks is that of the file beside it."""

    def attach(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        # Rows refer to topics and items of the other file, which SQLite cannot check.
        cursor.execute("PRAGMA foreign_keys=OFF")
        cursor.execute("ATTACH DATABASE ? AS beside", (file,))
        cursor.close()

    return attach


def _before(schema: str) -> Callable[[Any, object], None]:
    """A table that the own schema lacks is that of the usual one."""

    def search(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT set_config('search_path', %s || current_setting('search_path'), false)",
            (f"{schema}, ",),
        )
        cursor.close()
        connection.commit()

    return search
