"""How a publisher dresses a headline, and how another one edits a copy of it."""

import random
import re

# What people who pay by the letter leave out.
SHORTHAND = {
    "shares": "shs",
    "million": "mln",
    "expected": "exp",
    "quarter": "qtr",
    "year": "yr",
    "years": "yrs",
    "and": "&",
    "with": "w/",
    "without": "w/o",
    "because": "bc",
    "management": "mgmt",
    "government": "govt",
    "first": "1st",
    "second": "2nd",
    "third": "3rd",
    "tomorrow": "tmrw",
    "people": "ppl",
}
# Pairs a sub-editor exchanges without changing what is said.
SYNONYMS = {
    "says": "said",
    "say": "said",
    "pct": "percent",
    "mln": "million",
    "bln": "billion",
    "UPDATE": "UPD",
    "after": "following",
    "firms": "companies",
    "chief": "CEO",
    "shares": "stock",
    "falls": "drops",
    "fall": "drop",
    "rises": "gains",
    "biggest": "largest",
    "amid": "on",
    "sees": "expects",
    "shuts": "closes",
    "wins": "secures",
    "buy": "acquire",
    "jobs": "posts",
}
WIRE_PREFIX = re.compile(r"^(?:UPDATE \d|BRIEF|REFILE|CORRECTED)-")


def dress(text: str, register: str, rng: random.Random) -> str:
    """The headline as a publisher of this register would run it."""
    if register == "wire":
        return _wire(text, rng)
    if register == "tweet":
        return _tweet(text, rng)
    if register == "tabloid":
        return _tabloid(text, rng)
    if register == "brief" and rng.random() < 0.25:
        return text.rstrip(".") + "."
    return text


def _wire(text: str, rng: random.Random) -> str:
    if WIRE_PREFIX.match(text) or rng.random() > 0.12:
        return text
    return rng.choice(("UPDATE 1-", "REFILE-", "CORRECTED-", "BRIEF-")) + text


def _tweet(text: str, rng: random.Random) -> str:
    words = [SHORTHAND[w] if w in SHORTHAND and rng.random() < 0.6 else w for w in text.split(" ")]
    if rng.random() < 0.35:
        words = [w if w.startswith("$") or w.isupper() else w.lower() for w in words]
    if rng.random() < 0.12:
        words = _misspell(words, rng)
    tweet = " ".join(words)
    chance = rng.random()
    if chance < 0.08:
        tweet = "RT " + tweet
    elif chance < 0.16:
        tweet += rng.choice((" #markets", " #stocks", " #news", " 👀", " (via Meridale)"))
    return tweet


def _tabloid(text: str, rng: random.Random) -> str:
    if any(len(w) > 3 and w.isupper() for w in text.split()):
        return text
    words = text.split(" ")
    plain = [i for i, w in enumerate(words) if w.isalpha() and w.islower() and len(w) > 4]
    if plain and rng.random() < 0.6:
        chosen = rng.choice(plain)
        words[chosen] = words[chosen].upper()
    shouted = " ".join(words)
    return shouted + "!" if rng.random() < 0.25 and shouted[-1].isalnum() else shouted


def _misspell(words: list[str], rng: random.Random) -> list[str]:
    """One slip of the thumb: two neighbouring letters exchanged, or one left out."""
    long = [i for i, w in enumerate(words) if len(w) > 5 and w.isalpha()]
    if not long:
        return words
    at = rng.choice(long)
    word, cut = words[at], rng.randrange(1, len(words[at]) - 2)
    if rng.random() < 0.5:
        slipped = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
    else:
        slipped = word[:cut] + word[cut + 1 :]
    return [*words[:at], slipped, *words[at + 1 :]]


def edit_copy(title: str, publisher: str, rng: random.Random) -> str:
    """A lightly edited reprint of a wire headline: the same news in nearly the same words."""
    edited = WIRE_PREFIX.sub("", title)
    words = edited.split(" ")
    places = [i for i, w in enumerate(words) if w in SYNONYMS and i > 0]
    for at in rng.sample(places, k=min(len(places), rng.choice((0, 1, 1, 2)))):
        words[at] = SYNONYMS[words[at]]
    edited = " ".join(words)
    chance = rng.random()
    if chance < 0.3:
        edited = f"{edited} - {publisher}"
    elif chance < 0.45:
        edited = f"{edited}, report says"
    elif chance < 0.6:
        edited = f"News in brief: {edited}"
    elif chance < 0.7:
        edited = edited.upper()
    return edited


def slug(title: str) -> str:
    """ASCII words of the title joined by hyphens, as they appear in an address."""
    plain = title.lower().translate(str.maketrans("äöüéèåø", "aoueeao"))
    return "-".join(re.findall(r"[a-z0-9]+", plain)[:8])
