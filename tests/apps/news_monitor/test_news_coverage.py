"""Who usually delivers, who is silent or down, and what is held back because of it."""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, insert, select, update

from apps.news_monitor.articles import Article
from apps.news_monitor.bucket_counts import at_hour
from apps.news_monitor.coverage import Coverage, fallen_silent, read_coverage
from apps.news_monitor.day_report import read_day
from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.episodes import EpisodeRule, Episodes, advance
from apps.news_monitor.ingest import epoch_hour, ingest
from apps.news_monitor.judging_tables import decision, detector_config
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.monitor import Monitor
from apps.news_monitor.page_data import reading
from apps.news_monitor.predictions import ActiveModel, label_pending, register_model
from apps.news_monitor.replay import replay
from apps.news_monitor.settings import NewsSettings, SurgeSettings
from apps.news_monitor.source_data import overdue_as_set, source_frame
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.tables import source
from apps.news_monitor.why_no_alert import held_back, why, why_lines
from shared.errors import DataError

SUNDAY = datetime(2026, 3, 8, tzinfo=UTC)
NOW = datetime(2026, 3, 11, 14, 30, tzinfo=UTC)
HOUR = NOW.replace(minute=0)
Story = Callable[[str, datetime, str], Article]
Ordinary = Callable[[datetime, int], list[Article]]
Crisis = Callable[[datetime], bytes]


def take_in(
    engine: Engine,
    labeller: LabelTexts,
    articles: Sequence[Article],
    source_of: Callable[[Article], int | None] = lambda _: None,
) -> ActiveModel:
    at = articles[-1].effective_at
    with engine.begin() as connection:
        for number in {source_of(article) for article in articles}:
            mine = [a for a in articles if source_of(a) == number]
            ingest(connection, mine, copies=CopyIndex(), fetched=at, source_id=number)
        model = register_model(connection, labeller, at)
    label_pending(engine, model, now=at, limit=10**6, batch=512)
    return model


def covered(engine: Engine, model: ActiveModel, moments: Sequence[datetime]) -> Coverage:
    with engine.begin() as connection:
        return read_coverage(
            connection,
            model_id=model.id,
            topic_ids=[model.topics["Banks"], model.topics["Oil"]],
            hours=[epoch_hour(at) for at in moments],
            overdue=timedelta(hours=2),
        )


def days(
    story: Story, until: datetime, span: int, plan: Sequence[tuple[str, str, int]]
) -> Iterator[Article]:
    """Of each (publisher, topic word, how many a day), evenly over the days up to a moment."""
    for publisher, word, daily in plan:
        for n in range(span * daily):
            at = until - timedelta(days=span) + timedelta(hours=24 / daily) * n
            yield story(f"{word} report {publisher} {n} {n * 7919}", at, publisher)


PLAN = (("Agency", "bank", 12), ("Courier", "bank", 4), ("Courier", "oil", 8))


def test_coverage_is_the_part_of_the_usual_items_whose_outlets_deliver(
    engine: Engine, story: Story, labeller: LabelTexts
) -> None:
    whole = list(days(story, SUNDAY, 45, PLAN))
    stop = SUNDAY - timedelta(days=3)
    kept = [a for a in whole if a.publisher != "Agency" or a.effective_at < stop]
    kept.sort(key=lambda a: a.effective_at)
    model = take_in(engine, labeller, kept)
    found = covered(engine, model, [stop, stop + timedelta(days=2), SUNDAY])
    # Banks: 12 of 16 items a day are Agency's; Oil hears from Courier alone.
    np.testing.assert_allclose(found.share, [[1.0, 1.0], [0.25, 1.0], [0.25, 1.0]])
    assert [found.missing(t, 0) for t in range(3)] == [(), ("Agency",), ("Agency",)]
    assert [found.missing(t, 1) for t in range(3)] == [(), (), ()]
    assert found.held(1, 0.6).tolist() == [True, False]
    assert found.held(1, 0.25).tolist() == [False, False]
    back = [
        story(f"bank report back {n} {n * 7919}", SUNDAY + timedelta(hours=n), "Agency")
        for n in range(8)
    ]
    take_in(engine, labeller, back)
    assert covered(engine, model, [SUNDAY + timedelta(hours=8)]).share[0].tolist() == [1.0, 1.0]


