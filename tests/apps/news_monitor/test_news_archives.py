"""An archive of the days that judging reads: labelled beside the news, counted once it is whole."""

import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pandas as pd
import pytest
from sqlalchemy import Connection, Engine, func, select

import apps.news_monitor.label_rounds as label_rounds_module
import apps.news_monitor.monitor as monitor_module
from apps.news_monitor.archives import decide, files_to_decide_on, held, note_file
from apps.news_monitor.articles import Article
from apps.news_monitor.backlog import Backlog
from apps.news_monitor.bucket_counts import publisher_counts, rebuild_buckets
from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.ingest import epoch_hour, ingest
from apps.news_monitor.judging_tables import calibration
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.monitor import Monitor
from apps.news_monitor.predictions import label_pending, register_model
from apps.news_monitor.settings import NewsSettings, SurgeSettings
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.tables import bucket, item, item_topic, prediction
from apps.news_monitor.tick_report import TickReport

NOW = datetime(2026, 3, 11, 14, 30, tzinfo=UTC)
HOUR = NOW.replace(minute=0)
DAY = timedelta(days=1)
OLD = "The Archive"
QUIET = b"<rss version='2.0'><channel><title>Wire</title></channel></rss>"
Story = Callable[[str, datetime, str], Article]
Fill = Callable[[Engine, datetime, int], None]
Cells = dict[tuple[int, int], tuple[int, int]]


