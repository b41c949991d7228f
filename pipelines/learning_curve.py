"""`triptych data curve`: would more labelled rows pay? Before anybody labels them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shared.inference.model_encoders import open_base_encoder
from shared.inference.remembered import RememberingEmbedder
from shared.pretrained import resolve
from shared.settings import Home
from shared.training.examples import Examples
from shared.training.learning_curve import SHARES, LearningCurve, fit_curve, measure_curve

Say = Callable[[str], None]


def curve_of(
    app: str,
    path: Path,
    mapping: Mapping[str, str],
    home: Home,
    *,
    base: str,
    repeats: int,
    seed: int,
    threads: int | None,
    say: Say,
    shares: Sequence[float] = SHARES,
) -> LearningCurve:
    """Train on growing parts of a table `text,label` and draw the curve on.

    app: "chatbot", or "news" with sentiments or topics.
    Raises: DataError: the table, or too few rows. ModelError: the base encoder.
    """
    examples = _examples(app, path, mapping, home, say)
    encoder = resolve(base, cache=home.cache)
    embedder = open_base_encoder(encoder, cache=home.cache, threads=threads)
    measured = measure_curve(
        examples, embedder=RememberingEmbedder(embedder), shares=shares, repeats=repeats,
        seed=seed, threads=threads or 2, say=say,
    )  # fmt: skip
    return fit_curve(measured, seed=seed)


def _examples(app: str, path: Path, mapping: Mapping[str, str], home: Home, say: Say) -> Examples:
    if app == "chatbot":
        from apps.chatbot.questions import read_questions

        return read_questions(path, mapping, home, say).examples()
    from apps.news_monitor.examples import (
        SPELLINGS,
        labelled_rows,
        sentiment_examples,
        topic_examples,
    )

    found = {label.casefold() for _, label in labelled_rows(path, mapping, home, say,
                                                            empty_labels=True)}  # fmt: skip
    if found <= set(SPELLINGS):
        return sentiment_examples([path], mapping=mapping, spellings={}, home=home, say=say)
    return topic_examples([path], mapping=mapping, home=home, say=say)
