"""Lint of the lists of values: patterns that cannot be matched, values that are found wrongly."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from apps.chatbot.doctor.findings import Edit, Finding, Fix, quoted
from apps.chatbot.doctor.reading import BotData
from apps.chatbot.entities.lists import EntityLists, Listed, key_of
from apps.chatbot.entities.patterns import ValuePattern
from apps.chatbot.entities.spans import Message, Span, slot_of
from apps.chatbot.formats.kept import Entity
from shared.errors import DataError

# A value is a common word where it stands in so many examples, of at least so many intents and of
# such a share of all: what a firm sells or where it sits is asked about in some.
COMMON_ROWS, COMMON_INTENTS, COMMON_SHARE = 5, 3, 1 / 3


def slot_values(data: BotData) -> Mapping[str, Collection[str]]:
    """The values of the slots that lists alone fill."""
    lists = EntityLists(_without_patterns(data))
    patterns = {slot_of(name) for name in data.listed.kinds.get("regexes", {})}
    slots = {slot_of(name) for name in lists.names} - patterns
    return {slot: lists.values(slot) for slot in slots}


def lint_entities(data: BotData) -> Iterator[Finding]:
    """One finding for each pattern that cannot be used, each value that two entities list, and each
    that is a common word of the examples.

    Raises DataError for lists that are no lists of values at all.
    """
    yield from _patterns(data)
    lists = EntityLists(_without_patterns(data))
    rows = [lists.find(Message.of(row.text)) for row in data.rows] if lists.names else []
    yield from _doubles(data)
    yield from _commons(data, rows)


def _without_patterns(data: BotData) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    return {kind: named for kind, named in data.listed.kinds.items() if kind != "regexes"}


def _patterns(data: BotData) -> Iterator[Finding]:
    for name, several in data.listed.kinds.get("regexes", {}).items():
        for written in several:
            try:
                ValuePattern(written)
            except DataError as error:
                place = data.listed.place("regexes", name, written)
                fix = Fix("leave it out", (Edit("drop value", place, written),))
                what = f"the regular expression {quoted(written)} of {name} {error}"
                yield Finding("unusable pattern", "error", what, (place,), fix)


def _doubles(data: BotData) -> Iterator[Finding]:
    annotated = Counter(
        (key_of(row.text[each.start : each.end]), each.properties["entity"])
        for row, several in zip(data.rows, data.annotated, strict=False)
        for each in several
    )
    owners: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for name, values in data.listed.kinds.get("lookups", {}).items():
        for value in values:
            owners[key_of(value)].setdefault(name, value)
    for key, named in owners.items():
        if len({slot_of(name) for name in named}) < 2:
            continue
        keep = max(named, key=lambda name: annotated[key, name])
        why = "as in the examples" if annotated[key, keep] else "it stands there first"
        places = {n: data.listed.place("lookups", n, value) for n, value in named.items()}
        edits = tuple(Edit("drop value", places[n], v) for n, v in named.items() if n != keep)
        what = f"{quoted(named[keep])} is listed as {' and as '.join(named)}: it fills both slots"
        fix = Fix(f"keep it as {keep} ({why}), leave it out elsewhere", edits)
        yield Finding("double value", "warning", what, tuple(places.values()), fix)


def _commons(data: BotData, found: Sequence[Sequence[Span]]) -> Iterator[Finding]:
    count: Counter[Listed] = Counter()
    labels: dict[Listed, set[str]] = defaultdict(set)
    annotated = data.annotated or ((),) * len(data.rows)
    for row, spans, marked in zip(data.rows, found, annotated, strict=False):
        for each in {Listed(s.name, s.value) for s in spans if not _marks(marked, s)}:
            count[each] += 1
            labels[each].add(row.label)
    needed = max(COMMON_INTENTS, COMMON_SHARE * len(data.by_label))
    for each, rows in count.most_common():
        if rows < COMMON_ROWS or len(labels[each]) < needed:
            continue
        place = data.listed.place("lookups", each.entity, each.value)
        what = (
            f"{quoted(each.value)} of {each.entity} stands in {rows:,} examples of "
            f"{len(labels[each])} intents that do not mark it: it may be found where something "
            "else is meant"
        )
        fix = Fix("leave it out of the list", (Edit("drop value", place, each.value),))
        yield Finding("common value", "warning", what, (place,), fix)


def _marks(annotated: Sequence[Entity], span: Span) -> bool:
    """Whether an example says that this is a value of that entity."""
    return any(
        each.properties["entity"] == span.name and each.start < span.end and span.start < each.end
        for each in annotated
    )
