"""What can be said of examples without a model: contradictions, repeats, leaks, thin intents."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

import numpy as np

from apps.chatbot.doctor.findings import Edit, Finding, Fix, Place, Severity, quoted
from apps.chatbot.doctor.reading import BotData, Row
from shared.near_duplicates import near_duplicate_groups
from shared.text import normalise

# A text under two intents is noise that training outlives while it is rare: above this share of the
# rows, or where half of an intent is concerned, the file is wrong.
BORNE_SHARE = 0.005
HALF = 0.5
THIN = 5  # examples; with fewer an intent is hardly known
NAMED = 3  # labels that a sentence lists


def exact_key(text: str) -> str:
    """Equal for texts that differ in case, width and white space alone."""
    return normalise(text).casefold()


def rejected_rows(data: BotData) -> Iterator[Finding]:
    for place, reason in data.rejected:
        yield Finding(
            "unusable row", "warning", f"the row cannot be used: {reason}", (place,),
            advice="mend the row; a copy written here leaves it out",
        )  # fmt: skip


def contradictions(
    data: BotData, suggested: Mapping[str, str] | None = None
) -> tuple[list[Finding], set[Place]]:
    """Texts that stand under several intents, and the rows concerned.

    suggested: exact key -> the intent a model that did not see the text holds for likeliest.
    """
    by_key: dict[str, list[Row]] = defaultdict(list)
    for row in data.rows:
        by_key[exact_key(row.text)].append(row)
    torn = [rows for rows in by_key.values() if len({row.label for row in rows}) > 1]
    concerned = {row.place for rows in torn for row in rows}
    severe = _severe(data, torn)
    found = [_contradiction(rows, severe(rows), (suggested or {})) for rows in torn]
    return found, concerned


def _severe(data: BotData, torn: Sequence[Sequence[Row]]) -> "_Judge":
    share = sum(map(len, torn)) / max(1, len(data.rows))
    concerned = Counter(row.label for rows in torn for row in rows)
    lost = {label for label, n in concerned.items() if n >= HALF * len(data.by_label[label])}
    return _Judge(share > BORNE_SHARE and not data.paired, frozenset(lost), data.paired)


class _Judge:
    """Whether a contradiction is an error: of question/answer tables never, for there the same
    question answered in other words is no mistake."""

    def __init__(self, many: bool, lost: frozenset[str], paired: bool) -> None:
        self._many, self._lost, self._paired = many, lost, paired

    def __call__(self, rows: Sequence[Row]) -> Severity:
        lost = not self._paired and any(row.label in self._lost for row in rows)
        return "error" if self._many or lost else "warning"


def _contradiction(
    rows: Sequence[Row], severity: Severity, suggested: Mapping[str, str]
) -> Finding:
    count = Counter(row.label for row in rows)
    labels = list(count)
    what = f"{quoted(rows[0].text)} stands under {_listed(labels)}"
    keep, why = _keeper(count, suggested.get(exact_key(rows[0].text)))
    fix = Fix(
        f"keep it under {keep} ({why}), leave it out elsewhere",
        tuple(Edit("drop", row.place, row.text) for row in rows if row.label != keep),
        sure=why != "it stands there first",
    )
    return Finding("contradiction", severity, what, tuple(row.place for row in rows), fix)


def _keeper(count: Counter[str], suggested: str | None) -> tuple[str, str]:
    ranked = count.most_common()
    if suggested in count and suggested is not None:
        return suggested, "the other examples speak for it"
    if ranked[0][1] > ranked[1][1]:
        return ranked[0][0], f"{ranked[0][1]} times to {ranked[1][1]}"
    return ranked[0][0], "it stands there first"


def near_contradictions(data: BotData, exact: set[Place]) -> Iterator[Finding]:
    """Groups of nearly the same text under several intents; those that are exact are left out."""
    rows = [row for row in data.rows if row.place not in exact]
    if data.paired or len(rows) < 2:
        return
    for members in _groups(rows):
        count = Counter(row.label for row in members)
        if len(count) < 2:
            continue
        ranked = count.most_common()
        other = next(row for row in members if row.label != members[0].label)
        what = (
            f"{quoted(members[0].text)} under {members[0].label} and {quoted(other.text)} under "
            f"{other.label} are nearly the same"
        )
        places = tuple(row.place for row in members)
        if ranked[0][1] == ranked[1][1]:
            advice = f"decide between {_listed([name for name, _ in ranked])}"
            yield Finding("near contradiction", "warning", what, places, advice=advice)
            continue
        keep = ranked[0][0]
        edits = tuple(
            Edit("relabel", row.place, row.label, keep) for row in members if row.label != keep
        )
        fix = Fix(f"put them under {keep}, as {ranked[0][1]} of {len(members)} are", edits)
        yield Finding("near contradiction", "warning", what, places, fix)


def _groups(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Near duplicates of two rows or more, in the order of their first row."""
    groups = near_duplicate_groups([row.text for row in rows])
    for at in np.flatnonzero(np.bincount(groups) > 1):
        yield [rows[i] for i in np.flatnonzero(groups == at).tolist()]


