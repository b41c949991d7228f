"""Conditions of answers as Rasa's responses have them: slots with the values they must have.

Rasa says a response whose constraints all hold rather than one without any, as we do. It compares
values without regard to case, and knows neither opening hours nor that a slot is merely known.
"""

from collections.abc import Mapping
from typing import Any

from apps.chatbot.conditions import Condition, Term, read_condition
from apps.chatbot.formats.templates import slot_name
from apps.chatbot.formats.yaml_files import list_of, mapping_under
from shared.errors import DataError

# Metadata of our own exports, by which they come back as they were.
MARK = "triptych"


_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})  # as YAML writes it


def constraints_of(condition: Condition) -> list[dict[str, Any]]:
    """The part of a condition that Rasa can check."""
    return [
        {"type": "slot", "name": term.slot, "value": term.value or None}
        for term in _rasas(condition)
    ]


def is_rasas(condition: Condition) -> bool:
    """Whether Rasa can check all of it."""
    return _rasas(condition) == condition.terms


def _rasas(condition: Condition) -> tuple[Term, ...]:
    return tuple(term for term in condition.terms if term.kind in ("is", "unknown"))


def condition_of(variant: Mapping[str, Any]) -> Condition | None:
    """The condition of a response, without terms where it has none; None where ours cannot say it.

    What our own export keeps in the metadata is believed where the response still says the same.
    """
    if variant.get("condition") and not isinstance(variant["condition"], list):
        return None
    try:
        terms = tuple(dict.fromkeys(map(_term, list_of(variant, "condition"))))
        own = mapping_under(mapping_under(variant, "metadata"), MARK).get("when")
        if isinstance(own, str):
            kept = read_condition(own)
            if _rasas(kept) == terms:
                return kept
        # As a person could have written it.
        return read_condition(str(Condition(terms))) if terms else Condition(())
    except DataError:
        return None


def _term(constraint: Any) -> Term:
    """Raises DataError where it is none of a slot."""
    given = constraint if isinstance(constraint, Mapping) else {}
    name, value = given.get("name"), given.get("value", "")
    if given.get("type") != "slot" or not isinstance(name, str) or not isinstance(value, str):
        raise DataError("not a slot's")
    if value in _NOTHING:
        return Term("unknown", slot_name(name))
    return Term("is", slot_name(name), value.strip())
