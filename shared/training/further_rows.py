"""Fine-tuning again with more rows, where few are labelled and the first run was worth keeping.

With ten rows a label the development part is a row of each, which early stopping and the weights of
the fusion need unseen. Once it is decided that the encoder is worth keeping, it is trained again on
all rows; weights, calibration and out-of-scope scores stay those of a run that had not seen them.

Unlabelled texts of the same kind teach still more. The fusion with the first encoder labels those
that it is sure of, and an encoder trained on these as well takes its place unless it is worse
beyond noise on the development part, of which no near copy is among them. Measured in
docs/fine_tuning.md.
"""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from shared.inference.classifier import FusedClassifier
from shared.inference.dense import DenseScorer, neighbour_among
from shared.inference.runtime import Embedder
from shared.pretrained import PretrainedEncoder
from shared.training.adapters import finetuned_embedder
from shared.training.batches import HeadTask
from shared.training.budget import CallBudget, Share
from shared.training.examples import Examples
from shared.training.finetune import finetune_classifier
from shared.training.fused_scorers import fit_scorers
from shared.training.fusion import FusedFit
from shared.training.methods import METHODS
from shared.training.options import FineTuned, Method, TrainOptions
from shared.training.pseudo_labels import Pool, Pseudo, surest
from shared.training.run_results import RESULT_FILE

Say = Callable[[str], None]


@dataclass(frozen=True)
class Sure:
    """Which unlabelled texts teach. probability: of their label, calibrated, at least. per_row:
    texts of a label for each labelled row of it, at most."""

    probability: float
    per_row: int


# By the encoder of labelled rows alone. BANKING77, ten rows a label, one seed: the fusion was right
# in .889 of the development rows with six, in .882 with three.
FIRST = Sure(0.9, 6)
# By the encoder that has learned from those, which errs less (docs/fine_tuning.md).
LAST = Sure(0.7, 12)
EPOCHS_SHARE = 0.5  # of the first run's: an epoch has several times as many steps


@dataclass
class FurtherRuns:
    """Runs after `run`, with the same options and what is left of the call's budget.

    options: with every loss decided (`settled`), however many rows there are now:
    calibration and weights are to fit all runs. probes: texts on which an encoder as it is served
    must agree with itself in fp32. each: seconds that a run took beside its fine-tuning, for its
    export and the fusion; after: that the call needs once all are over; earlier: of a first attempt
    at `run`. The journal and the trackers keep the curves of `run`.
    """

    run: FineTuned
    base: PretrainedEncoder
    embedder: Embedder
    options: TrainOptions
    probes: Sequence[str]
    say: Say
    budget: CallBudget
    each: float
    after: float
    earlier: float = 0.0
    seconds: float = field(init=False)

    def __post_init__(self) -> None:
        self.seconds = self.run.seconds

    @property
    def left(self) -> float | None:
        """Seconds that the next run may take, None without a limit."""
        return self.budget.left(self.seconds, after=self.each + self.after, earlier=self.earlier)

    def fit(self, times: float) -> bool:
        """Whether a run so many times as long as the first still fits into the budget."""
        left = self.left
        return left is None or times * self.run.seconds <= left

    def tuned(
        self, tasks: Sequence[HeadTask], name: str, *, epochs: int | None = None
    ) -> tuple[Path, Embedder]:
        """A folder of this name beside the run's with an encoder fine-tuned on these tasks, and
        that encoder as it is served."""
        folder = self.run.folder.with_name(f"{self.run.folder.name}.{name}")
        place = self.options.checkpoints
        again = replace(
            self.options,
            method=self.run.method,
            keep="last",
            epochs=epochs or self.options.epochs,
            checkpoints=None if place is None else place.with_name(f"{place.name}.{name}"),
            journal=None,
            logdir=None,
            tracking="none",
        )
        done = finetune_classifier(
            tasks,
            encoder=self.base,
            options=again,
            folder=folder,
            say=self.say,
            clock=self.budget.clock,
            # Not of the options: an attempt that goes on is known by them, and has less time left.
            share=Share(self.left),
        )
        self.seconds += done.seconds
        # What the first run measured, it measured on rows that it had not seen.
        (folder / RESULT_FILE).write_text(self.run.to_json(), encoding="utf-8")
        encoder = finetuned_embedder(
            folder, embedder=self.embedder, probes=self.probes, options=self.options, say=self.say
        )
        return folder, encoder

    def take_place(self, folder: Path) -> None:
        """Put what `tuned` wrote where the first run's encoder is."""
        old = self.run.folder.with_name(f"{self.run.folder.name}.old")
        self.run.folder.rename(old)
        folder.rename(self.run.folder)
        shutil.rmtree(old)

    @property
    def shorter_epochs(self) -> int:
        """For many pseudo-labelled rows."""
        usual = self.options.epochs or METHODS[Method(self.run.method)].epochs
        return math.ceil(EPOCHS_SHARE * usual)


def lengths_of(tasks: Sequence[HeadTask], pools: Sequence[Pool]) -> float:
    """What the further runs take together at most, in lengths of the first: one on all rows, and
    with unlabelled texts two on as many of these as may be learned from."""
    rows = sum(len(task.train) for task in tasks)
    everything = rows + sum(len(task.validation) for task in tasks)
    if not pools:
        return everything / rows
    texts = sum(len(pool.texts) for pool in pools)
    first = rows + min(FIRST.per_row * rows, texts)
    last = everything + min(LAST.per_row * everything, texts)
    return EPOCHS_SHARE * (first + last) / rows


def sure_labels(classifier: FusedClassifier, pool: Pool, examples: Examples, sure: Sure) -> Pseudo:
    """The texts whose label the classifier is so sure of, as many as the examples allow."""
    p = classifier.predict_proba(pool.texts)
    rooms = sure.per_row * examples.targets(classifier.labels).sum(0)
    return surest(p, p.max(1) >= sure.probability, rooms, classifier.labels)


def _as_far(scorer: DenseScorer, before: DenseScorer) -> DenseScorer:
    """Measuring distances to the neighbour that is as far away as the one the scope was fitted
    on."""
    rows, others = len(scorer.known), len(before.known)
    return replace(scorer, neighbour=neighbour_among(rows, others, before.neighbour))


def refitted(
    fit: FusedFit,
    tuned: Embedder,
    examples: Examples,
    *,
    known: int,
    copies: Sequence[tuple[int, str]],
    seed: int,
    threads: int,
) -> FusedFit:
    """The scorers of `fit` on these rows, which have the same labels; what needs unseen rows stays
    as it is. known: how many of the rows are examples, the first ones."""
    scorers = fit_scorers(
        examples,
        embedder=fit.classifier.embedder,
        finetuned=tuned,
        copies=copies,
        first=fit.classifier.dense.views.first,
        seed=seed,
        threads=threads,
    )
    before = fit.classifier
    assert before.tuned is not None
    assert scorers.tuned is not None
    classifier = replace(
        before,
        lexical=scorers.lexical,
        dense=_as_far(scorers.dense, before.dense),
        finetuned=tuned,
        tuned=_as_far(scorers.tuned, before.tuned),
    )
    unseen = np.full((known, len(classifier.labels)), np.nan, dtype=np.float32)
    return replace(fit, classifier=classifier, out_of_fold=unseen)
