"""Slot values and the noise of real messages, for the chatbot sample.

Every function takes its random generator, so that the same seed gives the same text.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta

SLOT = re.compile(r"\{([a-z0-9]+)\}")
# Keys that touch each other on an English keyboard, row by row.
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS: Mapping[str, str] = {
    key: "".join(row[max(0, i - 1) : i] + row[i + 1 : i + 2])
    for row in _ROWS
    for i, key in enumerate(row)
}
_SHORT: Mapping[str, str] = {
    "you": "u", "your": "ur", "please": "pls", "are": "r", "tomorrow": "tmrw", "thanks": "thx",
    "to": "2", "because": "cuz", "for": "4", "order": "ordr", "message": "msg", "before": "b4",
    "and": "n", "about": "abt", "account": "acc", "with": "w/", "why": "y", "see": "c",
}  # fmt: skip
_SURNAMES = (
    "Abara", "Bloom", "Castell", "Dunmore", "Ekberg", "Farrow", "Garrity", "Holt", "Ivers",
    "Jansky", "Keane", "Lomax", "Mbeki", "Norwood", "Oduya", "Pell", "Quist", "Rowe", "Sato",
    "Tully",
)  # fmt: skip
_FIRST_NAMES = (
    "Alice", "Ben", "Carla", "Dan", "Ella", "Farid", "Grace", "Hugo", "Ines", "Jack", "Kira",
    "Liam", "Maya", "Noel", "Olga", "Paul", "Rosa", "Sam", "Tina", "Vera",
)  # fmt: skip
_SPRING = date(2025, 2, 3)
_DAYS = 170  # the sample's half year


def some_name(rng: random.Random) -> tuple[str, str]:
    """First name and surname of an invented person."""
    return rng.choice(_FIRST_NAMES), rng.choice(_SURNAMES)


def some_email(rng: random.Random, first: str, last: str) -> str:
    """An address under the domains reserved for examples (RFC 2606)."""
    local = rng.choice((f"{first}.{last}", f"{first[0]}{last}", f"{first}{rng.randint(1, 99)}"))
    return f"{local.lower()}@example.{rng.choice(('com', 'com', 'org', 'net'))}"


def some_phone(rng: random.Random) -> str:
    """A number in the range 555-0110 to 555-0189, which belongs to nobody."""
    area = rng.choice(("", "+1 202 ", "202-", "+1 303 "))
    return f"{area}555{rng.choice('- ') if area else '-'}01{rng.randint(10, 89)}"


def some_day(rng: random.Random) -> date:
    return _SPRING + timedelta(days=rng.randrange(_DAYS))


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    endings = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if 10 <= number % 100 <= 20 else endings.get(number % 10, 'th')}"


def _spoken_date(rng: random.Random, language: str) -> str:
    day = some_day(rng)
    number, month = day.day, f"{day:%B}"
    if language == "zh":
        short = f"{number}号"
        return rng.choice((f"{day.month}月{short}", f"{day.month}月{number}日", short))
    return rng.choice((
        f"{number} {month}", f"{month} {number}", f"{number} {month[:3]}", f"{day:%A}",
        f"the {ordinal(number)}", f"{number}/{day.month}", f"{number:02}.{day.month:02}.{day.year}",
        day.isoformat(), f"{ordinal(number)} of {month}",
    ))  # fmt: skip


def _spoken_amount(rng: random.Random, language: str) -> str:
    pounds = rng.choice((rng.randint(4, 40), rng.randint(20, 160)))
    exact = f"{pounds + rng.choice((0.0, 0.5, 0.9, 0.95, 0.99)):.2f}"
    if language == "zh":
        return rng.choice((f"{exact}镑", f"£{exact}", f"{pounds}英镑", f"{pounds}镑"))
    round_forms = (f"£{pounds}", f"{pounds} pounds", f"{pounds} quid")
    return rng.choice((f"£{exact}", exact, f"€{exact}", f"£ {exact}", *round_forms))


def _spoken_order(rng: random.Random, _: str) -> str:
    digits = str(rng.randint(310000, 699999))
    odd = (f"tt-{digits}", f"TT{digits}", f"#{digits}", f"TT {digits}", digits)
    return rng.choice((f"TT-{digits}",) * 4 + odd)


def _spoken_time(rng: random.Random, language: str) -> str:
    hour, minute = rng.randint(7, 22), rng.choice((0, 5, 15, 20, 30, 40, 45))
    if language == "zh":
        return f"{'上午' if hour < 12 else '下午'}{(hour - 1) % 12 + 1}点"
    return rng.choice((f"{hour}:{minute:02}", f"{(hour - 1) % 12 + 1}{'am' if hour < 12 else 'pm'}",
                       f"{(hour - 1) % 12 + 1} o'clock", f"{hour}.{minute:02}"))  # fmt: skip


_MADE: Mapping[str, Callable[[random.Random, str], str]] = {
    "order": _spoken_order,
    "date": _spoken_date,
    "amount": _spoken_amount,
    "amount2": _spoken_amount,
    "time": _spoken_time,
    "phone": lambda rng, _: some_phone(rng),
    "email": lambda rng, _: some_email(rng, *some_name(rng)),
    "days": lambda rng, _: str(rng.randint(3, 21)),
    "last4": lambda rng, _: str(rng.randint(1001, 9998)),
    "last2": lambda rng, _: str(rng.randint(2, 98)),
    "initial": lambda rng, _: rng.choice("ABCDEFGHKLMNPRST"),
}


def fill(
    text: str, rng: random.Random, lexicon: Mapping[str, Sequence[str]], language: str = "en"
) -> str:
    """Replace each {slot} by a value of its own: one of the lexicon, else a made one.

    Raises:
        KeyError: the wording uses a slot that neither knows.
    """
    used: set[str] = set()

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in lexicon:
            return _MADE[name](rng, language)
        chosen = rng.choice([word for word in lexicon[name] if word not in used])
        used.add(chosen)
        return chosen

    return SLOT.sub(value, text)


def outside_slots(text: str, change: Callable[[str], str]) -> str:
    """Apply `change` to the wording and leave the {slots} as they are."""
    parts = re.split(r"(\{[a-z0-9]+\})", text)
    return "".join(part if part.startswith("{") else change(part) for part in parts)


def misspell(text: str, rng: random.Random, every: int = 30, most: int = 3) -> str:
    """About one slip for every `every` characters, at most `most`: a neighbouring key, two letters
    swapped, one left out or one doubled. First letters and the inside of {slots} stay."""
    spots = [
        m.start() + i
        for m in re.finditer(r"(?<!\{)\b[A-Za-z]{4,}\b(?!\})", text)
        for i in range(1, len(m.group()))
    ]
    if not spots:
        return text
    wanted = min(most, max(1, len(text) // every), len(spots))
    letters = list(text)
    for spot in rng.sample(spots, wanted):
        key = letters[spot]
        kind = rng.choice(("neighbour", "swap", "drop", "double"))
        if kind == "neighbour" and key.lower() in _NEIGHBOURS:
            letters[spot] = rng.choice(_NEIGHBOURS[key.lower()])
        elif kind == "swap" and len(letters[spot - 1]) == 1 and spot - 1 > 0:
            letters[spot - 1], letters[spot] = letters[spot], letters[spot - 1]
        elif kind == "drop":
            letters[spot] = ""
        else:
            letters[spot] = key * 2
    return "".join(letters)


def shorten(text: str, rng: random.Random) -> str:
    """Chat spelling for some of the words that have one."""

    def short(match: re.Match[str]) -> str:
        word = match.group()
        replacement = _SHORT.get(word.lower())
        return replacement if replacement and rng.random() < 0.6 else word

    return outside_slots(text, lambda part: re.sub(r"\b[A-Za-z]+\b", short, part))


def careless(text: str) -> str:
    """No capitals, no full stop at the end, no apostrophes."""
    return outside_slots(text, lambda part: part.lower().replace("'", "")).rstrip(".!? ")


def shout(text: str) -> str:
    return outside_slots(text, str.upper)


def roughen(text: str, rng: random.Random) -> str:
    """At most two of the habits that make typed messages differ from written English."""
    roll = rng.random()
    if roll < 0.14:
        text = careless(text)
    elif roll < 0.17 and len(text) < 80:
        text = shout(text)
    elif roll < 0.22:
        text = shorten(text, rng)
    elif roll < 0.29:
        text = outside_slots(text, lambda part: re.sub(r"[,.?!]", "", part))
    if rng.random() < 0.2:
        text = misspell(text, rng)
    return text


def roughen_zh(text: str, rng: random.Random) -> str:
    """Chinese habits: no punctuation, spaces for it, half-width marks, sound-alike particles."""
    roll = rng.random()
    if roll < 0.15:
        return re.sub(r"[，。？！]$", "", text)
    if roll < 0.27:
        return re.sub(r"[，。]", " ", text).strip()
    if roll < 0.37:
        return text.replace("，", ",").replace("？", "?").replace("！", "!")
    if roll < 0.44:
        return text.replace("的", "滴", 1) if rng.random() < 0.5 else text.replace("在", "再", 1)
    return text
