"""Judging every topic hour by hour: from buckets to evaluations, episodes and alerts.

The running monitor and a replay call the same `Detector.run`; the one gives it the present, the
other a period of the past. Its watermark, the state of each topic, the evaluations and the alerts
with their mails are written in one transaction: whenever the process dies, each hour is judged
once.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, insert, select, update

from apps.news_monitor.alerts import Moment, follow_alert
from apps.news_monitor.attention import notice
from apps.news_monitor.bucket_counts import (
    at_hour,
    first_bucket_hour,
    hours_before,
    publisher_counts,
    read_counts,
)
from apps.news_monitor.clock_jumps import take_back
from apps.news_monitor.coverage import read_coverage
from apps.news_monitor.decisions import store_decisions, store_evaluations, verdicts
from apps.news_monitor.detection_report import DetectionReport, Held
from apps.news_monitor.detector_state import TopicStates, read_states, write_states
from apps.news_monitor.episodes import Phase, advance
from apps.news_monitor.following import Followed
from apps.news_monitor.handing_over import take_over
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.judging_tables import (
    attention_state,
    calibration,
    detector_config,
    detector_state,
)
from apps.news_monitor.opening import Desk, open_alerts
from apps.news_monitor.predictions import KnownModel, followed_topics
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.surges import Scan, scan
from apps.news_monitor.thresholds import Calibrator, FalseAlarmCurve
from apps.news_monitor.trends import Counts
from apps.news_monitor.usable_hours import UsableHours

RECALIBRATE = timedelta(days=7)
WEEK = 7 * 24


@dataclass(frozen=True)
class _Decided:
    """Of one moment, by topic: what came of it, and the id of the alert it belongs to."""

    verdicts: list[str]
    alerts: list[int | None]


class Detector:
    """Judges one model's buckets by one configuration. Not for two threads at once."""

    def __init__(
        self,
        engine: Engine,
        model: KnownModel,
        settings: NewsSettings,
        *,
        now: datetime,
        companies: Followed | None = None,
    ) -> None:
        """companies: judge these, by their own budget, in place of the model's topics.

        Raises SettingsError for a followed topic that the model does not know.
        """
        self._engine = engine
        self._model = model
        self._settings = settings
        self._rule = settings.surges.rule
        self._episode_rule = settings.surges.episode_rule
        self._cadence = settings.surges.cadence_hours
        if companies is None:
            known, self.topics = model.topics, followed_topics(settings.topics, model)
            self._budget = settings.false_alarms_per_week
        else:
            known, self.topics = companies.topics, tuple(companies.topics)
            self._budget = settings.company_false_alarms_per_week
        self._quiet_too = companies is None
        self.topic_ids = tuple(known[name] for name in self.topics)
        self._calibrator = Calibrator(len(self.topics), self._episode_rule)
        self._calibrated_from: int | None = None
        self._calibrated_until = 0
        self._usable = UsableHours(model.id, self.topic_ids)
        described = json.dumps(
            {
                "rule": self._rule.described,
                "episodes": asdict(self._episode_rule),
                "cadence_hours": self._cadence,
                "topics": self.topics,
                "model": model.labeller.fingerprint,
                **({"companies": companies.fingerprint} if companies else {}),
            },  # the coverage gate changes no score and no threshold: it begins nothing anew
            sort_keys=True,
        )
        self._key = hashlib.sha256(described.encode()).hexdigest()
        row = {
            "fingerprint": self._key,
            "model_id": model.id,
            "settings_json": described,
            "created_at": now,
        }
        with engine.begin() as connection:
            insert_new(connection, detector_config, [row])
            self.config_id: int = connection.execute(
                select(detector_config.c.id).where(detector_config.c.fingerprint == self._key)
            ).scalar_one()
            take_over(connection, self.config_id, self.topic_ids, companies=companies is not None)
        self._desk = Desk(
            config_id=self.config_id,
            config_key=self._key,
            topics=len(self.topics),
            subscriptions=[settings.subscription(address) for address in settings.recipients],
            webhooks=settings.webhooks,
            sender=settings.mail_from,
            labeller=model.labeller,
            late_after=settings.late_after,
            min_coverage=settings.surges.min_coverage,
        )

    def run(
        self,
        until: datetime,
        *,
        now: datetime | None = None,
        since: datetime | None = None,
        keep_all: bool = True,
        tell: Callable[[datetime], None] | None = None,
    ) -> DetectionReport:
        """Judge every moment of the cadence after the watermark through `until`.

        now: the wall clock, for mails; None takes each moment's own time (a replay). since: where
        to begin without a watermark; None begins with the last moment only: a past that nobody
        watched raises no alarms. keep_all: store every evaluation, or only those with a score
        (the others can be had again from the buckets). tell: called after each week.
        """
        report = DetectionReport()
        with self._engine.begin() as connection:
            if now is not None:
                report.note = take_back(connection, now, self._episode_rule.cooldown_hours)
            first = first_bucket_hour(connection, self._model.id)
            mark = self._watermark(connection)
        if first is None:
            report.note = "no labelled stories yet"
            return report
        last = int(until.timestamp() // 3600) // self._cadence * self._cadence
        if mark is None:
            mark = last - 1 if since is None else int(since.timestamp() // 3600)
        begin = max(mark, first)
        ends = [h for h in range(begin + 1, last + 1) if h % self._cadence == 0]
        for week in sorted({(h - 1) // WEEK for h in ends}):
            part = [h for h in ends if (h - 1) // WEEK == week]
            with self._engine.begin() as connection:
                self._judge(connection, part, first, now, keep_all, report)
            if tell is not None:
                tell(at_hour(part[-1]))
        return report

    def _watermark(self, connection: Connection) -> int | None:
        query = select(detector_config.c.evaluated_until).where(
            detector_config.c.id == self.config_id
        )
        at = connection.execute(query.with_for_update()).scalar_one()
        return None if at is None else int(at.timestamp() // 3600)

    def _judge(
        self,
        connection: Connection,
        hours: Sequence[int],
        first: int,
        now: datetime | None,
        keep_all: bool,
        report: DetectionReport,
    ) -> None:
        mark = self._watermark(connection)
        hours = [hour for hour in hours if mark is None or hour > mark]
        if not hours:
            return  # another monitor on the same database was here first
        self._calibrate_until(connection, first, hours[0] - 1)
        curve, threshold = self._threshold(connection, at_hour(hours[0]))
        reach = self._rule.reach.days * 24
        counts, scores = self._scan(connection, hours, max(first, hours[0] - reach))
        coverage = read_coverage(
            connection,
            model_id=self._model.id,
            topic_ids=self.topic_ids,
            hours=hours,
            overdue=self._settings.fetch.overdue,
        )
        moments = [
            Moment(
                scan=scores,
                index=t,
                counts=counts,
                at=at_hour(hour),
                threshold=threshold,
                curve=curve,
                topic_ids=self.topic_ids,
                model_id=self._model.id,
                model_name=self._model.labeller.name,
                coverage=coverage,
            )
            for t, hour in enumerate(hours)
        ]
        mine = (self.config_id, self.topic_ids)
        state = read_states(connection, detector_state, *mine)
        volume = read_states(connection, attention_state, *mine)
        decided = []
        for moment in moments:
            decided.append(self._step(connection, state, moment, now or moment.at, report))
            blocked = self._held(moment) | (moment.scan.best[moment.index] >= moment.threshold)
            report.attention += notice(
                connection,
                volume,
                moment,
                self.config_id,
                self._episode_rule,
                blocked | (state.episodes.phase == Phase.FIRING),
            )
        self._add(hours, counts, scores)
        self._store(connection, moments, decided, keep_all)
        write_states(connection, detector_state, *mine, state)
        write_states(connection, attention_state, *mine, volume)
        report.evaluated += len(hours)
        before = hours[0] - self._cadence if report.judged is None else report.judged[0]
        report.judged = (before, hours[-1])
        report.threshold = threshold

    def _step(
        self,
        connection: Connection,
        state: TopicStates,
        moment: Moment,
        now: datetime,
        report: DetectionReport,
    ) -> _Decided:
        """One moment through the state machine, and what it means for the alerts."""
        best, calm = moment.scan.best[moment.index], moment.scan.calm[moment.index]
        held = self._held(moment)
        limits = np.full(len(self.topics), moment.threshold)
        hour = int(moment.at.timestamp() // 3600)
        state.episodes, change = advance(
            state.episodes, best, calm, hour, limits, self._episode_rule, held
        )
        opened, together = open_alerts(connection, moment, change.opened, self._desk, now)
        state.alerts.update({i: one.alert_id for i, one in opened.items()})
        report.opened += opened.values()
        report.together = together or report.together
        firing = state.episodes.phase == Phase.FIRING
        rising = firing & (best >= limits) & ~change.opened & ~held
        for i in np.flatnonzero(rising | change.reopened | change.resolved).tolist():
            over = moment.at if change.resolved[i] else None
            follow_alert(connection, state.alerts[i], float(best[i]), resolved_at=over)
        report.resolved += int(change.resolved.sum())
        report.held += self._stopped(moment, held & (best >= limits) & ~firing)
        alive = firing | change.resolved
        return _Decided(
            verdicts(moment.scan, moment.index, moment.threshold, state.episodes, change, held),
            [state.alerts.get(i) if alive[i] else None for i in range(len(self.topics))],
        )

    def _held(self, moment: Moment) -> NDArray[np.bool_]:
        return moment.coverage.held(moment.index, self._settings.surges.min_coverage)

    def _stopped(self, moment: Moment, stopped: NDArray[np.bool_]) -> list[Held]:
        return [
            Held(
                self.topics[i],
                moment.at,
                float(moment.coverage.share[moment.index, i]),
                moment.coverage.missing(moment.index, i),
            )
            for i in np.flatnonzero(stopped).tolist()
        ]

    def _scan(
        self, connection: Connection, hours: Sequence[int], first: int
    ) -> tuple[Counts, Scan]:
        """Scores at these epoch hours, from the counts since `first`."""
        counts = read_counts(
            connection,
            model_id=self._model.id,
            topics=self.topics,
            topic_ids=self.topic_ids,
            first_hour=first,
            end_hour=hours[-1],
        )
        counts = replace(counts, usable=self._usable.of(connection, counts))
        offset = hours_before(counts)
        publishers = publisher_counts(
            connection,
            model_id=self._model.id,
            topic_ids=self.topic_ids,
            offset=offset,
            first_hour=hours[0] - max(self._rule.windows_hours),
            end_hour=hours[-1],
        )
        return counts, scan(counts, np.asarray(hours) - offset, self._rule, publishers)

    def _calibrate_until(self, connection: Connection, first: int, until: int) -> None:
        """Let the calibrator see the past it has not seen: once after a start, and anew where that
        begins earlier than it did (an archive has come), or ends earlier (a clock was put back)."""
        begin = first + self._rule.min_history_days * 24
        seen = self._calibrated_from
        if seen is None or begin < seen or until < self._calibrated_until:
            self._calibrator = Calibrator(len(self.topics), self._episode_rule)
            self._calibrated_from = self._calibrated_until = begin
        begin = self._calibrated_until
        hours = [h for h in range(begin + 1, until + 1) if h % self._cadence == 0]
        if hours:
            self._add(hours, *self._scan(connection, hours, first))

    def _add(self, hours: Sequence[int], counts: Counts, scores: Scan) -> None:
        best, calm = scores.best, scores.calm
        offset = hours_before(counts)
        for t, hour in enumerate(hours):
            if scores.days[t] >= self._rule.min_history_days:
                held = ~counts.usable[hour - 1 - offset]
                self._calibrator.add(best[t], calm[t], hour, self._cadence, held)
        self._calibrated_until = hours[-1]

    def _threshold(self, connection: Connection, at: datetime) -> tuple[FalseAlarmCurve, float]:
        """The curve and threshold in force at a moment: a week old at most, else made anew."""
        budget = self._budget
        row = connection.execute(
            select(calibration)
            .where(calibration.c.config_id == self.config_id, calibration.c.at <= at)
            .order_by(calibration.c.at.desc(), calibration.c.id.desc())
            .limit(1)
        ).one_or_none()
        if row is not None and at - row.at < RECALIBRATE and row.per_week == budget:
            episodes = np.asarray(json.loads(row.episodes_json), dtype=np.float64)
            return FalseAlarmCurve(episodes, row.topic_weeks), row.threshold
        curve = self._calibrator.curve()
        threshold = curve.threshold(budget, len(self.topics))
        connection.execute(
            insert(calibration).values(
                config_id=self.config_id,
                at=at,
                threshold=threshold,
                per_week=budget,
                topics=len(self.topics),
                topic_weeks=curve.topic_weeks,
                episodes_json=json.dumps(curve.episodes.tolist()),
            )
        )
        return curve, threshold

    def _store(
        self,
        connection: Connection,
        moments: Sequence[Moment],
        decided: Sequence[_Decided],
        keep_all: bool,
    ) -> None:
        """Evaluations, decisions and the new watermark."""
        at = [moment.at for moment in moments]
        first = moments[0]
        keys: dict[str, Any] = {
            "config_id": self.config_id,
            "topic_ids": self.topic_ids,
            "at": at,
            "scores": first.scan,
            "threshold": first.threshold,
            "keep_all": keep_all,
            "quiet_too": self._quiet_too,
        }
        store_evaluations(connection, **keys)
        store_decisions(
            connection,
            **keys,
            verdicts=[one.verdicts for one in decided],
            alerts=[one.alerts for one in decided],
            coverage=first.coverage,
        )
        connection.execute(
            update(detector_config)
            .where(detector_config.c.id == self.config_id)
            .values(evaluated_until=at[-1])
        )