class Watched:
    """A monitor with one feed, now quiet, and a folder; a hundred labels a round."""

    def __init__(
        self,
        engine: Engine,
        labeller: LabelTexts,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(monitor_module, "LABELS_PER_TICK", 100)
        self.engine, self.labeller, self.folder, self.body = engine, labeller, folder, QUIET
        self.restart()

    def restart(self) -> None:
        def answer(_: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=httpx.ByteStream(self.body))

        self.watch = Monitor(
            self.engine,
            NewsSettings(
                feeds=("https://wire.example/rss",),
                folder=self.folder,
                recipients=("desk@bank.example",),
                surges=SurgeSettings(baseline_days=14),
            ),
            self.labeller,
            OutboxMailer(self.folder.parent / "outbox"),
            client=lambda: httpx.Client(transport=httpx.MockTransport(answer)),
            jitter=random.Random(1),
        )

    def tick(self, minutes: float) -> TickReport:
        """A round so long after NOW."""
        return self.watch.tick(NOW + timedelta(minutes=minutes))

    def drop(self, name: str, rows: Sequence[tuple[datetime, str]]) -> None:
        """A file of (when, title), written a while ago."""
        path = self.folder / name
        frame = pd.DataFrame([(at.isoformat(), title, OLD) for at, title in rows])
        frame.columns = pd.Index(["published_at", "title", "source"])
        frame.to_csv(path, index=False)
        os.utime(path, (NOW.timestamp() - DAY.total_seconds(),) * 2)

    def counts(self) -> Cells:
        """(hour, topic) -> stories and bad ones, as judging reads them."""
        with self.engine.begin() as connection:
            return {(row.hour, row.topic_id): (row.stories, row.negative)
                    for row in connection.execute(select(bucket))}  # fmt: skip


def by_hand(engine: Engine, *, archive: bool) -> Cells:
    """The same of all stories that have labels, with or without those of the archive."""
    query = (
        select(item.c.hour, item_topic.c.topic_id, prediction.c.negative)
        .join(prediction, prediction.c.item_id == item.c.id)
        .join(item_topic, item_topic.c.item_id == item.c.id)
        .where(item.c.story_id == item.c.id)
    )
    query = query if archive else query.where(item.c.publisher != OLD)
    with engine.begin() as connection:
        rows = connection.execute(query).all()
    stories = Counter((row.hour, row.topic_id) for row in rows)
    bad = Counter((row.hour, row.topic_id) for row in rows if row.negative)
    return {cell: (number, bad[cell]) for cell, number in stories.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def watched(
    sqlite: Engine,
    labeller: LabelTexts,
    fill: Fill,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Watched:
    """Thirty ordinary days are labelled, and the hours up to 11:00 judged."""
    fill(sqlite, HOUR - timedelta(hours=2), 30)
    found = Watched(sqlite, labeller, folder, monkeypatch)
    assert found.tick(-180).evaluated == 1
    return found


def bad_banks(
    stories: int = 450, days: int = 17, until: datetime = HOUR
) -> list[tuple[datetime, str]]:
    """Nothing but bad news about banks, evenly over so many days: of these days it is usual."""
    step = days * DAY / stories
    return [(until - n * step, f"bank crash {500000 + n}") for n in range(stories)]


def test_judging_goes_on_by_the_past_it_had_until_an_archive_is_whole(
    watched: Watched, crisis_feed: Callable[[datetime], bytes]
) -> None:
    """A part of it would be a surge of bad news about banks. The surge of the feed is told in the
    round in which it comes, and the banks, of whom all is usual, in none."""
    watched.drop("archive.csv", bad_banks())
    watched.body = crisis_feed(HOUR)
    before = watched.counts()
    first = watched.tick(0)
    assert [line.split(":")[0] for line in first.alerts] == ["[Critical] Airlines"]
    assert (first.labelled, first.unlabelled, first.evaluated) == (100, 0, 3)
    assert (
        "362 stories of an archive still to label; until then judging goes on without it"
        in first.lines
    )
    live = watched.counts()
    assert live == by_hand(watched.engine, archive=False)
    assert {cell for cell in live if live[cell] != before.get(cell)} == {
        cell for cell in live if cell[0] >= epoch_hour(HOUR) - 2 and live[cell][1]
    }
    with watched.engine.begin() as connection:
        (early,) = connection.execute(select(calibration.c.at)).scalars()
    watched.restart()
    for n, left in ((60, 262), (61, 162), (62, 62)):
        report = watched.tick(n)
        assert (report.labelled, report.unlabelled, report.alerts) == (100, 0, [])
        assert report.evaluated == (n == 60)
        assert any(line.startswith(f"{left} stories of an archive") for line in report.lines)
        assert watched.counts() == by_hand(watched.engine, archive=False) == live
    last = watched.tick(120)
    assert (last.labelled, last.unlabelled, last.evaluated, last.alerts) == (62, 0, 1, [])
    whole = watched.counts()
    assert whole == by_hand(watched.engine, archive=True)
    assert sum(n for n, _ in whole.values()) == sum(n for n, _ in live.values()) + 450
    with watched.engine.begin() as connection:
        assert held(connection) == ()
        (later,) = connection.execute(select(calibration.c.at)).scalars()
    # The threshold of before was found without it, and does not stand for its week.
    assert (early, later) == (HOUR - timedelta(hours=3), HOUR + timedelta(hours=2))


def test_a_run_that_is_cut_off_while_it_counts_an_archive_is_taken_up(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.drop("archive.csv", bad_banks())
    for n in range(4):
        watched.tick(n)
    counted: list[int] = []

    def cut(connection: Connection, model_id: int, hours: Sequence[int]) -> None:
        if len(counted) == 2:
            raise KeyboardInterrupt
        counted.append(len(hours))
        rebuild_buckets(connection, model_id, hours)

    monkeypatch.setattr(label_rounds_module, "HOURS", 100)
    with monkeypatch.context() as broken:
        broken.setattr(label_rounds_module, "rebuild_buckets", cut)
        with pytest.raises(KeyboardInterrupt):
            watched.tick(5)
    assert counted == [100, 100]
    some = watched.counts()
    assert some != by_hand(watched.engine, archive=False)
    assert some != by_hand(watched.engine, archive=True)
    watched.restart()
    # Another archive begins meanwhile: what was begun is counted all the same.
    watched.drop("another.csv", [(at - DAY / 40, f"{title} too") for at, title in bad_banks()])
    report = watched.tick(60)
    assert (report.labelled, report.evaluated, report.alerts) == (100, 1, [])
    known = by_hand(watched.engine, archive=True)
    assert sum(n for n, _ in known.values()) == sum(n for n, _ in watched.counts().values()) + 100


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (bad_banks(100), "as many as a round labels"),
        (bad_banks(450, 1, HOUR + timedelta(minutes=30)), "news that comes late"),
    ],
)
def test_what_is_small_or_late_is_counted_as_it_is_labelled(
    watched: Watched, rows: list[tuple[datetime, str]], why: str
) -> None:
    watched.drop("news.csv", rows)
    for rounds in range(1, -(-len(rows) // 100) + 1):
        report = watched.tick(rounds)
        assert watched.counts() == by_hand(watched.engine, archive=True), why
        assert report.unlabelled == max(len(rows) - 100 * rounds, 0)
        assert report.evaluated == (0 if report.unlabelled else 3)
    with watched.engine.begin() as connection:
        assert (held(connection), files_to_decide_on(connection)) == ((), False)


def test_before_anything_was_judged_all_is_waited_for(
    sqlite: Engine, labeller: LabelTexts, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no judging that could go on; the first threshold is found on the archive."""
    fresh = Watched(sqlite, labeller, folder, monkeypatch)
    fresh.drop("archive.csv", bad_banks(150))
    assert fresh.tick(0).lines == [
        "50 stories still to label by words@1; nothing is judged before that"
    ]
    assert fresh.tick(1).evaluated == 1


def test_of_an_archive_that_reaches_far_back_the_part_that_is_read_is_counted_first(
    watched: Watched,
) -> None:
    """Two years and the last days, in one file: the last days are whole after two rounds."""
    old = [(NOW - 700 * DAY + n * DAY, f"oil report {600000 + n}") for n in range(450)]
    watched.drop("archive.csv", [*old, *bad_banks(150)])
    assert watched.tick(0).unlabelled == 0
    assert watched.counts() == by_hand(watched.engine, archive=False)
    report = watched.tick(1)
    with watched.engine.begin() as connection:
        assert held(connection) == ()
    assert "400 older stories still to label; judging goes on meanwhile" in report.lines
    assert watched.counts() == by_hand(watched.engine, archive=True)
    for n in range(2, 6):
        watched.tick(n)
    assert watched.counts() == by_hand(watched.engine, archive=True)
    assert sum(number for number, _ in watched.counts().values()) == 30 * 24 + 600


def test_its_publishers_carry_no_story_before_it_is_whole(watched: Watched) -> None:
    watched.drop("archive.csv", bad_banks(450, 17, HOUR - timedelta(hours=6)))
    watched.tick(0)
    with watched.engine.begin() as connection:
        ids = sorted(connection.execute(select(item_topic.c.topic_id).distinct()).scalars())
        first, end = epoch_hour(HOUR) - 72, epoch_hour(HOUR)
        span = {"first_hour": first, "end_hour": end, "offset": 0, "model_id": 1}
        count = publisher_counts(connection, topic_ids=ids, **span)
        seen = [count(place, first, end) for place in range(len(ids))]
    assert max(found for found, _ in seen) <= 4  # those of the ordinary days
    assert {active for _, active in seen} == {4}


def test_news_come_first_then_archives_then_what_is_older_however_they_come(
    engine: Engine, labeller: LabelTexts, story: Story
) -> None:
    """By chance, with restarts: never is a story labelled while one that comes before has no label,
    each gets one, and how many lack one is known."""
    rng = random.Random(11)
    with engine.begin() as connection:
        model = register_model(connection, labeller, NOW)
    since, judged, number = epoch_hour(NOW - 20 * DAY), epoch_hour(NOW), 0
    kinds: dict[int, int] = {}  # id -> 0 of what comes first, 1 of an archive, 2 of what is older

    def lacking(connection: Connection) -> list[int]:
        labelled = select(prediction.c.item_id).where(prediction.c.item_id == item.c.id)
        rows = connection.execute(select(item.c.id).where(~labelled.exists())).scalars()
        found = Counter(kinds[row] for row in rows)
        return [found[kind] for kind in range(3)]

    backlog = None
    for _ in range(60):
        with engine.begin() as connection:
            archive, many = rng.random() < 0.3, rng.randrange(1, 9)
            ages = [
                rng.randrange(2, 40) if archive else rng.choice((0, 1, 30)) for _ in range(many)
            ]
            last = int(connection.execute(select(func.max(item.c.id))).scalar_one() or 0)
            new = [
                story(f"oil report {number + n}", NOW - age * DAY, "A")
                for n, age in enumerate(ages)
            ]
            number += many
            ingest(connection, new, copies=CopyIndex(), fetched=NOW)
            if archive:
                note_file(connection, last)
                decide(connection, judged, since, busy=True)
            for row in connection.execute(select(item.c.id, item.c.hour).where(item.c.id > last)):
                kinds[row.id] = 2 if row.hour < since else int(archive)
            if backlog is None or rng.random() < 0.15:  # a new start
                backlog = Backlog.of(connection, model.id, since)
            backlog.hold(connection)
            before = lacking(connection)
        limit = rng.randrange(9)
        done = label_pending(engine, model, now=NOW, limit=limit, batch=3, backlog=backlog)
        assert done == min(limit, sum(before))
        with engine.begin() as connection:
            after = lacking(connection)
            assert backlog.count(connection) == sum(after)
            assert backlog.count(connection, since) == after[0]
        assert after[0] == max(before[0] - done, 0)
        assert after[1] == max(before[1] - max(done - before[0], 0), 0)
        assert not backlog.has_whole_archives or after[1] == 0
    label_pending(engine, model, now=NOW, limit=1000, backlog=backlog)
    with engine.begin() as connection:
        assert lacking(connection) == [0, 0, 0]
    assert backlog is not None
    assert backlog.has_whole_archives
