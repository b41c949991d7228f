"""The pages over a replayed stream, and over nothing; they never load a model."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from pydantic import BaseModel
from sqlalchemy import Engine, insert, select, update
from streamlit.testing.v1 import AppTest

from apps.news_monitor.articles import Article
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.labels import LabelTexts, Worth
from apps.news_monitor.page_data import (
    alert_rows,
    databases,
    last_detector,
    reading,
    topic_tiles,
    topic_trend,
    worth_of,
)
from apps.news_monitor.replay import replay
from apps.news_monitor.responses import answers_to, silences
from apps.news_monitor.settings import NewsSettings, SurgeSettings
from apps.news_monitor.source_data import source_frame
from apps.news_monitor.tables import (
    MIGRATIONS,
    VERSION_TABLE,
    fetch_log,
    job_run,
    model_version,
    source,
)
from apps.news_monitor.telling_tables import outbox
from apps.news_monitor.tick_report import SourceReport, TickReport
from apps.news_monitor.trends import with_corrected
from shared.settings import Home
from shared.storage import create_engine, upgrade

PAGES = Path(__file__).resolve().parents[3] / "apps" / "news_monitor"
END = datetime(2026, 3, 1, tzinfo=UTC)
AT = datetime(2026, 3, 11, 14, tzinfo=UTC)


@pytest.fixture
def home(
    ordinary: Callable[[datetime, int], list[Article]], labeller: LabelTexts, tmp_path: Path
) -> Home:
    rows = [(a.published_at, a.title, a.publisher) for a in ordinary(END, 40)]
    rows += [
        (END - timedelta(hours=n + 1), f"oil crash <b>{50000 + n}</b>", "ABC"[n % 3])
        for n in range(10)
    ]
    path = tmp_path / "items.csv"
    pd.DataFrame(rows, columns=["published_at", "title", "source"]).to_csv(path, index=False)
    home = Home(tmp_path / "home")
    replay(
        path,
        output=home.reports / "demo",
        labeller=labeller,
        settings=NewsSettings(surges=SurgeSettings(cadence_hours=24)),
        since=END - timedelta(days=3),
        until=END,
    )
    return home


def open_page(name: str, home: Home, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("TRIPTYCH_HOME", str(home.root))
    page = AppTest.from_file(str(PAGES / f"{name}.py"), default_timeout=60).run()
    assert not page.exception
    for table in page.dataframe:
        shown = json.loads(table.proto.columns or "{}")
        for column in table.value.select_dtypes("datetimetz"):
            config = shown[column]["type_config"]
            assert (config["format"], config["timezone"]) == ("YYYY-MM-DD HH:mm", "UTC")
    return page


def test_the_tables_say_what_the_pages_show(home: Home) -> None:
    (url,) = databases(home, {}).values()
    with reading(url) as connection:
        assert connection is not None
        detector = last_detector(connection)
        assert detector is not None
        tiles = topic_tiles(connection, detector)
        trend = topic_trend(connection, detector, "Oil", 10)
        (row,) = alert_rows(connection)
        assert source_frame(connection).empty
    assert tiles[0].topic == "Oil"
    assert (tiles[0].state, tiles[0].why) == ("firing", "above every gate")
    assert tiles[0].score >= tiles[0].threshold
    assert {tile.why for tile in tiles[1:]} == {"too few negative stories"}
    assert len(trend) == 10
    assert row.evidence.topic == "Oil"
    assert row.mails == {"desk@example.com": "sent"}


def test_the_overview_shows_each_topic(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("overview_page", home, monkeypatch)
    assert [metric.label for metric in page.metric] == ["Oil", "Airlines", "Banks"]
    assert "firing" in page.markdown[0].value
    assert "95 % range" in page.caption[1].value
    page.main.selectbox[0].select("Banks").run()
    assert not page.exception


def test_the_topic_page_says_where_it_stands_and_why(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("topic_page", home, monkeypatch)
    assert page.main.selectbox[0].options == ["Oil", "Airlines", "Banks"]
    assert page.metric[0].label == "Oil"
    windows, _, stories = page.dataframe
    assert windows.value["stopped by"].tolist()[0] == "above every gate"
    assert stories.value["story"].str.startswith("oil ").all()
    assert "Bad news about Oil is surging" in " ".join(text.value for text in page.text)
    page.main.radio[0].set_value("By hour, 7 days").run()
    page.main.selectbox[0].select("Banks").run()
    assert not page.exception
    assert "No alert so far." in [caption.value for caption in page.caption]


def test_the_sources_of_a_replay_are_its_publishers(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("sources_page", home, monkeypatch)
    publishers, coverage = page.dataframe
    # A, B and C came on the last day alone: nothing is usual of them.
    assert sorted(publishers.value["publisher"]) == ["Agency", "Courier", "Gazette", "Herald"]
    assert publishers.value["usual a day"].sum() == pytest.approx(24, abs=1)
    assert coverage.value["topic"].tolist() == ["Airlines", "Banks", "Oil"]


def test_the_trend_by_hour_ends_at_the_moment_judged_and_is_corrected(home: Home) -> None:
    (url,) = databases(home, {}).values()
    engine = create_engine(url)
    with engine.begin() as connection:
        detector = last_detector(connection)
        assert detector is not None
        assert worth_of(connection, detector.model_id) is None  # by words, which nobody measured
        values = {"negative_recall": 0.8, "negative_false_rate": 0.1}
        connection.execute(update(model_version).values(**values))
        worth = worth_of(connection, detector.model_id)
        assert worth == Worth(0.8, 0.1)
        hourly = topic_trend(connection, detector, "Oil", 3, bucket_hours=1)
        daily = topic_trend(connection, detector, "Oil", 3)
    engine.dispose()
    assert hourly["start"].iloc[-1] == pd.Timestamp(detector.until) - pd.Timedelta(hours=1)
    by_day = hourly.groupby(hourly["start"].dt.floor("D"))[["stories", "negative"]].sum()
    assert by_day.to_numpy().tolist() == daily[["stories", "negative"]].to_numpy().tolist()
    corrected = with_corrected(daily, worth.recall, worth.false_rate)
    last = corrected.iloc[-1]
    assert last["corrected"] == pytest.approx(min(max((last["share"] - 0.1) / 0.7, 0.0), 1.0))


def test_the_alert_is_shown_with_its_stories(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("alerts_page", home, monkeypatch)
    assert page.subheader[0].value.startswith("Bad news about Oil is surging: ")
    listing, stories, windows, runs = page.dataframe
    assert listing.value["topic"].tolist() == ["Oil"]
    assert stories.value["story"].str.startswith("oil crash 5").any()
    assert stories.value["because of"].tolist()[:10] == ["crash"] * 10
    # Beside it: why there was none for the first topic.
    assert page.subheader[1].value == "Why no alert?"
    assert windows.value["stopped by"].tolist()[0] == "too few negative stories"
    assert windows.value["wanting"].tolist()[0] == "4 negative stories are asked for"
    assert runs.value["outcome"].tolist() == ["too few negative stories"]
    page.main.selectbox[1].select("Oil").run()
    assert not page.exception
    assert "Oil: alert." in [text.value for text in page.text]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("overview_page", "Nothing has been read yet. Start the monitor with `triptych news run`."),
        (
            "companies_page",
            "Nothing has been read yet. Start the monitor with `triptych news run`.",
        ),
        (
            "laboratory_page",
            "Nothing has been read yet. Start the monitor with `triptych news run`.",
        ),
        ("topic_page", "Nothing has been read yet. Start the monitor with `triptych news run`."),
        ("sources_page", "Nothing has been read yet. Start the monitor with `triptych news run`."),
        ("stories_page", "Nothing has been read yet. Start the monitor with `triptych news run`."),
        (
            "alerts_page",
            "No alert yet. `triptych news replay` shows what past headlines would have raised.",
        ),
        ("outbox_page", "Nothing has been sent yet. Start the monitor with `triptych news run`."),
    ],
)
def test_an_empty_home_says_how_to_begin(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page(name, Home(tmp_path / "none"), monkeypatch)
    assert [info.value for info in page.info] == [said]
    assert not (tmp_path / "none").exists()


def test_neither_pages_nor_monitor_import_what_trains() -> None:
    names = ", ".join(
        f"apps.news_monitor.{name}"
        for name in (
            "headline_page",
            "overview_page",
            "topic_page",
            "sources_page",
            "alerts_page",
            "outbox_page",
            "companies_page",
            "laboratory_page",
            "stories_page",
            "settings_page",
            "monitor",
            "replay",
        )
    )
    code = f"import {names}, sys; assert not {{'torch', 'sklearn'}} & sys.modules.keys()"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_the_headline_page_says_what_to_do_without_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("headline_page", Home(tmp_path), monkeypatch)
    assert [note.value for note in page.info] == [
        "No news model has been trained yet. Run `triptych demo`, or `triptych train news`."
    ]


@pytest.fixture
def live(
    evidence: Evidence,
    open_evidence: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Home, Engine]]:
    """A running monitor's database with one alert, whose mail was given up."""
    home = Home(tmp_path / "live")
    monkeypatch.delenv("TRIPTYCH_DATABASE_URL", raising=False)
    engine = create_engine(home.database_url)
    upgrade(engine, MIGRATIONS, VERSION_TABLE)
    report = TickReport(AT, [SourceReport("https://f.example", "failed", 0, 0, "HTTP 404")], new=7)
    with engine.begin() as connection:
        open_evidence(connection, evidence)
        run = insert(job_run).values(job="tick", started_at=AT, report_json=report.to_json())
        connection.execute(run)
        connection.execute(update(outbox).values(state="dead", last_error="550 no such user"))
    yield home, engine
    engine.dispose()


