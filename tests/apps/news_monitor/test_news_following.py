"""Companies in the database: counted, judged and alerted as topics are, in both kinds of it."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from apps.news_monitor.articles import Article
from apps.news_monitor.companies import Company, CompanyList
from apps.news_monitor.company_names import CompanyFinder
from apps.news_monitor.company_watch import CompanyWatch
from apps.news_monitor.following import Following, follow, list_read, read_again
from apps.news_monitor.ingest import ingest
from apps.news_monitor.judging_tables import alert
from apps.news_monitor.labels import Labels, LabelTexts
from apps.news_monitor.predictions import ActiveModel, label_pending, register_model
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.tables import bucket, item, item_topic, topic
from shared.errors import SettingsError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LISTED = CompanyList((Company("Oryx", "ORX"), Company("Tamarin Foods", aliases=("Tamarin",))))
Story = Callable[[str, datetime, str], Article]
TITLES = (
    "Oryx crash as Tamarin shines",
    "Oryx opens a plant",
    "bank crash spreads",
    "Tamarin crash",
)


def put(
    engine: Engine, story: Story, labeller: LabelTexts, titles: tuple[str, ...], at: datetime
) -> ActiveModel:
    with engine.begin() as connection:
        articles = [story(title, at, "ABC"[n % 3]) for n, title in enumerate(titles)]
        ingest(connection, articles, copies=CopyIndex(), fetched=at)
        return register_model(connection, labeller, at)


def following(
    engine: Engine, model: ActiveModel, listed: CompanyList = LISTED, *, asks: bool = True
) -> Following:
    with engine.begin() as connection:
        finder = CompanyFinder(listed)
        return follow(connection, listed, finder, model.labeller, model.id, asks=asks)


def counted(engine: Engine) -> dict[str, tuple[int, int, float]]:
    """Company -> stories, negative, sum of the probabilities."""
    query = select(topic.c.name, bucket.c.stories, bucket.c.negative, bucket.c.sum_p_negative)
    with engine.begin() as connection:
        rows = connection.execute(query.join(topic, topic.c.id == bucket.c.topic_id)).all()
    titles = {one.title for one in LISTED.companies}
    return {row[0]: (row[1], row[2], round(row[3], 2)) for row in rows if row[0] in titles}


class MaskReader:
    """As the words say, but "it crash …" is no crash of a company that is named."""

    name, fingerprint, topics = "masks@1", "masks-1", ("Airlines", "Banks", "Oil")

    def __init__(self, words: LabelTexts) -> None:
        self._words = words

    def label(self, texts: Sequence[str]) -> list[Labels]:
        return self._words.label(
            [
                text.replace("crash", "quiet") if text.startswith("it crash") else text
                for text in texts
            ]
        )

    def words_for_negative(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        return self._words.words_for_negative(texts)


def test_a_story_counts_for_each_company_by_what_it_says_of_that_one(
    engine: Engine, story: Story, labeller: LabelTexts
) -> None:
    reader = MaskReader(labeller)
    model = put(engine, story, reader, TITLES, NOW)
    followed = following(engine, model)
    assert label_pending(engine, model, now=NOW, limit=10, companies=followed) == 4
    # Oryx: the crash (0.9) and the plant (0.1); Tamarin: "it crash as Tamarin shines" and its own.
    assert counted(engine) == {"Oryx (ORX)": (2, 1, 1.0), "Tamarin Foods": (2, 1, 1.0)}
    with engine.begin() as connection:
        rows = connection.execute(
            select(item_topic.c.label, item_topic.c.negative, item_topic.c.model_id)
            .join(item, item.c.id == item_topic.c.item_id)
            .where(item.c.title == TITLES[0], item_topic.c.topic_id.in_(followed.topics.values()))
            .order_by(item_topic.c.topic_id)
        ).all()
    assert rows == [("negative", True, model.id), ("neutral", False, model.id)]


def test_labels_given_for_headlines_hold_for_all_companies_in_them(
    sqlite: Engine, story: Story, labeller: LabelTexts
) -> None:
    model = put(sqlite, story, MaskReader(labeller), TITLES, NOW)
    followed = following(sqlite, model, asks=False)
    label_pending(sqlite, model, now=NOW, limit=10, companies=followed)
    assert counted(sqlite)["Tamarin Foods"] == (2, 2, 1.8)


def test_the_past_is_read_again_with_another_list_and_goes_on_after_a_stop(
    engine: Engine, story: Story, labeller: LabelTexts
) -> None:
    model = put(engine, story, labeller, TITLES, NOW)
    label_pending(engine, model, now=NOW, limit=10)
    assert counted(engine) == {}
    followed = following(engine, model)
    assert read_again(engine, followed, labeller, model.id, limit=1, batch=1) == 3
    assert read_again(engine, followed, labeller, model.id, limit=9, batch=2) == 0
    whole = counted(engine)
    # "it crash as Tamarin shines" 0.9 and "Tamarin shines" 0.1 average to 0.5.
    assert whole == {"Oryx (ORX)": (2, 1, 1.0), "Tamarin Foods": (2, 2, 1.4)}
    # Another list: what the old one found is gone at once, and found again by the new one.
    shorter = following(engine, model, CompanyList((Company("Oryx", "ORX"),)))
    assert counted(engine) == {}
    assert read_again(engine, shorter, labeller, model.id, limit=9) == 0
    assert counted(engine) == {"Oryx (ORX)": (2, 1, 1.0)}
    # The same list again: nothing to do.
    assert read_again(engine, shorter, labeller, model.id, limit=9) == 0
    assert counted(engine) == {"Oryx (ORX)": (2, 1, 1.0)}


def test_what_was_labelled_while_there_was_no_list_is_read_once_it_is_back(
    engine: Engine, story: Story, labeller: LabelTexts, tmp_path: Path
) -> None:
    path = tmp_path / "companies.csv"
    path.write_text("company,ticker\nOryx,ORX\n")
    told: list[str] = []
    for companies, titles in ((str(path), TITLES[:1]), ("", TITLES[1:2]), (str(path), TITLES[3:])):
        model = put(engine, story, labeller, titles, NOW)
        watch = CompanyWatch(engine, NewsSettings(companies=companies))
        followed = watch.read(model, told)
        label_pending(engine, model, now=NOW, limit=10, companies=followed)
        with engine.begin() as connection:
            known = list_read(connection, model.id)
        assert (known is None) == (not companies or titles == TITLES[3:])
        watch.judge(model, NOW, NOW, told)
    assert (told, counted(engine)) == ([], {"Oryx (ORX)": (2, 1, 1.0)})
    with engine.begin() as connection:
        known = list_read(connection, model.id)
    assert followed is not None
    assert known == followed.listed.fingerprint


def test_stories_that_are_labelled_with_a_list_are_not_read_again(
    sqlite: Engine, story: Story, words: Callable[[], Any]
) -> None:
    labeller = words()
    model = put(sqlite, story, labeller, TITLES, NOW)
    followed = following(sqlite, model)
    label_pending(sqlite, model, now=NOW, limit=10, companies=followed)
    labeller.asked = 0
    assert read_again(sqlite, followed, labeller, model.id, limit=99) == 0
    assert labeller.asked == 0


def test_a_company_called_as_a_topic_is_one_clear_line(
    sqlite: Engine, story: Story, labeller: LabelTexts
) -> None:
    model = put(sqlite, story, labeller, (), NOW)
    with pytest.raises(SettingsError) as caught:
        following(sqlite, model, CompanyList((Company("Oil"),)))
    assert str(caught.value) == (
        "company 'Oil' has the name of a topic of model words@1; give it a ticker in the list of "
        "companies, or another name"
    )


@pytest.fixture
def stream(sqlite: Engine, story: Story) -> Engine:
    """40 days of six stories of Oryx a day, one in eight bad, and a crash of twelve on the last."""
    articles = []
    for n in range(40 * 6):
        word = "crash" if n % 8 == 0 else "report"
        at = NOW - timedelta(hours=4 * n + 30)
        articles.append(story(f"Oryx {word} number {1000 + n}", at, "ABCD"[n % 4]))
    for n in range(12):
        at = NOW - timedelta(hours=n + 1)
        articles.append(story(f"Oryx crash number {9000 + n}", at, "ABCD"[n % 4]))
    with sqlite.begin() as connection:
        ingest(connection, articles, copies=CopyIndex(), fetched=NOW)
    return sqlite


def write(path: Path, text: str, stamp: int) -> None:
    path.write_text(text)
    os.utime(path, (stamp, stamp))


def test_a_surge_of_a_company_is_alerted_by_its_name_and_survives_an_edit_of_the_list(
    stream: Engine, labeller: LabelTexts, tmp_path: Path
) -> None:
    path = tmp_path / "companies.csv"
    write(path, "company,ticker\nOryx,ORX\nTamarin Foods,\n", 1)
    settings = NewsSettings(companies=str(path), recipients=("desk@example.com",))
    with stream.begin() as connection:
        model = register_model(connection, labeller, NOW)
    watch = CompanyWatch(stream, settings)
    lines: list[str] = []
    followed = watch.read(model, lines)
    label_pending(stream, model, now=NOW, limit=1000, batch=512, companies=followed)
    before = watch.judge(model, NOW - timedelta(hours=14), NOW, lines)
    found = watch.judge(model, NOW, NOW, lines)
    assert before is not None
    assert found is not None
    assert (before.opened, found.evaluated) == ([], 14)
    (opened,) = found.opened
    assert opened.evidence.topic == "Oryx (ORX)"
    assert all("Oryx crash" in line.title for line in opened.evidence.headlines)

    # Another company is added, its surge open: no second alert of the same surge.
    write(path, "company,ticker\nOryx,ORX\nTamarin Foods,\nLynx,LNX\n", 2)
    watch.read(model, lines)
    found = watch.judge(model, NOW + timedelta(hours=1), NOW, lines)
    assert found is not None
    assert (found.evaluated, found.opened, lines) == (1, [], [])
    # A broken list leaves the one before in force and says so.
    write(path, "company,ticker\nOryx,ORX\nOryx,ORX\n", 3)
    assert watch.read(model, lines) is not None
    assert len(lines) == 1
    assert lines[0].startswith(f"companies: {path}, line 3: the company 'oryx (orx)' stands in")
    assert lines[0].endswith("; the list read before holds")
    # Taken off the list, the company's alert is over.
    write(path, "company,ticker\nLynx,LNX\n", 4)
    watch.read(model, lines)
    watch.judge(model, NOW + timedelta(hours=2), NOW, lines)
    with stream.begin() as connection:
        states = connection.execute(select(alert.c.state)).scalars().all()
    assert states == ["resolved"]
