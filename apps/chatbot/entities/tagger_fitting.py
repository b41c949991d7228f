"""Learning which words of an example are values, from examples that say so."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apps.chatbot.entities.spans import Message, Word, slot_of
from apps.chatbot.entities.tagger import NOTHING, Label, LabelFigures, Tagged, Tagger, features
from apps.chatbot.formats.kept import Entity
from shared.near_duplicates import near_duplicate_groups

MOST_ROWS = 8_000  # examples that are learned from
FEWEST = 12  # annotated values of an entity, below which nothing is learned of it
FOLDS = 4
# Share of right values that is asked of each entity on unseen examples, after one right and one
# wrong one are added (Laplace's rule of succession): so it takes thirteen without a mistake.
PRECISION = 0.93
NEVER = 2.0  # a threshold that no probability reaches
HALF = 0.5


@dataclass(frozen=True)
class Row:
    """An example as the tagger sees it. labels: of each word."""

    text: str
    words: tuple[Word, ...]
    labels: tuple[Label, ...]

    @classmethod
    def of(cls, written: str, entities: Sequence[Entity]) -> "Row":
        message = Message.of(written)
        labels = [NOTHING] * len(message.words)
        for place, word in enumerate(message.words):
            start, end = message.starts[word.start], message.ends[word.end - 1]
            for each in entities:
                if each.start <= start and end <= each.end:
                    labels[place] = label_of(each)
        return cls(message.text, message.words, tuple(labels))

    @property
    def values(self) -> set[tuple[int, int, Label]]:
        """Runs of words of one entity."""
        found, start = set(), 0
        for at in range(1, len(self.labels) + 1):
            if at == len(self.labels) or self.labels[at] != self.labels[start]:
                if self.labels[start] != NOTHING:
                    found.add((start, at, self.labels[start]))
                start = at
        return found


def label_of(entity: Entity) -> Label:
    """An annotation's entity and role; Dialogflow's own, sys.date, are called by their role."""
    name, role = entity.properties["entity"], entity.properties.get("role", "")
    if name.startswith("sys."):
        name, role = role or name.removeprefix("sys."), ""
    return (name, role) if slot_of(name) else NOTHING


def fit_tagger(
    texts: Sequence[str], entities: Sequence[Sequence[Entity]], *, seed: int
) -> Tagger | None:
    """A tagger of annotated examples, with a threshold for each entity from folds that it had not
    seen, near duplicates together. None where no entity has enough values."""
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(texts))[:MOST_ROWS])
    rows = [Row.of(texts[i], entities[i]) for i in chosen]
    count = Counter(label for row in rows for _, _, label in row.values)
    labels = (NOTHING, *(label for label, n in count.items() if n >= FEWEST))
    if len(labels) == 1:
        return None
    from sklearn.model_selection import GroupKFold  # deferred, as in _fit

    rows = [_without_rare(row, labels) for row in rows]
    groups = near_duplicate_groups([row.text for row in rows])
    if len(np.unique(groups)) < FOLDS:
        return None
    found: list[tuple[Tagged, bool]] = []
    for learned, judged in GroupKFold(FOLDS).split(groups, groups=groups):
        tagger = _fit([rows[i] for i in learned], labels)
        for row in (rows[i] for i in judged):
            found += _judged(tagger, row)
    figures = tuple(_figures(label, count[label], found) for label in labels[1:])
    made = _fit(rows, labels)
    return Tagger(made.columns, made.labels, made.weight, made.bias, figures)


def _without_rare(row: Row, labels: Sequence[Label]) -> Row:
    kept = tuple(label if label in labels else NOTHING for label in row.labels)
    return Row(row.text, row.words, kept)


def _fit(rows: Sequence[Row], labels: tuple[Label, ...]) -> Tagger:
    # Deferred: pages read a bot's entities and fit nothing, and it takes long to import.
    from sklearn.linear_model import LogisticRegression

    several = [each for row in rows for each in features(row.text, row.words)]
    truth = [labels.index(label) for row in rows for label in row.labels]
    count = Counter(feature for each in several for feature in each)
    columns = {feature: i for i, feature in enumerate(f for f, n in count.items() if n > 1)}
    model = LogisticRegression(max_iter=60, tol=1e-3)
    model.fit(_matrix(several, columns), truth)
    # A fold may lack an entity, and of two classes scikit-learn keeps one column.
    weight = np.zeros((len(columns), len(labels)), dtype=np.float32)
    bias = np.full(len(labels), -np.inf, dtype=np.float32)
    coefficients, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        coefficients, intercept = (np.vstack([np.zeros_like(each), each]) for each in
                                   (coefficients, intercept[:, None]))  # fmt: skip
    weight[:, model.classes_] = coefficients.T
    bias[model.classes_] = intercept.ravel()
    return Tagger(columns, labels, weight, bias)


def _matrix(several: Sequence[Sequence[str]], columns: dict[str, int]) -> sparse.csr_matrix:
    known = [[columns[f] for f in each if f in columns] for each in several]
    ends = np.cumsum([0, *map(len, known)])
    indices = np.array([column for each in known for column in each], dtype=np.int32)
    values: NDArray[np.float32] = np.ones(len(indices), dtype=np.float32)
    return sparse.csr_matrix((values, indices, ends), shape=(len(several), len(columns)))


def _judged(tagger: Tagger, row: Row) -> Iterator[tuple[Tagged, bool]]:
    """What a tagger says of an example it has not seen, and whether that is right."""
    for each in tagger.tag(row.text, row.words):
        yield each, (each.start, each.end, each.label) in row.values


def _figures(label: Label, annotated: int, found: Sequence[tuple[Tagged, bool]]) -> LabelFigures:
    """With the lowest threshold above which enough is right."""
    own = sorted((-each.probability, right) for each, right in found if each.label == label)
    right = np.cumsum([each for _, each in own])
    enough = [
        n
        for n in range(1, len(own) + 1)
        if (right[n - 1] + 1) / (n + 2) >= PRECISION
        and (n == len(own) or own[n][0] > own[n - 1][0])
    ]
    if not enough:
        return LabelFigures(*label, annotated, 0, 0, NEVER)
    n = enough[-1]
    # Where even the least sure one may be told, so may others that are likelier than not.
    least = min(HALF, -own[n - 1][0]) if n == len(own) else -own[n - 1][0]
    return LabelFigures(*label, annotated, n, int(right[n - 1]), least)
