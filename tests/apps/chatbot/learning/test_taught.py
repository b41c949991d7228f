"""What is taught beside a version: found, without disturbing what the version answers."""

from collections.abc import Callable

import numpy as np
import pytest

from apps.chatbot.bot import Bot
from apps.chatbot.taught import (
    TAUGHT,
    Asked,
    KnownGrams,
    Lesson,
    TaughtAnswer,
    with_answers,
)
from apps.chatbot.taught_fitting import fit_gate, taught
from shared.inference.batches import unit_length
from tests.apps.chatbot.learning.conftest import QUESTIONS, SAID

NewBot = Callable[[], Bot]
LESSONS = [
    Lesson("do you sell gift vouchers", "vouchers"),
    Lesson("gift vouchers for sale", "vouchers"),
]


def test_without_lessons_a_bot_is_as_it_was(new_bot: NewBot) -> None:
    bot, texts = new_bot(), [text for several in QUESTIONS.values() for text in several]
    before = bot.reply(texts)
    bot.teach(taught(bot, [], []))
    assert bot.reply(texts) == before
    bot.teach(taught(bot, LESSONS, []))
    bot.teach(None)
    assert bot.reply(texts) == before


def test_a_taught_intent_is_found_and_the_others_stay(new_bot: NewBot) -> None:
    bot = new_bot()
    texts = [text for several in QUESTIONS.values() for text in several]
    before = bot.reply(texts)
    bot.teach(taught(bot, LESSONS, [TaughtAnswer("vouchers", "en", "Vouchers", "In the shop.")]))
    found = bot.reply(["gift vouchers do you sell them", "do you sell gift vouchers"])
    assert [(r.intent, r.decision, r.message) for r in found] == [
        ("vouchers", "answer", "In the shop.")
    ] * 2
    assert all(r.why.endswith("; like a question taught since the training") for r in found)
    assert all(set(r.scorers) == {TAUGHT} for r in found)
    # At most alpha of what the version knows may be disturbed; here nothing is.
    assert [(r.intent, r.decision) for r in bot.reply(texts)] == [
        (r.intent, r.decision) for r in before
    ]
    (far,) = bot.reply(["quantum entanglement"])
    assert TAUGHT not in far.scorers


def test_a_correction_wins_over_what_was_learned_word_for_word(new_bot: NewBot) -> None:
    bot = new_bot()
    question = QUESTIONS["track"][0]
    assert bot.reply([question])[0].intent == "track"
    bot.teach(taught(bot, [Lesson(question, "refund")], []))
    (corrected,) = bot.reply([question.upper() + " "])
    assert (corrected.intent, corrected.decision, corrected.probability) == ("refund", "answer", 1)
    # Once a version was trained on it, nothing is left to teach.
    assert taught(bot, [Lesson(question, "track")], []).lessons == ()


def test_probabilities_stay_one_distribution(new_bot: NewBot) -> None:
    bot = new_bot()
    bot.teach(taught(bot, [*LESSONS, Lesson("parcel vouchers sale", "track")], []))
    for reply in bot.reply(["gift vouchers for sale", "parcel vouchers", "do you sell parcels"]):
        assert sum(p for _, p in reply.ranking) == pytest.approx(1, abs=1e-5)
        assert reply.ranking[0][1] >= reply.probability


def points(centre: int, count: int, rng: np.random.Generator) -> np.ndarray[tuple[int, int]]:
    rows = rng.normal(size=(count, 16)).astype(np.float32) * 0.1
    rows[:, centre] += 1
    return unit_length(rows)


def test_the_gate_opens_for_what_is_near_and_keeps_its_promise() -> None:
    """Eight intents at the corners of a space: a ninth is found; of the eight's own questions at
    most alpha, and a sampling error, lie above the gate, and so of a tenth that nobody taught."""
    rng = np.random.default_rng(5)
    known = np.concatenate([points(c, 25, rng) for c in range(8)])
    codes = np.repeat(np.arange(8), 25)
    gate = fit_gate(Asked(known, None), codes, [3], alpha=0.05, seed=1)
    assert gate is not None
    given = points(9, 3, rng)

    def opened(rows: np.ndarray[tuple[int, int]]) -> np.ndarray[tuple[int]]:
        features = np.stack([(rows @ given.T).max(1), (rows @ known.T).max(1)], axis=1)
        return gate(features) >= gate.asked

    assert opened(points(9, 200, rng)).all()
    own, nobodys = np.concatenate([points(c, 50, rng) for c in range(8)]), points(12, 400, rng)
    sampling = 2 * (0.05 * 0.95 / 400) ** 0.5
    assert opened(own).mean() < 0.05 + sampling
    assert opened(nobodys).mean() < 0.05 + sampling


@pytest.mark.parametrize(("intents", "each"), [(2, 20), (9, 2), (30, 1)])
def test_too_few_questions_teach_no_gate(intents: int, each: int) -> None:
    rng = np.random.default_rng(5)
    known = np.concatenate([points(c % 16, each, rng) for c in range(intents)])
    codes = np.repeat(np.arange(intents), each)
    assert fit_gate(Asked(known, None), codes, [3], alpha=0.05, seed=1) is None


def test_grams_that_grow_are_those_counted_anew() -> None:
    known, new = ["where is it", "是的 it"], ["gift vouchers", "where 礼品"]
    _, own, mine = KnownGrams.of(known).grown(new)
    whole, none, _ = KnownGrams.of([*known, *new]).grown([])[:3]
    assert none.shape[0] == 4
    likeness = own @ mine.T
    assert likeness.toarray() == pytest.approx((none[:2] @ none[2:].T).toarray(), abs=1e-6)
    assert (whole.rows(["gift"]) @ none.T).toarray()[0, 2] > 0


def test_a_taught_answer_replaces_what_is_said_in_its_language() -> None:
    book = with_answers(SAID, [
        TaughtAnswer("track", "en", "Where is it", "Look here."),
        TaughtAnswer("track", "zh", "在哪里", "看这里。"),
    ])  # fmt: skip
    assert book.by_label["track"].variants("en") == ("Look here.",)
    assert book.by_label["track"].title("zh") == "在哪里"
    assert book.by_label["refund"] == SAID.by_label["refund"]
    assert SAID.by_label["track"].title("en") == "Track"
