"""A cluster's answers as templates: what differs from customer to customer becomes a slot.

Slots of the customer (`{order_id}`, `{email}`) are filled from what the customer says or asked for.
What only the firm can know, a delivery date or a sum to be refunded, is `{our_date}`,
`{our_amount}`: the bot never asks a customer for it. A sentence with such a slot becomes an
optional part where the rest says enough without it. What agents say alike in several dialogues, a
help page, the firm's own address, stays as it is.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from apps.chatbot.answers import OURS, is_ours
from apps.chatbot.mining.answer_choice import Pair
from apps.chatbot.mining.answer_clusters import Cluster
from apps.chatbot.mining.dialogue_masking import TOKEN, Words

# Kind of token -> the slot that a customer can fill.
CUSTOMERS_OWN: Mapping[str, str] = {
    "order": "order_id",
    "email": "email",
    "phone": "phone",
    "account": "account_id",
    "name": "customer_name",
}
# Only where the customer had given the value before the answer.
IF_GIVEN: Mapping[str, str] = {"date": "date", "amount": "amount", "number": "number"}
# Never said by a bot, whatever was said before.
_SECRET = frozenset({"card", "iban", "id"})
_PERSONAL = frozenset({"order", "account", "card", "iban", "id", "name", "agent"})
MOST_VARIANTS = 3
# Dialogues in which agents must say a value for it to be the firm's own.
FIRMS_OWN = 3
_VOCATIVE = re.compile(r"^<(?:name|agent)>\s?[,!:]\s*|\s?,\s?<(?:name|agent)>(?=\s?(?:[.!?,]|$))")
_REPORT = re.compile(
    r"(?i)\b(?:i|we)(?:['’]ve| have)(?: just| now| already)? "
    r"(?!to\b|a\b|an\b|no\b|been\b)\w+(?:ed|en|nt|de|ut|id|ld|un)\b"
    r"|\b(?:has|have) (?:now |already |just )?been \w+(?:ed|en|nt|de|ut|id)\b"
    r"|\bi(?:['’]m| am) (?:now )?(?:sending|refunding|cancelling|canceling|issuing|opening)\b"
    r"|(?:已经?|刚刚?)(?:为您|帮您|给您)?(?:退|取消|改|寄|发|解|冻结|登记|提交|办)"
)
_SLOT = re.compile(r"\{(\w+)\}")
_WORDS = re.compile(r"<\w+>|[\w'’-]+|[^\w\s]|\s+")


@dataclass(frozen=True)
class Template:
    """text: as the answer file holds it. count: pairs with this wording. needs: its slots that only
    the firm can fill and that it cannot do without; a bot hands over instead. reports: it says that
    the agent did something, which a bot that says the same does not."""

    text: str
    count: int
    needs: tuple[str, ...]
    reports: bool = False


@dataclass(frozen=True)
class _Part:
    """A sentence with its slots. own: whether it has one that only the firm can fill; polite:
    whether the customer's name is all it lacks."""

    text: str
    own: bool
    polite: bool


def firms_own(pairs: Sequence[Pair]) -> frozenset[str]:
    """Addresses, numbers and sums that agents give to several customers, and customers never."""
    said: dict[str, set[tuple[str, str]]] = defaultdict(set)
    given: set[str] = set()
    for pair in pairs:
        given |= {value.casefold() for value in pair.given}
        kinds = TOKEN.findall(pair.answer.text)
        for token, value in zip(kinds, pair.answer.values, strict=False):
            if value and token[1:-1] not in _PERSONAL:
                said[value].add((pair.file, pair.dialogue))
    return frozenset(
        value
        for value, dialogues in said.items()
        if len(dialogues) >= FIRMS_OWN and value.casefold() not in given
    )


def templates_of(cluster: Cluster, own: frozenset[str]) -> tuple[Template, ...]:
    """At most MOST_VARIANTS templates, first the one to be said: if there is one, it needs nothing
    of the firm and reports nothing done; then the most frequent, then of the surest pairs.

    own: see firms_own.
    """
    by_wording: dict[int, list[Pair]] = defaultdict(list)
    for pair, wording in zip(cluster.pairs, cluster.wordings, strict=True):
        by_wording[wording].append(pair)
    found: dict[str, tuple[Template, float]] = {}
    for pairs in by_wording.values():
        template = _template(pairs, own)
        sure = max(pair.confidence for pair in pairs)
        if template.text and template.text not in found:
            found[template.text] = (template, sure)
    ranked = sorted(
        found.values(),
        key=lambda each: (bool(each[0].needs), each[0].reports, -each[0].count, -each[1]),
    )
    return tuple(template for template, _ in ranked[:MOST_VARIANTS])


