"""What `triptych benchmark chatbot` asks of answers that no example asks for.

Bank FAQs: half of the questions teach, with their answers; the other half is asked, and the right
answer is to be the first among the answers of all.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.chatbot.bot import Bot
from apps.chatbot.recipe import ChatbotRecipe
from shared.errors import DataError
from shared.evaluation.intervals import Interval, bootstrap, mean_of
from shared.settings import Home
from shared.tables import Column, read_table
from shared.training.options import TrainOptions

Say = Callable[[str], None]
FAQS = "chatbot/bank_faqs/faqs.csv"
OURS, BY_VECTOR, BY_GRAM = "triptych", "cosine of frozen vectors", "cosine of TF-IDF n-grams"


@dataclass(frozen=True)
class AnswerRow:
    """How often a system's first answer is the right one, with its 95 % interval."""

    system: str
    recall: Interval


def benchmark_answers(
    sets: Path, *, home: Home, options: TrainOptions, say: Say
) -> Iterator[AnswerRow]:
    """Train once, with options.seed's half of the questions, and ask the others.

    Raises DataError: the set is not there, or its rows cannot be used.
    """
    asked = read_table(sets / FAQS, [Column("question"), Column("answer")]).frame
    asked = asked.drop_duplicates("question")
    order = np.random.default_rng(options.seed).permutation(len(asked))
    half = len(asked) // 2
    known, unseen = asked.iloc[order[:half]], asked.iloc[order[half:]]
    with tempfile.TemporaryDirectory() as name:
        examples, answers = Path(name) / "examples.csv", Path(name) / "answers.csv"
        known[["question", "answer"]].to_csv(examples, index=False)
        asked[["answer"]].drop_duplicates().to_csv(answers, index=False)
        model = Path(name) / "model"
        recipe = ChatbotRecipe(examples=(examples,), answers=answers)
        recipe.fit(model, options=options, home=home, say=say)
        bot = Bot.load(model, home=home, threads=options.threads)
    questions, truth = list(unseen["question"]), list(unseen["answer"])
    for system, said in _said(bot, questions).items():
        right = np.array([_same(a, b) for a, b in zip(said, truth, strict=True)], dtype=np.float64)
        yield AnswerRow(system, bootstrap(mean_of(right), len(right), seed=options.seed))


def _said(bot: Bot, questions: list[str]) -> dict[str, list[str]]:
    """System -> its first answer to each question."""
    if bot.matcher is None:
        raise DataError(f"{FAQS}: every answer is among the examples; expected more questions")
    matcher, embedder = bot.matcher, bot.classifier.embedder
    cosines = matcher.cosines(questions, embedder.encode(questions))

    def nearest(scores: NDArray[np.float32]) -> list[str]:
        return [matcher.texts[at] for at in scores.argmax(1)]

    return {
        OURS: [reply.answer for reply in bot.reply(questions)],
        BY_VECTOR: nearest(cosines[0]),
        BY_GRAM: nearest(cosines[1]),
    }


def _same(said: str, wanted: str) -> bool:
    return " ".join(said.split()) == " ".join(wanted.split())
