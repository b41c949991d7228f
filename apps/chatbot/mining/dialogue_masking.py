"""A dialogue's texts cleaned of what is no content, and personal data out of them.

Numbers, addresses and dates become tokens, `<order>`, `<date>`, each with the value it stands for,
kept only in memory: an import needs to know which values the customer gave and which are the same
in every dialogue. Names are learned from the dialogue itself (who signs, who is greeted) and then
masked wherever they stand in it.
"""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apps.chatbot.mining.dialogues import LONGEST_TURN, Dialogue, Role
from shared.text import mask_personal_data

TOKEN = re.compile(
    r"<(?:url|email|iban|card|id|order|account|date|amount|phone|number|name|agent)>"
)
_TAG = re.compile(
    r"</?(?:p|br|div|span|b|i|u|strong|em|a|ul|ol|li|td|tr|table|font|img|h[1-6])\b[^<>]{0,500}>",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"(?im)^(?:>.*|-{2,}\s?(?:original message|forwarded message).*|on .{5,80} wrote:|"
    r"(?:from|sent|to|subject|cc): .*|sent from my .*|get outlook for .*)$"
)
_SALUTATION = re.compile(
    r"(?i)^\s*(?:dear|hi|hello|hey|good (?:day|morning|afternoon|"
    r"evening))\b[^\n.!?]{0,40}[,:!]?\s*\n"
)
_SIGN_OFF = re.compile(
    r"(?im)^\s*(?:(?:kind|best|warm|many)\s)?(?:regards|wishes|greetings|thanks|thank you|cheers|"
    r"sincerely|yours(?: \w+)?|all the best|best|此致|敬礼)[,.!]?\s*(?:\n+(?P<who>[^\n]{1,60}))?"
    r"(?:\n[^\n]{0,80}){0,4}\s*\Z"
)
# What helps a network's agents: who wrote (^NM, /JI, *KenS, -AB) and which part it is (2/3).
_INITIALS = re.compile(
    r"\s*(?:\^\s?[A-Za-z]{2,15}|(?<=\s)/[A-Z]{2,3}|\*[A-Z]\w{1,20}|"
    r"-\s?[A-Z]{2}|(?:(?:TY|Rgds|Regards|Thanks|Cheers)\s*[,-]\s*|"
    r"(?<=[.!?])\s+-\s?)[A-Z]\w{1,20})\s*$"
)
_PART = re.compile(r"\s*(?:\.{2,3}\s?)?\(?(?<![\d/])[1-9]/[1-9](?![\d/])\)?\s*$")
_LINK_AT_END = re.compile(r"\s*https?://t\.co/\w{1,20}\s*$")
_LEADING_HANDLES = re.compile(r"^(?:\s*[.@]?@\w{1,30}[,:]?)+\s*")
_HANDLE = re.compile(r"(?<![\w.@])@(\w{1,30})")

_WORD = r"[A-Z][a-zà-ÿ'’-]{1,20}"
_NAMED_AGENT = re.compile(
    rf"(?:(?:[Tt]his is|[Mm]y name is|[Mm]y name's|I'?’?m|I am|(?:chatting|speaking|connected) "
    rf"with|"
    rf"[Nn]ame'?’?s)\s+(?P<a>{_WORD}))|(?<!\w)(?P<b>{_WORD})\s+here\b"
)
_NAMED_CUSTOMER = re.compile(
    rf"(?:[Mm]y name is|[Mm]y name's|(?<![A-Za-z])[Nn]ame(?: is|:)?|[Tt]his "
    rf"is)\s+(?P<a>{_WORD}(?:\s{_WORD})?)"
)
_GREETED = re.compile(
    rf"(?:Dear|Hi|Hello|Hey|Hiya|Good (?:day|morning|afternoon|evening)|Thanks|Thank you|Sorry|Bye)"
    rf",?\s+(?P<a>{_WORD}(?:\s{_WORD})?)\s*(?=[,.!]|$)"
)
_SIGNED = re.compile(rf"(?:Thanks|Regards|Cheers|Best),?\s+(?P<a>{_WORD})\s*$")
_CHINESE_NAME = re.compile(
    r"(?:我叫|我是客服|客服|工号)(?P<a>[\u4e00-\u9fff]{2,3}|\d{2,8})(?=[，,。！!\s]|$)"
)
_NO_NAME = frozenset(
    "there team all again everyone folks guys sir madam support service customer agent sorry happy "
    "glad afraid not here unable sure yes no ok okay the you your we our it this that please just "
    "thanks thank hello good day morning dear love great right now back and but for so very much "
    "unfortunately checking looking trying having using".split()
)

