"""A candidate in shadow: what it labels, what it never touches, what a promotion makes of it."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, Engine, func, select

from apps.news_monitor.articles import Article
from apps.news_monitor.backlog import Backlog
from apps.news_monitor.bucket_counts import at_hour, first_bucket_hour
from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.ingest import ingest
from apps.news_monitor.judging_tables import alert, detector_config, detector_state
from apps.news_monitor.labels import Labels, LabelTexts
from apps.news_monitor.laboratory import stored_models
from apps.news_monitor.monitor import Monitor
from apps.news_monitor.predictions import label_pending, register_model
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.shadow import BATCH, Shadow, progress, start, stop, wanted
from apps.news_monitor.shadow_difference import Example, TopicPair, label_difference
from apps.news_monitor.shadow_view import difference_lines, shadow_view, view_lines
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.tables import bucket, item, prediction
from apps.news_monitor.telling_tables import outbox
from shared.settings import Home, database_url
from tests.apps.news_monitor.conftest import Gloomy

NOW = datetime(2026, 3, 11, 14, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
Fill = Callable[[Engine, datetime, int], None]
Write = Callable[[str, datetime, str], Article]
Words = Callable[[], Any]


class Broken(Gloomy):
    def label(self, texts: Sequence[str]) -> list[Labels]:  # noqa: ARG002
        raise RuntimeError("no such weight")


def monitor(
    engine: Engine,
    labeller: LabelTexts,
    folder: Path,
    candidate: LabelTexts,
    body: bytes = b"",
    *,
    settings: NewsSettings | None = None,
) -> Monitor:
    page = body or b"<rss version='2.0'><channel/></rss>"

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(page))

    own = settings or NewsSettings()
    asked = {"feeds": ("https://wire.example/rss",), "recipients": ("desk@bank.example",)}
    return Monitor(
        engine,
        own.model_copy(update=asked),
        labeller,
        OutboxMailer(folder),
        candidate=lambda _: candidate,
        client=lambda: httpx.Client(transport=httpx.MockTransport(answer)),
        jitter=random.Random(1),
    )


def add(engine: Engine, articles: Sequence[Article], at: datetime) -> None:
    with engine.begin() as connection:
        ingest(connection, articles, copies=CopyIndex(), fetched=at)


def count(engine: Engine, table: Any, *where: Any) -> int:
    with engine.begin() as connection:
        query = select(func.count()).select_from(table).where(*where)
        return int(connection.execute(query).scalar_one())


def last_story(connection: Connection) -> int:
    return int(connection.execute(select(func.max(item.c.id))).scalar_one())


def ask(engine: Engine) -> None:
    with engine.begin() as connection:
        start(connection, "words@2", NOW)


def test_a_shadow_labels_what_comes_after_it_began_and_changes_nothing(
    engine: Engine, labeller: LabelTexts, fill: Fill, story: Write, tmp_path: Path
) -> None:
    fill(engine, NOW.replace(minute=0), 40)
    candidate = Gloomy(labeller)
    watch = monitor(engine, labeller, tmp_path, candidate)
    assert watch.shadow(NOW) is None  # no round has passed
    watch.tick(NOW)
    assert watch.shadow(NOW) is None  # nobody asked for one
    ask(engine)
    begun = watch.shadow(NOW)
    assert begun is not None
    assert (begun.labelled, begun.waiting, begun.problem, begun.line) == (0, 0, "", "")
    later = NOW + HOUR
    add(engine, [story(f"bank report {7000 + n}", later - HOUR, "Wire") for n in range(20)], later)
    assert (candidate.asked, count(engine, prediction)) == (0, 960)
    held = watch.shadow(later)  # the released model has not labelled them yet
    assert held is not None
    assert held.labelled == 0
    report = watch.tick(later)
    assert (report.labelled, candidate.asked) == (20, 0)
    done = watch.shadow(later)
    assert done is not None
    assert (done.labelled, done.waiting, candidate.asked) == (20, 0, 20)
    with engine.begin() as connection:
        ours = stored_models(connection)
        assert [model.name for model in ours] == ["words@1", "words@2"]  # who judges comes first
        found = label_difference(connection, ours[0].id, ours[1].id)
    assert dict(found.sentiments) == {("neutral", "negative"): 20}
    # All that judges and counts is the released model's.
    assert count(engine, detector_config, detector_config.c.model_id != ours[0].id) == 0
    assert count(engine, bucket, bucket.c.model_id == ours[1].id) == 1
    with engine.begin() as connection:
        assert stop(connection) is not None
        assert (stop(connection), wanted(connection)) == (None, None)
    assert watch.shadow(later) is None
    assert count(engine, prediction, prediction.c.model_id == ours[1].id) == 20


def test_a_broken_candidate_is_stopped_with_its_reason_and_rounds_go_on(
    sqlite: Engine, labeller: LabelTexts, fill: Fill, story: Write, tmp_path: Path
) -> None:
    fill(sqlite, NOW.replace(minute=0), 2)
    watch = monitor(sqlite, labeller, tmp_path, Broken(labeller))
    watch.tick(NOW)
    ask(sqlite)
    watch.shadow(NOW)
    add(sqlite, [story("bank report 7000", NOW, "Wire")], NOW)
    assert watch.tick(NOW + HOUR).labelled == 1
    found = watch.shadow(NOW + HOUR)
    assert found is not None
    assert found.line == "shadow words@2 is stopped: RuntimeError: no such weight"
    with sqlite.begin() as connection:
        assert wanted(connection) is None
        assert progress(connection) == found
        lines = list(view_lines(shadow_view(connection, NewsSettings())))
    assert lines[2] == "stopped: RuntimeError: no such weight"
    assert watch.tick(NOW + 2 * HOUR).lines == []
    ask(sqlite)  # and what is released cannot be its own shadow
    mine = monitor(sqlite, labeller, tmp_path, labeller)
    mine.tick(NOW + 3 * HOUR)
    again = mine.shadow(NOW + 3 * HOUR)
    assert again is not None
    assert again.problem == "it is the released model now, whose labels are counted"


def test_a_slow_candidate_gets_its_seconds_and_gives_way_to_a_round(
    sqlite: Engine, labeller: LabelTexts, fill: Fill, ordinary: Any
) -> None:
    fill(sqlite, NOW, 3)
    time = iter(range(0, 10_000, 15))  # a batch takes 15 seconds
    shadow = Shadow(sqlite, lambda _: Gloomy(labeller), lambda: next(time))
    with sqlite.begin() as connection:
        start(connection, "words@2", NOW)
        here = last_story(connection)
    run = partial(shadow.run, released=labeller.fingerprint)
    run(NOW, until=here, free=lambda: True)
    later = NOW + 3 * DAY
    add(sqlite, ordinary(later, 3), later)
    with sqlite.begin() as connection:
        end = last_story(connection)
    first = run(later, until=end, free=lambda: True)
    assert first is not None
    assert (first.labelled, first.seconds) == (2 * BATCH, 30.0 + 15.0)
    assert first.line == f"shadow words@2: {72 - 2 * BATCH} stories wait for it"
    busy = run(later, until=end, free=lambda: False)
    assert busy is not None
    assert busy.labelled == first.labelled
    second = run(later, until=end, free=lambda: True)
    assert second is not None
    assert second.labelled == 4 * BATCH


def shadowed(engine: Engine, words: LabelTexts, begun: datetime, until: int) -> Gloomy:
    """A candidate that has labelled every story after one, since a moment."""
    candidate = Gloomy(words)
    with engine.begin() as connection:
        model = register_model(connection, candidate, begun)
        backlog = Backlog.of_shadow(connection, model.id, until, begun)
        backlog.until = None
    label_pending(engine, model, now=begun, limit=10**6, batch=512, backlog=backlog)
    candidate.asked = 0
    return candidate


@pytest.mark.parametrize(("days", "anew"), [(20, 0), (10, 960 - 240)])
def test_a_promotion_judges_by_the_labels_of_a_shadow_that_was_long_enough(
    sqlite: Engine, labeller: LabelTexts, fill: Fill, tmp_path: Path, days: int, anew: int
) -> None:
    end = NOW.replace(hour=0, minute=0)
    fill(sqlite, end, 40)
    candidate = shadowed(sqlite, labeller, end - days * DAY - HOUR, 960 - days * 24)
    with sqlite.begin() as connection:
        shadow = register_model(connection, candidate, end)
        first = first_bucket_hour(connection, shadow.id)
    assert first is not None
    assert at_hour(first) == end - days * DAY
    report = monitor(sqlite, candidate, tmp_path, candidate).tick(end + HOUR)
    assert (candidate.asked, report.labelled, report.unlabelled) == (anew, anew, 0)
    assert report.evaluated == 1
    with sqlite.begin() as connection:
        first = first_bucket_hour(connection, shadow.id)
    # Labelled anew, its past begins where the released model's does.
    assert first is not None
    assert at_hour(first) == end - (days if not anew else 40) * DAY


def test_an_old_story_that_comes_late_does_not_make_a_shadows_past_longer(
    sqlite: Engine, labeller: LabelTexts, story: Write
) -> None:
    candidate = Gloomy(labeller)
    add(sqlite, [story("oil report 1", NOW, "Wire")], NOW)
    with sqlite.begin() as connection:
        model = register_model(connection, candidate, NOW)
        backlog = Backlog.of_shadow(connection, model.id, 1, NOW)
    add(sqlite, [story(f"oil report {n}", NOW - n * DAY, "Wire") for n in (3, 5)], NOW)
    backlog.until = 3
    assert label_pending(sqlite, model, now=NOW, limit=9, backlog=backlog) == 2
    with sqlite.begin() as connection:
        first = first_bucket_hour(connection, model.id)
    assert first is not None
    assert at_hour(first) == datetime(2026, 3, 12, tzinfo=UTC)  # the first whole day


def test_a_surge_that_was_mailed_is_not_mailed_again_by_the_model_that_follows(
    sqlite: Engine, labeller: LabelTexts, fill: Fill, tmp_path: Path, crisis_feed: Any
) -> None:
    hour = NOW.replace(minute=0)
    fill(sqlite, hour - 2 * HOUR, 40)
    body = crisis_feed(hour)
    assert len(monitor(sqlite, labeller, tmp_path, Gloomy(labeller), body).tick(NOW).alerts) == 1
    other = Gloomy(labeller)
    last = 0
    for hours, model in ((1, other), (2, labeller), (5, other)):  # promoted, back, promoted
        report = monitor(sqlite, model, tmp_path, other, body).tick(NOW + hours * HOUR)
        assert report.alerts == []
        assert report.evaluated == hours - last  # no hour is left out
        last = hours
    assert (count(sqlite, alert), count(sqlite, outbox)) == (1, 1)
    assert count(sqlite, detector_state, detector_state.c.alert_id == 1) == 2


def test_the_difference_of_labels_is_that_of_a_count_by_hand(
    engine: Engine, labeller: LabelTexts, story: Write
) -> None:
    titles = ["bank report 1", "bank crash 20", "oil report 300", "airline and oil crash 4000"]
    add(engine, [story(title, NOW, "Wire") for title in titles], NOW)
    with engine.begin() as connection:
        ours = register_model(connection, labeller, NOW)
        theirs = register_model(connection, Gloomy(labeller), NOW)
    for model, limit in ((ours, 4), (theirs, 3)):
        label_pending(engine, model, now=NOW, limit=limit)
    with engine.begin() as connection:
        left = connection.execute(
            select(item.c.title)
            .where(item.c.id.not_in(select(prediction.c.item_id).where(
                prediction.c.model_id == theirs.id
            )))
        ).scalar_one()  # fmt: skip
        found = label_difference(connection, ours.id, theirs.id)
        swapped = label_difference(connection, theirs.id, ours.id)
    both = [title for title in titles if title != left]
    assert found.stories == 3
    wrong = "bank report 1" in both
    assert found.same == 3 - wrong
    assert found.examples == (
        (Example("bank report 1", "neutral", "negative", 0.1, 0.9),) if wrong else ()
    )
    crashes = sum("crash" in title for title in both)
    assert found.released_negative == found.both_negative == crashes
    assert found.candidate_negative == swapped.released_negative == crashes + wrong
    for pair in found.topics:
        word = pair.topic.lower().rstrip("s")
        mine = [title for title in both if word in title]
        bad = sum("crash" in title for title in mine)
        gloom = bad + sum("bank report" in title for title in mine)
        assert pair == TopicPair(pair.topic, len(mine), len(mine), len(mine), bad, gloom)
    assert next(difference_lines(found, ("words@1", "words@2"))).startswith(
        f"the same sentiment in {found.same} of 3 stories that both have labelled: "
    )


def test_the_command_names_what_can_run_in_shadow(
    triptych_here: Callable[..., Any], home_of_two: Home
) -> None:
    run = triptych_here("news", "shadow", "start", "news@1", home=home_of_two.root)
    assert run.returncode == 1
    assert run.stderr == (
        "triptych: news@1 is what the monitor labels with; name another version, such as "
        "news@latest (`triptych models list` shows them)\n"
    )
    assert triptych_here("news", "shadow", "stop", home=home_of_two.root).stderr == (
        "triptych: no model runs in shadow\n"
    )
    run = triptych_here("news", "shadow", "start", "news@latest", home=home_of_two.root)
    assert run.stdout == "news@2 runs in shadow from the monitor's next round on\n"
    shown = triptych_here("news", "shadow", "show", home=home_of_two.root)
    assert "news@2 in shadow since " in shown.stdout
    assert "it begins after the next round of `triptych news run`" in shown.stdout
    told = triptych_here("news", "shadow", "show", "--json", home=home_of_two.root).stdout
    assert '"model": "news@2"' in told
    run = triptych_here("news", "shadow", "stop", home=home_of_two.root)
    assert run.stdout == "news@2 runs in shadow no more; what it has labelled stays\n"


@pytest.fixture
def home_of_two(tmp_path: Path) -> Home:
    """Two versions of a news model, of which no more than the name is asked."""
    from shared.registry import Registry

    home = Home(tmp_path / "home")
    for number in range(2):
        folder = tmp_path / f"made{number}"
        folder.mkdir()
        (folder / "news.json").write_text(f"{number}")
        Registry(home.models, lambda: NOW).publish("news", folder, app="news", metrics={})
    return home


def test_the_page_shows_a_shadow_and_its_alerts(
    words: Words, fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamlit.testing.v1 import AppTest

    from apps.news_monitor.tables import MIGRATIONS, VERSION_TABLE
    from shared.storage import create_engine, upgrade

    home = Home(tmp_path / "home")
    engine = create_engine(database_url(home, {}))
    upgrade(engine, MIGRATIONS, VERSION_TABLE)
    end = NOW.replace(hour=0, minute=0)
    fill(engine, end, 40)
    shadowed(engine, words(), end - 20 * DAY - HOUR, 960 - 480)
    ask(engine)
    watch = monitor(engine, words(), tmp_path, Gloomy(words()))
    watch.tick(end + HOUR)
    watch.shadow(end + HOUR)
    engine.dispose()
    monkeypatch.setenv("TRIPTYCH_HOME", str(home.root))
    file = Path(__file__).resolve().parents[3] / "apps" / "news_monitor" / "shadow_page.py"
    page = AppTest.from_file(str(file), default_timeout=60).run()
    assert not page.exception
    assert page.text[0].value.startswith("Words@2 in shadow since")
    assert "Promoted now, it judges at once" in page.text[2].value
    assert page.metric[0].value == "480"
    page.button[0].click().run()
    assert not page.exception
    assert page.metric[-1].label == "Only in B"


def test_a_candidate_with_a_topic_called_as_a_company_is_stopped_with_that_reason(
    sqlite: Engine, labeller: LabelTexts, tmp_path: Path
) -> None:
    listed = tmp_path / "companies.csv"
    listed.write_text("company\nShipping\n")
    candidate = Gloomy(labeller)
    candidate.topics = ("Shipping",)
    settings = NewsSettings(companies=str(listed))
    watch = monitor(sqlite, labeller, tmp_path, candidate, settings=settings)
    watch.tick(NOW)
    ask(sqlite)
    found = watch.shadow(NOW)
    assert found is not None
    assert found.problem == (
        "company 'Shipping' has the name of a topic of model words@2; give it a ticker in the list "
        "of companies, or another name"
    )
