"""Why a headline has its sentiment and its topics: its words, and the training headlines most like
it."""

from collections.abc import Iterator
from dataclasses import dataclass

from apps.news_monitor.labelling import SENTIMENT_FOLDER, TOPICS_FOLDER, Labeller, headline
from shared.errors import DataError
from shared.evaluation.explain import Explanation, explain
from shared.inference.classifier import FusedClassifier
from shared.inference.precedents import Precedent

NONE_KEPT = "This version keeps no training headlines: train again to see those most like it."


@dataclass(frozen=True)
class Why:
    """What one head makes of a headline. head: sentiment or topics. explanations: of the labels
    given; perhaps none. precedents: the nearest first; none where the version keeps none."""

    head: str
    explanations: tuple[Explanation, ...]
    precedents: tuple[Precedent, ...]


def explain_headline(
    labeller: Labeller, text: str, label: str | None = None, seed: int = 13
) -> list[Why]:
    """Of the sentiment and of every topic given; of `label` alone, a sentiment or a topic, where
    it is named. Raises DataError for a label that the model does not know."""
    read = headline(text)
    if label is not None:
        for head, classifier in _heads(labeller):
            if label in classifier.labels:
                return [_why(labeller, head, classifier, read, (label,), seed)]
        known = ", ".join((*labeller.sentiment.labels, *labeller.topics))
        raise DataError(f"label {label!r} is not known to this model: expected one of {known}")
    (labels,) = labeller.label([text])
    given: dict[str, tuple[str | None, ...]] = {
        SENTIMENT_FOLDER: (None,),  # the likeliest
        TOPICS_FOLDER: labels.topics,
    }
    return [
        _why(labeller, head, classifier, read, given[head], seed)
        for head, classifier in _heads(labeller)
    ]


def _heads(labeller: Labeller) -> Iterator[tuple[str, FusedClassifier]]:
    yield SENTIMENT_FOLDER, labeller.sentiment
    if labeller.topic_classifier is not None:
        yield TOPICS_FOLDER, labeller.topic_classifier


def _why(
    labeller: Labeller,
    head: str,
    classifier: FusedClassifier,
    read: str,
    labels: tuple[str | None, ...],
    seed: int,
) -> Why:
    """labels: those to explain; None: the likeliest."""
    kept = labeller.precedents.get(head)
    return Why(
        head,
        tuple(explain(classifier, read, label=label, seed=seed) for label in labels),
        () if kept is None else kept.nearest(classifier, read),
    )