def _template(pairs: Sequence[Pair], own: frozenset[str]) -> Template:
    """The template of one wording, by the form most of its pairs have."""
    forms = Counter(pair.answer.text for pair in pairs)
    form = min(forms, key=lambda text: (-forms[text], text))
    same = [pair for pair in pairs if pair.answer.text == form]
    varying = _varying(form, [pair.answer.text for pair in pairs])
    slots = _slots(same, own)
    parts = []
    at = 0
    for part in same[0].parts:
        count = len(TOKEN.findall(part.text))
        parts.append(_part(part, slots[at : at + count], varying))
        at += count
    return _assembled([part for part in parts if part.text], len(pairs))


def _assembled(parts: Sequence[_Part], count: int) -> Template:
    enough = any(not part.own and not part.polite for part in parts)
    text = ""
    for part in parts:
        optional = enough and (part.own or part.polite)
        glue = "" if not text or text[-1] in "。！？；" else " "
        text += f"[[{glue}{part.text}]]" if optional else f"{glue}{part.text}"
    needs = () if enough else tuple(
        dict.fromkeys(n for part in parts for n in _SLOT.findall(part.text) if is_ours(n))
    )  # fmt: skip
    return Template(text.strip(), count, needs, bool(_REPORT.search(text)))


def _part(part: Words, slots: Sequence[str], varying: Sequence[str]) -> _Part:
    """A sentence with its tokens replaced: `slots` holds a slot, {…}, or the value as it is."""
    waiting = list(slots)
    pieces = TOKEN.split(part.text)
    tokens = TOKEN.findall(part.text)
    text = _literal(pieces[0])
    for token, piece in zip(tokens, pieces[1:], strict=True):
        del token
        text += waiting.pop(0) + _literal(piece)
    for words in varying:
        text = re.sub(rf"(?<!\w){re.escape(_literal(words))}(?!\w)", f"{{{OURS}detail}}", text)
    # A name in address only: the sentence is as good without it.
    plain = _VOCATIVE.sub(
        "", text.replace("{customer_name}", "<name>").replace(f"{{{OURS}agent}}", "<agent>")
    )
    text = plain.replace("<name>", "{customer_name}").replace("<agent>", f"{{{OURS}agent}}")
    text = text[:1].upper() + text[1:] if text[:1].islower() else text
    names = _SLOT.findall(text)
    return _Part(text.strip(), any(map(is_ours, names)), "customer_name" in names)


def _literal(text: str) -> str:
    """Text in which no brace or double bracket would be read as a slot."""
    text = text.replace("{", "(").replace("}", ")")
    while "[[" in text or "]]" in text:
        text = text.replace("[[", "[").replace("]]", "]")
    return text


def _slots(pairs: Sequence[Pair], own: frozenset[str]) -> list[str]:
    """What stands for each token of a form that several pairs have: a slot or a fixed value."""
    tokens = TOKEN.findall(pairs[0].answer.text)
    names: dict[str, str] = {}  # slot -> the value of the first pair that it stands for
    found = []
    for place, token in enumerate(tokens):
        kind = token[1:-1]
        values = [_value(pair, place) for pair in pairs]
        dialogues = {(pair.file, pair.dialogue) for pair in pairs}
        constant = len(set(values)) == 1 and values[0]
        given = sum(value in pair.given for value, pair in zip(values, pairs, strict=True))
        if constant and kind not in _PERSONAL | _SECRET and not given:
            often = len(dialogues) >= (FIRMS_OWN if kind in ("email", "phone") else 2)
            if often or values[0] in own:
                found.append(_literal(values[0]))
                continue
        name = CUSTOMERS_OWN.get(kind) or (IF_GIVEN.get(kind) if 2 * given > len(pairs) else None)
        found.append(f"{{{_named(name or OURS + _kind(kind), values[0], names)}}}")
    return found


def _kind(kind: str) -> str:
    return {"url": "link"}.get(kind, kind)


def _value(pair: Pair, place: int) -> str:
    return pair.answer.values[place] if place < len(pair.answer.values) else ""


def _named(name: str, value: str, names: dict[str, str]) -> str:
    """The slot for a value; a second value of a kind in one answer is the firm's to tell apart."""
    number, wanted = 1, name
    while names.setdefault(wanted, value) != value:
        number += 1
        wanted = f"{name if is_ours(name) else OURS + name}_{number}"
    return wanted


def _varying(form: str, others: Sequence[str]) -> tuple[str, ...]:
    """Words of `form` in whose place at least three other answers say three other things."""
    forms = list(dict.fromkeys(others))
    if len(forms) < 4:
        return ()
    own = _WORDS.findall(form)
    said: dict[tuple[int, int], set[str]] = defaultdict(set)
    for other in forms[:50]:
        theirs = _WORDS.findall(other)
        for kind, a, b, c, d in SequenceMatcher(a=own, b=theirs, autojunk=False).get_opcodes():
            if kind == "replace" and b - a <= 5 and d - c <= 5:
                said[a, b].add("".join(theirs[c:d]))
    spans = ["".join(own[a:b]) for (a, b), values in said.items() if len(values) >= 3]
    return tuple(span for span in spans if span.strip() and not TOKEN.search(span))
