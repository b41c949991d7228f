"""Companies in a headline: names, aliases, cashtags and tickers, and whether a word is a name here.

A name is looked for word by word, the longest first, so that "Bank of America" is not "America".
Capital letters must be those of the list: "IT" is not "it". A cashtag ($AAPL), a ticker in brackets
or behind an exchange (NASDAQ: AAPL) is a company whatever stands around it. A name of one word that
is a word of the language too gets `near` or `not_near` in the list. Beside a word of not_near it is
refused. With `near` it is taken only where something speaks for the company: one of these words,
its ticker, a possessive, a word such as "shares" behind it, a verb such as "warns" behind it where
a sentence begins, or its capital letter in the middle of a headline that does not capitalise every
word, unless it stands beside another capital: then it is part of a longer name (Tiananmen Square).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from apps.news_monitor.companies import Company, CompanyList

NEAR_WORDS = 6
"""So many words before and behind a name are near it."""
LONGEST_TEXT = 600
TOKEN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3400-\u9fff\uf900-\ufaff]+|&", re.UNICODE)
JOINT = re.compile(r"[\s.'’\-–]{0,2}")
CASHTAG = re.compile(r"\$([A-Za-z][A-Za-z0-9]{0,9}(?:[.\-][A-Za-z]{1,3})?)(?![A-Za-z0-9])")
BRACKETS = re.compile(r"\(([^()]{1,24})\)")
EXCHANGE = re.compile(
    r"\b(?:NYSE|NASDAQ|AMEX|LSE|LON|NSE|BSE|TSX|ASX|HKEX|HKG|SSE|SZSE|TYO|ETR|FRA|EPA|AMS)"
    r"\s?:\s?([A-Z0-9]{1,10}(?:[.\-][A-Z]{1,3})?)\b"
)
PIECE = re.compile(r"[A-Za-z0-9.\-]+")
COMPANY_WORDS = frozenset(
    "share shares stock stocks shareholder shareholders investors inc corp corporation co ltd plc "
    "nv sa ag llc group holdings ceo cfo chief chairman board executives earnings profit profits "
    "revenue q1 q2 q3 q4 quarterly results bonds dividend buyback ipo".split()
)
COMPANY_VERBS = frozenset(
    "to will has is was had would could may might must says said plans warns posts reports cuts "
    "raises buys sells recalls launches names hires fires beats misses wins loses faces sees "
    "unveils seeks agrees sues files expects reaches hits hopes leads scraps blames slips falls "
    "rises jumps soars plunges drops gains tumbles slides surges sheds shuts closes opens moves "
    "announces appoints acquires adds books boosts bids eyes settles signs slashes stops starts "
    "takes makes gets halts delays denies defends reveals reassures shrugs suffers".split()
)
OPENERS = frozenset(':;.?!|"“‘—–-')
Style = Literal["upper", "lower", "title", "sentence"]
How = Literal["name", "ticker"]


@dataclass(frozen=True)
class Mention:
    """company: its place in the list. start, end: characters of the text that name it."""

    company: int
    start: int
    end: int
    how: How


@dataclass(frozen=True)
class _Token:
    text: str
    folded: str
    start: int
    end: int


@dataclass(frozen=True)
class _Name:
    company: int
    tokens: tuple[str, ...]

    @property
    def folded(self) -> tuple[str, ...]:
        return tuple(token.casefold() for token in self.tokens)


class CompanyFinder:
    """Looks for a list's companies; the same text gives the same answer."""

    def __init__(self, listed: CompanyList) -> None:
        self.companies: tuple[Company, ...] = listed.companies
        self._tickers = {c.ticker: i for i, c in enumerate(self.companies) if c.ticker}
        self._names: dict[str, list[_Name]] = defaultdict(list)
        for i, company in enumerate(self.companies):
            for spelling in company.names:
                tokens = tuple(found.group() for found in TOKEN.finditer(spelling))
                if tokens:
                    self._names[tokens[0].casefold()].append(_Name(i, tokens))
        for names in self._names.values():
            names.sort(key=lambda name: -len(name.tokens))
        spelt = Counter(
            (name.company, name.folded) for names in self._names.values() for name in names
        )
        owners = Counter(folded for _, folded in spelt)
        self._shared = {folded for folded, count in owners.items() if count > 1}
        self._near = [_phrases(company.near) for company in self.companies]
        self._not_near = [_phrases(company.not_near) for company in self.companies]

    def find(self, text: str) -> tuple[Mention, ...]:
        """Every mention, from left to right, none inside another."""
        text = text[:LONGEST_TEXT]
        found = self._by_ticker(text)
        sure = {mention.company for mention in found}
        tokens = [_Token(m.group(), m.group().casefold(), *m.span()) for m in TOKEN.finditer(text)]
        style = _style(text, tokens)
        taken = [(mention.start, mention.end) for mention in found]
        place = 0
        while place < len(tokens):
            name = self._name_at(text, tokens, place, style, sure)
            length = len(name.tokens) if name else 1
            if name:
                start, end = tokens[place].start, tokens[place + length - 1].end
                if not any(start < stop and begin < end for begin, stop in taken):
                    found.append(Mention(name.company, start, end, "name"))
            place += length
        return tuple(sorted(found, key=lambda mention: mention.start))

    def _by_ticker(self, text: str) -> list[Mention]:
        spans = [(m.group(1).upper(), *m.span()) for m in CASHTAG.finditer(text)]
        spans += [(m.group(1), *m.span()) for m in EXCHANGE.finditer(text)]
        for bracket in BRACKETS.finditer(text):
            begin = bracket.start(1)
            spans += [
                (m.group(), begin + m.start(), begin + m.end())
                for m in PIECE.finditer(bracket.group(1))
            ]
        found: list[Mention] = []
        for ticker, start, end in spans:
            number = self._tickers.get(ticker)
            inside = any(start < m.end and m.start < end for m in found)
            if number is not None and not inside:
                found.append(Mention(number, start, end, "ticker"))
        return found

    def _name_at(
        self, text: str, tokens: Sequence[_Token], place: int, style: Style, sure: set[int]
    ) -> _Name | None:
        for name in self._names.get(tokens[place].folded, ()):
            stop = place + len(name.tokens)
            if (
                stop <= len(tokens)
                and tuple(token.folded for token in tokens[place:stop]) == name.folded
                and _joined(text, tokens[place:stop])
                and _cased(name, tokens[place:stop], style)
                and self._meant(text, tokens, place, name, style, sure)
            ):
                return name
        return None

    def _meant(
        self,
        text: str,
        tokens: Sequence[_Token],
        place: int,
        name: _Name,
        style: Style,
        sure: set[int],
    ) -> bool:
        """Whether the word is the company here."""
        company = self.companies[name.company]
        shared = name.folded in self._shared
        plain = not company.near and not company.not_near
        if name.company in sure or (not shared and (len(name.tokens) > 1 or plain)):
            return True
        stop = place + len(name.tokens)
        before = tokens[max(place - NEAR_WORDS, 0) : place]
        after = tokens[stop : stop + NEAR_WORDS]
        around = [[token.folded for token in side] for side in (before, after)]
        if _stands_in(self._not_near[name.company], around):
            return False
        if not company.near or _stands_in(self._near[name.company], around):
            return True
        # One name for two companies: nothing but the words near it tells which is meant.
        return not shared and _speaks_of_a_company(text, tokens, place, style)


