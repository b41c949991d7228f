"""Readable, distinct names and titles for clusters of questions that nobody has named."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from math import log

from apps.chatbot.mining.dialogue_masking import TOKEN

LONGEST_NAME = 48
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_HAN = re.compile("[\u3400-\u9fff]+")
_EMPTY = frozenset(
    "a about again all also am an and another any anyone are as at be because been before but "
    "by can can't "
    "cannot cant could couldn't dear did didn't do does doesn't doesnt doing don't dont each "
    "else even ever "
    "for from get gets getting give go going good got guys had has have haven't having hello "
    "help her here "
    "hey hi him his how i i'd i'll i'm i've if im in into is isn't it it's its ive just keep "
    "know last let "
    "like ll look make many may me mine more much must my need needs new no not now of off oh "
    "ok on one only "
    "or other our out over own please pls plz question quick really s said say see she should "
    "since so some "
    "someone something still such t take tell than thank thanks that that's the their them then "
    "there these "
    "they thing things this those though to too trying two u up us use ve very via want wanted "
    "was wasn't way "
    "we we're well were what what's when where where's which while who why will with won't "
    "would yes yet you "
    "you're your youre today yesterday already don’t can’t i’m it’s i’ve doesn’t didn’t what’s "
    "won’t "
    "wondering instead back thx ive theres there's don ain't".split()
)  # fmt: skip


def name_clusters(clusters: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """A name for each cluster of questions: the words that it has and others have not.

    Names are lower-case words joined by _ (Chinese: characters), at most LONGEST_NAME characters,
    and no two are the same.
    """
    counts = [Counter(p for q in questions for p in set(_phrases(q))) for questions in clusters]
    spread = Counter(phrase for each in counts for phrase in each)
    taken: set[str] = set()
    names = []
    for questions, own in zip(clusters, counts, strict=True):
        least = _support(len(questions))
        ranked = sorted(
            own,
            key=lambda p: (
                own[p] < least,
                -_weight(p, own[p] / len(questions), spread[p], len(clusters)),
                p,
            ),
        )
        names.append(_distinct([_slug(p) for p in ranked[:20]], taken))
    return tuple(names)


def _support(questions: int) -> float:
    """In how many of them a phrase must stand to name them all: one odd question of eight must not,
    however rare its words are elsewhere."""
    return max(2.0, questions / 4) if questions > 2 else 1.0


def _weight(phrase: tuple[str, ...], share: float, spread: int, clusters: int) -> float:
    """Frequent inside, rare outside; two words say more than one."""
    return share * log(1 + clusters / spread) * (1.0, 1.35, 1.25)[len(phrase) - 1]


def _distinct(ranked: Sequence[str], taken: set[str]) -> str:
    """The first of the names that is not taken, else the first two joined, else numbered."""
    wanted = [name for name in ranked if name] or ["question"]
    pairs = [f"{wanted[0]}_{other}" for other in wanted[1:] if other not in wanted[0]]
    for name in (*wanted[:3], *pairs):
        if name not in taken and len(name) <= LONGEST_NAME:
            taken.add(name)
            return name
    number = 2
    while f"{wanted[0][: LONGEST_NAME - 8]}_{number}" in taken:
        number += 1
    taken.add(name := f"{wanted[0][: LONGEST_NAME - 8]}_{number}")
    return name


def _phrases(question: str) -> Iterator[tuple[str, ...]]:
    """One to three words that follow each other when empty words are left out; of Chinese, two to
    four characters."""
    plain = TOKEN.sub(" . ", question).lower().replace("’", "'")
    for run in _HAN.findall(plain):
        for size in (2, 3, 4):
            yield from ((run[at : at + size],) for at in range(len(run) - size + 1))
    for clause in re.split(r"[.!?,;:()\n]+", plain):
        words = [w for w in _WORD.findall(clause) if w not in _EMPTY and not _HAN.search(w)]
        for size in (1, 2, 3):
            yield from (tuple(words[at : at + size]) for at in range(len(words) - size + 1))


def _slug(phrase: tuple[str, ...]) -> str:
    words = (re.sub(r"[^\w]+", "", word.removesuffix("'s")) for word in phrase)
    return "_".join(word for word in words if word)[:LONGEST_NAME].strip("_")


def title_of(questions: Sequence[str], name: str) -> str:
    """A customer's own words for a cluster: the shortest of the questions that says enough and
    holds no personal data; else its name in words. questions: the most typical first."""
    fit = [
        text
        for text in questions
        if not TOKEN.search(text) and 10 <= len(text) * (2 if _HAN.search(text) else 1) <= 80
    ]
    best = min(fit[:3], key=len, default=name.replace("_", " "))
    best = best.strip().strip('"“”')
    return best[:1].upper() + best[1:]
