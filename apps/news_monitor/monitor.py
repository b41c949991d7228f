"""The running monitor: one tick reads feeds, labels what is new, judges, and mails what is owed.

A tick is one function of `now`. Every step finds its work by what is missing in the database, so
that a tick that dies half way is taken up by the next: no article twice, no story counted twice,
one outbox row for each alert and recipient.
"""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
from sqlalchemy import Engine, delete, insert
from sqlalchemy.exc import OperationalError

from apps.news_monitor.attention import attention_line
from apps.news_monitor.choices import Choices
from apps.news_monitor.company_watch import CompanyWatch
from apps.news_monitor.coverage import fallen_silent
from apps.news_monitor.day_report import TICK
from apps.news_monitor.delivery import Mailer
from apps.news_monitor.detection import Detector
from apps.news_monitor.detection_report import DetectionReport, held_line
from apps.news_monitor.due_feeds import due_feeds
from apps.news_monitor.feed_parser import feed_parser
from apps.news_monitor.feeds import Fetched, FetchStatus, feed_client, fetch, reason_of
from apps.news_monitor.ingest import ingest, recent_stories
from apps.news_monitor.judging_tables import decision, evaluation
from apps.news_monitor.label_rounds import LabelRounds
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.links import Links
from apps.news_monitor.mail import subject
from apps.news_monitor.outbox import deliver_due, going_on
from apps.news_monitor.parsing import ParsedFeed
from apps.news_monitor.reminders import owe_reminders
from apps.news_monitor.reports import (
    note_pause,
    owe_after_silence,
    owe_digests,
    owe_heartbeat,
    owe_summary,
)
from apps.news_monitor.same_event import join_events
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.shadow import Progress, Shadow
from apps.news_monitor.source_state import Reading, note_source
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.story_vectors import forget_vectors
from apps.news_monitor.tables import MIGRATIONS, VERSION_TABLE, fetch_log, job_run
from apps.news_monitor.tick_report import SourceReport, TickReport
from apps.news_monitor.unreached import Unreached
from apps.news_monitor.watched_folder import take_files
from apps.news_monitor.webhooks import call_due, owe_resolved
from shared.errors import DataError, ServiceError
from shared.storage import upgrade

LABELS_PER_TICK = 2000
ROUND_SECONDS = 60.0
"""How long a shadow waits for the end of a round before it tries again at its next time."""
DELIVERY = timedelta(minutes=1)
"""How long a round begins mails, and then calls: the next one takes up what is left."""
GRACE = timedelta(minutes=10)
"""How long an hour waits for its last articles before it is judged."""
KEEP_LOGS = timedelta(days=30)
KEEP_EVALUATIONS = timedelta(days=90)


@dataclass(frozen=True)
class Job:
    """A scheduled job: `run(monitor, now)` every `seconds`, returning its report."""

    name: str
    seconds: int
    run: Callable[["Monitor", datetime], Any]