def test_it_is_the_same_in_whatever_portions_the_hours_come(
    sqlite: Engine, story: Story, labeller: LabelTexts
) -> None:
    plan = (*PLAN, ("Gazette", "oil", 1), ("Herald", "bank", 2))
    whole = list(days(story, SUNDAY, 45, plan))
    stop = SUNDAY - timedelta(days=2)
    kept = [a for a in whole if a.publisher != "Courier" or a.effective_at < stop]
    model = take_in(sqlite, labeller, sorted(kept, key=lambda a: a.effective_at))
    moments = [SUNDAY - timedelta(hours=6 * n) for n in range(20, -1, -1)]
    together = covered(sqlite, model, moments).share
    single = np.vstack([covered(sqlite, model, [at]).share for at in moments])
    np.testing.assert_array_equal(together, single)
    assert together.min() < 0.6 < together.max()


def test_who_never_publishes_on_a_weekend_is_not_silent_on_one(
    sqlite: Engine, story: Story, labeller: LabelTexts
) -> None:
    whole = list(days(story, SUNDAY + timedelta(days=3), 50, (("Agency", "bank", 24),)))
    kept = [a for a in whole if a.effective_at.weekday() < 5]
    model = take_in(sqlite, labeller, sorted(kept, key=lambda a: a.effective_at))
    monday_night = SUNDAY + timedelta(days=1)
    assert covered(sqlite, model, [monday_night]).share[0, 0] == 1.0


def test_nothing_usual_is_not_too_little(
    sqlite: Engine, story: Story, labeller: LabelTexts
) -> None:
    model = take_in(sqlite, labeller, [story("bank report 1", SUNDAY, "Agency")])
    found = covered(sqlite, model, [SUNDAY + timedelta(days=1)])
    assert np.isnan(found.share).all()
    assert not found.held(0, 0.6).any()


def _feeds(engine: Engine, last_ok: Sequence[datetime | None]) -> None:
    with engine.begin() as connection:
        for n, at in enumerate(last_ok):
            connection.execute(
                insert(source).values(
                    url=f"https://f{n}.example/rss", title=f"Feed {n}", enabled=True,
                    next_check_at=NOW, last_ok_at=at, last_status="", last_error="",
                    error_count=0, created_at=NOW,
                )
            )  # fmt: skip


def test_a_feed_is_absent_while_it_gives_no_good_answer(
    engine: Engine, story: Story, labeller: LabelTexts
) -> None:
    down = SUNDAY - timedelta(hours=5)
    _feeds(engine, [SUNDAY, down, None])
    kept = sorted(days(story, SUNDAY, 45, PLAN), key=lambda a: a.effective_at)
    kept = [a for a in kept if a.publisher != "Agency" or a.effective_at < down]
    model = take_in(engine, labeller, kept, lambda a: 2 if a.publisher == "Agency" else 1)
    # Feed 2 has answered up to five hours ago; until two hours after that it is not missed. Feed 3
    # never did and never brought anything: nothing rests on it.
    moments = [SUNDAY - timedelta(hours=n) for n in (6, 3, 2, 0)]
    found = covered(engine, model, moments)
    np.testing.assert_allclose(found.share[:, 0], [1.0, 1.0, 0.25, 0.25])
    assert found.missing(3, 0) == ("Feed 1",)
    with engine.begin() as connection:
        connection.execute(update(source).values(last_ok_at=SUNDAY + timedelta(hours=1)))
    # What was published while nobody asked was still in the feed when it was asked again.
    assert covered(engine, model, moments).share.tolist() == [[1.0, 1.0]] * 4


