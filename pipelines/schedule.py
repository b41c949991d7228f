"""Every scheduled job of the house in one table, run by APScheduler in one process.

Jobs read the clock once and pass it on; what they do is due by what the database says, not by when
they are called. So a late start, a restart or a missed hour changes when something is done, never
what: missed runs become one (`coalesce`), a job never overlaps itself (`max_instances`), and none
is too late to be run (`misfire_grace_time`).
"""

import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import FrameType
from typing import Any

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.interval import IntervalTrigger

from apps.news_monitor.monitor import JOBS as NEWS_JOBS
from apps.news_monitor.monitor import Monitor, TickReport

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
            return report

        return job

    return tuple(ScheduledJob(job.name, job.seconds, bound(job.run)) for job in NEWS_JOBS)


def summary_of(report: TickReport) -> str:
    """One line on one tick."""
    return (
        f"{report.at:%Y-%m-%d %H:%M} UTC: {len(report.sources)} feeds asked, {report.new} new "
        f"({report.copies} copies), {report.labelled} labelled, {report.evaluated} moments judged, "
        f"{len(report.alerts)} alerts, {report.mails.sent} mails, {report.seconds:.1f} s"
    )


def run_schedule(jobs: Sequence[ScheduledJob], clock: Callable[[], datetime]) -> None:
    """Run the jobs until SIGINT or SIGTERM; a running job is finished first.

    A job that raises is logged with its traceback and runs again at its next time.
    """
    scheduler = BlockingScheduler(timezone="UTC")
    for job in jobs:
        scheduler.add_job(
            lambda run=job.run: run(clock()),
            IntervalTrigger(seconds=job.seconds, timezone="UTC"),
            id=job.name,
            name=job.name,
            next_run_time=clock(),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
    scheduler.add_listener(_log_failure, EVENT_JOB_ERROR)

    def stop(_number: int, _frame: FrameType | None) -> None:
        scheduler.shutdown(wait=False)

    signal.signal(signal.SIGTERM, stop)
    try:
        scheduler.start()
    except (KeyboardInterrupt, SystemExit):
        scheduler.shutdown(wait=True)


def _log_failure(event: JobExecutionEvent) -> None:
    LOG.error("job %s failed: %s\n%s", event.job_id, event.exception, event.traceback)
