"""What a message asks for: one thing, several, or something that only the message before makes
whole.

A bot reads a message as one. Here its parts are read beside it, in the same batch, and a short
message is read once more behind the one it may complete. Both count only where the bot decides
them by themselves at its stated risk; else the message is taken as it was read.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from apps.chatbot.bot import Bot, Reply
from apps.chatbot.clauses import matter_of, opens_another, requests_in
from apps.chatbot.entities.entities import Entities
from apps.chatbot.entities.spans import Span, joined
from shared.text import normalise

# Requests that are remembered for what may complete them, and messages that may: in characters.
LONGEST_REQUEST, LONGEST_FOLLOW_UP = 500, 60
# Chosen on training texts of BANKING77 that two bots, of ten examples an intent and of all examples
# of 50 intents, had not seen, so that no more of them was answered wrongly than before; the five
# likeliest were put back after more was on its development part (docs/chatbot.md). A part is a
# request only if its intent is among so many likeliest of the whole, and, where no words open
# another matter, if the whole gives it this probability,
LIKELIEST, SUPPORT = 5, 0.02
# and a message completes the one before only where its words alone speak for the joint intent:
# among the likeliest two with this probability, or, where it says itself that it follows ("and …",
# "what about …"), with that.
BY_WORDS, BY_FORM = 0.2, 0.02
_FOLLOWS = re.compile(
    r"(?:^|[.!?]\s+)(?:and|or|also|what about|how about|same (?:for|with))\b|^那|呢[?。!]?$",
    re.IGNORECASE,
)


def understood(
    bot: Bot, text: str, slots: Mapping[str, str], before: str = ""
) -> tuple[Reply, ...]:
    """Of one message a reply, or one for each of its requests in their order, at most three; a
    wish for a person comes last.

    slots: known of the customer; what is found in any part of the message holds for all. before:
    the request that was answered last, "" for none.
    """
    slots, parts = joined(slots, bot.entities.find(text)), requests_in(text)
    whole, *read = bot.reply([text, *parts], slots=slots)
    if parts:
        return several(whole, read, cued=opens_another(text)) or (whole,)
    if before and _may_complete(whole):
        (joint,) = bot.reply([completed(before, text, bot.entities)], slots=slots)
        if completes(whole, joint):
            why = f"it completes the message before, read as “{joint.text}”; {joint.why}"
            return (replace(joint, why=why),)
    return (whole,)


def several(whole: Reply, parts: Sequence[Reply], *, cued: bool) -> tuple[Reply, ...]:
    """The replies to the parts of a message that are requests by themselves; none where it is
    one request.

    whole: the message read as one. cued: whether words in it open another matter; without them a
    whole that was decided is one request. An unsure part is asked back beside an answer only where
    the whole was not decided.
    """
    persons = [part for part in parts if part.decision == "handover"]
    if persons:
        matters = [part for part in parts if part.decision != "handover"]
        return (*matters, persons[0]) if matters else ()
    supported = {label for label, p in whole.ranking[:LIKELIEST] if cued or p >= SUPPORT}
    likely = [part for part in parts if part.intent in supported]
    decided: dict[str, Reply] = {}
    for part in likely:
        if part.decision == "answer":
            decided.setdefault(part.intent, part)
    covered = whole.decision == "answer" and not (cued and whole.intent in decided)
    if not decided or covered:
        return ()
    found = list(decided.values())
    if whole.decision != "answer":
        unsure = (part for part in likely if part.decision == "clarify")
        apart = (p for p in unsure if not decided.keys() & {option.label for option in p.options})
        found += list(apart)[:1]
    if len(found) == 1:
        return ()
    return tuple(
        replace(part, why=f"one of several requests, “{part.text}”; {part.why}") for part in found
    )


def completed(before: str, text: str, entities: Entities) -> str:
    """The two as one message; a value in the earlier one gives way to the later one's of the same
    entity, where each has one of it."""
    earlier, later = (_alone(entities.find(each)) for each in (before, text))
    for name in sorted(earlier.keys() & later.keys(), key=lambda name: -earlier[name].start):
        old, new = earlier[name], later[name]
        before = before[: old.start] + text[new.start : new.end] + before[old.end :]
    return f"{before} {matter_of(text)}"


def _alone(spans: Sequence[Span]) -> dict[tuple[str, str], Span]:
    """Entity and role -> its value, where there is no other of it."""
    count = Counter((span.name, span.role) for span in spans)
    return {(span.name, span.role): span for span in spans if count[span.name, span.role] == 1}


def _may_complete(alone: Reply) -> bool:
    short = 0 < len(matter_of(alone.text)) <= LONGEST_FOLLOW_UP
    return short and alone.decision in ("reject", "clarify") and alone.text[:1] != "/"


def completes(alone: Reply, joint: Reply) -> bool:
    """Whether the joint reading counts. alone: the later message by itself."""
    if joint.decision != "answer":
        return False
    share = dict(alone.ranking).get(joint.intent, 0.0)
    likeliest = {label for label, _ in alone.ranking[:2]}
    follows = bool(_FOLLOWS.search(normalise(alone.text)))
    return (share >= BY_WORDS and joint.intent in likeliest) or (follows and share >= BY_FORM)
