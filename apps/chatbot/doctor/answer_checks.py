"""Lint of the answers: slots that nothing fills, masks, answers that no example asks for."""

import re
from collections.abc import Collection, Iterator, Sequence

from apps.chatbot.answers import is_ours, render, slots_in, slots_of
from apps.chatbot.doctor.findings import Edit, Finding, Fix, quoted
from apps.chatbot.doctor.reading import BotData, Said
from apps.chatbot.doctor.row_checks import nearest_name
from apps.chatbot.mining.answer_templates import CUSTOMERS_OWN, IF_GIVEN
from apps.chatbot.mining.dialogue_masking import TOKEN
from apps.chatbot.slots import PATTERNS

# Slots that are found in what a customer writes, or that an import of dialogues makes.
KNOWN = tuple(dict.fromkeys((*PATTERNS, *CUSTOMERS_OWN.values(), *IF_GIVEN.values())))
_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？]*")
_FEWEST_LEFT = 15  # letters that a template must keep to be worth saying


def lint_answers(data: BotData) -> Iterator[Finding]:
    """One finding for each slot or mask of a template that a customer would stumble over."""
    for said in data.answers:
        needed = slots_of(said.template)
        for name in needed:
            if is_ours(name):
                yield _ours(said, name)
        for name in slots_in(said.template):
            if not is_ours(name) and name not in KNOWN and name not in data.filled:
                yield _unknown(said, name, needed=name in needed, filled=data.filled)
        for mask in dict.fromkeys(TOKEN.findall(said.template)):
            yield _mask(said, mask)


def _ours(said: Said, name: str) -> Finding:
    what = (
        f"the answer to {said.label} cannot be said: nothing fills {{{name}}}, which only you "
        "know, so the bot passes on to a person"
    )
    return Finding(
        "unfilled slot", "warning", what, (said.place,), _optional(said, name),
        "write the answer without it, or let it be handed over",
    )  # fmt: skip


def _unknown(said: Said, name: str, *, needed: bool, filled: Sequence[str]) -> Finding:
    near = nearest_name(name, (*KNOWN, *filled))
    use = f"use one of {', '.join((*PATTERNS, *filled))}"
    if near:
        what = f"the answer to {said.label} has the slot {{{name}}}, which nothing fills"
        edit = Edit("rewrite answer", said.place, f"{{{name}}}", f"{{{near}}}")
        fix = Fix(f"write {{{near}}}", (edit,))
        return Finding("unknown slot", "warning", what, (said.place,), fix)
    what = f"the answer to {said.label} has the slot {{{name}}}, which is not found in a message: "
    if not needed:
        what += "its optional part is never said"
        return Finding(
            "unknown slot", "warning", what, (said.place,),
            advice=f"{use}, or list its values in an entities file",
        )  # fmt: skip
    what += f"the bot asks “your {name.replace('_', ' ')}” and takes any short reply"
    return Finding(
        "unknown slot", "warning", what, (said.place,), _optional(said, name),
        f"{use}, list its values in an entities file, or leave it to be asked for",
    )  # fmt: skip


def _optional(said: Said, name: str) -> Fix | None:
    """The sentences with the slot as optional parts, where the rest still says something."""
    if "[[" in said.template:
        return None

    own = [each.strip() for each in _SENTENCE.findall(said.template) if f"{{{name}}}" in each]
    new = said.template
    for sentence in dict.fromkeys(own):
        new = new.replace(sentence, f"[[{sentence}]]")
    left = render(new, {slot: slot for slot in slots_of(new)}).text or ""
    if sum(map(str.isalpha, left)) < _FEWEST_LEFT or name in slots_of(new):
        return None
    edits = tuple(
        Edit("rewrite answer", said.place, sentence, f"[[{sentence}]]")
        for sentence in dict.fromkeys(own)
    )
    return Fix(f"make its sentence optional: {quoted(new, 160)}", edits)


def _mask(said: Said, mask: str) -> Finding:
    what = f"the answer to {said.label} holds the mask {mask}, which customers would see"
    slot = CUSTOMERS_OWN.get(mask.strip("<>"))
    if slot is None:
        advice = "write what stands there, or leave it out"
        return Finding("mask", "warning", what, (said.place,), advice=advice)
    edit = Edit("rewrite answer", said.place, mask, f"{{{slot}}}")
    fix = Fix(f"write the slot {{{slot}}}", (edit,))
    return Finding("mask", "warning", what, (said.place,), fix)


def coverage(data: BotData, mended: Collection[str] = ()) -> Iterator[Finding]:
    """Intents without an answer and answers without an example, where answers are given at all.
    mended: labels that another finding's fix brings together."""
    if not data.answers:
        return
    asked = data.by_label
    said = list(dict.fromkeys(each.label for each in data.answers))
    unanswered = [label for label in asked if data.answer(label) is None and label not in mended]
    unasked = [label for label in said if label not in asked and label not in mended]
    for label in unanswered:
        yield Finding(
            "no answer", "warning",
            f"{label} has {len(asked[label])} examples and no answer: the bot passes on",
            (asked[label][0].place,), advice=f"add an answer with the label {label}",
        )  # fmt: skip
    for label in unasked:
        yield _unasked(label, data.answers, unanswered)


def _unasked(label: str, answers: Sequence[Said], unanswered: Sequence[str]) -> Finding:
    own = [said for said in answers if said.label == label]
    places = tuple(dict.fromkeys(said.place for said in own))
    what = f"no example asks for the answer {label} ({quoted(own[0].template)})"
    near = nearest_name(label, unanswered)
    if near:
        edits = tuple(Edit("relabel answer", said.place, label, near) for said in own)
        fix = Fix(f"give it to {near}, which has no answer", edits)
        return Finding("never asked", "warning", what, places, fix)
    return Finding(
        "never asked", "warning", f"{what}: it can only be found by its meaning", places,
        Fix("leave the answer out; better: add examples of how customers ask for it",
            tuple(Edit("drop answer", said.place, said.template) for said in own)),
    )  # fmt: skip
