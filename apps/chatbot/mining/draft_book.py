"""Drafted intents as a person reviews them: accepted, renamed, edited, merged, split, dropped.

Every change gives a new book; nothing is lost but what is edited away: dropped intents are kept.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from apps.chatbot.answers import Answer, AnswerBook, lint, readable
from apps.chatbot.conditions import template_of, variant_of
from shared.errors import DataError
from shared.near_duplicates import near_duplicate_key

State = Literal["open", "accepted", "dropped"]
LONGEST_LABEL = 80
_LABEL_TAKES = "letters, digits, spaces and any of _ - / . and is at most"


@dataclass(frozen=True)
class DraftExample:
    """source: further columns of its row: file, dialogue, turn, confidence, entities."""

    text: str
    source: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DraftIntent:
    """titles: language -> what a button says; texts: language -> variants as they are written; both
    empty where there is no answer. origins: the labels that the import gave its examples."""

    label: str
    examples: tuple[DraftExample, ...]
    titles: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    state: State = "open"
    origins: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return next(iter(self.titles.values()), readable(self.label))

    @property
    def answer(self) -> str:
        """The first template, "" where there is none."""
        return next((template_of(t) for several in self.texts.values() for t in several), "")

    @property
    def confidence(self) -> float | None:
        """Mean of the examples' pairs, 0..1; None where none says."""
        found = [_number(each.source.get("confidence", "")) for each in self.examples]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known else None

    def as_dict(self) -> dict[str, Any]:
        return {
            "label": self.label, "titles": dict(self.titles),
            "texts": {language: list(several) for language, several in self.texts.items()},
            "state": self.state, "origins": list(self.origins),
            "examples": [{"text": e.text, **e.source} for e in self.examples],
        }  # fmt: skip

    @classmethod
    def of_dict(cls, row: Mapping[str, Any]) -> "DraftIntent":
        """Raises KeyError, TypeError, AttributeError or ValueError for what `as_dict` does not
        give."""
        examples = tuple(
            DraftExample(str(e["text"]), {str(k): str(v) for k, v in e.items() if k != "text"})
            for e in row["examples"]
        )
        texts = {str(k): tuple(map(str, several)) for k, several in row["texts"].items()}
        if row["state"] not in ("open", "accepted", "dropped"):
            raise ValueError(f"state {row['state']!r}")
        titles = {str(k): str(v) for k, v in row["titles"].items()}
        origins = tuple(map(str, row["origins"]))
        return cls(str(row["label"]), examples, titles, texts, row["state"], origins)


