"""The schedule: jobs run at once and again, survive their own failures, and end on SIGTERM."""

import os
import signal
import threading
import time
from datetime import UTC, datetime

from pipelines.schedule import ScheduledJob, run_schedule


def stop_soon(seconds: float) -> None:
    def stop() -> None:
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()


def test_jobs_run_at_once_and_again_and_a_failing_one_stops_nobody() -> None:
    calls: list[str] = []

    def good(now: datetime) -> None:
        assert now.tzinfo is not None
        calls.append("good")

    def bad(_: datetime) -> None:
        calls.append("bad")
        raise ZeroDivisionError

    before = signal.getsignal(signal.SIGTERM)
    stop_soon(2.6)
    run_schedule(
        [ScheduledJob("good", 1, good), ScheduledJob("bad", 1, bad)], lambda: datetime.now(UTC)
    )
    signal.signal(signal.SIGTERM, before)
    assert calls.count("good") >= 2
    assert calls.count("bad") >= 2


def test_a_slow_job_never_overlaps_itself() -> None:
    running = 0
    overlapped = False

    def slow(_: datetime) -> None:
        nonlocal running, overlapped
        running += 1
        overlapped = overlapped or running > 1
        time.sleep(1.5)
        running -= 1

    before = signal.getsignal(signal.SIGTERM)
    stop_soon(3.2)
    run_schedule([ScheduledJob("slow", 1, slow)], lambda: datetime.now(UTC))
    signal.signal(signal.SIGTERM, before)
    assert not overlapped
