"""Lint of conditions: those that nothing can satisfy, and answers that say nothing to somebody."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType

from apps.chatbot.answers import is_ours, slots_of
from apps.chatbot.conditions import Condition, Term, read_condition, worlds
from apps.chatbot.doctor.answer_checks import KNOWN
from apps.chatbot.doctor.findings import Edit, Finding, Fix
from apps.chatbot.doctor.reading import Said
from apps.chatbot.doctor.row_checks import nearest_name
from apps.chatbot.slots import PATTERNS, find_slots, loose_order_id
from shared.text import normalise

# Customers that are tried of one answer; conditions that tell more apart are not examined.
MOST_WORLDS = 5_000


def lint_conditions(
    answers: Sequence[Said],
    *,
    always_open: bool = False,
    asked: Sequence[str] = (),
    values: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> Iterator[Finding]:
    """One finding for each condition that never holds, and one for each intent all of whose
    variants have conditions, where a customer can come to whom none of them may be said.

    always_open: no opening hours are set, so that it is never closed. asked: slots that further
    answers ask for, or that are filled otherwise. values: of the slots that have a list.
    """
    # A slot that a template needs is asked for, and then known.
    fillable = {*KNOWN, *asked, *(name for said in answers for name in slots_of(said.template))}
    fillable = {name for name in fillable if not is_ours(name)}
    of_intent: dict[str, list[tuple[Said, Condition | None]]] = {}
    for said in answers:
        condition = read_condition(said.when) if said.when else None
        of_intent.setdefault(said.label, []).append((said, condition))
    for label, variants in of_intent.items():
        for said, condition in variants:
            if condition is None:
                continue
            why, near = _why_never(condition, fillable, always_open, values)
            if why:
                yield _idle(said, why, near, alone=len(variants) == 1)
        conditions = [condition for _, condition in variants if condition is not None]
        if len(conditions) == len(variants):
            yield from _uncovered(label, variants[0][0], conditions, fillable, always_open)


def _why_never(
    condition: Condition,
    fillable: set[str],
    always_open: bool,
    values: Mapping[str, Collection[str]],
) -> tuple[str, str | None]:
    """Why it never holds, "" where it may; and the slot that was probably meant."""
    for term in condition.terms:
        if term.kind in ("known", "is", "is not") and term.slot not in fillable:
            return f"nothing fills {{{term.slot}}}", nearest_name(term.slot, sorted(fillable))
        if term.kind == "is" and not _can_be(term.slot, term.value, values):
            return f"{{{term.slot}}} is never found to be {term.value!r}", None
        if always_open and term == Term("hours", value="closed"):
            return "[chatbot.handover] has no hours, so it is always open", None
    if not any(
        condition.holds(slots, open_now=open_now)
        for slots, open_now in islice(worlds([condition]), MOST_WORLDS)
    ):
        return "its parts exclude each other", None
    return "", None


def _can_be(slot: str, value: str, values: Mapping[str, Collection[str]]) -> bool:
    """Whether a message can give a slot this value."""
    if slot in values:
        return normalise(value).casefold() in {normalise(v).casefold() for v in values[slot]}
    if slot not in PATTERNS or slot == "customer_name":
        return True
    found = [find_slots(text).get(slot) for text in (value, f"order {value}")]
    if slot == "order_id":
        found.append(loose_order_id(value))
    return value.casefold() in (each.casefold() for each in found if each)


def _idle(said: Said, why: str, near: str | None, *, alone: bool) -> Finding:
    what = f"the answer to {said.label} has a text that is never said, when {said.when}: {why}"
    advice = "mend the condition" + (f": did you mean {near}?" if near else "")
    leave_out = Edit("drop answer", said.place, said.template)
    fix = None if alone or near else Fix("leave the text out", (leave_out,))
    return Finding("idle condition", "warning", what, (said.place,), fix, advice)


def _uncovered(
    label: str,
    said: Said,
    conditions: Sequence[Condition],
    fillable: set[str],
    always_open: bool,
) -> Iterator[Finding]:
    tried = list(islice(worlds(conditions), MOST_WORLDS + 1))
    if len(tried) > MOST_WORLDS:
        return
    for slots, open_now in tried:
        if (always_open and not open_now) or not fillable.issuperset(slots):
            continue
        if not any(each.holds(slots, open_now=open_now) for each in conditions):
            what = (
                f"every text of the answer to {label} has a condition, and none holds "
                f"{_in_words(slots, open_now, conditions)}: the bot passes on to a person"
            )
            yield Finding(
                "no fallback", "warning", what, (said.place,),
                advice="add a text without a condition, or let it be passed on",
            )  # fmt: skip
            return


def _in_words(slots: Mapping[str, str], open_now: bool, conditions: Sequence[Condition]) -> str:
    terms = [term for condition in conditions for term in condition.terms]
    parts = ["when it is " + ("open" if open_now else "closed")] if any(
        term.kind == "hours" for term in terms
    ) else []  # fmt: skip
    for slot in dict.fromkeys(term.slot for term in terms if term.slot):
        named = {term.value for term in terms if term.slot == slot}
        if slot not in slots:
            parts.append(f"while {slot} is not known")
        elif slots[slot] in named:
            parts.append(f"when {slot} is {slots[slot]}")
        else:
            known = "known" if named == {""} else "another"
            parts.append(f"when {slot} is {known}")
    return " and ".join(parts)