@dataclass(frozen=True)
class DraftBook:
    """All drafts of a folder, the dropped ones too; labels of those in use are distinct."""

    intents: tuple[DraftIntent, ...]

    @property
    def used(self) -> tuple[DraftIntent, ...]:
        return tuple(each for each in self.intents if each.state != "dropped")

    @property
    def dropped(self) -> tuple[DraftIntent, ...]:
        return tuple(each for each in self.intents if each.state == "dropped")

    def intent(self, label: str) -> DraftIntent:
        """Raises DataError where no intent in use has the label."""
        found = next((each for each in self.used if each.label == label), None)
        if found is None:
            raise DataError(f"there is no intent {label!r} any more; load the page again")
        return found

    def answers(self) -> AnswerBook:
        return AnswerBook(
            tuple(Answer(i.label, i.titles, i.texts) for i in self.used if any(i.texts.values()))
        )

    def with_state(self, labels: Collection[str], state: State) -> "DraftBook":
        """Accept, open again or drop, many at once."""
        for label in labels:
            self.intent(label)
        return self._changed(labels, lambda each: replace(each, state=state))

    def without_open(self) -> "DraftBook":
        """Only what is accepted stays in use."""
        return self.with_state([i.label for i in self.used if i.state == "open"], "dropped")

    def brought_back(self, at: Collection[int]) -> "DraftBook":
        """Dropped intents in use again; at: their numbers among the dropped."""
        back = {id(self.dropped[i]) for i in at}
        taken = {each.label for each in self.used}
        out = []
        for each in self.intents:
            if id(each) in back:
                label = _free(each.label, taken)
                taken.add(label)
                out.append(replace(each, state="open", label=label))
            else:
                out.append(each)
        return DraftBook(tuple(out))

    def renamed(self, label: str, new: str) -> "DraftBook":
        """Raises DataError where `new` cannot be a label or is one already."""
        self.intent(label)
        new = checked_label(new)
        if new == label:
            return self
        if any(each.label == new for each in self.used):
            raise DataError(f"{new!r} is another intent's label; merge the two instead")
        return self._changed([label], lambda each: replace(each, label=new))

    def edited(
        self,
        label: str,
        *,
        titles: Mapping[str, str],
        texts: Mapping[str, Sequence[str]],
        examples: Sequence[str],
    ) -> "DraftBook":
        """Titles, templates and examples as a person wrote them; empty ones fall away, an example
        that stays keeps its source.

        Raises: DataError where a template has a stray brace or a condition that cannot be read, or
        no example is left.
        """
        own = self.intent(label)
        kept = {
            language: tuple(dict.fromkeys(t.strip() for t in several if t.strip()))
            for language, several in texts.items()
        }
        kept = {language: several for language, several in kept.items() if several}
        for several in kept.values():
            for written in several:
                lint(written, label)
        kept = {code: tuple(variant_of(t).written for t in own) for code, own in kept.items()}
        said = {language: t.strip() for language, t in titles.items() if t.strip()}
        if kept and not said:
            said = {next(iter(kept)): readable(label)}
        known = {each.text: each for each in own.examples}
        lines = dict.fromkeys(" ".join(line.split()) for line in examples)
        rows = tuple(known.get(line, DraftExample(line)) for line in lines if line)
        if not rows and own.examples:
            raise DataError(f"{label}: no example is left; drop the intent instead")
        return self._changed(
            [label],
            lambda each: replace(each, titles=said if kept else {}, texts=kept, examples=rows),
        )

    def merged(self, labels: Sequence[str], into: str) -> "DraftBook":
        """The examples and the different templates of several intents under one label, which keeps
        its titles."""
        first = self.intent(into)
        others = [self.intent(label) for label in dict.fromkeys(labels) if label != into]
        if not others:
            raise DataError("choose two intents or more to merge")
        several = (first, *others)
        seen: dict[str, DraftExample] = {}
        for each in several:
            for example in each.examples:
                seen.setdefault(near_duplicate_key(example.text), example)
        texts: dict[str, dict[str, None]] = {}
        titles: dict[str, str] = {}
        for each in several:
            for language, templates in each.texts.items():
                texts.setdefault(language, {}).update(dict.fromkeys(templates))
            for language, title in each.titles.items():
                titles.setdefault(language, title)
        whole = replace(
            first, examples=tuple(seen.values()), titles=titles,
            texts={language: tuple(templates) for language, templates in texts.items()},
            origins=tuple(dict.fromkeys(o for each in several for o in each.origins)),
        )  # fmt: skip
        gone = {each.label for each in others}
        kept = (i for i in self.intents if i.state == "dropped" or i.label not in gone)
        return DraftBook(tuple(whole if each is first else each for each in kept))

    def split(self, label: str, texts: Collection[str], new: str) -> "DraftBook":
        """Some of an intent's examples under a label of their own, behind it; both have the answer,
        which is then to be edited.

        Raises: DataError where nothing, or everything, is to go, or the label is taken.
        """
        own = self.intent(label)
        new = checked_label(new)
        if any(each.label == new for each in self.used):
            raise DataError(f"{new!r} is another intent's label; choose another")
        moved = tuple(each for each in own.examples if each.text in texts)
        stay = tuple(each for each in own.examples if each.text not in texts)
        if not moved or not stay:
            raise DataError(f"{label}: choose some of its examples, and not all of them")
        titles = {language: readable(new) for language in own.titles}
        part = replace(own, label=new, examples=moved, titles=titles, state="open")
        out: list[DraftIntent] = []
        for each in self.intents:
            out += [replace(own, examples=stay), part] if each is own else [each]
        return DraftBook(tuple(out))

    def _changed(
        self, labels: Collection[str], change: Callable[[DraftIntent], DraftIntent]
    ) -> "DraftBook":
        return DraftBook(
            tuple(
                change(each) if each.state != "dropped" and each.label in labels else each
                for each in self.intents
            )
        )


def checked_label(label: str) -> str:
    """Raises DataError for what cannot be a label."""
    label = " ".join(label.split())
    odd = any(not (c.isalnum() or c in "_-/. ") for c in label)
    if not label or len(label) > LONGEST_LABEL or odd:
        raise DataError(f"{label!r}: a label holds {_LABEL_TAKES} {LONGEST_LABEL} characters long")
    return label


def _free(label: str, taken: Collection[str]) -> str:
    name, number = label, 2
    while name in taken:
        name, number = f"{label}_{number}", number + 1
    return name


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
