"""Values of entities on marked examples that were not learned from: how many of those told are
right, and how many of those marked are told.

Beside the learned entities stands what a list of the values that were marked in training finds.
"""

import csv
import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apps.chatbot.entities.lists import EntityLists
from apps.chatbot.entities.spans import Message, Span
from apps.chatbot.entities.tagger import NOTHING
from apps.chatbot.entities.tagger_fitting import fit_tagger, label_of
from apps.chatbot.formats.kept import Entity
from apps.chatbot.formats.rasa_import import read_rasa
from pipelines.benchmark_customers import OURS, Asked, mean_asked
from shared.near_duplicates import near_duplicate_groups
from shared.settings import Home
from shared.training.options import TrainOptions

Say = Callable[[str], None]
TURNS = "chatbot/multidogo/turns.csv.gz"
DOMAINS = ("airline", "insurance")
BOTS = "chatbot/rasa_bots"
HELD_OUT, DRAWS = 0.25, 3
Value = tuple[int, int, int, tuple[str, str]]  # example, start, end, entity and role


@dataclass(frozen=True)
class Marked:
    """Examples and the values marked in each."""

    texts: tuple[str, ...]
    entities: tuple[tuple[Entity, ...], ...]

    def take(self, rows: Sequence[int]) -> "Marked":
        return Marked(tuple(self.texts[i] for i in rows), tuple(self.entities[i] for i in rows))

    @property
    def values(self) -> set[Value]:
        return {
            (i, each.start, each.end, label_of(each))
            for i, several in enumerate(self.entities) for each in several
            if label_of(each) != NOTHING
        }  # fmt: skip


def measure_entities(sets: Path, *, home: Home, options: TrainOptions, say: Say) -> Iterator[Asked]:
    """Rasa's two bots, DRAWS times another quarter of the examples held out with its near
    duplicates; MultiDoGo's own development part of two domains."""
    del home
    for folder in sorted(each for each in (sets / BOTS).glob("*") if each.is_dir()):
        bot = read_rasa(folder)
        whole = Marked(bot.texts, tuple(bot.kept.of(row) for row in range(len(bot.texts))))
        parts = [_split(whole, options.seed + draw) for draw in range(DRAWS)]
        yield from _figures(f"{folder.name}, held out", parts, options.seed, say)
    for domain in DOMAINS:
        train, held = (_turns(sets / TURNS, domain, part) for part in ("train", "dev"))
        yield from _figures(f"MultiDoGo {domain}", [(train, held)], options.seed, say)


def _figures(
    data: str, parts: Sequence[tuple[Marked, Marked]], seed: int, say: Say
) -> Iterator[Asked]:
    right: dict[str, list[bool]] = {}
    told: dict[str, list[bool]] = {}
    for train, held in parts:
        say(f"{data}: {len(train.texts):,} examples learned from, {len(held.texts):,} asked")
        truth = held.values
        for system, find in _systems(train, seed).items():
            found = {
                (i, span.start, span.end, (span.name, span.role))
                for i, text in enumerate(held.texts) for span in find(Message.of(text))
            }  # fmt: skip
            right.setdefault(system, []).extend(value in truth for value in found)
            told.setdefault(system, []).extend(value in found for value in truth)
    for system in told:
        for measure, values in (("precision", right[system]), ("recall", told[system])):
            yield mean_asked(data, system, measure, values, seed)


def _systems(train: Marked, seed: int) -> dict[str, Callable[[Message], Sequence[Span]]]:
    tagger = fit_tagger(train.texts, train.entities, seed=seed)
    values: dict[str, dict[str, None]] = {}
    for text, entities in zip(train.texts, train.entities, strict=True):
        for each in entities:
            name = values.setdefault(each.properties["entity"], {})
            name[text[each.start : each.end]] = None
    lists = EntityLists({"lookups": {name: tuple(several) for name, several in values.items()}})
    return {
        OURS: lambda message: [] if tagger is None else tagger.find(message, str),
        "list of the marked values": lists.find,
    }


def _split(whole: Marked, seed: int) -> tuple[Marked, Marked]:
    groups = near_duplicate_groups(whole.texts)
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    held = np.isin(groups, names[: round(HELD_OUT * len(names))])
    return whole.take(np.flatnonzero(~held).tolist()), whole.take(np.flatnonzero(held).tolist())


def _turns(path: Path, domain: str, part: str) -> Marked:
    """Turns whose labels are as many as their words; neighbours of one label are one value."""
    texts, entities = [], []
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            words, labels = row["utterance"].split(), row["slot-labels"].split()
            if (row["domain"], row["split"]) == (domain, part) and len(words) == len(labels):
                texts.append(" ".join(words))
                entities.append(tuple(_runs(words, labels)))
    return Marked(tuple(texts), tuple(entities))


def _runs(words: Sequence[str], labels: Sequence[str]) -> Iterator[Entity]:
    at, begun = 0, 0
    for number, (word, label) in enumerate(zip(words, labels, strict=True)):
        if number == 0 or label != labels[number - 1]:
            begun = at
        at += len(word) + 1
        if label != "O" and labels[number + 1 : number + 2] != [label]:
            yield Entity(begun, at - 1, {"entity": label})