def test_a_feed_that_falls_silent_is_told_once(
    sqlite: Engine, story: Story, labeller: LabelTexts
) -> None:
    """It answers, and brings nothing new: 24 items a day until Saturday noon."""
    _feeds(sqlite, [SUNDAY + timedelta(days=9)] * 2)
    stop = SUNDAY - timedelta(hours=12)
    plan = (("Agency", "bank", 24), ("Courier", "bank", 24))
    kept = [
        a
        for a in sorted(days(story, SUNDAY + timedelta(days=2), 45, plan), key=lambda a: a.key)
        if a.publisher != "Agency" or a.effective_at < stop
    ]
    take_in(sqlite, labeller, kept, lambda a: 1 if a.publisher == "Agency" else 2)
    told: dict[datetime, list[str]] = {}
    with sqlite.begin() as connection:
        for n in range(48):
            at = stop + timedelta(hours=n)
            lines = fallen_silent(connection, epoch_hour(at), timedelta(hours=2))
            told.update({at: lines} if lines else {})
        shown = source_frame(connection)
        # Judged every six hours, or after a pause: it is told of once all the same.
        hours = range(0, 48, 6)
        seldom = [
            fallen_silent(
                connection, epoch_hour(stop) + n, timedelta(hours=2), epoch_hour(stop) + n - 6
            )
            for n in hours
        ]
        late = fallen_silent(
            connection, epoch_hour(stop) + 40, timedelta(hours=2), epoch_hour(stop) - 5
        )
        day = read_day(connection, SUNDAY, SUNDAY + timedelta(days=1))
    assert [n for n, lines in zip(hours, seldom, strict=True) if lines] == [18]
    assert late == [
        "feed Feed 0 has fallen silent: nothing new for 40 hours, usual are 24.0 items a day"
    ]
    assert (day.failing, day.silent) == ((), ("Feed 0 (since Sat 7 Mar 2026, 12:00 UTC)",))
    ((at, (line,)),) = told.items()
    quiet = int((at - stop) / timedelta(hours=1))
    assert 12 <= quiet <= 24
    assert line == (
        f"feed Feed 0 has fallen silent: nothing new for {quiet} hours, usual are 24.0 items a day"
    )
    assert shown["silent"].tolist() == [False, False]  # no hour has been judged yet


def test_a_feed_that_is_asked_seldom_is_not_shown_as_silent(
    sqlite: Engine, story: Story, labeller: LabelTexts, tmp_path: Path
) -> None:
    """Asked every three hours, it is down after twelve without a good answer."""
    _feeds(sqlite, [SUNDAY - timedelta(hours=5)])
    kept = sorted(days(story, SUNDAY, 45, PLAN), key=lambda a: a.effective_at)
    model = take_in(sqlite, labeller, kept, lambda _: 1)
    settings = tmp_path / "triptych.toml"
    environ = {"TRIPTYCH_SETTINGS": str(settings)}
    settings.write_text("[news.fetch]\nevery_minutes = 180\n")
    with sqlite.begin() as connection:
        connection.execute(
            insert(detector_config).values(
                fingerprint="f", model_id=model.id, settings_json='{"topics": []}',
                created_at=SUNDAY, evaluated_until=SUNDAY,
            )
        )  # fmt: skip
        assert source_frame(connection)["silent"].tolist() == [True]
        shown = source_frame(connection, overdue_as_set(environ))
        assert shown["silent"].tolist() == [False]
    settings.write_text("[news.fetch]\nevery_minutes = 'often'\n")
    assert overdue_as_set(environ) == timedelta(hours=2)


