"""A made-up stream, a labeller that knows it, and databases of both kinds."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from sqlalchemy import Connection, Engine, select

from apps.news_monitor.alerts import open_alert
from apps.news_monitor.articles import Article, article_key
from apps.news_monitor.evidence import (
    DataHealth,
    DayPoint,
    Evidence,
    MovingTopic,
    StoryLine,
)
from apps.news_monitor.ingest import ingest, insert_new
from apps.news_monitor.judging_tables import detector_config
from apps.news_monitor.labels import Labels, LabelTexts
from apps.news_monitor.predictions import label_pending, register_model
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.tables import MIGRATIONS, VERSION_TABLE, model_version, topic
from apps.news_monitor.telling import Subscription
from shared.storage import create_engine, upgrade

AT = datetime(2026, 3, 11, 14, tzinfo=UTC)


class WordLabeller:
    """Negative if a title says "crash", topics by the words airline, bank and oil."""

    name = "words@1"
    fingerprint = "words-1"
    topics = ("Airlines", "Banks", "Oil")

    def __init__(self) -> None:
        self.asked = 0

    def label(self, texts: Sequence[str]) -> list[Labels]:
        self.asked += len(texts)
        return [self._one(text.lower()) for text in texts]

    def words_for_negative(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        return [("crash",) if "crash" in text else () for text in texts]

    def _one(self, text: str) -> Labels:
        bad = "crash" in text
        scores = {name: 0.9 if name.lower().rstrip("s") in text else 0.1 for name in self.topics}
        return Labels(
            sentiment="negative" if bad else "neutral",
            p_negative=0.9 if bad else 0.1,
            p_neutral=0.1 if bad else 0.9,
            p_positive=0.0,
            negative=bad,
            topics=tuple(name for name, score in scores.items() if score > 0.5),
            topic_scores=scores,
        )


class Gloomy:
    """As the other labeller, and a report of a bank is bad news too."""

    name = "words@2"
    fingerprint = "words-2"

    def __init__(self, words: LabelTexts) -> None:
        self._words = words
        self.topics = words.topics
        self.asked = 0

    def label(self, texts: Sequence[str]) -> list[Labels]:
        self.asked += len(texts)
        plain = self._words.label([text.replace("bank report", "bank crash") for text in texts])
        return list(plain)

    def words_for_negative(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        return [() for _ in texts]


@pytest.fixture
def labeller() -> WordLabeller:
    return WordLabeller()


@pytest.fixture(scope="session")
def words() -> Callable[[], WordLabeller]:
    """The same, for fixtures that live longer than a test."""
    return WordLabeller


@pytest.fixture
def engine(each_database: str) -> Iterator[Engine]:
    """The monitor's tables, empty, in a database of each kind."""
    made = create_engine(each_database)
    upgrade(made, MIGRATIONS, VERSION_TABLE)
    yield made
    made.dispose()


