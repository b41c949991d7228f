"""How good the labels are, head by head, with rivals on the same rows."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from apps.news_monitor.labelling import Labeller, headline
from shared.evaluation.classification import Judged, judge_multi, judge_single
from shared.evaluation.intervals import bootstrap, mean_of
from shared.evaluation.report import Baseline, Measure, Report
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
) -> Report:
    """Measure the heads named in `held` ("sentiment", "topics") on its rows.

    rivals: head -> the fusion without fine-tuning, where there was fine-tuning.
    """
    heads: dict[str, FusedClassifier] = {SENTIMENT: labeller.sentiment}
    if labeller.topic_classifier is not None:
        heads[TOPICS] = labeller.topic_classifier
    judged = {
        name: _judge(heads[name], part, name, rivals.get(name), seed) for name, part in held.items()
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
        notes=tuple(notes),
    )


def _judge(
    classifier: FusedClassifier,
    part: Examples,
    name: str,
    rival: FusedClassifier | None,
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
