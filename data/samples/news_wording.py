"""The hand-written wordings of the sample news, and how their blanks are filled.

A wording is a headline with blanks: `<bank>` is an invented bank, `<bank2>` another one,
`<bank.tick>` the first one's ticker; `<pct:2-9>` is a percentage, `<m:20-90>` millions of money;
`{closes|shuts}` is a choice. The wordings stand under data/samples/source/news.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

SENTIMENTS = ("negative", "neutral", "positive")
REGISTERS = ("paper", "wire", "tabloid", "tweet", "brief")

_TAG = re.compile(r"\s*\[([^\[\]]+)\]$")
_CHOICE = re.compile(r"\{([^{}]*)\}")
_BLANK = re.compile(r"<([a-z]+)(\d?)(?:\.([a-z]+))?(?::(\d+)-(\d+))?>")

NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()
ORDINALS = "second third fourth fifth sixth seventh".split()
MONTHS = (
    "January February March April May June July August September October November December"
).split()
DAYS = "Monday Tuesday Wednesday Thursday Friday".split()
FIRMS = frozenset(
    "airline bank retailer tech energy miner property company fund person gang".split()
)
NUMBER_KINDS = frozenset("n d pct ipct m bn num bps ord q frac month day rating".split())


@dataclass(frozen=True)
class Wording:
    """One hand-written headline, teaser or follow-up, with its labels.

    `register` None means that any publisher could have written it. `key` is unique and names the
    file section the wording stands in.
    """

    key: str
    text: str
    topics: tuple[str, ...]
    sentiment: str
    register: str | None = None

    def kinds(self) -> frozenset[str]:
        """The entity blanks of the text, e.g. {"bank", "bank2"}."""
        found = {kind + index for kind, index, *_ in _BLANK.findall(self.text)}
        return frozenset(k for k in found if k not in NUMBER_KINDS)


@dataclass(frozen=True)
class Entity:
    """An invented name: in full, short, and the ticker it trades under ("" if none)."""

    full: str
    short: str
    ticker: str

    def occurs_in(self, story: str) -> bool:
        return self.short in story or (self.ticker != "" and f"${self.ticker}" in story)


@dataclass(frozen=True)
class Filled:
    """A headline with its blanks filled, and the entities that went in by blank name."""

    text: str
    bound: Mapping[str, Entity]


def parse_block(block: str, key: str, topic: str, sentiment: str) -> list[Wording]:
    """One wording a line; [+Topic] and [register] at its end are read off."""
    wordings = []
    for number, line in enumerate(block.splitlines()):
        text, register, topics = line.strip(), None, [topic]
        if not text:
            continue
        while (tag := _TAG.search(text)) is not None:
            if tag[1].startswith("+"):
                topics.append(tag[1][1:])
            elif tag[1] in REGISTERS:
                register = tag[1]
            else:
                raise ValueError(f"{key}: [{tag[1]}] is neither a register nor a +Topic")
            text = text[: tag.start()]
        wordings.append(Wording(f"{key}/{number}", text, tuple(topics), sentiment, register))
    return wordings


def load_sections(path: Path) -> list[Wording]:
    """A file of whole headlines: topic -> sentiment -> block."""
    raw: dict[str, dict[str, str]] = yaml.safe_load(path.read_text("utf-8"))
    return [
        wording
        for topic, by_sentiment in raw.items()
        for sentiment, block in by_sentiment.items()
        for wording in parse_block(block, f"{path.stem}/{topic}/{sentiment}", topic, sentiment)
    ]


@dataclass(frozen=True)
class TopicWordings:
    """All wordings of one topic by part (train, validation, stream, follow_up, summaries)."""

    topic: str
    parts: Mapping[str, tuple[Wording, ...]]

    def of(self, part: str, sentiment: str) -> list[Wording]:
        return [w for w in self.parts[part] if w.sentiment == sentiment]


def load_patterns(folder: Path) -> dict[str, TopicWordings]:
    """Topic name -> its wordings, from the files of `folder` in alphabetical order."""
    topics = {}
    for path in sorted(folder.glob("*.yaml")):
        raw = yaml.safe_load(path.read_text("utf-8"))
        topic: str = raw.pop("topic")
        parts = {
            part: tuple(
                wording
                for sentiment in SENTIMENTS
                for wording in parse_block(
                    blocks[sentiment], f"{topic}/{part}/{sentiment}", topic, sentiment
                )
            )
            for part, blocks in raw.items()
        }
        topics[topic] = TopicWordings(topic, parts)
    return topics


class Cast:
    """The invented names, in two parts: `train`, and `later` (never in a training headline)."""

    def __init__(self, entities: Mapping[tuple[str, str], Sequence[Entity]]) -> None:
        self.entities = entities

    @classmethod
    def from_file(cls, path: Path) -> "Cast":
        """Reads kind -> part -> lines of `full name / short name / ticker`."""
        raw: dict[str, dict[str, str]] = yaml.safe_load(path.read_text("utf-8"))
        return cls(
            {
                (kind, part): [_entity(line) for line in block.splitlines() if line.strip()]
                for kind, parts in raw.items()
                for part, block in parts.items()
            }
        )

    def without(self, story: str) -> "Cast":
        """The cast less everybody whose short name or ticker occurs in the story."""
        return Cast(
            {
                key: [e for e in entities if not e.occurs_in(story)]
                for key, entities in self.entities.items()
                if key[0] in FIRMS
            }
            | {key: entities for key, entities in self.entities.items() if key[0] not in FIRMS}
        )

    def draw(
        self, kind: str, rng: random.Random, *, later: float, taken: Sequence[Entity]
    ) -> Entity:
        """An entity of the kind that is not taken yet; with probability `later` a late name."""
        part = "later" if rng.random() < later else "train"
        free = [e for e in self.entities[kind, part] if e not in taken]
        return rng.choice(free or self.entities[kind, "train"])


def _entity(line: str) -> Entity:
    names = [name.strip() for name in line.split("/")]
    full = names[0]
    return Entity(full, names[1] if len(names) > 1 else full, names[2] if len(names) > 2 else "")


class Blanks:
    """Fills wordings: draws names and numbers, and writes them as the register does."""

    def __init__(self, cast: Cast, rng: random.Random, *, later: float) -> None:
        self.cast = cast
        self.rng = rng
        self.later = later

    def fill(self, text: str, register: str, bound: Mapping[str, Entity] | None = None) -> Filled:
        """Fills every blank and choice; entities already `bound` are used again."""
        rng, names = self.rng, dict(bound or {})
        text = _CHOICE.sub(lambda choice: rng.choice(choice[1].split("|")), text)
        short = rng.random() < {"tweet": 0.75, "tabloid": 0.7, "wire": 0.5}.get(register, 0.35)
        money = _money_style(register, rng)
        percent = _percent_style(register, rng)

        def replace(blank: re.Match[str]) -> str:
            kind, index, form, low, high = blank.groups()
            if kind in NUMBER_KINDS:
                span = (int(low), int(high)) if low else None
                return self._number(kind, span, money, percent)
            name = names.get(kind + index)
            if name is None:
                name = self.cast.draw(kind, rng, later=self.later, taken=list(names.values()))
                names[kind + index] = name
            return self._name(name, form, register, short, replace)

        filled = _BLANK.sub(replace, text).replace("s's", "s'")
        if register != "tweet":
            filled = filled[0].upper() + filled[1:]
        return Filled(filled, names)

    def _name(
        self,
        name: Entity,
        form: str | None,
        register: str,
        short: bool,
        replace: Callable[[re.Match[str]], str],
    ) -> str:
        if form == "tick":
            return name.ticker
        if form == "last":
            return name.short
        if register == "tweet" and name.ticker and self.rng.random() < 0.6:
            return f"${name.ticker}"
        written = _BLANK.sub(replace, name.short if short else name.full)
        return written[0].upper() + written[1:] if form == "cap" else written

    def _number(
        self, kind: str, span: tuple[int, int] | None, money: tuple[str, str, str], percent: str
    ) -> str:
        rng = self.rng
        sign, million, billion = money
        if kind == "m":
            low, high = span or (20, 900)
            step = 1 if high < 30 else 5
            return f"{sign}{rng.randrange(low, high + 1, step)}{million}"
        if kind == "bn":
            low, high = span or (1, 9)
            return f"{sign}{rng.uniform(low, high):.1f}{billion}".replace(".0", "")
        if kind in {"pct", "ipct"}:
            low, high = span or (1, 8)
            figure = rng.uniform(low, high)
            return (f"{figure:.1f}" if kind == "pct" else f"{figure:.0f}") + percent
        if kind == "d":
            low, high = span or (1, 9)
            return f"{rng.uniform(low, high) + 0.1:.1f}"
        if kind == "n":
            low, high = span or (2, 40)
            return str(_rounded(rng.randint(low, high)))
        if kind == "num":
            low, high = span or (2, 9)
            return NUMBER_WORDS[rng.randint(low, high)]
        lists: dict[str, Sequence[str]] = {
            "bps": ("25 bps", "50 bps", "75 bps", "15 basis points", "half a point"),
            "ord": ORDINALS,
            "q": ("Q1", "Q2", "Q3", "Q4", "first-quarter", "third-quarter"),
            "frac": ("third", "quarter", "fifth"),
            "month": MONTHS,
            "day": DAYS,
            "rating": ("A", "A-minus", "BBB-plus", "BBB"),
        }
        return rng.choice(lists[kind])


def _rounded(figure: int) -> int:
    """Numbers above 400 are reported in round figures: 4,137 jobs -> 4,100."""
    if figure >= 1000:
        return figure // 100 * 100
    return figure // 10 * 10 if figure >= 400 else figure


def _money_style(register: str, rng: random.Random) -> tuple[str, str, str]:
    """Currency sign, and what stands for million and for billion."""
    if register == "tabloid":
        return ("£", "m", "bn")
    sign = rng.choice(("$", "€", "£", "$", "€"))
    if register == "tweet":
        return (sign, "M", "B")
    if register == "wire":
        return (sign, *rng.choice(((" mln", " bln"), (" million", " billion"))))
    return (sign, *rng.choice(((" million", " billion"), ("m", "bn"), (" million", " billion"))))


def _percent_style(register: str, rng: random.Random) -> str:
    if register == "wire":
        return rng.choice(("%", " pct", " pct"))
    if register == "paper":
        return rng.choice(("%", "%", " per cent", " percent"))
    return "%"
