"""`triptych benchmark chatbot --only several`: messages of two requests, messages of one request in
several sentences, and short messages that the one before makes whole.

They are made of development texts, whose intents are known, and asked as a conversation asks them.
What is answered is counted beside what the same bot answers when it reads each message as one.
"""

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd

from apps.chatbot.bot import Bot, Reply
from apps.chatbot.clauses import requests_in
from apps.chatbot.recipe import ChatbotRecipe
from apps.chatbot.understanding import understood
from pipelines.benchmark_customers import OURS, TWEETS, Asked, mean_asked, openings, trained
from pipelines.public_sets import CLINC, Parts, all_there, banking, clinc
from shared.evaluation.intervals import Interval
from shared.settings import Home
from shared.training.examples import Examples
from shared.training.options import TrainOptions

Say = Callable[[str], None]
AS_ONE = "read as one"
# How two requests are put into one message.
JOINTS: Mapping[str, Callable[[str, str], str]] = {
    "A. B": lambda a, b: f"{_open(a)}. {b}",
    "A? also B": lambda a, b: f"{_open(a)}? also {b}",
    "A and B": lambda a, b: f"{_open(a)} and {b}",
}
PAIRS, FOLLOW_UPS, TIMED = 300, 300, 200
SHORT = 60  # characters of a message that may be taken to complete another
# How the last words of a text are said as something that completes another.
FORMS = ("{}?", "and {}?", "what about {}?")
WORDS = 3


@dataclass(frozen=True)
class Case:
    """A message after a request, "" for none. meant: the intents it asks for, none where it asks
    for nothing that the bot knows."""

    text: str
    meant: frozenset[str]
    before: str = ""


Ask = Callable[[Case], tuple[Reply, ...]]


def measure_several(sets: Path, *, home: Home, options: TrainOptions, say: Say) -> Iterator[Asked]:
    """BANKING77 and, where it is there, CLINC150, whose texts out of scope are put to both: on the
    development part, and on messages made of it."""
    both = {"BANKING77": banking(sets)}
    if all_there([sets / CLINC], say):
        both["CLINC150"] = clinc(sets)
    outside = tuple(text for parts in both.values() for text in parts.outside)
    for name, parts in both.items():
        bot = _bot(parts, home, options, say)
        yield from _of_bot(name, bot, replace(parts, outside=outside), options.seed)
        tweets = sets / TWEETS / "valid.jsonl.gz"
        if name == "BANKING77" and all_there([tweets], say):
            taken = [
                float(len(understood(bot, text, {})) > 1) for text in openings(tweets)["question"]
            ]
            yield mean_asked("TweetSumm, first messages", OURS, "taken for several", taken,
                             options.seed)  # fmt: skip


def _of_bot(name: str, bot: Bot, parts: Parts, seed: int) -> Iterator[Asked]:
    found = dict(zip(parts.held.texts, bot.reply(parts.held.texts), strict=True))
    for data, cases in messages_of(parts, found, seed).items():
        for system, ask in {AS_ONE: as_one(bot), OURS: as_understood(bot)}.items():
            for measure, values in judged(cases, ask).items():
                yield mean_asked(f"{name}, {data}", system, measure, values, seed)
    for measure, spent in milliseconds(bot, parts.held, seed).items():
        yield Asked(f"{name}, time of a message", OURS, measure, spent)


