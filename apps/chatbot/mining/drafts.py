"""Clusters of answers as drafted intents: a name, a title, examples and answer templates."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from apps.chatbot.answers import Answer, AnswerBook
from apps.chatbot.mining.answer_clusters import Cluster
from apps.chatbot.mining.answer_templates import Template, firms_own, templates_of
from apps.chatbot.mining.intent_names import name_clusters, title_of
from shared.near_duplicates import near_duplicate_key
from shared.text import detect_language


@dataclass(frozen=True)
class Draft:
    """A cluster as the drafted intent it becomes. questions: as examples, masked, none twice."""

    label: str
    title: str
    cluster: Cluster
    questions: tuple[str, ...]
    templates: tuple[Template, ...]

    @property
    def confidence(self) -> float:
        """Mean of the pairs', 0..1."""
        return float(np.mean([pair.confidence for pair in self.cluster.pairs]))


def drafts_of(
    clusters: Sequence[Cluster], wanted: int
) -> tuple[tuple[Draft, ...], tuple[Cluster, ...], int]:
    """Intents of clusters that are large enough, the small ones, and how large was enough: `wanted`
    questions, or one where that leaves fewer than two intents."""
    questions = _questions_of(clusters)
    minimum = wanted
    while minimum > 1 and sum(len(each) >= minimum for each in questions) < 2:
        minimum -= 1
    kept = [(c, q) for c, q in zip(clusters, questions, strict=True) if len(q) >= minimum]
    rare = tuple(c for c, q in zip(clusters, questions, strict=True) if 0 < len(q) < minimum)
    names = name_clusters([own for _, own in kept])
    own = firms_own([pair for cluster in clusters for pair in cluster.pairs])
    drafts = tuple(
        Draft(name, title_of(several, name), cluster, tuple(several), templates_of(cluster, own))
        for (cluster, several), name in zip(kept, names, strict=True)
    )
    return _distinct_titles(drafts), rare, minimum


def _distinct_titles(drafts: Sequence[Draft]) -> tuple[Draft, ...]:
    """Two buttons of one text would be no choice."""
    seen: Counter[str] = Counter(draft.title.casefold() for draft in drafts)
    return tuple(
        draft
        if seen[draft.title.casefold()] == 1
        else replace(draft, title=f"{draft.title} ({draft.label.replace('_', ' ')})")
        for draft in drafts
    )


def _questions_of(clusters: Sequence[Cluster]) -> list[list[str]]:
    """The different questions of each cluster; one that stands in several goes to where it was
    answered so most often, then most surely."""
    votes: dict[str, Counter[int]] = {}
    for at, cluster in enumerate(clusters):
        for pair in cluster.pairs:
            votes.setdefault(near_duplicate_key(pair.question), Counter())[at] += 1
    home = {key: min(several, key=lambda at: (-several[at], at)) for key, several in votes.items()}
    found: list[list[str]] = []
    for at, cluster in enumerate(clusters):
        by_key = {
            near_duplicate_key(pair.question): pair.question for pair in reversed(cluster.pairs)
        }
        found.append([text for key, text in reversed(by_key.items()) if home[key] == at])
    return found


def book_of(drafts: Sequence[Draft]) -> AnswerBook:
    """The drafts' templates, each cluster's in the languages its agents wrote."""
    answers = []
    for draft in drafts:
        texts: dict[str, tuple[str, ...]] = {}
        for template in draft.templates:
            language = detect_language(template.text)
            language = "en" if language == "und" else language
            texts[language] = (*texts.get(language, ()), template.text)
        if texts:
            language = detect_language(draft.title)
            titles = {language if language in texts else next(iter(texts)): draft.title}
            answers.append(Answer(draft.label, titles, texts))
    return AnswerBook(tuple(answers))