@pytest.fixture
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The same in SQLite alone, where the kind of database does not matter."""
    made = create_engine(f"sqlite:///{tmp_path_factory.mktemp('db') / 'news.db'}")
    upgrade(made, MIGRATIONS, VERSION_TABLE)
    yield made
    made.dispose()


@pytest.fixture
def evidence() -> Evidence:
    days = tuple(
        DayPoint(AT - timedelta(days=27 - n), 20 + n % 5, 2 + n % 3, 0, 6) for n in range(27)
    )
    return Evidence(
        topic="Airlines",
        severity="high",
        opened_at=AT,
        evaluated_at=AT,
        score=7.2,
        threshold=3.4,
        window_hours=24,
        stories=30,
        negative=14,
        usual_share=0.134,
        expected=4.02,
        low=1,
        high=8,
        usual_stories=22.4,
        p_share=1.2e-5,
        p_count=3e-4,
        p_volume=0.21,
        false_rate=0.006,
        history_days=84,
        learning=False,
        days=(*days, DayPoint(AT, 30, 14, 1, 8)),
        headlines=(
            StoryLine(
                "Regulators <b>ground</b> the fleet & more",
                "https://news.example/a?x=1&y=2",
                ("CNBC", "FT", "Guardian", "Reuters"),
                0.97,
                AT - timedelta(hours=5),
            ),
            StoryLine(
                "Shares slide", "javascript:alert(1)", (), 0.91, AT - timedelta(hours=2), ("slide",)
            ),
        ),
        moving=(MovingTopic("Insurance", 6, 14, 0.12),),
        health=DataHealth(11, 12, 214, 38),
        model="news@3",
    )


OpenAlert = Callable[..., int]


@pytest.fixture(scope="session")
def open_evidence() -> OpenAlert:
    """Opens an alert with this evidence and its mails: (connection, evidence, *subscriptions)."""

    def begin(connection: Connection, evidence: Evidence, *subscriptions: Subscription) -> int:
        at = evidence.opened_at
        model = {"name": "m", "fingerprint": "f", "first_used_at": at}
        insert_new(connection, model_version, [model])
        insert_new(connection, topic, [{"name": evidence.topic, "enabled": True}])
        row = {"fingerprint": "c", "model_id": 1, "settings_json": "{}", "created_at": at}
        insert_new(connection, detector_config, [row])
        named = select(topic.c.id).where(topic.c.name == evidence.topic)
        return open_alert(
            connection,
            evidence,
            [],
            topic_id=connection.execute(named).scalar_one(),
            config_id=1,
            config_key="c",
            subscriptions=subscriptions or [Subscription(address="desk@bank.example")],
            sender="News <news@bank.example>",
            now=at,
        )

    return begin


PUBLISHERS = ("Agency", "Courier", "Gazette", "Herald")


@pytest.fixture(scope="session")
def story() -> Callable[[str, datetime, str], Article]:
    """An article of (title, time, publisher)."""

    def make(title: str, at: datetime, publisher: str) -> Article:
        key = article_key("", "", title + publisher, at)
        return Article(key, "", title, "", publisher, at, at, "given")

    return make


@pytest.fixture(scope="session")
def ordinary(
    story: Callable[[str, datetime, str], Article],
) -> Callable[[datetime, int], list[Article]]:
    """Stories of three topics up to a moment, eight a day and topic, one in eight negative, spread
    over so many days and four publishers."""

    def make(until: datetime, days: int) -> list[Article]:
        articles = []
        number = 1000
        for slot in range(days * 8):
            for name in ("airline", "bank", "oil"):
                number += 1
                word = "crash" if number % 8 == 0 else "report"
                at = until - timedelta(hours=3 * (days * 8 - slot))
                publisher = PUBLISHERS[number % len(PUBLISHERS)]
                articles.append(story(f"{name} {word} {number}", at, publisher))
        return articles

    return make


@pytest.fixture(scope="session")
def fill(
    ordinary: Callable[[datetime, int], list[Article]],
) -> Callable[[Engine, datetime, int], None]:
    """Puts ordinary days up to a moment into a database, labelled and counted."""

    def put(engine: Engine, until: datetime, days: int) -> None:
        with engine.begin() as connection:
            articles = ordinary(until, days)
            ingest(connection, articles, copies=CopyIndex(), fetched=until)
            model = register_model(connection, WordLabeller(), until)
        label_pending(engine, model, now=until, limit=10**6, batch=512)

    return put


@pytest.fixture(scope="session")
def crisis_feed() -> Callable[[datetime], bytes]:
    """RSS with twelve bad stories about airlines within the two hours before a moment."""

    def make(at: datetime) -> bytes:
        items = "".join(
            f"<item><title>airline crash {90000 + n}</title><link>https://n.example/{n}</link>"
            f"<pubDate>{format_datetime(at - timedelta(minutes=10 * n + 5))}</pubDate>"
            f"<source url='https://p.example'>{PUBLISHERS[n % 4]}</source></item>"
            for n in range(12)
        )
        head = "<rss version='2.0'><channel><title>Wire</title>"
        return f"{head}{items}</channel></rss>".encode()

    return make
