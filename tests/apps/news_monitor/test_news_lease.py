"""One monitor for one database: taken, renewed, given back, run out, taken over, lost."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete

from apps.news_monitor.lease import (
    LEASE,
    Heartbeat,
    Holding,
    Lease,
    LeaseHeldError,
    LeaseLostError,
    held_line,
)
from apps.news_monitor.tables import MIGRATIONS, VERSION_TABLE, lease
from pipelines.monitoring import leased
from pipelines.schedule import ScheduledJob, run_schedule
from shared.storage import create_engine, upgrade

NOW = datetime(2026, 3, 11, 14, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Timepiece:
    """A wall clock and a steady one that move only while somebody sleeps."""

    def __init__(self, now: datetime = NOW, each_second: Callable[[], None] | None = None) -> None:
        self.now = now
        self.steady = 0.0
        self._each_second = each_second

    def clock(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.steady

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.steady += seconds
        if self._each_second is not None:
            self._each_second()


def test_only_one_holder_at_a_time_and_a_dead_ones_lease_runs_out(engine: Engine) -> None:
    first, second = Lease(engine, "first"), Lease(engine, "second")
    assert first.acquire(NOW) is None
    assert first.acquire(NOW + SECOND) is None
    found = second.acquire(NOW + 2 * SECOND)
    assert found is not None
    assert (found.holder, found.since, found.until) == ("first", NOW, NOW + SECOND + LEASE)
    first.renew(NOW + LEASE)
    assert second.acquire(NOW + 2 * LEASE - SECOND) is not None
    assert second.acquire(NOW + 2 * LEASE) is None
    with pytest.raises(LeaseLostError) as caught:
        first.renew(NOW + 2 * LEASE + SECOND)
    assert str(caught.value) == (
        "second has taken this database over since 2026-03-11 14:34:00 UTC: it was not renewed "
        "for 120 s. This monitor stops"
    )


def test_a_lease_given_back_is_free_at_once_and_only_its_holder_gives_it_back(
    engine: Engine,
) -> None:
    first, second = Lease(engine, "first"), Lease(engine, "second")
    assert first.holding() is None
    first.acquire(NOW)
    second.release()
    assert second.acquire(NOW) is not None
    first.release()
    assert second.acquire(NOW) is None


def test_two_that_start_in_the_same_moment_are_told_apart(engine: Engine) -> None:
    gate = threading.Barrier(8)
    answers: list[Holding | None] = []

    def try_it(name: str) -> None:
        mine = Lease(engine, name)
        gate.wait()
        answers.append(mine.acquire(NOW))

    threads = [threading.Thread(target=try_it, args=(f"m{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert [answer is None for answer in answers].count(True) == 1


def test_who_waits_says_so_once_and_takes_over_when_the_lease_runs_out(sqlite: Engine) -> None:
    Lease(sqlite, "bank1, process 17").acquire(NOW)
    time, said = Timepiece(NOW + SECOND), list[str]()
    Lease(sqlite, "second").wait(time.clock, time.monotonic, time.sleep, said.append)
    assert said == [
        "another monitor (bank1, process 17) has been running on this database since "
        "2026-03-11 14:30:00 UTC, its lease lasts until 2026-03-11 14:32:00 UTC; "
        "waiting until it stops or its lease runs out"
    ]
    assert NOW + LEASE <= time.now <= NOW + LEASE + 5 * SECOND


def test_a_living_holder_is_waited_for_however_long(sqlite: Engine) -> None:
    first = Lease(sqlite, "first")
    first.acquire(NOW)
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1
        if beats < 200:
            first.renew(time.now)
        elif beats == 200:
            first.release()

    time, said = Timepiece(NOW, beat), list[str]()
    Lease(sqlite, "second").wait(time.clock, time.monotonic, time.sleep, said.append)
    assert (beats, len(said)) == (200, 1)


def test_a_clock_set_back_does_not_keep_a_dead_holders_lease_for_ever(sqlite: Engine) -> None:
    """By the wall clock it would run out in an hour; it is seen not to move for a lease's time."""
    Lease(sqlite, "dead").acquire(NOW)
    minute = timedelta(minutes=1)
    time = Timepiece(NOW - minute)
    other = Lease(sqlite, "second", lasts=minute)
    frozen = Timepiece(NOW - minute)

    def sleep(seconds: float) -> None:
        frozen.sleep(seconds)
        time.steady += seconds  # the wall clock stands still

    other.wait(time.clock, time.monotonic, sleep, lambda _: None)
    assert minute.total_seconds() < time.steady <= minute.total_seconds() + 10
    # Hours back, the row is from a future no honest clock has seen.
    assert Lease(sqlite, "third").acquire(NOW - timedelta(hours=3)) is None


