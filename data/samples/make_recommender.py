"""Makes data/samples/recommender: the catalogue and the behaviour of an invented mail-order shop.

Titles and texts come from hand-written lines in source/recommender; the behaviour is simulated from
people with interests, a purse and habits. Same seed, same bytes.

    python data/samples/make_recommender.py [--output DIR]
"""

import argparse
import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "source" / "recommender"
SEED = 20260301
FIRST_DAY = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = 240
USERS = 1_400
ROBOTS = 4
# A second brand sells the same thing for this share of the variants.
SECOND_BRAND = 0.42
# Bought again and again: what is eaten, drunk, sown, burnt or used up.
CONSUMED = (
    "Pantry",
    "Seeds",
    "Pets > Food",
    "Soil",
    "Yarn",
    "Scent",
    "Bath > Care",
    "Birds",
    "Food",
)
# Month -> themes that people look for more than usual.
SEASON = {
    1: ("running", "knitting", "birds"),
    2: ("birds", "spice", "games"),
    3: ("balcony", "cycling"),
    4: ("balcony", "camping"),
    5: ("camping", "balcony", "watercolour"),
    6: ("camping", "watercolour", "running"),
    7: ("camping", "watercolour"),
    8: ("office", "cycling"),
    9: ("office", "candle"),
}
BRAND_PRICE = {
    "Tansy": 0.1,
    "Pim": 0.25,
    "Brightwater": 0.4,
    "Quillfeather": 0.5,
    "Larch & Lantern": 0.55,
    "Nordmark Works": 0.6,
    "Hollow Oak": 0.7,
    "Sable & Sons": 0.95,
}


@dataclass(frozen=True)
class Item:
    """One article. level: place in its type's price range, 0..1; launched: simulated day."""

    item_id: str
    title: str
    description: str
    categories: str
    tags: str
    brand: str
    price: float
    level: float
    launched: int
    theme: str
    type: str

    @property
    def consumed(self) -> bool:
        return any(word in self.categories for word in CONSUMED)


@dataclass(frozen=True)
class Person:
    """One customer. interests: theme -> weight; purse: wanted price level, 0..1."""

    user_id: str
    interests: dict[str, float]
    purse: float
    sessions: int
    joined: int


