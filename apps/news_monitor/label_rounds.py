"""What a round labels, what is judged meanwhile, and when an archive becomes part of the past.

What judging reads comes first, and nothing is judged before it has its labels. An archive that is
dropped on a monitor that judges is labelled after it and belongs to no count. Once all of it has
labels its hours are counted anew, all before the next of them is judged, and thresholds are found
on the past that then is.
"""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, delete, func, select

from apps.news_monitor.archives import (
    HELD,
    Archive,
    decide,
    files_to_decide_on,
    held,
    within,
)
from apps.news_monitor.backlog import Backlog, hours_needed
from apps.news_monitor.bucket_counts import rebuild_buckets
from apps.news_monitor.detection import RECALIBRATE
from apps.news_monitor.following import Following
from apps.news_monitor.ingest import epoch_hour
from apps.news_monitor.judging_tables import calibration, detector_config
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.memos import forget, note, recall
from apps.news_monitor.predictions import ActiveModel, label_pending, register_model
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.tables import item, model_version

TAKEN_UP = "archives taken up"
HOURS = 500
"""Counted anew in one transaction."""


@dataclass(frozen=True)
class Labelled:
    """What a round did. labelled: stories; needed: left of those without which nothing is judged;
    line: what is left, in words, or ""; anew: the past that is judged by is another one now."""

    labelled: int
    needed: int
    line: str
    anew: bool


class LabelRounds:
    """The running monitor's. until: the last story that has been labelled with all before it, None
    before a round that left none without."""

    def __init__(self, engine: Engine, settings: NewsSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._backlog: Backlog | None = None
        self._since = 0
        self.until: int | None = None

    def begin(self, labeller: LabelTexts, now: datetime) -> tuple[ActiveModel, Backlog]:
        """The labeller's model, whose stories are labelled from now on, and what is to label."""
        with self._engine.begin() as connection:
            model = register_model(connection, labeller, now)
            rule, companies = self._settings.surges.rule, bool(self._settings.companies)
            self._since = hours_needed(connection, rule, now, companies=companies)
            if self._backlog is None:
                self._backlog = Backlog.of_released(
                    connection, model.id, rule.needed, self._since, now
                )
            self._backlog.look_back_to(self._since)
        return model, self._backlog

    def run(
        self,
        model: ActiveModel,
        backlog: Backlog,
        companies: Following | None,
        now: datetime,
        limit: int,
    ) -> Labelled:
        """Label up to `limit` stories of what `begin` gave."""
        with self._engine.begin() as connection:
            if files_to_decide_on(connection):
                busy = backlog.count(connection, self._since) > limit
                judged = _judged_until(connection, now)
                decide(connection, judged, backlog.since or self._since, busy=busy)
            backlog.hold(connection)
        done = label_pending(
            self._engine, model, now=now, limit=limit, companies=companies, backlog=backlog
        )
        anew = take_up(self._engine, now, whole=backlog.has_whole_archives)
        with self._engine.begin() as connection:
            backlog.hold(connection)
            left = backlog.count(connection)
            needed = backlog.count(connection, self._since) if left else 0
        if not left:
            self.until = backlog.high
        return Labelled(done, needed, _said(left, needed, model.labeller.name, backlog), anew)


def _judged_until(connection: Connection, now: datetime) -> int | None:
    """The epoch hour up to which all is judged, None before any is."""
    last = connection.execute(select(func.max(detector_config.c.evaluated_until))).scalar_one()
    return None if last is None else epoch_hour(min(last, now))


def _said(left: int, needed: int, name: str, backlog: Backlog) -> str:
    if needed:
        # Half a history would make the other half look like a surge.
        return f"{needed} stories still to label by {name}; nothing is judged before that"
    if left and backlog.archives:
        return f"{left} stories of an archive still to label; until then judging goes on without it"
    return f"{left} older stories still to label; judging goes on meanwhile" if left else ""


def take_up(engine: Engine, now: datetime, *, whole: bool) -> bool:
    """Count the archives that were held back, if they are `whole` by now; first what a run that was
    cut off had begun to count. Whether there was anything to count."""
    begun = _count(engine, now)
    if not whole:
        return begun
    with engine.begin() as connection:
        archives = [astuple(one) for one in held(connection)]
        note(connection, TAKEN_UP, json.dumps({"archives": archives, "counted": -1}))
        forget(connection, HELD)
    return _count(engine, now)


def _count(engine: Engine, now: datetime) -> bool:
    """What is taken up, some hours at a time; False if there is nothing."""
    begun = False
    while True:
        with engine.begin() as connection:
            noted = recall(connection, TAKEN_UP)
            if noted is None:
                return begun
            begun, raw = True, json.loads(noted)
            hours = _hours(connection, [Archive(*one) for one in raw["archives"]], raw["counted"])
            if hours:
                for number in connection.execute(select(model_version.c.id)).scalars().all():
                    rebuild_buckets(connection, number, hours)
                note(connection, TAKEN_UP, json.dumps({**raw, "counted": hours[-1]}))
            else:
                forget(connection, TAKEN_UP)
                # They were found on another past, and would stand for a week.
                connection.execute(delete(calibration).where(calibration.c.at > now - RECALIBRATE))


def _hours(connection: Connection, archives: Sequence[Archive], after: int) -> Sequence[int]:
    """The next epoch hours after one, in which these archives have stories."""
    query = select(item.c.hour).where(within(archives), item.c.hour > after).distinct()
    return connection.execute(query.order_by(item.c.hour).limit(HOURS)).scalars().all()
