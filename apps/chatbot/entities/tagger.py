"""Values that stand in no list, known by the words around them and by how they look.

Each word gets a probability of each entity by a linear function of the words beside it, its first
and last letters and its shape; neighbours of one entity are one value. What is not sure enough is
not found: each entity has a threshold of its own, under which the examples were too often wrong.

Own code for what serves, for a tagger of a library would bring a language model along or load by
pickle.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from apps.chatbot.entities.spans import Message, Span, Word
from shared.atomic import write_text
from shared.errors import ModelError

JSON_FILE, ARRAYS_FILE = "tagger.json", "tagger.safetensors"
NOTHING = ("", "")  # the label of a word that belongs to no value
Label = tuple[str, str]  # of an entity, and its role or ""
_UPPER, _LOWER, _DIGIT = re.compile(r"[A-ZÀ-ÖØ-Þ]"), re.compile(r"[^\W\d_X]"), re.compile(r"\d")
_REPEATED = re.compile(r"(.)\1{2,}")


@dataclass(frozen=True)
class Tagged:
    """Words `start` to before `end` as a value. probability: of its least sure word."""

    start: int
    end: int
    label: Label
    probability: float


@dataclass(frozen=True)
class LabelFigures:
    """How an entity fared on examples that the tagger had not seen. annotated: values there were;
    found: values it would have told; right: of those. threshold: above 1 where it tells none."""

    entity: str
    role: str
    annotated: int
    found: int
    right: int
    threshold: float


@dataclass(frozen=True, eq=False)
class Tagger:
    """columns: feature -> row of weight (F, C); bias: (C,); labels: of the C columns."""

    columns: Mapping[str, int]
    labels: tuple[Label, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    figures: tuple[LabelFigures, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Entities and roles that it can tell."""
        told = [each for each in self.figures if each.threshold <= 1]
        return tuple(dict.fromkeys(name for f in told for name in (f.entity, f.role) if name))

    def find(self, message: Message, canonical: Callable[[str], str]) -> list[Span]:
        """The values it is sure of. canonical: what a value as written stands for."""
        threshold = {(each.entity, each.role): each.threshold for each in self.figures}
        words = message.words
        found = []
        for each in self.tag(message.text, words):
            if each.probability >= threshold.get(each.label, np.inf):
                start, end = words[each.start].start, words[each.end - 1].end
                value = canonical(message.text[start:end])
                name, role = each.label
                found.append(message.span(name, value, start, end, "learned", role))
        return found

    def tag(self, text: str, words: Sequence[Word]) -> Iterator[Tagged]:
        """Runs of words whose likeliest label is the same entity, sure or not."""
        rows = [
            self.bias + self.weight[[self.columns[f] for f in each if f in self.columns]].sum(0)
            for each in features(text, words)
        ]
        if not rows:
            return
        margins = np.array(rows, dtype=np.float64)  # (words, C)
        odds = np.exp(margins - margins.max(axis=1, keepdims=True))
        probabilities = odds / odds.sum(axis=1, keepdims=True)
        likeliest = probabilities.argmax(axis=1).tolist()
        for column, several in groupby(range(len(rows)), key=likeliest.__getitem__):
            places = list(several)
            if self.labels[column] != NOTHING:
                least = float(probabilities[places, column].min())
                yield Tagged(places[0], places[-1] + 1, self.labels[column], least)

    def save(self, folder: Path) -> None:
        """Write tagger.json and tagger.safetensors."""
        head = {
            "features": list(self.columns),
            "labels": self.labels,
            "figures": [asdict(each) for each in self.figures],
        }
        write_text(folder / JSON_FILE, json.dumps(head, ensure_ascii=False) + "\n")
        save_file({"weight": self.weight, "bias": self.bias}, folder / ARRAYS_FILE)

    @classmethod
    def load(cls, folder: Path) -> "Tagger | None":
        """None where nothing was learned. Raises ModelError when a file is damaged."""
        path = folder / JSON_FILE
        if not path.is_file():
            return None
        try:
            head = json.loads(path.read_text(encoding="utf-8"))
            arrays = load_file(folder / ARRAYS_FILE)
            columns = {str(feature): row for row, feature in enumerate(head["features"])}
            labels = tuple((str(name), str(role)) for name, role in head["labels"])
            figures = tuple(LabelFigures(**each) for each in head["figures"])
            made = cls(columns, labels, arrays["weight"], arrays["bias"], figures)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(f"{path}: not readable ({error})") from error
        if made.weight.shape != (len(columns), len(labels)) or made.bias.shape != (len(labels),):
            raise ModelError(f"{path}: does not fit {ARRAYS_FILE} beside it; train again")
        return made


def features(text: str, words: Sequence[Word]) -> Iterator[list[str]]:
    """What is known of each word; words: of the text."""
    keys = ["<", "<", *(word.key for word in words), ">", ">"]
    shapes = ["<", *(_shape(text[word.start : word.end]) for word in words), ">"]
    for i in range(len(words)):
        before2, before, key, after, after2 = keys[i : i + 5]
        shape_before, shape, shape_after = shapes[i : i + 3]
        yield [
            f"word={key}", f"shape={shape}", f"first={key[:2]}", f"first={key[:3]}",
            f"last={key[-2:]}", f"last={key[-3:]}", f"before={before}", f"after={after}",
            f"before2={before2}", f"after2={after2}", f"before={before2} {before}",
            f"after={after} {after2}", f"pair={before} {key}", f"shaped={before} {shape}",
            f"shape before={shape_before}", f"shape after={shape_after}",
        ]  # fmt: skip


def _shape(word: str) -> str:
    """`KB20418` -> `XXdd`."""
    shape = _DIGIT.sub("d", _LOWER.sub("x", _UPPER.sub("X", word)))
    return _REPEATED.sub(r"\1\1", shape)
