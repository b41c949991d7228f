"""What `triptych benchmark chatbot` asks beside intents: slips of the keyboard, questions that are
not to be answered, and first replies that only their own text tells.

Each trains a bot by the recipe that `triptych train chatbot` takes, and asks it as it serves.
"""

import gzip
import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from apps.chatbot.bot import Bot
from apps.chatbot.recipe import ChatbotRecipe
from pipelines.public_sets import BANKING, examples_of
from shared.errors import DataError
from shared.evaluation.intervals import Interval, bootstrap, mean_of
from shared.evaluation.metrics import auroc
from shared.evaluation.perturbations import slips
from shared.inference.batches import unit_length
from shared.settings import Home
from shared.tables import Column, read_table
from shared.training.options import TrainOptions

Say = Callable[[str], None]
SLIPS, DRAWS = 2, 3
OOS = "chatbot/banking77_oos"
NEAR, FAR = "in-domain AUROC", "out-of-domain AUROC"
TWEETS = "chatbot/tweetsumm_support"
OURS = "triptych"


@dataclass(frozen=True)
class Asked:
    """One figure of one system, with its 95 % interval."""

    data: str
    system: str
    measure: str
    found: Interval


def measure_slips(sets: Path, *, home: Home, options: TrainOptions, say: Say) -> Iterator[Asked]:
    """BANKING77: accuracy on the development part as it is and with SLIPS slips in each message,
    the mean of DRAWS draws, and what they cost; with and without the bot's mending of words."""
    train, held = (sets / name for name in BANKING)
    bot = trained(ChatbotRecipe(examples=(train,), validation=(held,)), home, options, say)
    rows = examples_of(held)
    written = [slipped(rows.texts, SLIPS, options.seed + draw) for draw in range(DRAWS)]
    plain = Bot(bot.config, bot.classifier, bot.answers, bot.matcher, bot.classifier.embedder)
    systems = {OURS: bot} if bot.spelling is None else {OURS: bot, f"{OURS}, unmended": plain}
    for system, each in systems.items():
        clean = _right(each, rows.texts, rows.single)
        typed = np.mean([_right(each, texts, rows.single) for texts in written], axis=0)
        figures = {"accuracy": clean, "with slips": typed, "lost by slips": clean - typed}
        for measure, values in figures.items():
            data = f"BANKING77, {SLIPS} slips a message"
            yield mean_asked(data, system, measure, values, options.seed)


