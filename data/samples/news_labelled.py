"""The labelled part of the sample news: training, validation and Chinese headlines."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from news_styles import dress
from news_wording import Blanks, Cast, Wording, load_patterns, load_sections

# Publishers in the training set write mostly like newspapers, as the corpora of the field do.
REGISTER_SHARES = {"paper": 0.52, "wire": 0.2, "tweet": 0.12, "brief": 0.1, "tabloid": 0.06}


@dataclass(frozen=True)
class Headline:
    """A headline with its sentiment and its one or two topics."""

    text: str
    sentiment: str
    topics: tuple[str, ...]


@dataclass(frozen=True)
class Labelled:
    """The three labelled tables; no text of `train` stands in `validation`."""

    train: tuple[Headline, ...]
    validation: tuple[Headline, ...]
    chinese: tuple[Headline, ...]


def make_labelled(source: Path, seed: int) -> Labelled:
    """All labelled headlines from the source folder; the same seed gives the same rows."""
    cast = Cast.from_file(source / "entities.yaml")
    patterns = load_patterns(source / "patterns")
    seen: set[str] = set()

    def written(
        part: str, plain: Sequence[str], whole: str, later: float, uses: Sequence[int]
    ) -> list[Headline]:
        rng = random.Random(f"{seed}/{part}")
        blanks = Blanks(cast, rng, later=later)
        wordings = [w for topic in patterns.values() for w in topic.parts[part]]
        for name in plain:
            wordings += load_sections(source / name)
        rows = list(_from_patterns(wordings, blanks, uses, rng, seen))
        for wording in load_sections(source / whole):
            if wording.text not in seen:
                seen.add(wording.text)
                rows.append(Headline(wording.text, wording.sentiment, wording.topics))
        rng.shuffle(rows)
        return rows

    train = written("train", ("plain.yaml", "events.yaml"), "one_offs.yaml", 0.0, (1, 2))
    validation = written(
        "validation", ("plain_validation.yaml",), "validation_one_offs.yaml", 0.3, (1,)
    )
    chinese = [
        Headline(w.text, w.sentiment, w.topics) for w in load_sections(source / "headlines_zh.yaml")
    ]
    random.Random(f"{seed}/zh").shuffle(chinese)
    return Labelled(tuple(train), tuple(validation), tuple(chinese))


def _from_patterns(
    wordings: Iterable[Wording],
    blanks: Blanks,
    uses: Sequence[int],
    rng: random.Random,
    seen: set[str],
) -> Iterable[Headline]:
    """Each wording once or twice, differently filled and dressed; never the same text again."""
    names, shares = list(REGISTER_SHARES), list(REGISTER_SHARES.values())
    for wording in wordings:
        for _ in range(rng.choice(uses)):
            register = wording.register or rng.choices(names, shares)[0]
            text = dress(blanks.fill(wording.text, register).text, register, rng)
            if text not in seen:
                seen.add(text)
                yield Headline(text, wording.sentiment, wording.topics)