_BARE_CODE = re.compile(r"(?<![\w<#-])#?[A-Z]{1,4}-?\d{4,}(?:-\d+)*(?![\w>-])")
_BARE_NUMBER = re.compile(r"(?<![\w<.,:/+-])(?!(?:19|20)\d\d(?!\d))\d{4,}(?![\w>]|[.,:/-]\d)")


@dataclass(frozen=True)
class Words:
    """A masked text. values: what each of its tokens stands for, in their order; "" where that is
    not known."""

    text: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """What one side said without being interrupted. turns: the messages it was put together of."""

    role: Role
    words: Words
    turns: tuple[int, ...]


def runs_of(dialogue: Dialogue) -> list[Run]:
    """The dialogue as alternating runs, cleaned and masked. Turns with nothing left are gone."""
    cleaned = [(turn, _clean(turn.text)) for turn in dialogue.turns]
    agents, customers = _names(dialogue)
    runs: list[Run] = []
    for turn, text in cleaned:
        if not text:
            continue
        words = masked(text, agents=agents, customers=customers)
        if runs and runs[-1].role == turn.role:
            before = runs[-1]
            joined = Words(
                f"{before.words.text}\n{words.text}", (*before.words.values, *words.values)
            )
            runs[-1] = Run(turn.role, joined, (*before.turns, turn.number))
        else:
            runs.append(Run(turn.role, words, (turn.number,)))
    return runs


def _clean(text: str) -> str:
    """The message without markup, quoted mail, salutation, signature, handles and part numbers."""
    text = text[:LONGEST_TURN]
    if "&" in text:
        text = html.unescape(text)
    if "<" in text:
        text = _TAG.sub(" ", text)
    text = _LEADING_HANDLES.sub("", _tidy(text))
    if "\n" in text:
        text = _SIGN_OFF.sub("", _SALUTATION.sub("", _QUOTED.sub("", text)))
    before = ""
    while before != text:
        before = text
        for mark in (_PART, _INITIALS, _LINK_AT_END):
            text = mark.sub("", text)
    return text.strip()


def _tidy(text: str) -> str:
    """Lines with single spaces, none of them blank: what the patterns here expect, and what keeps
    their time linear."""
    text = "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)
    return "\n".join(line for each in text.split("\n") if (line := " ".join(each.split())))