def slipped(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """Each text with so many slips; one too short for them stays."""
    draw, perturb = random.Random(seed), slips(count)
    pairs = [perturb(text, draw) for text in texts]
    return [text if pair is None else pair[1] for text, pair in zip(texts, pairs, strict=True)]


def measure_scope(sets: Path, *, home: Home, options: TrainOptions, say: Say) -> Iterator[Asked]:
    """BANKING77-OOS: how well the bot's score parts questions of its intents from questions of the
    same bank that it has no intent for, and from questions about anything; having seen none of
    either, and having been given some of the first kind."""
    folder = sets / OOS
    held, told = folder / "valid.csv", folder / "id-oos_train.csv"
    outside = {NEAR: folder / "id-oos_valid.csv", FAR: folder / "ood-oos_valid.csv"}
    inside = _texts(held)
    for system, refused in ((OURS, None), (f"{OURS}, shown others of the bank", told)):
        recipe = ChatbotRecipe(
            examples=(folder / "train.csv",), validation=(held,), out_of_scope=refused
        )
        bot = trained(recipe, home, options, say)
        known = _scores(bot, inside)
        for measure, path in outside.items():
            unknown = _scores(bot, _texts(path))
            area = _area(unknown, known, options.seed)
            yield Asked(f"BANKING77-OOS, {folder.name}", system, measure, area)


def measure_replies(sets: Path, *, home: Home, options: TrainOptions, say: Say) -> Iterator[Asked]:
    """TweetSumm: a bot that learned from other dialogues' openings finds an agent's first reply
    among those of all dialogues of the development part."""
    known, asked = (openings(sets / TWEETS / f"{part}.jsonl.gz") for part in ("train", "valid"))
    with tempfile.TemporaryDirectory() as name:
        examples, answers = Path(name) / "examples.csv", Path(name) / "answers.csv"
        known.to_csv(examples, index=False)
        asked[["answer"]].drop_duplicates().to_csv(answers, index=False)
        recipe = ChatbotRecipe(examples=(examples,), answers=answers)
        bot = trained(recipe, home, options, say)
    questions, truth = list(asked["question"]), [_tidy(text) for text in asked["answer"]]
    for system, scores in _of_answers(bot, questions, set(truth)).items():
        best = [list(scores)[at] for at in np.stack(list(scores.values()), axis=1).argmax(1)]
        right = [a == b for a, b in zip(best, truth, strict=True)]
        data = f"TweetSumm, first reply among {len(scores)}"
        yield mean_asked(data, system, "right reply first", right, options.seed)


def _of_answers(
    bot: Bot, questions: Sequence[str], wanted: set[str]
) -> Mapping[str, Mapping[str, NDArray[np.floating]]]:
    """System -> answer -> (n,) its score for each question."""
    matcher, embedder = bot.matcher, bot.classifier.embedder
    if matcher is None:
        raise DataError(f"{TWEETS}: every reply is among those learned from; expected others")
    read = bot.read(questions)
    features = embedder.features(read)
    vectors = unit_length(features[:, : embedder.dim])
    known = bot.classifier.score(read, features=features).probabilities
    joint = matcher.joint(read, vectors, known)  # (n, K + B)
    cosines, by_gram = matcher.cosines(questions, vectors)  # (n, A) both
    text_of = {
        label: _tidy(text) for label, text in zip(matcher.labels, matcher.texts, strict=True)
    }
    spoken = [text_of[label] for label in matcher.labels]
    column = [text_of.get(label, "") for label in matcher.intents]
    column += [spoken[at] for at in matcher.unseen]
    return {
        OURS: _columns(column, joint, wanted),
        "cosine of frozen vectors": _columns(spoken, cosines, wanted),
        "cosine of TF-IDF n-grams": _columns(spoken, by_gram, wanted),
    }


def _columns(
    names: Sequence[str], scores: NDArray[np.floating], wanted: set[str]
) -> dict[str, NDArray[np.floating]]:
    return {name: scores[:, at] for at, name in enumerate(names) if name in wanted}


def openings(path: Path) -> pd.DataFrame:
    """question: all that the customer wrote before the agent's first reply; answer: that reply."""
    found = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            asked: list[str] = []
            for turn in json.loads(line)["turns"]:
                if turn["speaker"] == "agent":
                    found.append((" ".join(asked), turn["text"]))
                    break
                asked.append(turn["text"])
    rows = pd.DataFrame(found, columns=["question", "answer"])
    return rows[(rows["question"].str.strip() != "") & (rows["answer"].str.strip() != "")]


def trained(recipe: ChatbotRecipe, home: Home, options: TrainOptions, say: Say) -> Bot:
    """The bot of a recipe."""
    with tempfile.TemporaryDirectory() as name:
        model = Path(name) / "model"
        recipe.fit(model, options=options, home=home, say=say)
        return Bot.load(model, home=home, threads=options.threads)


def _right(bot: Bot, texts: Sequence[str], labels: Sequence[str]) -> NDArray[np.float64]:
    found = [reply.intent for reply in bot.reply(texts)]
    return np.array([a == b for a, b in zip(found, labels, strict=True)], dtype=np.float64)


def _texts(path: Path) -> list[str]:
    return list(read_table(path, [Column("text")]).frame["text"])


def _scores(bot: Bot, texts: Sequence[str]) -> NDArray[np.float64]:
    return np.array([reply.oos_score for reply in bot.reply(texts)])


def _area(outside: NDArray[np.float64], inside: NDArray[np.float64], seed: int) -> Interval:
    both = np.concatenate([outside, inside])
    is_outside = np.arange(len(both)) < len(outside)
    return bootstrap(lambda weights: auroc(both, is_outside, weights), len(both), seed=seed)


def mean_asked(
    data: str, system: str, measure: str, values: Sequence[float] | NDArray[np.float64], seed: int
) -> Asked:
    """The mean of one figure a row; nothing is known of no rows."""
    if not len(values):
        return Asked(data, system, measure, Interval(np.nan, np.nan, np.nan))
    found = bootstrap(mean_of(np.asarray(values, dtype=np.float64)), len(values), seed=seed)
    return Asked(data, system, measure, found)


def _tidy(text: str) -> str:
    return " ".join(text.split())
