"""Stories of one event: by vectors made by hand, on both databases, cut off anywhere."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from math import cos, radians, sin

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, func, select

from apps.news_monitor import same_event as same_event_module
from apps.news_monitor.articles import Article
from apps.news_monitor.backlog import Backlog
from apps.news_monitor.bucket_counts import publisher_counts
from apps.news_monitor.ingest import epoch_hour, ingest, recent_stories
from apps.news_monitor.labels import Labels, LabelTexts, Worth
from apps.news_monitor.memos import note
from apps.news_monitor.predictions import ActiveModel, label_pending, register_model
from apps.news_monitor.same_event import contradicts, join_events
from apps.news_monitor.settings import StorySettings
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.story_vectors import KEPT, forget_vectors
from apps.news_monitor.tables import bucket, item, item_vector, model_version

NOW = datetime(2026, 3, 11, 12, tzinfo=UTC)
RULE = StorySettings()
Story = Callable[[str, datetime, str], Article]


DIGITS = "abcdefghij"


def at(degrees: int) -> str:
    """In letters, for numbers in titles are compared as such."""
    return "at " + "".join(DIGITS[int(digit)] for digit in str(degrees))


def turned(title: str) -> float:
    """The angle that a title names, in radians."""
    letters = title.split(" at ")[1].split()[0].rstrip(",")
    return radians(int("".join(str(DIGITS.index(letter)) for letter in letters)))


class Pointing:
    """Labels as the words say; the vector points where the title says."""

    unrelated = 0.0
    encoder = "angles"
    worth = Worth(0.8, 0.1)

    def __init__(self, words: LabelTexts, name: str = "angles@1") -> None:
        self._words = words
        self.name = self.fingerprint = name
        self.topics = ("Airlines", "Banks", "Oil")

    def label(self, texts: Sequence[str]) -> list[Labels]:
        return self._words.label(texts)

    def words_for_negative(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        return [() for _ in texts]

    def label_with_vectors(self, texts: Sequence[str]) -> tuple[list[Labels], NDArray[np.float32]]:
        angles = [turned(text) for text in texts]
        vectors = np.array([(cos(a), sin(a)) for a in angles], dtype=np.float32)
        return self.label(texts), vectors


@pytest.fixture
def angles(words: Callable[[], LabelTexts]) -> Pointing:
    return Pointing(words())


def read(engine: Engine, labeller: Pointing, articles: Sequence[Article]) -> ActiveModel:
    """Stored one by one, in this order, and labelled."""
    copies = CopyIndex(similarity=1.1)
    for article in articles:
        with engine.begin() as connection:
            ingest(connection, [article], copies=copies, fetched=NOW)
    with engine.begin() as connection:
        model = register_model(connection, labeller, NOW)
    label_pending(engine, model, now=NOW, limit=1000)
    return model


def stories(engine: Engine) -> dict[str, str]:
    """title -> title of the first of its story."""
    first = item.alias()
    query = select(item.c.title, first.c.title).join(first, first.c.id == item.c.story_id)
    with engine.begin() as connection:
        return {row[0]: row[1] for row in connection.execute(query.order_by(item.c.id))}


def counted(engine: Engine) -> tuple[int, int]:
    with engine.begin() as connection:
        query = select(func.sum(bucket.c.stories), func.sum(bucket.c.negative))
        return tuple(int(n) for n in connection.execute(query).one())  # type: ignore[return-value]


def test_one_event_in_other_words_counts_once_with_all_its_publishers(
    engine: Engine, angles: Pointing, story: Story
) -> None:
    # cos 31 degrees is .857, cos 32 degrees .848; the default asks for .85.
    titles = (f"oil crash {at(0)}", f"crash of the oil price {at(31)}", f"oil crash {at(32)}")
    articles = [
        story(title, NOW + timedelta(hours=hour), name)
        for title, hour, name in zip(titles, (0, 5, 6), "ABC", strict=True)
    ]
    model = read(engine, angles, articles)
    assert counted(engine) == (3, 3)
    assert join_events(engine, model, RULE) == 1
    assert stories(engine) == {titles[0]: titles[0], titles[1]: titles[0], titles[2]: titles[2]}
    assert counted(engine) == (2, 2)
    first = epoch_hour(NOW)
    with engine.begin() as connection:
        broad = publisher_counts(
            connection,
            model_id=model.id,
            topic_ids=[model.topics["Oil"]],
            offset=first,
            first_hour=first,
            end_hour=first + 6,
        )
    assert broad(0, 0, 6)[0] == 2  # A, and B by the hour in which it told it
    assert join_events(engine, model, RULE) == 0


@pytest.mark.parametrize(
    ("title", "hours"),
    [
        (f"oil report {at(0)} again", 1),  # no bad news: it would take the bad news away
        (f"oil crash hits bank {at(0)}", 1),  # tells of Banks too, of which the first says nothing
        (f"oil crash {at(0)} at 7 wells", 1),  # at 3, says the first
        (f"oil crash on friday {at(0)}", 1),  # on Monday
        (f"oil crash {at(0)} still", 49),
        (f"oil crash {at(90)}", 1),
    ],
)
def test_what_differs_in_what_counts_stays_a_story(
    title: str, hours: int, sqlite: Engine, angles: Pointing, story: Story
) -> None:
    first = story(f"oil crash of 3 wells on monday {at(0)}", NOW, "A")
    other = story(title, NOW + timedelta(hours=hours), "B")
    model = read(sqlite, angles, [first, other])
    assert join_events(sqlite, model, RULE) == 0
    assert counted(sqlite)[0] == (3 if "bank" in title else 2)


def test_a_story_that_tells_less_joins_and_one_is_held_against_firsts_alone(
    sqlite: Engine, angles: Pointing, story: Story
) -> None:
    titles = (f"oil crash hits bank {at(0)}", f"oil crash again {at(0)}", f"oil crash {at(25)}")
    late = (f"oil crash {at(50)}",)  # like the one at 25, which is no first: no chain
    model = read(sqlite, angles, [story(title, NOW, "A") for title in (*titles, *late)])
    assert join_events(sqlite, model, StorySettings(same_event=0.9)) == 2
    assert [first == titles[0] for first in stories(sqlite).values()] == [True, True, True, False]


def test_the_likest_story_is_joined(sqlite: Engine, angles: Pointing, story: Story) -> None:
    titles = (f"oil crash {at(0)}", f"oil crash {at(40)}", f"oil crash {at(21)}")
    model = read(sqlite, angles, [story(title, NOW, "A") for title in titles])
    assert join_events(sqlite, model, RULE) == 1
    assert stories(sqlite)[titles[2]] == titles[1]


def test_copies_follow_their_story_also_those_that_come_later(
    engine: Engine, angles: Pointing, story: Story
) -> None:
    first, words = f"oil crash {at(0)} stuns", f"price of oil: the crash {at(1)} explained in full"
    copies, later = CopyIndex(), NOW + timedelta(hours=2)
    with engine.begin() as connection:
        for title, publisher in ((first, "A"), (words, "B"), (words, "C")):
            ingest(connection, [story(title, NOW, publisher)], copies=copies, fetched=NOW)
        model = register_model(connection, angles, NOW)
    label_pending(engine, model, now=NOW, limit=10)
    assert join_events(engine, model, RULE) == 1
    with engine.begin() as connection:
        ingest(connection, [story(words, later, "D")], copies=copies, fetched=later)
        anew = recent_stories(connection, later)
        ingest(connection, [story(words, later, "E")], copies=anew, fetched=later)
        rows = connection.execute(select(item).order_by(item.c.id)).all()
    assert [row.publisher for row in rows] == ["A", "B", "C", "D", "E"]
    assert [row.story_id for row in rows] == [rows[0].id] * 5
    assert [row.copy_of for row in rows] == [None, None, *[rows[1].id] * 3]
    assert counted(engine) == (1, 1)


def random_stream(story: Story) -> list[Article]:
    random = np.random.default_rng(3)
    turns = random.integers(0, 360, 60).tolist()
    return [
        story(
            f"oil crash {'abcdefghij'[n % 10]}{'klmnopq'[n % 7]} {at(turns[n])}",
            NOW + timedelta(hours=int(random.integers(0, 90))),
            "AB"[n % 2],
        )
        for n in range(60)
    ]


def by_hand(engine: Engine, rule: StorySettings) -> dict[int, int]:
    """The definition, story by story over all pairs."""
    with engine.begin() as connection:
        rows = connection.execute(select(item).order_by(item.c.id)).all()
    angle = {row.id: turned(row.title) for row in rows}
    placed: dict[int, int] = {}
    for row in rows:
        likeness = {
            other.id: cos(angle[row.id] - angle[other.id])
            for other in rows
            if other.id < row.id
            and placed[other.id] == other.id
            and abs(other.effective_at - row.effective_at) <= timedelta(hours=rule.hours)
        }
        near = {number: like for number, like in likeness.items() if like >= rule.same_event}
        placed[row.id] = max(near, key=lambda n: (near[n], -n)) if near else row.id
    return placed


def test_whatever_the_portions_and_wherever_it_is_cut_the_stories_are_the_same(
    angles: Pointing,
    story: Story,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(same_event_module, "PORTION", 7)
    model = read(engine, angles, random_stream(story))
    rule = StorySettings(same_event=0.995, hours=24)
    wanted = by_hand(engine, rule)
    done: list[str] = []

    def cut(connection: Connection, name: str, value: str) -> None:
        note(connection, name, value)
        done.append(value)
        if len(done) % 2 == 0:  # before it is committed
            raise KeyboardInterrupt

    monkeypatch.setattr(same_event_module, "note", cut)
    while True:
        try:
            join_events(engine, model, rule)
            break
        except KeyboardInterrupt:
            continue
    assert len(done) > len(set(done)) >= 9
    with engine.begin() as connection:
        rows = connection.execute(select(item.c.id, item.c.story_id)).all()
    assert {row.id: row.story_id for row in rows} == wanted
    assert 10 < sum(number != first for number, first in wanted.items()) < 50
    assert counted(engine)[0] == len(set(wanted.values()))


def test_what_was_stored_after_an_archive_waits_for_its_labels(
    sqlite: Engine, angles: Pointing, story: Story
) -> None:
    """News is labelled first, and still joined in the order in which all was stored."""
    old = NOW - timedelta(days=60)
    plan = ((0, NOW), (1, old), (3, old), (90, NOW), (92, NOW), (2, NOW))
    with sqlite.begin() as connection:
        model = register_model(connection, angles, NOW)
    for degrees, when in plan:
        with sqlite.begin() as connection:
            one = story(f"oil crash {at(degrees)}", when, "A")
            ingest(connection, [one], copies=CopyIndex(similarity=1.1), fetched=NOW)
    with sqlite.begin() as connection:
        backlog = Backlog.of(connection, model.id, epoch_hour(NOW - timedelta(days=30)))
    assert label_pending(sqlite, model, now=NOW, limit=4, backlog=backlog) == 4
    with sqlite.begin() as connection:
        assert backlog.count(connection) == 2
        assert backlog.first_without(connection, 0) == 2
    assert join_events(sqlite, model, RULE, backlog) == 0
    assert label_pending(sqlite, model, now=NOW, limit=4, backlog=backlog) == 2
    assert join_events(sqlite, model, RULE, backlog) == 3
    titles = [f"oil crash {at(degrees)}" for degrees, _ in plan]
    assert stories(sqlite) == dict(
        zip(titles, (titles[n] for n in (0, 1, 1, 3, 3, 0)), strict=True)
    )


def test_another_model_changes_no_story_and_counts_the_same_ones(
    sqlite: Engine, angles: Pointing, story: Story, words: Callable[[], LabelTexts]
) -> None:
    model = read(sqlite, angles, [story(f"oil crash {at(n)}", NOW, "A") for n in (0, 90)])
    assert join_events(sqlite, model, RULE) == 0
    other = Pointing(words(), "angles@2")
    with sqlite.begin() as connection:
        second = register_model(connection, other, NOW)
    label_pending(sqlite, second, now=NOW, limit=10)
    assert join_events(sqlite, second, StorySettings(same_event=0.5)) == 0
    with sqlite.begin() as connection:
        assert connection.scalar(select(func.count()).select_from(item_vector)) == 2
        rows = connection.execute(select(model_version)).all()
        assert {(row.negative_recall, row.negative_false_rate) for row in rows} == {(0.8, 0.1)}
        assert forget_vectors(connection, NOW + KEPT) == 0
        assert forget_vectors(connection, NOW + KEPT + timedelta(seconds=1)) == 2


def test_likeness_is_counted_from_what_is_unrelated(
    sqlite: Engine, angles: Pointing, story: Story
) -> None:
    angles.unrelated = 0.8  # .85 of the way from there to 1: a cosine of .97, 14.07 degrees
    titles = (f"oil crash {at(0)}", f"oil crash {at(14)}", f"oil crash {at(15)}")
    model = read(sqlite, angles, [story(title, NOW, "A") for title in titles])
    assert join_events(sqlite, model, StorySettings(same_event=0.0)) == 0
    assert join_events(sqlite, model, RULE) == 1
    assert stories(sqlite)[titles[1]] == titles[0]


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("profit up 3%", "profit up 9%", True),
        ("q1 profit of 3 billion", "q1 profit of 5 billion", True),
        ("bank to cut 400 of 9,000 jobs", "bank to cut 400 jobs", False),
        ("bank to cut jobs", "bank to cut 400 jobs", False),
        ("highs on friday", "highs on wednesday", True),
        ("highs on friday", "new highs", False),
    ],
)
def test_numbers_and_weekdays_contradict(first: str, second: str, wanted: bool) -> None:
    assert contradicts(first, second) is contradicts(second, first) is wanted