def test_held_cells_are_as_if_the_moment_had_not_been() -> None:
    rng = np.random.default_rng(3)
    rule, limits = EpisodeRule(cooldown_hours=5), np.full(40, 2.0)
    with_holds = Episodes.quiet(40)
    for hour in range(60):
        score = rng.choice([0.0, 1.5, 2.5, 5.0], 40)
        held = rng.random(40) < 0.3
        calm = rng.random(40) < 0.7
        before = with_holds
        with_holds, change = advance(with_holds, score, calm, hour, limits, rule, held)
        stepped, alone = advance(before, score, calm, hour, limits, rule)
        for name in ("phase", "streak", "cool_until"):
            now = np.where(held, getattr(before, name), getattr(stepped, name))
            np.testing.assert_array_equal(getattr(with_holds, name), now)
        for name in ("opened", "resolved", "reopened"):
            np.testing.assert_array_equal(getattr(change, name), getattr(alone, name) & ~held)


def test_an_alert_waits_for_the_feeds_it_rests_on(
    engine: Engine, ordinary: Ordinary, labeller: LabelTexts, crisis_feed: Crisis, tmp_path: Path
) -> None:
    """Three quarters of the usual items come from a feed that is down: what the rest says is held
    back, told, and alerted as soon as the feed answers again."""
    broken = [True]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "large.example":
            if broken[0]:
                return httpx.Response(500)
            empty = b"<rss version='2.0'><channel/></rss>"
            return httpx.Response(200, stream=httpx.ByteStream(empty))
        return httpx.Response(200, stream=httpx.ByteStream(crisis_feed(HOUR)))

    feeds = ("https://large.example/rss", "https://small.example/rss")
    watch = Monitor(
        engine,
        NewsSettings(feeds=feeds, recipients=("desk@bank.example",)),
        labeller,
        OutboxMailer(tmp_path),
        client=lambda: httpx.Client(transport=httpx.MockTransport(answer)),
        jitter=random.Random(1),
    )
    with engine.begin() as connection:
        for url in feeds:
            connection.execute(
                insert(source).values(
                    url=url, title="", enabled=True, next_check_at=NOW, last_status="",
                    last_error="", error_count=0, created_at=NOW,
                )
            )  # fmt: skip
        ids = {row.url: row.id for row in connection.execute(select(source.c.url, source.c.id))}
    past = ordinary(HOUR - timedelta(hours=2), 40)
    take_in(engine, labeller, past, lambda a: ids[feeds[a.publisher == "Herald"]])
    held = watch.tick(NOW)
    assert (held.alerts, held.mails.sent) == ([], 0)
    assert held.lines[-1] == (
        "Airlines, 14:00: an alert is held back, only 25% of the topic's usual sources delivered; "
        "silent: https://large.example/rss"
    )
    with engine.begin() as connection:
        answered = why(connection, "Airlines", NOW)
        (hold,) = held_back(connection, NOW - timedelta(days=1))
    assert (answered.verdict, answered.coverage, answered.note) == ("data_health", 0.25, "")
    assert answered.score >= answered.threshold
    assert why_lines(answered)[:2] == [
        "Airlines at 2026-03-11 14:00 UTC: held back: too few of its usual sources delivered.",
        f"Best score {answered.score:.1f}, alerts start at {answered.threshold:.1f}. 25% of its "
        "usual sources delivered; silent: https://large.example/rss.",
    ]
    assert (hold.topic, hold.first, hold.last) == ("Airlines", HOUR, HOUR)
    with engine.begin() as connection:
        frame = source_frame(connection)
    assert frame["silent"].tolist() == [True, False]
    assert frame["usual a day"].tolist() == [18.0, 6.0]
    broken[0] = False
    told = watch.tick(NOW + timedelta(hours=1))
    assert [line.split(":")[0] for line in told.alerts] == ["[Critical] Airlines"]
    assert told.mails.sent == 1
    with engine.begin() as connection:
        assert why(connection, "Airlines").said == "alert"
        earlier = why(connection, "Oil", NOW + timedelta(minutes=40))
        assert earlier.said == "too few negative stories"
        assert earlier.windows[0].wanting == "4 negative stories are asked for"
        later = why(connection, "Airlines", NOW + timedelta(hours=9))
        with pytest.raises(DataError) as unknown:
            why(connection, "Airlnies")
        with pytest.raises(DataError) as early:
            why(connection, "Oil", NOW - timedelta(days=1))
    assert later.note == (
        "Nothing has been judged after 2026-03-11 15:00 UTC. The monitor's last round was at "
        "2026-03-11 15:30 UTC."
    )
    assert str(unknown.value) == (
        "'Airlnies' is no topic that is judged; judged are: Airlines, Banks, Oil"
    )
    assert str(early.value) == (
        "Oil was first judged at 2026-03-11 14:00 UTC; nothing is known of 2026-03-10 14:30 UTC"
    )