def read_lines(name: str) -> list[dict[str, str]]:
    with (SOURCE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def make_items(rng: np.random.Generator) -> list[Item]:
    """Every variant of every type, some from two brands."""
    voices = read_lines("voices.tsv")
    sayings: dict[str, list[str]] = {}
    for line in voices:
        sayings.setdefault(line["name"], []).append(line["text"])
    items: list[Item] = []
    for kind in read_lines("types.tsv"):
        for variant in kind["variants"].split(";"):
            brands = rng.choice(list(BRAND_PRICE), size=2, replace=False)
            for brand in brands[: 2 if rng.random() < SECOND_BRAND else 1]:
                items.append(one_item(kind, variant.strip(), str(brand), sayings, len(items), rng))
    return items


def one_item(
    kind: dict[str, str],
    variant: str,
    brand: str,
    sayings: dict[str, list[str]],
    number: int,
    rng: np.random.Generator,
) -> Item:
    low, high = float(kind["low"]), float(kind["high"])
    level = float(np.clip(rng.normal(BRAND_PRICE[brand], 0.15), 0, 1))
    price = low * (high / low) ** level
    price = max(1.0, round(price)) - (0.1 if rng.random() < 0.6 else 0.0)
    title = rng.choice(
        [f"{kind['type']}, {variant}", f"{brand} {kind['type'].lower()}, {variant}",
         f"{kind['type']} ({variant}) by {brand}"]
    )  # fmt: skip
    parts = [kind["text"], str(rng.choice(sayings[kind["theme"]])), str(rng.choice(sayings[brand]))]
    if rng.random() < 0.35:
        parts.insert(1, f"This one: {variant}.")
    if rng.random() < 0.08:  # some entries of a real catalogue were never finished
        parts = []
    words = [kind["theme"], kind["type"].split()[-1].lower(), *variant.split()[:1]]
    launched = -1 if rng.random() < 0.82 else int(rng.integers(0, DAYS))
    return Item(
        item_id=f"LL-{1000 + number}",
        title=str(title),
        description=" ".join(parts),
        categories=kind["category"],
        tags="|".join(dict.fromkeys(w.strip(",.").lower() for w in words)),
        brand=brand,
        price=price,
        level=level,
        launched=launched,
        theme=kind["theme"],
        type=kind["type"],
    )


def make_people(themes: Sequence[str], rng: np.random.Generator) -> list[Person]:
    """People with one to three interests, a few of them busy, most of them not."""
    people = []
    for number in range(USERS):
        chosen = rng.choice(list(themes), size=int(rng.choice([1, 2, 3], p=[0.3, 0.45, 0.25])),
                            replace=False)  # fmt: skip
        weights = rng.dirichlet(np.full(len(chosen), 1.5))
        people.append(
            Person(
                user_id=f"u{number + 1:04d}",
                interests={str(t): float(w) for t, w in zip(chosen, weights, strict=True)},
                purse=float(rng.beta(2, 2.4)),
                sessions=int(np.clip(rng.pareto(1.15) * 2 + 1, 1, 45)),
                joined=int(rng.integers(0, DAYS - 5)),
            )
        )
    return people


class Shop:
    """The catalogue as a customer meets it: what is there on a day, and what is looked at."""

    def __init__(self, items: Sequence[Item], rng: np.random.Generator) -> None:
        self.items = items
        self._rng = rng
        self._next = {kind["type"]: kind["next"] for kind in read_lines("types.tsv")}
        self._by_type: dict[str, list[int]] = {}
        self._types_of: dict[str, list[str]] = {}
        for index, item in enumerate(items):
            self._by_type.setdefault(item.type, []).append(index)
            types = self._types_of.setdefault(item.theme, [])
            if item.type not in types:
                types.append(item.type)
        # A few articles are known to everybody: popularity falls as a power of the rank.
        ranks = rng.permutation(len(items)) + 1
        self._fame = ranks**-0.45
        self.themes = list(self._types_of)
        self._type_fame = {t: float(rng.uniform(0.4, 1.6)) for t in self._by_type}

    def theme_for(self, person: Person, day: int) -> str:
        if self._rng.random() < 0.13:  # a present, a whim, something in the newsletter
            month = (FIRST_DAY + timedelta(days=day)).month
            pool = SEASON[month] if self._rng.random() < 0.6 else self.themes
            return str(self._rng.choice(list(pool)))
        themes = list(person.interests)
        return str(self._rng.choice(themes, p=list(person.interests.values())))

    def type_in(self, theme: str, last: str | None) -> str:
        following = self._next.get(last or "")
        if following in self._types_of[theme] and self._rng.random() < 0.45:
            return str(following)
        types = self._types_of[theme]
        weights = np.array([self._type_fame[t] for t in types])
        return str(self._rng.choice(types, p=weights / weights.sum()))

    def item_of(self, kind: str, person: Person, day: int) -> int | None:
        there = [i for i in self._by_type[kind] if self.items[i].launched <= day]
        if not there:
            return None
        fit = np.array([np.exp(-((self.items[i].level - person.purse) ** 2) / 0.05) for i in there])
        weights = (fit + 0.02) * self._fame[there]
        return int(self._rng.choice(there, p=weights / weights.sum()))


Event = tuple[str, str, datetime, str, str]  # user, item, time, event, value


def live(person: Person, shop: Shop, rng: np.random.Generator) -> Iterable[Event]:
    """One person's visits, in the order of time."""
    days = np.sort(rng.integers(person.joined, DAYS, size=person.sessions))
    last: str | None = None
    bought: list[Item] = []
    for day in days:
        hour = float(np.clip(rng.normal(19 if rng.random() < 0.6 else 12, 2.5), 0, 23.5))
        now = FIRST_DAY + timedelta(days=int(day), hours=hour)
        used_up = [item for item in bought if item.consumed]
        if used_up and rng.random() < 0.3:
            again = used_up[int(rng.integers(len(used_up)))]
            yield person.user_id, again.item_id, now, "buy", str(int(rng.integers(1, 3)))
            now += timedelta(minutes=3)
        theme = shop.theme_for(person, int(day))
        for _ in range(int(rng.integers(1, 6))):
            kind = shop.type_in(theme, last)
            index = shop.item_of(kind, person, int(day))
            if index is None:
                continue
            item = shop.items[index]
            last = kind
            yield from visit(person, item, now, bought, rng)
            now += timedelta(seconds=int(rng.integers(25, 400)))


def visit(
    person: Person, item: Item, now: datetime, bought: list[Item], rng: np.random.Generator
) -> Iterable[Event]:
    """Looking at one article, and what may follow."""
    interest = person.interests.get(item.theme, 0.05)
    fit = float(np.exp(-((item.level - person.purse) ** 2) / 0.08))
    eager = 0.25 + 0.5 * interest * fit
    yield person.user_id, item.item_id, now, "view", ""
    if rng.random() > eager + 0.3:
        return
    yield person.user_id, item.item_id, now + timedelta(seconds=8), "click", ""
    if rng.random() < 0.04:
        yield person.user_id, item.item_id, now + timedelta(seconds=19), "share", ""
    if rng.random() > eager + 0.1 or (item in bought and not item.consumed):
        return
    yield person.user_id, item.item_id, now + timedelta(seconds=20), "cart", ""
    if rng.random() < 0.62:
        bought.append(item)
        yield person.user_id, item.item_id, now + timedelta(seconds=24), "buy", "1"
        if rng.random() < 0.12:
            later = now + timedelta(days=float(rng.uniform(2, 9)))
            stars = int(np.clip(round(rng.normal(3.4 + 1.4 * fit, 0.9)), 1, 5))
            yield person.user_id, item.item_id, later, "comment", str(stars)


def robots(items: Sequence[Item], rng: np.random.Generator) -> Iterable[Event]:
    """Price crawlers: one article after the other, every few seconds."""
    for number in range(ROBOTS):
        now = FIRST_DAY + timedelta(days=float(rng.uniform(20, DAYS - 2)))
        for item in rng.permutation(len(items))[:180]:
            now += timedelta(seconds=2)
            yield f"crawler-{number + 1}", items[item].item_id, now, "view", ""


def spoil(events: list[Event], rng: np.random.Generator) -> list[Event]:
    """What every log has: rows sent twice, articles no longer in the catalogue."""
    rows = list(events)
    for index in rng.choice(len(events), size=len(events) // 250, replace=False):
        rows.append(events[index])
    for index in rng.choice(len(events), size=len(events) // 300, replace=False):
        user, _, when, event, value = events[index]
        rows.append((user, f"OLD-{int(rng.integers(100, 140))}", when, event, value))
    return sorted(rows, key=lambda row: (row[2], row[0], row[1], row[3]))


def write_items(items: Sequence[Item], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["item_id", "title", "description", "categories", "tags", "brand", "price",
             "available_from"]
        )  # fmt: skip
        for item in items:
            day = FIRST_DAY + timedelta(days=item.launched if item.launched >= 0 else -400)
            writer.writerow(
                [item.item_id, item.title, item.description, item.categories, item.tags,
                 item.brand, f"{item.price:.2f}", day.date().isoformat()]
            )  # fmt: skip


def write_events(events: Sequence[Event], path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["user_id", "item_id", "timestamp", "event", "value"])
    for user, item, when, event, value in events:
        writer.writerow([user, item, when.strftime("%Y-%m-%dT%H:%M:%SZ"), event, value])
    # mtime=0: the same rows give the same bytes.
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def make(output: Path, seed: int = SEED) -> None:
    """Write items.csv and events.csv.gz into `output`."""
    rng = np.random.default_rng(seed)
    items = make_items(rng)
    shop = Shop(items, rng)
    people = make_people(shop.themes, rng)
    events = [event for person in people for event in live(person, shop, rng)]
    end = FIRST_DAY + timedelta(days=DAYS)
    events = [event for event in [*events, *robots(items, rng)] if event[2] < end]
    output.mkdir(parents=True, exist_ok=True)
    write_items(items, output / "items.csv")
    write_events(spoil(events, rng), output / "events.csv.gz")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the recommender's sample data.")
    parser.add_argument("--output", type=Path, default=HERE / "recommender")
    make(parser.parse_args().output)


if __name__ == "__main__":
    main()
