"""A clock that runs ahead and is put right: feeds, judgements and mails go on as if it had not."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection, Engine, insert, select

from apps.news_monitor.broad import SPAN
from apps.news_monitor.clock_jumps import take_back
from apps.news_monitor.day_report import TICK
from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.detection import Detector
from apps.news_monitor.episodes import Phase
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.ingest import epoch_hour, ingest
from apps.news_monitor.judging_tables import (
    alert,
    alert_item,
    attention,
    attention_state,
    broad,
    calibration,
    decision,
    detector_config,
    detector_state,
    evaluation,
)
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.memos import recall
from apps.news_monitor.monitor import Monitor
from apps.news_monitor.owed import LONGEST_WAIT, due_rows
from apps.news_monitor.predictions import ActiveModel, label_pending, register_model
from apps.news_monitor.reports import PAUSE, note_pause
from apps.news_monitor.settings import NewsSettings, SurgeSettings
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.tables import job_run, source
from apps.news_monitor.telling_tables import outbox

NOW = datetime(2026, 3, 11, 14, 20, tzinfo=UTC)
HOUR = NOW.replace(minute=0)
DAY = timedelta(days=1)
Fill = Callable[[Engine, datetime, int], None]


@pytest.mark.parametrize("ahead", [timedelta(days=3653), timedelta(hours=20)])
def test_feeds_are_asked_again_after_the_clock_is_put_right(
    sqlite: Engine, tmp_path: Path, ahead: timedelta
) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url.host))
        if request.url.host == "down.example":
            return httpx.Response(500)
        return httpx.Response(200, stream=httpx.ByteStream(b"<rss version='2.0'><channel/></rss>"))

    watch = Monitor(
        sqlite,
        NewsSettings(feeds=("https://wire.example/rss", "https://down.example/rss")),
        None,
        OutboxMailer(tmp_path),
        client=lambda: httpx.Client(transport=httpx.MockTransport(answer)),
        jitter=random.Random(1),
    )
    watch.tick(NOW)
    watch.tick(NOW + ahead)
    asked.clear()
    report = watch.tick(NOW + timedelta(minutes=20))
    # The one that fails waits as it would have: up to a day, never for years.
    distant = ahead > 2 * DAY
    assert sorted(asked) == (["down.example"] if distant else []) + ["wire.example"]
    assert (
        f"the clock ran ahead: feeds asked before the time it had set for them: {len(asked)}"
        in report.lines
    )
    with sqlite.begin() as connection:
        ok = connection.execute(select(source.c.last_ok_at).order_by(source.c.url)).scalars().all()
    assert ok == [None, NOW + timedelta(minutes=20)]
    asked.clear()
    again = watch.tick(NOW + timedelta(minutes=21))
    assert (asked, [line for line in again.lines if "clock" in line]) == ([], [])


def crisis(
    engine: Engine, labeller: LabelTexts, fill: Fill, story: Callable[..., object]
) -> ActiveModel:
    """40 ordinary days; twelve bad stories about airlines in the two hours before HOUR."""
    fill(engine, HOUR - timedelta(hours=2), 40)
    bad = [
        story(f"airline crash {90000 + n}", HOUR - timedelta(minutes=9 * n + 5), "ABCD"[n % 4])
        for n in range(12)
    ]
    with engine.begin() as connection:
        ingest(connection, bad, copies=CopyIndex(), fetched=HOUR)  # type: ignore[arg-type]
        model = register_model(connection, labeller, HOUR)
    label_pending(engine, model, now=HOUR, limit=100)
    return model


def judged(connection: Connection) -> list[tuple[object, ...]]:
    query = select(decision.c.at, decision.c.topic_id, decision.c.score, decision.c.threshold)
    return [tuple(row) for row in connection.execute(query.order_by(*query.selected_columns[:2]))]


def test_what_was_judged_ahead_is_judged_when_it_comes(
    sqlite: Engine,
    labeller: LabelTexts,
    fill: Fill,
    story: Callable[..., object],
) -> None:
    """The surge is told once. A clock a week ahead sees it end; once it is right the surge goes on
    under the same alert, and ends as it would have."""
    model = crisis(sqlite, labeller, fill, story)
    # Nobody publishes afterwards, which is no outage here.
    surges = SurgeSettings(min_coverage=0.0)
    settings = NewsSettings(recipients=("desk@bank.example",), surges=surges)
    jumped = Detector(sqlite, model, settings, now=HOUR)
    assert len(jumped.run(HOUR, now=NOW).opened) == 1
    future = NOW + 7 * DAY
    assert jumped.run(future, now=future).resolved == 1
    put_right = jumped.run(HOUR, now=NOW)
    assert (put_right.evaluated, put_right.note) == (
        0,
        "the clock ran ahead: hours up to 2026-03-18 14:00 UTC were judged that have not come; "
        "judging goes on from 2026-03-11 14:00 UTC",
    )
    with sqlite.begin() as connection:
        for table in (evaluation, decision, calibration):
            assert connection.execute(select(table.c.id if "id" in table.c else table.c.at).where(
                table.c.at > NOW)).all() == []  # fmt: skip
        (row,) = connection.execute(select(alert)).all()
        assert (row.state, row.resolved_at) == ("resolved", HOUR)
    late = HOUR + 5 * DAY
    went_on = jumped.run(late, now=late)
    assert (went_on.evaluated, went_on.opened, went_on.note) == (120, [], "")
    with sqlite.begin() as connection:
        (row,) = connection.execute(select(alert)).all()
        ended = row.resolved_at
        seen = judged(connection)
        assert connection.scalars(select(outbox.c.id)).all() == [1]
    assert row.state == "resolved"
    assert HOUR + DAY < ended <= HOUR + timedelta(hours=75)
    # As if the clock had never been wrong.
    with sqlite.begin() as connection:
        for table in (decision, evaluation, detector_state, attention_state, calibration):
            connection.execute(table.delete())
        connection.execute(detector_config.update().values(evaluated_until=None))
        for table in (outbox, alert_item, alert):
            connection.execute(table.delete())
    steady = Detector(sqlite, model, settings, now=HOUR)
    steady.run(HOUR, now=NOW)
    steady.run(late, now=late)
    with sqlite.begin() as connection:
        assert judged(connection) == seen
        assert connection.scalars(select(alert.c.resolved_at)).one() == ended


def test_no_common_alert_and_no_attention_of_hours_that_have_not_come_is_left(
    engine: Engine, evidence: Evidence, open_evidence: Callable[..., int]
) -> None:
    later = HOUR + 2000 * DAY
    with engine.begin() as connection:
        number = open_evidence(connection, evidence)
        connection.execute(detector_config.update().values(evaluated_until=later))
        ids = {"config_id": 1, "topic_id": 1}
        seen = {"peak_score": 5.0, "window_hours": 24, "stories": 9, "usual_stories": 3.0,
                "negative": 1, "usual_share": 0.1}  # fmt: skip
        for opened, over in ((HOUR - DAY, later), (later, None)):
            values = {"opened_at": opened, "resolved_at": over, **ids, **seen}
            connection.execute(insert(attention).values(values))
        cell = {"streak": 1, "cool_until": epoch_hour(later), **ids}
        connection.execute(
            insert(attention_state).values(phase=int(Phase.FIRING), attention_id=2, **cell)
        )
        connection.execute(
            insert(detector_state).values(phase=int(Phase.FIRING), alert_id=number, **cell)
        )
        connection.execute(
            insert(broad).values(
                dedupe_key="b", config_id=1, lead_alert_id=number, topics=9, opened_at=later,
                joined_at=later, revision=1,
            )
        )  # fmt: skip
        assert take_back(connection, NOW, 72) != ""
        assert take_back(connection, NOW, 72) == ""
        kept = connection.execute(select(attention.c.opened_at, attention.c.resolved_at)).all()
        quiet = connection.execute(select(attention_state)).one()
        firing = connection.execute(select(detector_state)).one()
        joined = connection.execute(select(broad.c.joined_at)).scalar_one()
        state = connection.execute(select(alert.c.state)).scalar_one()
    assert [tuple(row) for row in kept] == [(HOUR - DAY, HOUR)]
    assert (quiet.phase, quiet.attention_id) == (Phase.QUIET, None)
    assert (firing.phase, firing.alert_id, state) == (Phase.FIRING, number, "firing")
    assert quiet.cool_until == firing.cool_until == epoch_hour(HOUR) + 72
    assert joined == HOUR - SPAN


def test_what_is_owed_does_not_wait_for_the_time_of_a_clock_that_ran_ahead(
    sqlite: Engine, evidence: Evidence, open_evidence: Callable[..., int]
) -> None:
    with sqlite.begin() as connection:
        open_evidence(connection, evidence)
    at = evidence.opened_at

    def due(**values: object) -> bool:
        with sqlite.begin() as connection:
            connection.execute(outbox.update().values(**values))
        return due_rows(sqlite, outbox, at, 10) == [1]

    assert due(state="queued", next_try_at=at)
    assert not due(next_try_at=at + LONGEST_WAIT)
    assert due(next_try_at=at + LONGEST_WAIT + timedelta(seconds=1))
    assert not due(state="sending", lease_until=at + timedelta(minutes=21))
    assert due(lease_until=at + timedelta(days=3653))


AHEAD = timedelta(days=9)
HOURS = timedelta(hours=1)


def rounds(connection: Connection, *steps: tuple[float, float, timedelta]) -> str | None:
    """The pause noted after rounds every ten minutes of true time. steps: (from, to, how far the
    clock is ahead meanwhile), in hours after NOW; of the last the first round alone."""
    for place, (begin, end, off) in enumerate(steps):
        last = place == len(steps) - 1
        for n in range(1 if last else round((end - begin) * 6)):
            shown = NOW + begin * HOURS + n * timedelta(minutes=10) + off
            note_pause(connection, shown, 3 * HOURS)
            row = {"job": TICK, "started_at": shown, "report_json": "{}"}
            connection.execute(insert(job_run).values(**row))
    return recall(connection, PAUSE)


RIGHT = timedelta(0)
BEHIND = -2 * DAY


@pytest.mark.parametrize(
    ("steps", "noted"),
    [
        ([(0, 5, RIGHT), (5, 6, RIGHT)], None),
        ([(0, 1, RIGHT), (5, 6, RIGHT)], 1 - 1 / 6),
        # Put right at once, and after hours: no pause was.
        ([(0, 1, RIGHT), (1, 2, AHEAD), (2, 3, RIGHT)], None),
        ([(0, 1, RIGHT), (1, 9, AHEAD), (9, 10, RIGHT)], None),
        # A pause after it has been put right; and one while it was wrong, as long as it was.
        ([(0, 1, RIGHT), (1, 2, AHEAD), (2, 3, RIGHT), (8, 9, RIGHT)], 3 - 1 / 6),
        ([(0, 1, RIGHT), (1, 3, AHEAD), (9, 10, RIGHT)], 9 - (9 - 5 / 6 - 11 / 6)),
        # A clock that ran behind for a while, and is right again.
        ([(0, 5, RIGHT), (5, 6, BEHIND), (6, 7, RIGHT)], None),
        ([(0, 5, RIGHT), (5, 6, BEHIND), (6, 7, RIGHT), (11, 12, RIGHT)], 7 - 1 / 6),
    ],
)
def test_a_pause_is_told_from_a_clock_that_was_put_right(
    sqlite: Engine, steps: list[tuple[float, float, timedelta]], noted: float | None
) -> None:
    with sqlite.begin() as connection:
        found = rounds(connection, *steps)
    if noted is None:
        assert found is None
    else:
        assert found is not None
        assert abs(datetime.fromisoformat(found) - NOW - noted * HOURS) < timedelta(seconds=1)


def test_a_pause_that_a_clock_noted_ahead_is_none_once_it_is_right(sqlite: Engine) -> None:
    """It could not be told yet, as stories were still to be labelled."""
    with sqlite.begin() as connection:
        assert rounds(connection, (0, 1, RIGHT), (1, 1.1, AHEAD)) is not None
        assert rounds(connection, (1.1, 1.2, RIGHT)) is None
        # One that is true stands until it is told, however many rounds that takes.
        truly = rounds(connection, (6, 7, RIGHT))
        assert truly is not None
        assert rounds(connection, (6.2, 8, RIGHT), (8, 9, RIGHT)) == truly
