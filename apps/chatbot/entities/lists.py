"""A firm's own lists: the values of its entities, what else they are called, and how they look.

Found word by word, the longest first, whatever the case; where no space parts the words, character
by character. A word with a slip in it is read as the list's where that is safe: no example has it,
it begins with the same letter, and it is long or stands among others of the value.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from scipy import sparse

from apps.chatbot.entities.patterns import ValuePattern
from apps.chatbot.entities.spans import Message, Span, Word, slot_of, words_of
from apps.chatbot.formats.kept import Kinds
from shared.errors import DataError
from shared.inference.lexical import Grams
from shared.inference.spelling import Spelling
from shared.text import normalise

LONGEST_VALUE, LONGEST_NAME = 200, 100  # characters
MOST_VALUES, MOST_PATTERNS = 200_000, 50
# Of a shorter word that is a value by itself too many others are one slip away.
MENDED_LETTERS = 6
LONGEST_GAP = 2  # characters between two words of a value: "St. Pauli"
CHOICES = 4


@dataclass(frozen=True)
class Listed:
    """What a written form stands for."""

    entity: str
    value: str


def key_of(value: str) -> tuple[str, ...]:
    """Equal for values that differ in case, width, and what joins their words."""
    return tuple(word.key for word in words_of(normalise(value)))


class EntityLists:
    """Built from an entities file, see `checked`."""

    def __init__(self, kinds: Kinds, spelling: Spelling = Spelling({})) -> None:
        """spelling: of the words of the examples and of the lists.

        Raises DataError as `checked` does.
        """
        self.kinds = checked(kinds)
        self.spelling = spelling
        self._patterns = [
            (entity, ValuePattern(each)) for entity, several in _of(kinds, "regexes").items()
            for each in several
        ]  # fmt: skip
        self._called = {
            key_of(name): value for value, names in _of(kinds, "synonyms").items()
            for name in (value, *names)
        }  # fmt: skip
        self._forms = {key: tuple(dict.fromkeys(found)) for key, found in forms(kinds).items()}
        self._longest: dict[str, int] = defaultdict(int)
        for key in self._forms:
            self._longest[key[0]] = max(self._longest[key[0]], len(key))
        # Of a slot's values, once they are asked for: their grams, and each as a row of them.
        self._grams: dict[str, tuple[Grams, sparse.csr_matrix]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The entities that have values or patterns."""
        return tuple(dict.fromkeys((*_of(self.kinds, "lookups"), *_of(self.kinds, "regexes"))))

    def values(self, slot: str) -> tuple[str, ...]:
        """The values that a slot can have from the lists, each once."""
        named = (
            self.canonical(value) for entity, several in _of(self.kinds, "lookups").items()
            if slot_of(entity) == slot for value in several
        )  # fmt: skip
        return tuple(dict.fromkeys(named))

    def canonical(self, value: str) -> str:
        """What a value is a synonym of; itself where it is none."""
        return self._called.get(key_of(value), value)

    def find(self, message: Message) -> list[Span]:
        """Listed values from left to right, then what patterns match; a form of several entities is
        found as each of them."""
        words = message.words if self._forms else ()
        keys = [self._known(word.key) for word in words]
        found, at = [], 0
        while at < len(words):
            length = self._length_at(words, keys, at)
            for each in self._forms.get(tuple(keys[at : at + length]), ()):
                start, end = words[at].start, words[at + length - 1].end
                found.append(message.span(each.entity, each.value, start, end, "listed"))
            at += max(1, length)
        return [*found, *self._matched(message)]

    def nearest(self, slot: str, text: str) -> tuple[str, ...]:
        """The values of a slot that are like the text by their letters, the likest first; a few at
        most, and all where there are not more."""
        values = self.values(slot)
        if not values:
            return ()
        if slot not in self._grams:
            self._grams[slot] = Grams.of(values)
        grams, rows = self._grams[slot]
        likeness = (rows @ grams.rows([text]).T).toarray()[:, 0]
        ranked = sorted(range(len(values)), key=lambda i: -likeness[i])
        few = len(values) <= CHOICES
        return tuple(values[i] for i in ranked[:CHOICES] if few or likeness[i] > 0)

    def _known(self, key: str) -> str:
        mended = self.spelling.corrected(key)
        return mended if mended[0] == key[0] else key

    def _length_at(self, words: Sequence[Word], keys: Sequence[str], at: int) -> int:
        """How many words make the longest value that begins here; 0 for none."""
        most = 1
        limit = min(self._longest.get(keys[at], 0), len(words) - at)
        while most < limit and words[at + most].start - words[at + most - 1].end <= LONGEST_GAP:
            most += 1
        for length in range(min(most, limit), 0, -1):
            if tuple(keys[at : at + length]) not in self._forms:
                continue
            key, read = words[at].key, keys[at]
            if length > 1 or (_whole(words, at) and (key == read or len(key) >= MENDED_LETTERS)):
                return length
        return 0

    def _matched(self, message: Message) -> Iterator[Span]:
        for entity, pattern in self._patterns:
            for start, end in pattern.places(message.searched):
                value = self.canonical(message.text[start:end])
                yield message.span(entity, value, start, end, "listed")


