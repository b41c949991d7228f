"""Why a headline has its sentiment and its topics, in the words of the headline."""

from apps.news_monitor.labelling import Labeller, headline
from shared.errors import DataError
from shared.evaluation.explain import Explanation, explain


def explain_headline(
    labeller: Labeller, text: str, label: str | None = None, seed: int = 13
) -> list[Explanation]:
    """Of the sentiment and of every topic given; of `label` alone, a sentiment or a topic, where
    it is named. Raises DataError for a label that the model does not know."""
    read = headline(text)
    if label is not None:
        for classifier in (labeller.sentiment, labeller.topic_classifier):
            if classifier is not None and label in classifier.labels:
                return [explain(classifier, read, label=label, seed=seed)]
        known = ", ".join((*labeller.sentiment.labels, *labeller.topics))
        raise DataError(f"label {label!r} is not known to this model: expected one of {known}")
    found = [explain(labeller.sentiment, read, seed=seed)]
    (labels,) = labeller.label([text])
    if labeller.topic_classifier is not None:
        found += [
            explain(labeller.topic_classifier, read, label=topic, seed=seed)
            for topic in labels.topics
        ]
    return found
