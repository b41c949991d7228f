"""Answers of other tools in our spelling of slots, and slots in the spelling of other tools."""

import re
from collections.abc import Mapping

from apps.chatbot.answers import lint
from apps.chatbot.conditions import MARK
from shared.errors import DataError

SLOT = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_OPTIONAL = re.compile(r"\[\[.*?\]\]", re.DOTALL)
_BRACES = re.compile(r"[{}]|\[\[|\]\]")


def slot_name(name: str) -> str:
    """A name as slots of ours have it: `ORDER-id` -> `order_id`; "" where nothing is left."""
    return re.sub(r"[^a-z0-9_]", "_", name.lower()).lstrip("_0123456789")


def as_template(
    text: str, slot: re.Pattern[str] | None, values: Mapping[str, str]
) -> tuple[str, bool]:
    """The text with its slots in our spelling, and whether it has braces that are none.

    slot: matches a slot; its first group is the name; None: the other tool has no slots. values: of
    slots that are always filled. Braces that are no slot become round brackets, and what would be
    read as a condition stays text.
    """

    def ours(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in values:
            return values[name].replace("{", "(").replace("}", ")")
        return f"\0{slot_name(name)}\1"

    text = text.replace("\0", "").replace("\1", "")
    if text.startswith(MARK):
        text = text.capitalize()[: len(MARK)] + text[len(MARK) :]
    text = text if slot is None else slot.sub(ours, text)
    stray = bool(_BRACES.search(text))
    if stray:
        text = text.replace("{", "(").replace("}", ")").replace("[[", "[ [").replace("]]", "] ]")
    return text.replace("\0\1", "").replace("\0", "{").replace("\1", "}"), stray


def sound(template: str) -> bool:
    """Whether every brace of a variant is a slot's, and its condition can be read."""
    try:
        lint(template, "")
    except DataError:
        return False
    return True


def shortest(template: str) -> str:
    """The template without optional parts, for tools that know none; as it is where nothing else
    is in it."""
    return " ".join(_OPTIONAL.sub("", template).split(" ")).strip() or longest(template)


def longest(template: str) -> str:
    """The template with its optional parts as plain text."""
    return template.replace("[[", "").replace("]]", "")


def safe_names(labels: list[str], allowed: re.Pattern[str]) -> dict[str, str]:
    """Label -> a distinct name that another tool takes, whatever its case. allowed: matches what
    may not stand in a name."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in dict.fromkeys(labels):
        stem = name = allowed.sub("_", label.strip()).strip("_")[:90] or "intent"
        number = 2
        while name.casefold() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.casefold())
        names[label] = name
    return names