def _speaks_of_a_company(text: str, tokens: Sequence[_Token], place: int, style: Style) -> bool:
    """Whether the words and capitals around a word make it a company's name."""
    token = tokens[place]
    rest, lead = text[token.end : token.end + 3], text[: token.start]
    if rest[:1] in ("-", "–") and rest[1:2].isalnum():
        return False  # Next-generation, Snap-on
    if rest[:2] in ("'s", "’s") and not rest[2:].isalnum():
        return True
    follower = tokens[place + 1] if place + 1 < len(tokens) and rest[:1] == " " else None
    if follower and follower.folded in COMPANY_WORDS:
        return True
    if not lead.strip() or lead.rstrip()[-1] in OPENERS:
        return follower is not None and follower.folded in COMPANY_VERBS
    leader = tokens[place - 1] if place > 1 and lead.endswith(" ") else None
    beside = [
        other
        for other, gap in ((leader, lead[-2:-1]), (follower, " "))
        if other and (gap.isalnum() or gap == " ")
    ]
    return style == "sentence" and not any(other.text[0].isupper() for other in beside)


def _phrases(words: Sequence[str]) -> list[tuple[str, ...]]:
    cut = [tuple(m.group().casefold() for m in TOKEN.finditer(word)) for word in words]
    return [phrase for phrase in cut if phrase]


def _stands_in(phrases: Sequence[tuple[str, ...]], around: Sequence[Sequence[str]]) -> bool:
    return any(
        tuple(side[at : at + len(phrase)]) == phrase
        for side in around
        for phrase in phrases
        for at in range(len(side) - len(phrase) + 1)
    )


def _joined(text: str, tokens: Sequence[_Token]) -> bool:
    """Nothing but a space, a dot, an apostrophe or a hyphen between the words of a name."""
    return all(JOINT.fullmatch(text, before.end, after.start) for before, after in pairwise(tokens))


def _cased(name: _Name, tokens: Sequence[_Token], style: Style) -> bool:
    """Whether the capital letters are those of the list, as far as the headline's style tells."""
    if style == "lower":
        # Without any capital letter a short name in capitals (IT, ALL) is more often the word.
        return len(name.tokens) > 1 or not name.tokens[0].isupper() or len(name.tokens[0]) > 4
    for listed, token in zip(name.tokens, tokens, strict=True):
        if listed == token.text or not any(map(str.isupper, listed)):
            continue
        if token.text.isupper() or (token.text[0].isupper() and not listed.isupper()):
            continue
        return False
    return True


def _style(text: str, tokens: Sequence[_Token]) -> Style:
    """How a headline uses capital letters; hashtags, cashtags and names of accounts say nothing."""
    words = [
        token.text
        for token in tokens
        if token.text.isalpha()
        and token.text.isascii()
        and text[max(token.start - 1, 0)] not in "#$@"
    ]
    letters = "".join(words)
    if not any(map(str.isupper, letters)):
        return "lower"
    if len(words) >= 3 and sum(map(str.isupper, letters)) >= 0.8 * len(letters):
        return "upper"
    long = [word for word in words[1:] if len(word) >= 4]
    if len(long) >= 2 and sum(word[0].isupper() for word in long) >= 0.7 * len(long):
        return "title"
    return "sentence"
