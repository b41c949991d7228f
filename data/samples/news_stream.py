"""The sample stream: 120 days of dated headlines from six publishers, with the truth beside them.

Ordinary days follow a weekday profile, an hour profile for each publisher, drifting moods for each
topic and an earnings season; scripted crises and controls are laid over them. A story is reported
once and then reprinted (verbatim or edited) and followed up by others.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from news_script import Episode, Publisher, ScriptedStory, load_episodes, load_publishers
from news_styles import WIRE_PREFIX, dress, edit_copy, slug
from news_wording import (
    SENTIMENTS,
    Blanks,
    Cast,
    Entity,
    TopicWordings,
    Wording,
    load_patterns,
    parse_block,
)

START = datetime(2025, 1, 6, tzinfo=UTC)
DAYS = 120
STORIES_A_DAY = 33.0
# Monday to Sunday. Business news all but stops at the weekend.
WEEKDAYS = (0.95, 1.06, 1.1, 1.08, 0.98, 0.42, 0.4)
EARNINGS_SEASONS = ((18, 44), (104, 120))
# Share of negative, neutral and positive stories on an ordinary day.
MIX = (0.22, 0.45, 0.33)
TOPIC_WEIGHTS = {
    "Earnings": 1.25,
    "Technology": 1.2,
    "Banks": 1.1,
    "Energy": 1.1,
    "Cyber security": 0.75,
    "Currencies": 0.85,
}
COOLDOWN = timedelta(days=9)


@dataclass(frozen=True)
class Item:
    """One entry of one feed and what is true of it.

    `written_at` differs from `published_at` only for entries held back by a feed outage.
    `copy_of` is the address of the entry it reprints, `episode` the crisis or control; or "".
    """

    published_at: datetime
    title: str
    summary: str
    publisher: str
    url: str
    topics: tuple[str, ...]
    sentiment: str
    story: str
    copy_of: str
    episode: str
    written_at: datetime


@dataclass(frozen=True)
class Stream:
    """All entries in order of publication, the episodes laid over them, and their publishers."""

    items: tuple[Item, ...]
    episodes: tuple[Episode, ...]
    publishers: Mapping[str, Publisher]


def make_stream(source: Path, seed: int) -> Stream:
    """The whole stream; the same seed gives the same entries."""
    return _Newsroom(source, seed).run()


class _Newsroom:
    """Everything the making of the stream remembers from one day to the next."""

    def __init__(self, source: Path, seed: int) -> None:
        self.rng = random.Random(f"{seed}/stream")
        self.patterns = load_patterns(source / "patterns")
        self.publishers = load_publishers(source / "publishers.yaml")
        self.episodes = load_episodes(source / "crises.yaml")
        # Whoever is in the middle of a crisis has no ordinary news: it would contradict the script.
        script = " ".join(s.title for e in self.episodes if e.kind == "crisis" for s in e.stories)
        cast = Cast.from_file(source / "entities.yaml").without(script)
        self.blanks = Blanks(cast, self.rng, later=0.3)
        self.teasers = _load_teasers(source / "summaries.yaml")
        self.last_use: dict[str, datetime] = {}
        self.titles: set[str] = set()
        self.items: list[Item] = []
        self.moods = dict.fromkeys(self.patterns, 0.0)
        self.stories = 0

    def run(self) -> Stream:
        for day in range(DAYS):
            self._ordinary_day(day)
        for episode in self.episodes:
            for number, story in enumerate(episode.stories, start=1):
                self._scripted(episode, story, f"{episode.key}-{number:02d}")
        end = START + timedelta(days=DAYS)
        items = [item for item in self.items if item.published_at < end]
        for episode in self.episodes:
            if episode.silent:
                items = _hold_back(items, episode, self.rng)
        items.sort(key=lambda item: (item.published_at, item.url))
        return Stream(tuple(items), tuple(self.episodes), self.publishers)

    def _ordinary_day(self, day: int) -> None:
        rng, date = self.rng, START + timedelta(days=day)
        quiet = min([e.quiet for e in self.episodes if e.begin <= date < e.end], default=1.0)
        rate = STORIES_A_DAY * WEEKDAYS[date.weekday()] * quiet * rng.lognormvariate(0, 0.08)
        season = any(first <= day < last for first, last in EARNINGS_SEASONS)
        weights = {
            topic: TOPIC_WEIGHTS.get(topic, 1.0) * rng.gammavariate(7, 1 / 7)
            for topic in self.patterns
        }
        weights["Earnings"] *= 1.8 if season else 0.8
        for topic in self.moods:
            self.moods[topic] = 0.85 * self.moods[topic] + rng.gauss(0, 0.12)
        topics = list(weights)
        for topic in rng.choices(topics, list(weights.values()), k=round(rate)):
            self._ordinary_story(date, topic)

    def _ordinary_story(self, date: datetime, topic: str) -> None:
        rng = self.rng
        publisher = self._reporter(date)
        at = self._moment(date, publisher)
        tilt = 1 + 0.5 * self.moods[topic]
        negative, neutral, positive = MIX
        sentiment = rng.choices(SENTIMENTS, (negative * max(tilt, 0.4), neutral, positive))[0]
        wording = self._wording(topic, sentiment, publisher.register, at)
        filled = self.blanks.fill(wording.text, publisher.register)
        title = dress(filled.text, publisher.register, rng)
        if title in self.titles:
            return
        self.stories += 1
        item = Item(
            published_at=at,
            title=title,
            summary=self._summary(title, publisher, wording, filled.bound),
            publisher=publisher.key,
            url=self._address(publisher, at, title),
            topics=wording.topics,
            sentiment=sentiment,
            story=f"s{self.stories:05d}",
            copy_of="",
            episode="",
            written_at=at,
        )
        self._publish(item)
        chance = {"wire": 0.3, "tweet": 0.0}.get(publisher.register, 0.04)
        self._reprint(item, rng.choice((1, 1, 2, 2, 3, 4)) if rng.random() < chance else 0)
        if rng.random() < 0.16:
            self._follow_up(item, topic, filled.bound)

    def _scripted(self, episode: Episode, story: ScriptedStory, name: str) -> None:
        rng, publisher = self.rng, self.publishers[story.publisher]
        at = story.at + timedelta(seconds=rng.randrange(60))
        item = Item(
            published_at=at,
            title=story.title,
            summary=self._episode_summary(story.title, publisher, episode),
            publisher=publisher.key,
            url=self._address(publisher, at, story.title),
            topics=story.topics,
            sentiment=story.sentiment,
            story=name,
            copy_of="",
            episode=episode.key,
            written_at=at,
        )
        self._publish(item)
        drawn = rng.choice((0, 0, 1, 1, 2)) if publisher.register != "tweet" else 0
        self._reprint(item, story.copies if story.copies is not None else drawn)

    def _reprint(self, original: Item, copies: int) -> None:
        """Others run the story within hours: half of them word by word, half with small edits."""
        rng = self.rng
        others = [p for p in self.publishers.values() if p.key != original.publisher]
        chosen: list[Publisher] = []
        while len(chosen) < copies:
            # A publisher runs a story a second time only when all the others have run it.
            free = [p for p in others if chosen.count(p) == min(chosen.count(q) for q in others)]
            chosen.append(rng.choices(free, [p.copies for p in free])[0])
        for publisher in chosen:
            at = original.published_at + timedelta(minutes=rng.uniform(3, 280))
            verbatim = rng.random() < 0.5
            title = original.title if verbatim else edit_copy(original.title, publisher.name, rng)
            summary = "" if publisher.register == "tweet" else original.summary
            self._publish(
                replace(
                    original,
                    published_at=at,
                    written_at=at,
                    title=title,
                    summary=summary,
                    publisher=publisher.key,
                    url=self._address(publisher, at, title),
                    copy_of=original.url,
                )
            )

    def _follow_up(self, first: Item, topic: str, bound: Mapping[str, Entity]) -> None:
        """A day later somebody returns to the story, in other words."""
        rng = self.rng
        fitting = [
            w
            for w in self.patterns[topic].of("follow_up", first.sentiment)
            if w.kinds() <= bound.keys()
        ]
        if not fitting:
            return
        wording = rng.choice(fitting)
        date = first.published_at.replace(hour=0, minute=0, second=0) + timedelta(days=1)
        publisher = self._reporter(date)
        at = self._moment(date, publisher)
        filled = self.blanks.fill(wording.text, publisher.register, bound)
        title = dress(filled.text, publisher.register, rng)
        if title in self.titles:
            return
        self._publish(
            replace(
                first,
                published_at=at,
                written_at=at,
                title=title,
                summary=self._summary(title, publisher, wording, filled.bound),
                publisher=publisher.key,
                url=self._address(publisher, at, title),
                topics=wording.topics,
            )
        )

    def _publish(self, item: Item) -> None:
        self.titles.add(item.title)
        self.items.append(item)

    def _reporter(self, date: datetime) -> Publisher:
        everyone = list(self.publishers.values())
        weekend = date.weekday() >= 5
        weights = [p.weight * (p.weekend if weekend else 1.0) for p in everyone]
        return self.rng.choices(everyone, weights)[0]

    def _moment(self, date: datetime, publisher: Publisher) -> datetime:
        hour = self.rng.choices(range(24), publisher.hours)[0]
        return date + timedelta(hours=hour, seconds=self.rng.randrange(3600))

    def _wording(self, topic: str, sentiment: str, register: str, at: datetime) -> Wording:
        """A wording this publisher could use and nobody used lately, else the longest unused."""
        wordings = self._choice(self.patterns[topic], sentiment, register)
        never = START - timedelta(days=365)
        rested = [w for w in wordings if at - self.last_use.get(w.key, never) > COOLDOWN]
        if rested:
            chosen = self.rng.choice(rested)
        else:
            chosen = min(wordings, key=lambda w: self.last_use.get(w.key, never))
        self.last_use[chosen.key] = at
        return chosen

    @staticmethod
    def _choice(patterns: TopicWordings, sentiment: str, register: str) -> list[Wording]:
        wordings = patterns.of("train", sentiment) + patterns.of("stream", sentiment)
        return [w for w in wordings if w.register in (None, register)]

    def _summary(
        self, title: str, publisher: Publisher, wording: Wording, bound: Mapping[str, Entity]
    ) -> str:
        """A teaser: nothing, a dateline with the headline, or one or two sentences of its mood."""
        rng = self.rng
        if publisher.register == "tweet" or rng.random() < 0.12:
            return ""
        own = self.patterns[wording.topics[0]].of("summaries", wording.sentiment)
        pool = [w for w in own + self.teasers[wording.sentiment] if w.kinds() <= bound.keys()]
        chosen = rng.sample(pool, k=rng.choice((1, 1, 2)))
        sentences = [self.blanks.fill(w.text, publisher.register, bound).text for w in chosen]
        return _teaser(title, sentences, publisher, rng)

    def _episode_summary(self, title: str, publisher: Publisher, episode: Episode) -> str:
        if publisher.register == "tweet" or not episode.summaries:
            return ""
        return _teaser(title, [self.rng.choice(episode.summaries)], publisher, self.rng)

    def _address(self, publisher: Publisher, at: datetime, title: str) -> str:
        number = 10_000 + len(self.items)
        return f"https://{publisher.host}/{at:%Y/%m/%d}/{slug(title)}-{number}"


def _load_teasers(path: Path) -> dict[str, list[Wording]]:
    raw: dict[str, str] = yaml.safe_load(path.read_text("utf-8"))
    return {s: parse_block(block, f"summaries/{s}", "", s) for s, block in raw.items()}


def _teaser(title: str, sentences: Sequence[str], publisher: Publisher, rng: random.Random) -> str:
    if rng.random() < 0.45:
        place = rng.choice(("LISGARD", "GRAUHAVEN", "PORT ARLEN", "CASTERLEY", "HALDENBURG"))
        source = f" ({publisher.name})" if publisher.register == "wire" else ""
        return f"{place}{source} - {WIRE_PREFIX.sub('', title).rstrip('.!')}. {sentences[0]}"
    return " ".join(sentences)


def _hold_back(items: Sequence[Item], outage: Episode, rng: random.Random) -> list[Item]:
    """Entries of silent feeds appear when the outage ends, stamped with that time."""
    delivered = []
    for item in items:
        if item.publisher in outage.silent and outage.begin <= item.published_at < outage.end:
            at = outage.end + timedelta(seconds=rng.randrange(40 * 60))
            item = replace(item, published_at=at, episode=item.episode or outage.key)
        delivered.append(item)
    return delivered
