"""When a variant of an answer may be said: by what is known of the customer, and by opening hours.

    open, closed            the opening hours of [chatbot.handover]
    order_id, no order_id   a slot is known, or is not
    country = Germany       a slot has this value, in whatever case; != it is known and another

joined by `and`; a value that holds an `and` of its own stands in double quotes. A variant is kept
as it is written: a first line `when: CONDITION`, where it has one, and its template below. Variants
whose condition holds are said instead of those without one.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from shared.errors import DataError

MARK = "when:"
MOST_TERMS, LONGEST_VALUE = 10, 100
ALLOWED = (
    "write open, closed, a slot (order_id, no order_id) or its value (country = Germany, "
    "country != Germany), joined by and"
)
_SLOT = re.compile(r"[a-z][a-z0-9_]*")
_WORDS = frozenset({"open", "closed", "no", "not", "and", "or"})
# A quoted value is stepped over: an `and` in it joins nothing.
_AND = re.compile(r'"[^"]*"|\sand\s')


@dataclass(frozen=True)
class Term:
    """kind: hours (value: open or closed), known, unknown, is, is not. slot: "" of hours."""

    kind: Literal["hours", "known", "unknown", "is", "is not"]
    slot: str = ""
    value: str = ""

    def holds(self, slots: Mapping[str, str], *, open_now: bool) -> bool:
        if self.kind == "hours":
            return open_now == (self.value == "open")
        if self.kind in ("known", "unknown"):
            return (self.slot in slots) == (self.kind == "known")
        if self.slot not in slots:
            return False
        return (_plain(slots[self.slot]) == _plain(self.value)) == (self.kind == "is")

    def __str__(self) -> str:
        if self.kind == "hours":
            return self.value
        if self.kind in ("known", "unknown"):
            return self.slot if self.kind == "known" else f"no {self.slot}"
        value = f'"{self.value}"' if _AND.search(f" {self.value} ") else self.value
        return f"{self.slot} {'=' if self.kind == 'is' else '!='} {value}"


@dataclass(frozen=True)
class Condition:
    """terms: all of them must hold; each once, in the order they are written."""

    terms: tuple[Term, ...]

    def holds(self, slots: Mapping[str, str], *, open_now: bool) -> bool:
        """Whether it does for a customer of whom these slots are known."""
        return all(term.holds(slots, open_now=open_now) for term in self.terms)

    def __str__(self) -> str:
        return " and ".join(map(str, self.terms))


@dataclass(frozen=True)
class Variant:
    """One way to say an answer. condition: None: it may always be said."""

    template: str
    condition: Condition | None = None

    @property
    def when(self) -> str:
        """The condition as it is written, "" where there is none."""
        return "" if self.condition is None else str(self.condition)

    @property
    def written(self) -> str:
        """As it is kept; `variant_of` reads it back."""
        return f"{MARK} {self.when}\n{self.template}" if self.condition else self.template


def read_condition(text: str) -> Condition:
    """Raises DataError, without a place, where it cannot be read."""
    terms = dict.fromkeys(_term(piece.strip(), text) for piece in _pieces(text))
    if len(terms) > MOST_TERMS:
        raise DataError(f"a condition has {len(terms)} parts; at most {MOST_TERMS}")
    return Condition(tuple(terms))


def read_variant(written: str) -> Variant:
    """Raises DataError, without a place, where the first line is a condition that cannot be read,
    or nothing stands below it."""
    if not written.startswith(MARK):
        return Variant(written)
    first, _, template = written.partition("\n")
    condition = read_condition(first.removeprefix(MARK))
    if template.lstrip().startswith(MARK):
        raise DataError(f"a text has two conditions; join them: {MARK} {condition} and …")
    if not template.strip():
        raise DataError(f"nothing is said when {condition}: write the text below the condition")
    return Variant(template.strip(), condition)


def variant_of(written: str) -> Variant:
    """Of what was checked when it was read. A first line that is no condition is text: a version
    that was trained before there were conditions may hold one."""
    try:
        return read_variant(written)
    except DataError:
        return Variant(written)


def template_of(written: str) -> str:
    """What is said, without its condition."""
    return variant_of(written).template


def worlds(conditions: Iterable[Condition]) -> Iterator[tuple[dict[str, str], bool]]:
    """(slots, open_now) of every customer that these conditions can tell apart: each slot unknown,
    of each value that is named, and of another."""
    values: dict[str, dict[str, None]] = {}
    for term in (term for condition in conditions for term in condition.terms):
        if term.slot:
            own = values.setdefault(term.slot, {})
            own |= {term.value: None} if term.value else {}
    yield from _worlds(list(values.items()), {})


def _worlds(
    values: list[tuple[str, dict[str, None]]], known: dict[str, str]
) -> Iterator[tuple[dict[str, str], bool]]:
    if not values:
        yield dict(known), True
        yield dict(known), False
        return
    (slot, named), rest = values[0], values[1:]
    yield from _worlds(rest, known)
    for value in (*named, _another(named)):
        yield from _worlds(rest, {**known, slot: value})


def _another(named: Iterable[str]) -> str:
    """A value that is none of these."""
    return "".join(named) + "…"


def _pieces(text: str) -> Iterator[str]:
    begin = 0
    for match in _AND.finditer(text):
        if not match.group().startswith('"'):
            yield text[begin : match.start()]
            begin = match.end()
    yield text[begin:]


def _term(piece: str, whole: str) -> Term:
    if piece in ("open", "closed"):
        return Term("hours", value=piece)
    name, equals, value = piece.partition("=")
    if equals:
        kind: Literal["is", "is not"] = "is not" if name.endswith("!") else "is"
        return Term(kind, _slot(name.removesuffix("!"), whole), _value(value, whole))
    first, space, rest = piece.partition(" ")
    if space and first in ("no", "not"):
        return Term("unknown", _slot(rest, whole))
    return Term("known", _slot(piece, whole))


def _slot(name: str, whole: str) -> str:
    name = name.strip()
    if not _SLOT.fullmatch(name) or name in _WORDS:
        raise _unreadable(whole)
    return name


def _value(text: str, whole: str) -> str:
    value = text.strip()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1].strip()
    if not 0 < len(value) <= LONGEST_VALUE or '"' in value or not value.isprintable():
        raise _unreadable(whole)
    return value


def _unreadable(whole: str) -> DataError:
    shown = " ".join(whole.split())[:80]
    return DataError(f"the condition {shown!r} cannot be read; {ALLOWED}")


def _plain(value: str) -> str:
    return " ".join(value.split()).casefold()
