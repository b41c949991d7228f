"""The scorers of a fusion, fitted, and what they say of rows that they did not see."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from shared.errors import DataError
from shared.inference.classifier import DENSE, LEXICAL, FusedClassifier
from shared.inference.dense import (
    DenseScorer,
    Views,
    distance_to,
    neighbour_among,
    neighbour_of,
)
from shared.inference.lexical import LexicalScorer
from shared.inference.runtime import Embedder
from shared.training.examples import Examples
from shared.training.kernel import Part, fit_dense
from shared.training.scorers import LexicalRows, lexical_margins

Floats = NDArray[np.float32]
Margins = Mapping[str, Floats]
Say = Callable[[str], None]
FOLDS = 5
MANY_FOLDS = 10  # where rows are few: a fold's model should not lack much of what the last one has
FEW_ROWS = 2000
# With ten rows a label and fewer the encoder's vector weighs as much as two of the other views.
# BANKING77, means of three draws, the fusion with the labels' names: .743 to .757 with three rows a
# label, .803 to .808 with five, .864 to .870 with ten. With all rows it costs .003 there and on
# Twitter sentiment.
FEW_A_LABEL, EMPHASIS = 10, 2.0


@dataclass(frozen=True, eq=False)
class Held:
    """Rows that the scorers did not see. margins: name -> (m, C); truth: (m, C); distances: (m,)
    to the vectors they did see; groups: (m,); rows: (m,) of the examples they come from."""

    margins: Margins
    truth: NDArray[np.bool_]
    distances: Floats
    groups: NDArray[np.int64]
    rows: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Scorers:
    """The scorers of a fusion, fitted on n rows.

    words: the rows as the lexical scorer sees them. dense: on the frozen encoder; vectors: (n, k *
    dim) as it sees the rows; held: (n, C) its margins of each row from the rows of other folds,
    zero where there were none. tuned: None without a fine-tuned encoder.
    """

    words: LexicalRows
    lexical: LexicalScorer
    dense: DenseScorer
    vectors: Floats
    held: Floats
    tuned: DenseScorer | None


def fit_scorers(
    examples: Examples,
    *,
    embedder: Embedder,
    finetuned: Embedder | None = None,
    copies: Sequence[tuple[int, str]] = (),
    parts: Sequence[Part] = (),
    first: float = 1.0,
    seed: int = 13,
    threads: int = 2,
    done: Say = lambda _: None,
) -> Scorers:
    """Each scorer on all of the examples; arguments as in `fit_fused`.

    parts: folds for the dense scorer's held-out margins. first: see Views, of the dense scorer.
    done: told of each step that is over.
    """
    truth = examples.targets(examples.names)
    features = embedder.features(examples.texts)
    done("encoding")
    words = LexicalRows.of(examples.texts, truth, copies)
    with threadpool_limits(limits=threads):
        lexical = words.fit(np.arange(len(examples)), threads=threads)
        done("lexical scorer")
        dense, vectors, held = _fit_views(features, embedder.dim, truth, parts, seed, first)
        done("dense scorer")
        tuned = None
        if finetuned is not None:
            own = finetuned.features(examples.texts)
            tuned, _, _ = _fit_views(own, finetuned.dim, truth, (), seed)
            done("fine-tuned scorer")
    return Scorers(words, lexical, dense, vectors, held, tuned)


def _fit_views(
    features: Floats,
    dim: int,
    truth: NDArray[np.bool_],
    parts: Sequence[Part],
    seed: int,
    first: float = 1.0,
) -> tuple[DenseScorer, Floats, Floats]:
    """The scorer, the vectors it sees the rows as, and its margins of held-out rows."""
    views = Views.of(features, dim, first)
    vectors = views(features)
    fit = fit_dense(vectors, truth, parts, seed=seed)
    scorer = DenseScorer(views, fit.scorer, fit.known, neighbour_of(len(fit.known)))
    return scorer, vectors, fit.held


def emphasis(examples: Examples) -> float:
    """`first` of the views for so many rows a label."""
    return EMPHASIS if len(examples) <= FEW_A_LABEL * len(examples.names) else 1.0


def fold_count(examples: Examples, folds: int | None) -> int:
    """As many as asked for, or more where rows are few; never more than there are groups."""
    wanted = folds or (FOLDS if len(examples) > FEW_ROWS else MANY_FOLDS)
    return min(wanted, len(np.unique(examples.groups)))


def out_of_fold(
    examples: Examples,
    truth: NDArray[np.bool_],
    scorers: Scorers,
    parts: Sequence[Part],
    threads: int,
) -> Held:
    """Margins of every row from scorers of the other folds; rows never held out are left out."""
    words, vectors = scorers.words, scorers.vectors
    lexical = np.zeros(truth.shape, dtype=np.float32)
    distances = np.zeros(len(truth), dtype=np.float32)

    def one(part: Part) -> None:
        train, rows = part
        scorer = words.fit(train)
        lexical[rows] = lexical_margins(scorer, words.ngrams, rows)
        neighbour = neighbour_among(len(train), len(vectors), scorers.dense.neighbour)
        distances[rows] = distance_to(vectors[rows], vectors[train], neighbour)

    # One thread a fold: liblinear and BLAS release the interpreter lock.
    with threadpool_limits(limits=1), ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, [part for part in parts if len(part[1])]))
    rows = np.sort(np.concatenate([rows for _, rows in parts]))
    return Held(
        {LEXICAL: lexical[rows], DENSE: scorers.held[rows]},
        truth[rows],
        distances[rows],
        examples.groups[rows],
        rows,
    )


def validated(classifier: FusedClassifier, validation: Examples) -> Held:
    """Margins of the validation rows whose labels are all known."""
    known = set(classifier.labels)
    rows = np.array([i for i, y in enumerate(validation.labels) if set(y) <= known], dtype=np.int64)
    if not len(rows):
        raise DataError("no validation row has a label that the training part knows")
    part = validation.take(rows)
    margins, distances = classifier.margins(part.texts)
    return Held(margins, part.targets(classifier.labels), distances, part.groups, rows)
