"""Why a bot took a message for an intent: its words, and the training questions behind it."""

from dataclasses import dataclass

from apps.chatbot.bot import Bot
from shared.errors import DataError
from shared.evaluation.explain import Explanation, explain
from shared.inference.precedents import Precedent


@dataclass(frozen=True)
class Why:
    """precedents: the nearest first; none where the model keeps no questions."""

    explanation: Explanation
    precedents: tuple[Precedent, ...]


def explain_message(bot: Bot, text: str, label: str | None = None, seed: int = 13) -> Why:
    """Why the message is taken for `label`, by default the learned intent that fits best.

    Raises DataError for a label without examples: such an answer was found by its own text.
    """
    if label is not None and label not in bot.classifier.labels:
        known = ", ".join(bot.classifier.labels)
        raise DataError(f"intent {label!r} was learned from no example: expected one of {known}")
    (read,) = bot.read([text])
    found = explain(bot.classifier, read, label=label, seed=seed)
    kept = bot.precedents
    return Why(found, () if kept is None else kept.nearest(bot.classifier, read))


def taught_like(bot: Bot, text: str, k: int = 5) -> tuple[Precedent, ...]:
    """The questions taught since the training that are most like the text, the nearest first."""
    if bot.taught is None:
        return ()
    vectors = bot.classifier.dense.views(bot.classifier.embedder.features(bot.read([text])))
    near = bot.taught.nearest(vectors, k)
    return tuple(Precedent(lesson.text, lesson.label, cosine) for lesson, cosine in near)