def _names(dialogue: Dialogue) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the agents and of the customer, as words, learned from who signs and is greeted."""
    agents: set[str] = set()
    customers: set[str] = set()
    for turn in dialogue.turns:
        text = _tidy(turn.text[:LONGEST_TURN])
        signed = _SIGN_OFF.search(text)
        own, other = (agents, customers) if turn.role == "agent" else (customers, agents)
        if signed and signed["who"]:
            own |= _capitals(signed["who"].split(",")[0])
        for pattern in (_NAMED_AGENT if turn.role == "agent" else _NAMED_CUSTOMER, _CHINESE_NAME):
            own |= _found(pattern, text)
        own |= _found(_SIGNED, _INITIALS.sub("", _PART.sub("", text)))
        other |= _found(_GREETED, text)
    return frozenset(agents), frozenset(customers - agents)


def _found(pattern: re.Pattern[str], text: str) -> set[str]:
    return {
        word
        for match in pattern.finditer(text)
        for group in match.groups()
        if group
        for word in _capitals(group)
    }


def _capitals(text: str) -> set[str]:
    """The words of a name; none where it is no name."""
    words = text.split()
    if any(word.casefold().strip(".!") in _NO_NAME for word in words[:1]):
        return set()
    return {
        word.strip(".!")
        for word in words
        if (word[:1].isupper() or not word.isascii() or word.isdigit())
        and len(word) > 1
        and word.casefold() not in _NO_NAME
    }


def masked(text: str, *, agents: Iterable[str] = (), customers: Iterable[str] = ()) -> Words:
    """Personal data as tokens, beside those of `mask_personal_data` also <order> for bare codes
    (TT-402817), <number> for four digits and more, <name> and <agent>."""
    out = mask_personal_data(_HANDLE.sub("<name>", text))
    out = _BARE_NUMBER.sub("<number>", _BARE_CODE.sub("<order>", out))
    for token, names in (("<agent>", agents), ("<name>", customers)):
        for name in sorted(names, key=len, reverse=True):
            edge = r"(?<![\w<@]){}(?![\w>])" if name.isascii() else "{}"
            out = re.sub(edge.format(re.escape(name)), token, out)
    out = re.sub(r"<(name|agent)>(?:\s<\1>)+", r"<\1>", out)
    return _with_stops(out, _values(text, out))


def _with_stops(out: str, values: tuple[str, ...]) -> Words:
    """The full stop back that a date at the end of a sentence took with it: by 3 May."""
    pieces = TOKEN.split(out)
    text = pieces[0]
    kept = []
    for token, value, piece in zip(TOKEN.findall(out), values, pieces[1:], strict=True):
        stop = "." if token == "<date>" and value.endswith(".") and not piece[:1].isalnum() else ""
        text += token + stop + piece
        kept.append(value.removesuffix(stop) if stop else value)
    return Words(text, tuple(kept))


def _values(raw: str, out: str) -> tuple[str, ...]:
    """What each token replaced: the words between the pieces that stayed as they were."""
    pieces = TOKEN.split(out)
    found: list[str] = []
    at = len(pieces[0])
    for index, piece in enumerate(pieces[1:], start=1):
        last = index == len(pieces) - 1
        end = len(raw) - len(piece) if last else (raw.find(piece, at + 1) if piece else -1)
        if end < at:
            found += [""] * (len(pieces) - index)
            break
        found.append(raw[at:end])
        at = end + len(piece)
    return tuple(found)


_OPENING = re.compile(
    r"^(?:hi|hello|hey|hiya|dear|good (?:day|morning|afternoon|evening))(?:,? (?:there|again|"
    r"<name>|<agent>|all|team|"
    r"guys|sir|madam|<name> <agent>))*\s?[,!.:-]+\s+(?=\S)|^(?:您好|你好|亲)[，,!！]\s?(?=\S)",
    re.IGNORECASE,
)


def sentences(words: Words) -> list[Words]:
    """The text sentence by sentence, each with the values of its own tokens."""
    parts = [part.strip() for part in _BREAK.split(words.text) if part.strip()]
    found: list[Words] = []
    used = 0
    for part in parts:
        count = len(TOKEN.findall(part))
        values = words.values[used : used + count]
        used += count
        opening = _OPENING.match(part)
        if opening:  # "Hi Jack, your card is blocked." says something of the matter too
            values = values[len(TOKEN.findall(opening.group())) :]
            part = part[opening.end() :]
        found.append(Words(" ".join(part.split()), values))
    return found


_BREAK = re.compile(
    r"\n+|(?<=[.!?…])(?<![Nn]o\.)(?<![Nn]r\.)(?<!\bMr\.)(?<!\bMrs\.)(?<!\bDr\.)\s+(?=[^\sa-z])"
    r"|(?<=[。！？；])"
)


def joined(parts: Sequence[Words]) -> Words:
    """Sentences as one text again."""
    text = ""
    for part in parts:
        glue = "" if not text or (text[-1] in "。！？；" and not part.text[:1].isascii()) else " "
        text += glue + part.text
    return Words(text, tuple(value for part in parts for value in part.values))