class Monitor:
    """Feeds in, alerts out. Makes and upgrades its tables; connects to nothing else until a tick.

    labeller: the model, or None to collect articles before there is one. candidate: loads the
    labeller of NAME@VERSION, for a shadow. jitter: seeded, so that a test can foresee when a feed
    is asked again.
    """

    def __init__(
        self,
        engine: Engine,
        settings: NewsSettings,
        labeller: LabelTexts | None,
        mailer: Mailer,
        *,
        candidate: Callable[[str], LabelTexts] | None = None,
        client: Callable[[], httpx.Client] | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._labeller = labeller
        self._mailer = mailer
        self._client = client or (lambda: feed_client(settings.fetch))
        self._jitter = jitter or random.Random()
        self._copies: CopyIndex | None = None
        self._labels = LabelRounds(engine, settings)
        self._detector: Detector | None = None
        self._companies = CompanyWatch(engine, settings)
        self._choices = Choices(engine, settings)
        self._shadow = None if candidate is None else Shadow(engine, candidate)
        self._round = threading.Lock()
        upgrade(engine, MIGRATIONS, VERSION_TABLE)

    def tick(self, now: datetime) -> TickReport:
        """Everything that is due at `now`."""
        with self._round:
            return self._tick(now)

    def _tick(self, now: datetime) -> TickReport:
        begun = time.monotonic()
        report = TickReport(now)
        with self._engine.begin() as connection:
            note_pause(connection, now, self._settings.late_after)
        self.read_feeds(now, report)
        self.read_folder(now, report)
        self.judge(now, report)
        self.owe(now, report)
        self.deliver(now + timedelta(seconds=time.monotonic() - begun), report)
        report.seconds = round(time.monotonic() - begun, 3)
        with self._engine.begin() as connection:
            connection.execute(
                insert(job_run).values(job=TICK, started_at=now, report_json=report.to_json())
            )
        return report

    def shadow(self, now: datetime) -> Progress | None:
        """Let the candidate label what the released model has, between two rounds; None where there
        is nothing to do."""
        until = self._labels.until
        if self._shadow is None or self._labeller is None or until is None:
            return None
        return self._shadow.run(
            now,
            until=until,
            released=self._labeller.fingerprint,
            free=self._between_rounds,
            companies=self._companies.following,
        )

    def _between_rounds(self) -> bool:
        free = self._round.acquire(timeout=ROUND_SECONDS)
        if free:
            self._round.release()
        return free

    def read_feeds(self, now: datetime, report: TickReport) -> None:
        """Fetch the feeds that are due, several hosts at once, one request a host at a time."""
        with self._engine.begin() as connection:
            due, line = due_feeds(connection, self._settings.feeds, self._settings.fetch, now)
        report.lines += [line] if line else []
        if not due:
            return
        hosts: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in due:
            hosts[urlsplit(row["url"]).netloc.lower()].append(row)
        with self._client() as client, ThreadPoolExecutor(self._settings.fetch.parallel) as pool:
            read = partial(self._read_host, client, Unreached(client), now=now)
            queues = [pool.submit(read, rows) for rows in hosts.values()]
            for queue in queues:
                for row, fetched, parsed in queue.result():
                    self._take_in(row, fetched, parsed, now, report)

    def _read_host(
        self,
        client: httpx.Client,
        unreached: Unreached,
        rows: Sequence[dict[str, Any]],
        now: datetime,
    ) -> list[tuple[dict[str, Any], Fetched, ParsedFeed]]:
        results = []
        settings = self._settings.fetch
        for row in rows:
            fetched = unreached.instead(row["url"]) or fetch(
                client,
                row["url"],
                settings,
                now=now,
                etag=row["etag"],
                last_modified=row["last_modified"],
            )
            parsed = ParsedFeed()
            if fetched.status is FetchStatus.OK:
                parsed = feed_parser().parse(
                    fetched.body,
                    url=fetched.url,
                    content_type=fetched.content_type,
                    limit=settings.max_entries,
                    seconds=settings.parse_seconds,
                )
            results.append((row, fetched, parsed))
        return results

    def _take_in(
        self,
        row: dict[str, Any],
        fetched: Fetched,
        parsed: ParsedFeed,
        now: datetime,
        report: TickReport,
    ) -> None:
        """One feed's articles and its own row."""
        try:
            reading = self._store(Reading(row, fetched, parsed), now)
        except (ServiceError, OperationalError):
            raise  # the database is locked or away, which is no feed's fault
        except Exception as error:
            # Whatever a feed holds, it must cost this feed only: it is told, and asked again later.
            failed = replace(fetched, status=FetchStatus.FAILED, error=reason_of(error))
            reading = self._store(Reading(row, failed, ParsedFeed()), now)
        done, problem = reading.result, reading.problem
        report.sources.append(
            SourceReport(row["url"], reading.status, done.found, done.new, problem)
        )
        report.new += done.new
        report.copies += done.copies
        if reading.failed:
            report.lines.append(f"feed {row['url']}: {problem}")

    def _store(self, reading: Reading, now: datetime) -> Reading:
        """What was read, in one transaction; returns it with what came of it."""
        articles = reading.articles(now)
        try:
            with self._engine.begin() as connection:
                if articles:
                    if self._copies is None:
                        self._copies = recent_stories(connection, now)
                    number = reading.row["id"]
                    done = ingest(
                        connection, articles, copies=self._copies, fetched=now, source_id=number
                    )
                    reading = replace(reading, result=done)
                jitter = self._jitter.random()
                note_source(connection, reading, self._settings.fetch, now=now, jitter=jitter)
        except BaseException:
            # What the index of copies learnt was not stored: it is read anew next time.
            self._copies = None
            raise
        return reading

    def read_folder(self, now: datetime, report: TickReport) -> None:
        """Take in the files that were dropped into the watched folder, if there is one."""
        folder = self._settings.folder
        if folder is None:
            return
        try:
            if self._copies is None:
                with self._engine.begin() as connection:
                    self._copies = recent_stories(connection, now)
            for file in take_files(self._engine, folder, self._copies, now, report.lines.append):
                status = "refused" if file.problem else "ok"
                report.sources.append(
                    SourceReport(file.name, status, file.found, file.new, file.problem)
                )
                report.new += file.new
                report.copies += file.copies
                if file.problem:
                    report.lines.append(f"file set aside: {file.problem}")
        except DataError as error:
            report.lines.append(str(error))
        except BaseException:
            self._copies = None  # as above
            raise

    def judge(self, now: datetime, report: TickReport) -> None:
        """Label what has no label, then judge the hours that have passed."""
        if self._labeller is None:
            report.lines.append("no model yet: articles are kept and labelled once there is one")
            return
        model, backlog = self._labels.begin(self._labeller, now)
        followed = self._companies.read(model, report.lines)
        report.lines += self._choices.check(model, followed, now)
        done = self._labels.run(model, backlog, followed, now, LABELS_PER_TICK)
        report.labelled, report.unlabelled = done.labelled, done.needed
        report.lines += [done.line] if done.line else []
        if done.anew:
            self._detector = None
            self._companies.begin_anew()
        if done.needed:
            return
        report.joined = join_events(self._engine, model, self._settings.stories, backlog)
        if self._detector is None:
            self._detector = Detector(self._engine, model, self._settings, now=now)
        found = self._detector.run(now - GRACE, now=now)
        report.evaluated = found.evaluated
        self._tell(found, report)
        if found.judged is not None:
            before, last = found.judged
            with self._engine.begin() as connection:
                report.lines += fallen_silent(
                    connection, last, self._settings.fetch.overdue, before
                )
        named = self._companies.judge(model, now - GRACE, now, report.lines)
        if named is not None:
            self._tell(named, report)

    def _tell(self, found: DetectionReport, report: TickReport) -> None:
        """What was found, as lines."""
        alerts = [subject(opened.evidence) for opened in found.opened]
        report.alerts += alerts
        report.lines += [f"alert: {line}" for line in alerts]
        report.lines += [f"attention: {attention_line(one)}" for one in found.attention]
        if found.together:
            report.lines.append(f"{found.together} topics fire at once: one mail tells of them all")
        report.lines += [held_line(held) for held in found.held]
        if found.note:
            report.lines.append(found.note)

    def owe(self, now: datetime, report: TickReport) -> None:
        """What falls due by the clock, each kind in a transaction of its own."""
        with self._engine.begin() as connection:
            # Before all is judged nobody can say what happened meanwhile.
            if self._labeller is not None and not report.unlabelled:
                line = owe_summary(connection, self._settings, now)
                report.lines += [line] if line else []
        for owe in (owe_digests, owe_after_silence, owe_reminders, owe_heartbeat):
            with self._engine.begin() as connection:
                owe(connection, self._settings, now)
        with self._engine.begin() as connection:
            owe_resolved(connection, self._settings.webhooks, now)

    def deliver(self, now: datetime, report: TickReport) -> None:
        """Send the mails and call the webhooks that are owed; a mail server that takes its time
        with each is left alone after DELIVERY."""
        clock = going_on(now)
        report.mails = deliver_due(
            self._engine,
            self._mailer,
            now=now,
            clock=clock,
            until=now + DELIVERY,
            sender=self._settings.mail_from,
            dashboard_url=self._settings.dashboard_url,
            links=Links.of(self._settings.links),
        )
        report.calls = call_due(
            self._engine,
            self._settings.webhooks,
            now=clock(),
            clock=clock,
            until=clock() + DELIVERY,
            agent=self._settings.fetch.user_agent,
        )
        report.lines += report.mails.lines + report.calls.lines

    def upkeep(self, now: datetime) -> int:
        """Forget logs after 30 days and evaluations after 90; returns how many rows."""
        gone = 0
        with self._engine.begin() as connection:
            for statement in (
                delete(fetch_log).where(fetch_log.c.started_at < now - KEEP_LOGS),
                delete(job_run).where(job_run.c.started_at < now - KEEP_LOGS),
                delete(evaluation).where(evaluation.c.at < now - KEEP_EVALUATIONS),
                delete(decision).where(decision.c.at < now - KEEP_EVALUATIONS),
            ):
                gone += connection.execute(statement).rowcount
            gone += forget_vectors(connection, now)
        return gone


JOBS = (
    Job("news.tick", 60, Monitor.tick),
    Job("news.shadow", 60, Monitor.shadow),
    Job("news.upkeep", 24 * 3600, Monitor.upkeep),
)
"""What the scheduler runs; see pipelines/schedule.py."""