@pytest.mark.parametrize("needed", [0.6, 0.0])
def test_a_replay_goes_through_the_same_gate(
    needed: float, ordinary: Ordinary, labeller: LabelTexts, tmp_path: Path
) -> None:
    """Three of four publishers fall silent; two new ones and the last tell of bank crashes."""
    end, stop = HOUR.replace(hour=0), HOUR.replace(hour=0) - timedelta(days=4)
    past = [a for a in ordinary(end, 60) if a.effective_at < stop or a.publisher == "Herald"]
    rows = [(a.published_at, a.title, a.publisher) for a in past]
    rows += [
        (
            end - timedelta(hours=2 * n + 1),
            f"bank crash {50000 + n}",
            ("Herald", "New", "Newer")[n % 3],
        )
        for n in range(12)
    ]
    path = tmp_path / "items.csv"
    pd.DataFrame(rows, columns=["published_at", "title", "source"]).to_csv(path, index=False)
    report = replay(
        path,
        output=tmp_path / "out",
        labeller=labeller,
        settings=NewsSettings(surges=SurgeSettings(cadence_hours=24, min_coverage=needed)),
        since=end - timedelta(days=7),
        until=end,
    )
    assert [alert.topic for alert in report.alerts] == ([] if needed else ["Banks"])
    with reading(f"sqlite:///{tmp_path / 'out' / 'replay.db'}") as connection:
        assert connection is not None
        answered = why(connection, "Banks", end)
        kept = connection.execute(select(decision.c.at).where(decision.c.score > 0)).all()
    assert answered.verdict == ("data_health" if needed else "opened")
    assert answered.coverage == pytest.approx(0.25, abs=0.02)
    assert answered.missing == ("Agency", "Courier", "Gazette")
    assert len(kept) == 1
    if not needed:
        (alert,) = report.alerts
        assert alert.health.missing == ("Agency", "Courier", "Gazette")
        assert alert.health.coverage == answered.coverage


def test_a_moment_a_replay_has_not_kept_is_told_apart(
    ordinary: Ordinary, labeller: LabelTexts, tmp_path: Path
) -> None:
    end = HOUR.replace(hour=0)
    rows = [(a.published_at, a.title, a.publisher) for a in ordinary(end, 30)]
    path = tmp_path / "items.csv"
    pd.DataFrame(rows, columns=["published_at", "title", "source"]).to_csv(path, index=False)
    replay(
        path,
        output=tmp_path / "out",
        labeller=labeller,
        settings=NewsSettings(surges=SurgeSettings(cadence_hours=24)),
        since=end - timedelta(days=16),
        until=end,
    )
    with reading(f"sqlite:///{tmp_path / 'out' / 'replay.db'}") as connection:
        assert connection is not None
        kept = sorted(set(connection.execute(select(decision.c.at)).scalars()))
        answered = why(connection, "Oil", kept[0] + timedelta(days=2))
    assert answered.at == kept[0]
    assert answered.note == (
        f"No window had a score at {kept[0] + timedelta(days=2):%Y-%m-%d %H:%M} UTC: a replay "
        f"keeps only moments with one. The last kept before it is {kept[0]:%Y-%m-%d %H:%M} UTC."
    )
    assert at_hour(epoch_hour(kept[0])) == kept[0]
