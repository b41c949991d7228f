"""How good the labels are, head by head, with rivals on the same rows."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from apps.news_monitor.labelling import Labeller, headline
from shared.evaluation.classification import Judged, judge_multi, judge_single
from shared.evaluation.intervals import bootstrap, mean_of
from shared.evaluation.leakage import Copies
from shared.evaluation.outcomes import Outcomes, label_scores, text_outcomes
from shared.evaluation.report import Baseline, Measure, Report
from shared.evaluation.slices import words_of
from shared.inference.classifier import FusedClassifier
from shared.training.examples import Examples

RIVAL_NAMES = {
    "lexical": "TF-IDF + linear SVM",
    "dense": "frozen encoder + kernel least squares",
    "finetuned": "fine-tuned encoder alone",
}
SENTIMENT, TOPICS = "sentiment", "topics"


def judge_labels(
    labeller: Labeller,
    held: Mapping[str, Examples],
    *,
    title: str,
    data: str,
    rivals: Mapping[str, FusedClassifier],
    seed: int,
    notes: Sequence[str],
    copies: Mapping[str, Copies] = {},
) -> Report:
    """Measure the heads named in `held` ("sentiment", "topics") on its rows.

    rivals: head -> the fusion without fine-tuning, where there was fine-tuning. copies: head ->
    which of its rows are copies of training rows, where that may be.
    """
    heads = heads_of(labeller)
    judged = {
        name: _judge(heads[name], part, name, rivals.get(name), copies.get(name), seed)
        for name, part in held.items()
    }
    extra = _negative_news(labeller, held[SENTIMENT], seed) if SENTIMENT in held else []
    parts = list(judged.values())
    how = "frozen" if labeller.config.finetuned_fingerprint is None else "fine-tuned"
    return Report(
        title=title,
        app="news",
        model=f"{labeller.config.base}, {how}",
        data=data,
        measures=(*chain.from_iterable(j.measures for j in parts), *extra),
        per_label=tuple(chain.from_iterable(j.per_label for j in parts)),
        confusions=tuple(chain.from_iterable(j.confusions for j in parts)),
        slices=tuple(chain.from_iterable(j.slices for j in parts)),
        baselines=_merged(parts),
        calibration=parts[0].calibration,
        notes=(*(f"{name}: {found.line}" for name, found in copies.items()), *notes),
    )


def heads_of(labeller: Labeller) -> dict[str, FusedClassifier]:
    """The classifiers by name."""
    heads: dict[str, FusedClassifier] = {SENTIMENT: labeller.sentiment}
    if labeller.topic_classifier is not None:
        heads[TOPICS] = labeller.topic_classifier
    return heads


def outcomes_of(labeller: Labeller, held: Mapping[str, Examples]) -> tuple[Outcomes, ...]:
    """Head by head and row by row: right or wrong; for rows with several topics the F1 of the
    topics given, 1 where none was due and none was given."""
    heads = heads_of(labeller)
    return tuple(_outcomes(heads[name], part, name) for name, part in held.items())


def _outcomes(classifier: FusedClassifier, part: Examples, name: str) -> Outcomes:
    texts = [headline(text) for text in part.texts]
    chances = classifier.predict_proba(texts)
    given = classifier.decide(chances)
    due = part.targets(classifier.labels)
    scores = label_scores(given, classifier.labels, part.labels)
    if classifier.kind == "single":
        confidence, right = chances.max(1), np.asarray((given & due).any(1))
    else:
        confidence = np.where(chances >= 0.5, chances, 1 - chances)
        right = np.asarray((chances >= 0.5) == due)
    columns = np.asarray(classifier.labels)
    return text_outcomes(
        name,
        texts,
        part.labels,
        scores,
        groups=part.groups,
        known_words=words_of(classifier.lexical.vocabulary),
        decisions=[" | ".join(columns[row]) or "(none)" for row in given],
        confidence=confidence,
        right=right,
    )


def _judge(
    classifier: FusedClassifier,
    part: Examples,
    name: str,
    rival: FusedClassifier | None,
    copies: Copies | None,
    seed: int,
) -> Judged:
    texts = [headline(text) for text in part.texts]
    scores = classifier.score(texts)
    rivals = {RIVAL_NAMES.get(scorer, scorer): p for scorer, p in scores.parts.items()}
    if rival is not None:
        rivals["fusion without fine-tuning"] = rival.predict_proba(texts)
    if part.kind == "single" and classifier.kind == "single":
        return judge_single(
            texts,
            part.single,
            classifier.labels,
            scores.probabilities,
            rivals=rivals,
            known_words=words_of(classifier.lexical.vocabulary),
            copies=copies,
            seed=seed,
            prefix=f"{name} ",
        )
    return judge_multi(
        texts,
        part.targets(classifier.labels),
        classifier.labels,
        classifier.decide(scores.probabilities),
        scores.probabilities,
        rivals={rival_name: _decided(classifier, p) for rival_name, p in rivals.items()},
        known_words=words_of(classifier.lexical.vocabulary),
        copies=copies,
        seed=seed,
        prefix=f"{name} ",
    )


def _decided(classifier: FusedClassifier, chances: NDArray[np.float32]) -> NDArray[np.bool_]:
    """A rival has no thresholds of its own: one half, or the best label where there is one."""
    return classifier.decide(chances) if classifier.kind == "single" else chances >= 0.5


def _negative_news(labeller: Labeller, part: Examples, seed: int) -> list[Measure]:
    """What the surge score is fed with: negative stories found, others counted as negative."""
    negative = part.targets(("negative",))[:, 0]
    counted = np.array([label.negative for label in labeller.label(part.texts)])
    found = []
    for name, rows in (
        ("negative stories found", negative),
        ("other stories counted as negative", ~negative),
    ):
        n = int(rows.sum())
        if n:
            interval = bootstrap(mean_of(counted[rows]), n, seed=seed)
            found.append(Measure(name, interval.value, interval.low, interval.high, n))
    return found


def _merged(parts: Sequence[Judged]) -> tuple[Baseline, ...]:
    """A rival's figures for all heads under one name."""
    measures: dict[str, tuple[Measure, ...]] = {}
    for baseline in chain.from_iterable(part.baselines for part in parts):
        measures[baseline.name] = (*measures.get(baseline.name, ()), *baseline.measures)
    return tuple(Baseline(name, found) for name, found in measures.items())