def messages_of(
    parts: Parts, found: Mapping[str, Reply], seed: int
) -> Mapping[str, Sequence[Case]]:
    """What each set is called -> its messages. found: what the bot makes of the held texts."""
    held, draw = parts.held, random.Random(seed)
    rows = zip(held.texts, held.single, strict=True)
    plain = [Case(text, frozenset({label})) for text, label in rows]
    sets = {
        "development part": plain,
        "one request, several clauses": [case for case in plain if requests_in(case.text)],
        **{f"two requests, {name}": pairs(held, joint, draw) for name, joint in JOINTS.items()},
    }
    answered = [
        case for case in plain
        if found[case.text].decision == "answer" and found[case.text].intent in case.meant
    ]  # fmt: skip
    short = [case for case in plain if len(case.text) <= SHORT]
    by_intent: dict[frozenset[str], list[str]] = {}
    for case in plain:
        by_intent.setdefault(case.meant, []).append(case.text)
    same, other, whole = [], [], []
    for before in draw.choices(answered, k=FOLLOW_UPS):
        form = draw.choice(FORMS)
        paraphrase = draw.choice(by_intent[before.meant])
        same.append(Case(form.format(_last(paraphrase)), before.meant, before.text))
        stranger = draw.choice([case for case in plain if case.meant != before.meant])
        other.append(Case(form.format(_last(stranger.text)), stranger.meant, before.text))
        stranger = draw.choice([case for case in short if case.meant != before.meant])
        whole.append(Case(stranger.text, stranger.meant, before.text))
    sets |= {
        "completes the one before": same,
        "last words of another intent": other,
        "short text of another intent": whole,
    }
    outside = [text for text in parts.outside if len(text) <= SHORT]
    if outside:
        sets["out of scope after an answer"] = [
            Case(draw.choice(outside), frozenset(), before.text)
            for before in draw.choices(answered, k=FOLLOW_UPS)
        ]
    return sets


def pairs(held: Examples, joint: Callable[[str, str], str], draw: random.Random) -> list[Case]:
    """Messages of two texts with different labels."""
    rows = list(zip(held.texts, held.single, strict=True))
    found: list[Case] = []
    while len(found) < PAIRS:
        (first, one), (second, other) = draw.choice(rows), draw.choice(rows)
        if one != other:
            found.append(Case(joint(first, second), frozenset({one, other})))
    return found


def judged(cases: Sequence[Case], ask: Ask) -> Mapping[str, Sequence[float]]:
    """Figures of messages, 1 or 0 for each: all that was meant is answered; all is answered or
    among what is asked back; some, but not all, is answered; something else is answered."""
    figures: dict[str, list[float]] = {
        "all answered": [], "all answered or offered": [], "a part answered": [],
        "wrong answers": [],
    }  # fmt: skip
    for case in cases:
        replies = ask(case)
        answered = {reply.intent for reply in replies if reply.decision == "answer"}
        offered = {option.label for reply in replies for option in reply.options}
        all_ = bool(case.meant) and case.meant <= answered
        figures["all answered"].append(float(all_))
        figures["all answered or offered"].append(
            float(bool(case.meant) and case.meant <= answered | offered)
        )
        figures["a part answered"].append(float(bool(case.meant & answered) and not all_))
        figures["wrong answers"].append(float(bool(answered - case.meant)))
    return figures


def as_one(bot: Bot) -> Ask:
    return lambda case: tuple(bot.reply([case.text]))


def as_understood(bot: Bot) -> Ask:
    """As a conversation does."""
    return lambda case: understood(bot, case.text, {}, case.before)


def milliseconds(bot: Bot, held: Examples, seed: int) -> Mapping[str, Interval]:
    """The median time of a message of one request and of two, and of these read as one; from the
    5th to the 95th of a hundred."""
    draw = random.Random(seed)
    ones = [Case(text, frozenset()) for text in draw.sample(held.texts, TIMED)]
    ones = [case for case in ones if not requests_in(case.text)]
    twos = pairs(held, JOINTS["A? also B"], draw)[:TIMED]
    runs = {
        "ms, one request": (as_understood(bot), ones),
        "ms, two requests": (as_understood(bot), twos),
        "ms, two requests, read as one": (as_one(bot), twos),
    }
    found = {}
    for name, (ask, cases) in runs.items():
        spent = []
        for case in cases:
            begun = perf_counter()
            ask(case)
            spent.append(1000 * (perf_counter() - begun))
        low, high = np.percentile(spent, [5, 95])
        found[name] = Interval(median(spent), float(low), float(high))
    return found


def _bot(parts: Parts, home: Home, options: TrainOptions, say: Say) -> Bot:
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / "train.csv", Path(name) / "held.csv"]
        for path, rows in zip(paths, (parts.train, parts.held), strict=True):
            table = pd.DataFrame({"text": rows.texts, "label": rows.single})
            table.to_csv(path, index=False)
        recipe = ChatbotRecipe(examples=(paths[0],), validation=(paths[1],))
        return trained(recipe, home, options, say)


def _open(text: str) -> str:
    return text.rstrip(" .?!")


def _last(text: str) -> str:
    return " ".join(_open(text).split()[-WORDS:])