def repeats(data: BotData) -> Iterator[Finding]:
    """One finding of all rows that repeat a row of their own intent."""
    seen: set[tuple[str, str]] = set()
    again = []
    for row in data.rows:
        key = (exact_key(row.text), row.label)
        if key in seen:
            again.append(row)
        seen.add(key)
    if again:
        edits = tuple(Edit("drop", row.place, row.text) for row in again)
        yield Finding(
            "repeated example", "warning",
            f"{_count(len(again), 'row repeats', 'rows repeat')} another row of the same intent, "
            f"such as {quoted(again[0].text)}; repeated rows weigh more than others",
            tuple(row.place for row in again), Fix("keep each once", edits, sure=True),
        )  # fmt: skip


def thin_intents(data: BotData) -> Iterator[Finding]:
    """Intents with fewer than THIN different examples; one finding each."""
    if data.paired:
        return
    for label, rows in data.by_label.items():
        n = len({exact_key(row.text) for row in rows})
        if n >= THIN:
            continue
        what = f"{label} has {_count(n, 'example', 'different examples')}"
        what += ", so that nothing can be measured for it" if n == 1 else f", fewer than {THIN}"
        edits = tuple(Edit("drop", row.place, row.text) for row in rows)
        fix = Fix(f"leave {label} out until it has {THIN} examples; better: add some", edits)
        yield Finding("thin intent", "warning", what, tuple(row.place for row in rows), fix)


def leaks(data: BotData) -> Iterator[Finding]:
    """Rows of the validation part, and texts to be refused, that are copies of examples."""
    parts = (
        (data.validation, "validation row", "figures on it are too good"),
        (data.out_of_scope, "text to be refused", "it is to be refused and to be answered"),
    )
    taught = len(data.rows)
    for part, name, harm in parts:
        if not part:
            continue
        groups = near_duplicate_groups([row.text for row in (*data.rows, *part)])
        first: dict[int, Row] = {}
        for row, group in zip(data.rows, groups[:taught], strict=True):
            first.setdefault(int(group), row)
        for row, group in zip(part, groups[taught:], strict=True):
            if (known := first.get(int(group))) is None:
                continue
            same = exact_key(row.text) == exact_key(known.text)
            how = "is also an example" if same else f"is nearly the example {quoted(known.text)}"
            fix = Fix(
                f"leave the {name} out", (Edit("drop", row.place, row.text),), sure=name[0] == "v"
            )
            yield Finding(
                "leak", "warning", f"the {name} {quoted(row.text)} {how} of {known.label}: {harm}",
                (row.place, known.place), fix,
            )  # fmt: skip


def misspelt_labels(data: BotData) -> Iterator[Finding]:
    """Labels that differ in case and white space alone, among the examples or from the answers."""
    if data.paired:
        return
    spelt: dict[str, list[str]] = defaultdict(list)
    for label in data.by_label:
        spelt[exact_key(label)].append(label)
    for several in spelt.values():
        if len(several) > 1:
            keep = max(several, key=lambda label: len(data.by_label[label]))
            rows = [row for label in several if label != keep for row in data.by_label[label]]
            edits = tuple(Edit("relabel", row.place, row.label, keep) for row in rows)
            yield Finding(
                "misspelt label", "warning",
                f"{_listed([repr(each) for each in several])} differ in case or spaces alone",
                tuple(row.place for row in rows), Fix(f"call them all {keep!r}", edits, sure=True),
            )  # fmt: skip
    for said in data.answers:
        near = spelt.get(exact_key(said.label), [])
        if said.label in data.by_label or not near:
            continue
        if any(answer.label == near[0] for answer in data.answers):
            continue
        edit = Edit("relabel answer", said.place, said.label, near[0])
        yield Finding(
            "misspelt label", "error",
            f"the answer to {said.label!r} is for the intent {near[0]!r}, which has no answer: the "
            "labels differ in case or spaces",
            (said.place,), Fix(f"call it {near[0]!r}", (edit,), sure=True),
        )  # fmt: skip


def nearest_name(label: str, names: Sequence[str]) -> str | None:
    """The name of those that `label` is probably a slip of."""
    return next(iter(get_close_matches(label, names, n=1, cutoff=0.8)), None)


def _listed(labels: Sequence[str]) -> str:
    shown = list(labels[:NAMED])
    if len(labels) > NAMED:
        return f"{', '.join(shown)} and {len(labels) - NAMED} more"
    return " and ".join(shown) if len(shown) < 3 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _count(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"