def test_an_alert_is_answered_on_its_page(
    live: tuple[Home, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, engine = live
    page = open_page("alerts_page", home, monkeypatch)
    for label in ("Acknowledge", "Silence Airlines", "Useful", "Not useful"):
        (button,) = [one for one in page.button if one.label == label]
        button.click().run()
        assert not page.exception
    with engine.begin() as connection:
        found = answers_to(connection, [1])[1]
        (held,) = silences(connection, datetime.now(UTC))
    assert (found.acknowledged_by, found.not_useful) == ("the alerts page", ("the alerts page",))
    assert held.topic == "Airlines"
    assert "Not useful to the alerts page" in [text.value for text in page.text]
    assert page.text[0].value.startswith("Airlines is silenced until ")
    (button,) = [one for one in page.button if one.label == "End"]
    button.click().run()
    with engine.begin() as connection:
        assert silences(connection, datetime.now(UTC)) == []


def test_the_sources_page_says_how_each_feed_answers(
    live: tuple[Home, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, engine = live
    page = open_page("sources_page", home, monkeypatch)
    assert page.info[0].value.startswith("No feeds. List their addresses in triptych.toml")
    now = datetime.now(UTC)
    feed = {"next_check_at": now, "created_at": now, "last_status": "failed"}
    log = {"source_id": 1, "milliseconds": 500, "bytes": 2048, "n_items": 3, "n_new": 1}
    with engine.begin() as connection:
        good = {**feed, "url": "https://a.example/rss", "title": "<b>A</b>", "last_ok_at": now}
        connection.execute(insert(source).values({**good, "last_status": "ok"}))
        bad = {**feed, "url": "https://b.example/rss", "error_count": 2, "last_error": "HTTP 404"}
        connection.execute(insert(source).values(bad))
        for days, status in ((1, "ok"), (2, "not_modified"), (3, "failed"), (4, "ok"), (9, "ok")):
            at = now - timedelta(days=days)
            connection.execute(insert(fetch_log).values(**log, started_at=at, status=status))
    page.run()
    assert not page.exception
    assert [metric.value for metric in page.metric] == ["2", "1", "0", "1"]
    first, second = page.dataframe[0].value.to_dict("records")
    assert (first["asked, 7 days"], first["failed"], first["unchanged"]) == (4, 0.25, 0.25)
    assert (first["new articles"], first["seconds"]) == (4, 0.5)
    assert (second["problem"], second["failures in a row"]) == ("HTTP 404", 2)
    answers = page.dataframe[1].value
    assert answers["answer"].tolist() == ["ok", "not_modified", "failed", "ok", "ok"]
    page = open_page("overview_page", home, monkeypatch)
    said = "1 of 2 feeds deliver; not: https://b.example/rss. More on the page Sources."
    assert page.text[-1].value == said


def test_the_outbox_page_shows_dead_letters_and_a_way_back(
    live: tuple[Home, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, engine = live
    page = open_page("outbox_page", home, monkeypatch)
    said = "Given up: alert 1 to desk@bank.example. 550 no such user"
    assert said in [text.value for text in page.text]
    assert page.text[-1].value == "No monitor holds this database now."
    (last,) = page.dataframe[-1].value.to_dict("records")
    assert (last["feeds asked"], last["of these failed"], last["new articles"]) == (1, 1, 7)
    for label in ("Try again", "Unsubscribe"):
        (button,) = [one for one in page.button if one.label == label]
        button.click().run()
        assert not page.exception
        with engine.begin() as connection:
            row = connection.execute(select(outbox)).one()
        states = {"Try again": ("queued", 0), "Unsubscribe": ("dead", 0)}
        assert (row.state, row.attempts) == states[label]
    assert "desk@bank.example: unsubscribed" in [text.value for text in page.text]


def test_the_settings_page_says_what_is_set_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(
        '[news]\nfeeds = ["https://wire.example/rss"]\nfalse_alarms_per_week = 0.5\n'
        'recipients = ["a@bank.example", "b@bank.example"]\nremind_hours = 4\n'
        '[[news.subscriptions]]\naddress = "b@bank.example"\nmode = "digest"\ntopics = ["Oil"]\n'
        'min_severity = "high"\nquiet_hours = "22:00-07:00"\ntime_zone = "Europe/London"\n'
        '[[news.webhooks]]\nurl = "https://chat.bank.example/hooks/hidden-part"\n'
        'secret = "0123456789abcdef"\n[news.smtp]\nhost = "mail.bank.example"\n'
        'password = "correct horse"\n'
    )
    monkeypatch.setenv("TRIPTYCH_SETTINGS", str(file))
    page = open_page("settings_page", Home(tmp_path), monkeypatch)
    rows = [row for table in page.dataframe for row in table.value.to_dict("records")]
    said = {row["what"]: row["set to"] for row in rows}
    assert said["False alarms a week, topics"] == "0.5"
    assert said["a@bank.example"] == "all topics, warning and above; at once"
    assert said["b@bank.example"] == (
        "Oil, high and above; one digest a day at 08:00, not 22:00-07:00 (Europe/London)"
    )
    assert said["Reminded of what nobody acknowledges"] == "every 4 h, twice at most"
    assert said["Mail server"] == "mail.bank.example:587, starttls"
    assert (said["Its password"], said["Their secret"]) == ("set", "not set")
    where = {row["what"]: row["where"] for row in rows}
    assert where["Feeds"] == "own.toml, line 2"
    assert where["b@bank.example"] == "own.toml, line 4; own.toml, line 6"
    assert (where["Mail server"], where["Topics"]) == ("own.toml, line 16", "default")
    for secret in ("correct horse", "0123456789abcdef", "hidden-part"):
        assert secret not in str(rows)
    # Each key is one of [news], or of a table in it.
    for key in (key for row in rows for key in row["key"].split(", ")):
        model: type[BaseModel] = NewsSettings
        for part in key.split("."):
            field = model.model_fields[part]
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                model = field.annotation
    file.write_text("[news]\nfeeds = 3\n")
    assert page.run().error[0].value.startswith("own.toml [news]: feeds = 3")