def _whole(words: Sequence[Word], at: int) -> bool:
    """Whether it is no single character out of a run of Chinese."""
    word = words[at]
    if len(word.key) > 1 or word.key.isascii():
        return True
    beside = (words[at - 1].end if at else -1, words[at + 1].start if at + 1 < len(words) else -1)
    return beside[0] != word.start and beside[1] != word.end


def forms(kinds: Kinds) -> dict[tuple[str, ...], list[Listed]]:
    """The words of each written form -> what it stands for.

    A list's value that is a synonym stands for what it is a synonym of; the synonyms of a value
    belong to each entity that lists the value, or one of its synonyms.
    """
    called = {
        key_of(name): value for value, names in _of(kinds, "synonyms").items() for name in names
    }
    found: dict[tuple[str, ...], list[Listed]] = defaultdict(list)
    owners: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for entity, values in _of(kinds, "lookups").items():
        for value in values:
            key = key_of(value)
            own = called.get(key, value)
            found[key].append(Listed(entity, own))
            owners[key_of(own)].append(entity)
    for value, names in _of(kinds, "synonyms").items():
        for entity in dict.fromkeys(owners.get(key_of(value), ())):
            for name in (value, *names):
                found[key_of(name)].append(Listed(entity, value))
    return found


def checked(kinds: Kinds) -> Kinds:
    """The kinds as they are.

    Raises DataError: too many or too long values, a name that makes no slot, a value without a word
    in it, a pattern that cannot be used.
    """
    count = 0
    for kind in ("lookups", "synonyms", "regexes"):
        for name, values in _of(kinds, kind).items():
            where = f"{kind}, {name[:LONGEST_NAME]!r}"
            count += len(values)
            if kind != "synonyms" and (len(name) > LONGEST_NAME or not slot_of(name)):
                raise DataError(
                    f"{where}: no name for an entity: expected at most {LONGEST_NAME} characters "
                    "with a Latin letter first, not beginning with our_"
                )
            if kind != "regexes":
                _check_values((name, *values) if kind == "synonyms" else values, where)
    if count > MOST_VALUES:
        raise DataError(f"{count:,} values and synonyms; at most {MOST_VALUES:,} are kept")
    patterns = [(n, p) for n, several in _of(kinds, "regexes").items() for p in several]
    if len(patterns) > MOST_PATTERNS:
        raise DataError(f"{len(patterns)} regular expressions; at most {MOST_PATTERNS} are matched")
    for name, written in patterns:
        try:
            ValuePattern(written)
        except DataError as error:
            raise DataError(f"regexes, {name!r}: {written[:60]!r} {error}") from None
    return kinds


def _check_values(values: Iterable[str], where: str) -> None:
    for value in values:
        if len(value) > LONGEST_VALUE:
            raise DataError(
                f"{where}: a value of {len(value):,} characters; at most {LONGEST_VALUE} are kept"
            )
        if not key_of(value):
            raise DataError(f"{where}: the value {value!r} has no word in it")


def _of(kinds: Kinds, kind: str) -> Mapping[str, tuple[str, ...]]:
    return kinds.get(kind, {})
