"""Every scheduled job of the house in one table, run by APScheduler in one process.

Jobs read the clock once and pass it on; what they do is due by what the database says, not by when
they are called. So a late start, a restart or a missed hour changes when something is done, never
what: missed runs become one (`coalesce`), a job never overlaps itself (`max_instances`), and none
is too late to be run (`misfire_grace_time`).
"""

import logging
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import FrameType
from typing import Any

from apscheduler.events import EVENT_JOB_ERROR, EVENT_SCHEDULER_STARTED, JobExecutionEvent
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.interval import IntervalTrigger

from apps.news_monitor.monitor import JOBS as NEWS_JOBS
from apps.news_monitor.monitor import Monitor
from apps.news_monitor.shadow import Progress
from apps.news_monitor.tick_report import TickReport
from shared.errors import TriptychError

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScheduledJob:
    """`run(now)` every `seconds`, the first time at once."""

    name: str
    seconds: int
    run: Callable[[datetime], Any]


def news_jobs(monitor: Monitor, say: Callable[[str], None]) -> tuple[ScheduledJob, ...]:
    """The news monitor's jobs, bound to one monitor; what a person should know goes to `say`."""

    def bound(run: Callable[[Monitor, datetime], Any]) -> Callable[[datetime], Any]:
        def job(now: datetime) -> Any:
            report = run(monitor, now)
            if isinstance(report, TickReport):
                for line in (summary_of(report), *report.lines):
                    say(line)
            elif isinstance(report, Progress) and report.line:
                say(report.line)
            return report

        return job

    return tuple(ScheduledJob(job.name, job.seconds, bound(job.run)) for job in NEWS_JOBS)


def steady_job(
    name: str, seconds: int, run: Callable[[], None], say: Callable[[str], None]
) -> ScheduledJob:
    """A job of the recommender. What a person can mend is said in one line, and tried again at the
    next time."""

    def job(now: datetime) -> None:
        try:
            run()
        except TriptychError as error:
            say(f"{now:%Y-%m-%d %H:%M} UTC: {name}: {error}; tried again in {seconds} s")

    return ScheduledJob(name, seconds, job)


def summary_of(report: TickReport) -> str:
    """One line on one tick."""
    return (
        f"{report.at:%Y-%m-%d %H:%M} UTC: {len(report.sources)} feeds asked, {report.new} new "
        f"({report.copies} copies), {report.labelled} labelled, {report.evaluated} moments judged, "
        f"{len(report.alerts)} alerts, {report.mails.sent} mails, {report.seconds:.1f} s"
    )


def run_schedule(
    jobs: Sequence[ScheduledJob],
    clock: Callable[[], datetime],
    *,
    watch: Callable[[Callable[[], None]], None] = lambda _stop: None,
) -> None:
    """Run the jobs until SIGINT or SIGTERM; a running job is finished before this returns.

    A job that raises is logged with its traceback and runs again at its next time. watch: is given
    a function that ends the schedule, from any thread.
    """
    scheduler = BlockingScheduler(timezone="UTC")
    running = [threading.Lock() for _ in jobs]

    def guarded(job: ScheduledJob, lock: threading.Lock) -> None:
        with lock:
            job.run(clock())

    for job, lock in zip(jobs, running, strict=True):
        scheduler.add_job(
            guarded,
            IntervalTrigger(seconds=job.seconds, timezone="UTC"),
            args=(job, lock),
            id=job.name,
            name=job.name,
            next_run_time=clock(),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
    scheduler.add_listener(_log_failure, EVENT_JOB_ERROR)

    def end() -> None:
        if scheduler.running:
            scheduler.shutdown(wait=False)

    def stop(_number: int, _frame: FrameType | None) -> None:
        end()

    def started(_event: object) -> None:
        watch(end)

    scheduler.add_listener(started, EVENT_SCHEDULER_STARTED)
    signal.signal(signal.SIGTERM, stop)
    try:
        scheduler.start()
    except (KeyboardInterrupt, SystemExit):
        end()
    for lock in running:  # held while its job runs
        lock.acquire()


def _log_failure(event: JobExecutionEvent) -> None:
    LOG.error("job %s failed: %s\n%s", event.job_id, event.exception, event.traceback)
