"""Everything a bot finds in messages: typed, listed and learned values, in one list."""

import json
from collections.abc import Sequence
from pathlib import Path

from apps.chatbot.entities.lists import EntityLists
from apps.chatbot.entities.spans import Message, Span, slot_of, slots_of
from apps.chatbot.entities.tagger import Tagger
from apps.chatbot.slots import PATTERNS, loose_order_id, typed_places
from shared.atomic import write_text
from shared.errors import DataError, ModelError
from shared.inference.spelling import Spelling

FOLDER = "entities"  # of a model
LISTS_FILE = "lists.json"
LONGEST_REPLY = 60  # characters of a short reply that is taken as it is


class Entities:
    """Of a bot without lists: the typed slots alone."""

    def __init__(self, lists: EntityLists | None = None, tagger: Tagger | None = None) -> None:
        self.lists = EntityLists({}) if lists is None else lists
        self.tagger = tagger

    @property
    def names(self) -> tuple[str, ...]:
        """Slots that are filled from messages besides the typed ones."""
        learned = () if self.tagger is None else self.tagger.names
        found = (slot_of(name) for name in (*self.lists.names, *learned))
        return tuple(dict.fromkeys(name for name in found if name))

    def find(self, written: str) -> tuple[Span, ...]:
        """The values of a message in their order. A listed value wins over a typed one unless it is
        a part of that one; a learned one is taken where nothing else was found."""
        message = Message.of(written)
        listed = self.lists.find(message)
        typed = [
            message.span(name, message.text[start:end], start, end, "typed")
            for name, (start, end) in typed_places(message.text).items()
        ]
        kept = _apart([each for each in listed if not any(map(each.lies_in, typed))])
        kept += [each for each in typed if not any(map(each.overlaps, kept))]
        learned = () if self.tagger is None else self.tagger.find(message, self.lists.canonical)
        kept += [each for each in learned if not any(map(each.overlaps, kept))]
        return tuple(sorted(kept, key=lambda each: (each.start, each.end)))

    def slots(self, written: str) -> dict[str, str]:
        """Slot -> the first value of it in a message."""
        return slots_of(self.find(written))

    def fill(self, slot: str, written: str) -> str | None:
        """The value in a reply to "please tell me your SLOT", None when there is none in it.

        A slot with a list or a pattern of its own takes nothing else; one with a type must fit it,
        loosely for numbers ("it is 448812"); any other takes a short reply as it is.
        """
        if self.is_listed(slot):
            return slots_of(self.lists.find(Message.of(written))).get(slot)
        found = self.slots(written).get(slot)
        if slot == "order_id":
            found = loose_order_id(written) or found
        if found or (slot in PATTERNS and slot != "customer_name"):
            return found
        reply = written.strip().rstrip(".!")
        return reply if 0 < len(reply) <= LONGEST_REPLY else None

    def is_listed(self, slot: str) -> bool:
        """Whether a list or a pattern says what its values are."""
        return slot in map(slot_of, self.lists.names)

    def save(self, folder: Path) -> None:
        """Write them into a folder of their own in a model's folder; nothing where there are
        none."""
        if not self.names:
            return
        own = folder / FOLDER
        kinds = {
            kind: {name: list(values) for name, values in named.items()}
            for kind, named in self.lists.kinds.items()
        }
        write_text(own / LISTS_FILE, json.dumps(kinds, ensure_ascii=False) + "\n")
        self.lists.spelling.save(own)
        if self.tagger is not None:
            self.tagger.save(own)

    @classmethod
    def load(cls, folder: Path) -> "Entities":
        """Of a model's folder; those of a bot without lists where it has none, though it may keep
        what an export gives back (given.py).

        Raises ModelError when a file is damaged.
        """
        own = folder / FOLDER
        if not (own / LISTS_FILE).is_file():
            return cls()
        try:
            stored = json.loads((own / LISTS_FILE).read_text(encoding="utf-8"))
            kinds = {
                kind: {name: tuple(map(str, values)) for name, values in named.items()}
                for kind, named in stored.items()
            }
            lists = EntityLists(kinds, Spelling.load(own) or Spelling({}))
        except (OSError, ValueError, AttributeError, TypeError, DataError) as error:
            raise ModelError(f"{own / LISTS_FILE}: not readable ({error})") from error
        return cls(lists, Tagger.load(own))


def _apart(found: Sequence[Span]) -> list[Span]:
    """The longest of those that share characters; at the same place one of each name."""
    kept: list[Span] = []
    for each in sorted(found, key=lambda span: -span.length):
        shared = [other for other in kept if each.overlaps(other)]
        if all(other.length == each.length and other.name != each.name for other in shared):
            kept.append(each)
    return kept
