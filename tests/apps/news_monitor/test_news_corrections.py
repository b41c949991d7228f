"""What readers say that stories are: the queue, the page, and the tables for training."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, insert, select, update
from streamlit.testing.v1 import AppTest

from apps.news_monitor.articles import Article
from apps.news_monitor.corrections import (
    correct,
    corrections,
    export_examples,
    known_topics,
    take_back,
)
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.examples import sentiment_examples, topic_examples
from apps.news_monitor.ingest import ingest
from apps.news_monitor.judging_tables import alert_item, detector_config
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.page_data import Detector, last_detector
from apps.news_monitor.predictions import label_pending, register_model
from apps.news_monitor.responses import mark_alert
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.story_data import newest_stories, to_review, topic_stories, topics_said
from apps.news_monitor.tables import MIGRATIONS, VERSION_TABLE, item, prediction
from shared.errors import DataError
from shared.settings import Home, database_url
from shared.storage import create_engine, upgrade

NOW = datetime(2026, 3, 11, 14, tzinfo=UTC)
PAGES = Path(__file__).resolve().parents[3] / "apps" / "news_monitor"
Story = Callable[[str, datetime, str], Article]
TITLES = ("oil crash 1001", "bank report 2002", "airline report 3003", "oil report 4004")


def fill(engine: Engine, labeller: LabelTexts, story: Story) -> None:
    """Four stories, the first of them carried by two publishers, labelled and judged."""
    hours = dict(zip(TITLES, range(4), strict=True))
    articles = [story(title, NOW - timedelta(hours=n), "Agency") for title, n in hours.items()]
    articles.append(story("oil crash 1001", NOW + timedelta(minutes=5), "Courier"))
    with engine.begin() as connection:
        ingest(connection, articles, copies=CopyIndex(), fetched=NOW)
        model = register_model(connection, labeller, NOW)
        connection.execute(
            insert(detector_config).values(
                fingerprint="judged",
                model_id=model.id,
                settings_json='{"topics": ["Airlines", "Banks", "Oil"]}',
                created_at=NOW,
                evaluated_until=NOW,
            )
        )
    label_pending(engine, model, now=NOW, limit=10)


def numbers(connection: Connection) -> dict[str, int]:
    rows = connection.execute(select(item.c.title, item.c.id).where(item.c.copy_of.is_(None)))
    return {row.title: row.id for row in rows}


def detector_of(connection: Connection) -> Detector:
    found = last_detector(connection)
    assert found is not None
    return found


def test_stories_are_shown_with_who_carries_them(
    engine: Engine, labeller: LabelTexts, story: Story
) -> None:
    fill(engine, labeller, story)
    with engine.begin() as connection:
        detector = detector_of(connection)
        newest = newest_stories(connection, detector.model_id)
        oil = topic_stories(connection, detector.model_id, detector.topics["Oil"])
        assert topics_said(connection, newest[0].id, detector.model_id) == ["Oil"]
    assert [one.title for one in newest] == list(TITLES)
    assert (newest[0].publishers, newest[0].sentiment) == (("Agency", "Courier"), "negative")
    assert [one.title for one in oil] == ["oil crash 1001", "oil report 4004"]


def test_stories_of_alerts_marked_not_useful_wait_first_then_the_doubtful(
    engine: Engine,
    labeller: LabelTexts,
    story: Story,
    evidence: Evidence,
    open_evidence: Callable[..., int],
) -> None:
    fill(engine, labeller, story)
    with engine.begin() as connection:
        number, detector = numbers(connection), detector_of(connection)
        doubtful = prediction.c.item_id == number["bank report 2002"]
        connection.execute(update(prediction).where(doubtful).values(p_neutral=0.4, p_negative=0.3))
        said = {story.title: story.said for story in newest_stories(connection, detector.model_id)}
        assert (said["bank report 2002"], said["oil report 4004"]) == ("unsure", "neutral")
        banks = topic_stories(connection, detector.model_id, detector.topics["Banks"])
        assert [(one.title, one.said) for one in banks] == [("bank report 2002", "unsure")]
        one = open_evidence(connection, evidence)
        connection.execute(
            insert(alert_item).values(alert_id=one, item_id=number["oil report 4004"], rank=0)
        )

        def waiting() -> list[str]:
            return [found.title for found in to_review(connection, detector)]

        assert waiting()[0] == "bank report 2002"
        mark_alert(connection, one, False, "ana", NOW)
        assert waiting()[:2] == ["oil report 4004", "bank report 2002"]
        assert sorted(waiting()) == sorted(TITLES)
        correct(connection, number["oil report 4004"], "neutral", None, "ana", NOW)
        assert "oil report 4004" not in waiting()


def test_corrections_come_back_as_examples(
    engine: Engine, labeller: LabelTexts, story: Story, tmp_path: Path
) -> None:
    fill(engine, labeller, story)
    with engine.begin() as connection:
        with pytest.raises(DataError, match="nothing has been corrected yet"):
            export_examples(connection, tmp_path)
        number = numbers(connection)
        later = NOW + timedelta(minutes=1)
        assert known_topics(connection) == ["Airlines", "Banks", "Oil"]
        correct(connection, number["oil report 4004"], "positive", ["Oil"], "ana", NOW)
        correct(connection, number["oil report 4004"], "negative", ["Oil", "Banks"], "bo", later)
        correct(connection, number["bank report 2002"], "neutral", None, "ana", NOW)
        correct(connection, number["oil crash 1001"], "neutral", [], "ana", NOW)
        take_back(connection, number["oil crash 1001"])
        with pytest.raises(DataError, match="sentiment 'bad': expected one of negative, neutral"):
            correct(connection, number["oil crash 1001"], "bad", None, "ana", NOW)
        with pytest.raises(DataError, match="topic 'Sport' is not known to any model here"):
            correct(connection, number["oil crash 1001"], "neutral", ["Sport"], "ana", NOW)
        with pytest.raises(DataError, match="story 99 is not there"):
            correct(connection, 99, "neutral", None, "ana", NOW)
        found = corrections(connection)
        done = export_examples(connection, tmp_path / "out")
    assert [(one.text, one.topics, one.by) for one in found] == [
        ("oil report 4004", ("Banks", "Oil"), "bo"),
        ("bank report 2002", None, "ana"),
    ]
    assert (done.sentiment, done.topics) == (2, 1)
    home = Home(tmp_path / "home")
    sentiment = sentiment_examples(
        [tmp_path / "out" / "sentiment.csv"], mapping={}, spellings={}, home=home, say=print
    )
    topics = topic_examples([tmp_path / "out" / "topics.csv"], mapping={}, home=home, say=print)
    assert (sentiment.texts, sentiment.single) == (
        ("oil report 4004", "bank report 2002"),
        ("negative", "neutral"),
    )
    assert topics.labels == (("Banks", "Oil"),)


def test_the_page_keeps_what_a_reader_says(
    labeller: LabelTexts, story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    engine = create_engine(database_url(home, {}))
    upgrade(engine, MIGRATIONS, VERSION_TABLE)
    fill(engine, labeller, story)
    page = AppTest.from_file(str(PAGES / "stories_page.py"), default_timeout=60).run()
    assert not page.exception
    assert list(page.dataframe[0].value["story"]) == list(TITLES)
    page.selectbox[0].select("Oil").run()
    assert list(page.dataframe[0].value["story"]) == ["oil crash 1001", "oil report 4004"]
    with engine.begin() as connection:
        number = numbers(connection)
    (choice,) = [box for box in page.selectbox if box.label == "Story"]
    choice.select(number["oil report 4004"]).run()
    assert "The model: neutral, negative with 10% probability; about Oil" in [
        text.value for text in page.text
    ]
    page.radio[0].set_value("negative")
    page.multiselect[0].set_value(["Oil", "Banks"])
    page.button[0].click().run()
    assert not page.exception
    with engine.begin() as connection:
        (one,) = corrections(connection)
    assert (one.sentiment, one.topics, one.by) == (
        "negative",
        ("Banks", "Oil"),
        "the stories page",
    )
    page.button(key=f"back{one.item_id}").click().run()
    with engine.begin() as connection:
        assert corrections(connection) == []
    engine.dispose()