def test_a_living_holder_whose_clock_is_set_back_keeps_its_lease(sqlite: Engine) -> None:
    first = Lease(sqlite, "first")
    first.acquire(NOW)
    first.renew(NOW - timedelta(hours=3))
    assert Lease(sqlite, "second").acquire(NOW - timedelta(hours=3)) is not None


def test_a_take_over_loses_against_a_holder_that_moved(sqlite: Engine) -> None:
    first = Lease(sqlite, "first")
    first.acquire(NOW)
    seen = first.holding()
    assert seen is not None
    first.renew(NOW + SECOND)
    assert not Lease(sqlite, "second").take_over(seen, NOW + SECOND)


def test_a_holder_killed_without_a_word_leaves_a_lease_that_runs_out(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'news.db'}"
    engine = create_engine(url)
    upgrade(engine, MIGRATIONS, VERSION_TABLE)
    engine.dispose()

    def doomed() -> None:
        mine = Lease(create_engine(url), "doomed")
        mine.acquire(NOW)
        with Heartbeat(mine, lambda: NOW, seconds=0.01):
            os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=doomed)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    second = Lease(engine, "second")
    assert second.acquire(NOW + LEASE - SECOND) is not None
    assert second.acquire(NOW + LEASE) is None
    engine.dispose()


def test_a_lost_lease_ends_the_schedule_and_is_told(sqlite: Engine) -> None:
    first, second = Lease(sqlite, "first"), Lease(sqlite, "second")
    first.acquire(NOW)
    now = NOW
    ticks: list[datetime] = []

    def tick(at: datetime) -> None:
        nonlocal now
        ticks.append(at)
        # The process was suspended; meanwhile another took over.
        assert second.acquire(NOW + LEASE) is None
        now = NOW + 2 * LEASE

    before = signal.getsignal(signal.SIGTERM)
    with Heartbeat(first, lambda: now, seconds=0.2) as heartbeat:
        jobs = [ScheduledJob("tick", 3600, tick)]
        run_schedule(jobs, lambda: datetime.now(UTC), watch=heartbeat.when_lost)
        signal.signal(signal.SIGTERM, before)
        with pytest.raises(LeaseLostError, match="second has taken this database over"):
            heartbeat.check()
    assert len(ticks) == 1
    found = second.holding()
    assert found is not None
    assert found.holder == "second"


def test_a_monitor_that_is_not_to_wait_says_plainly_who_runs(sqlite: Engine) -> None:
    with leased(Lease(sqlite, "bank1, process 17"), lambda: NOW, print, wait=False):
        second = leased(Lease(sqlite, "second"), lambda: NOW, print, wait=False)
        with pytest.raises(LeaseHeldError) as caught, second:
            pass
        assert str(caught.value) == (
            "another monitor (bank1, process 17) has been running on this database since "
            "2026-03-11 14:30:00 UTC, its lease lasts until 2026-03-11 14:32:00 UTC; stop that "
            "one first, or leave the work to it"
        )
    with leased(Lease(sqlite, "second"), lambda: NOW, print, wait=False):
        pass


def test_a_renewal_keeps_what_a_person_has_emptied(sqlite: Engine) -> None:
    first = Lease(sqlite, "first")
    first.acquire(NOW)
    with sqlite.begin() as connection:
        connection.execute(delete(lease))
    first.renew(NOW + SECOND)
    found = first.holding()
    assert found is not None
    assert held_line(found).startswith("another monitor (first) has been running")
