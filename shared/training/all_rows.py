"""Fine-tuning once more, on every row: those that had to judge the first time teach as well.

With ten rows a label the development part is a row of each, which early stopping and the weights of
the fusion need unseen. Once it is decided that the encoder is worth keeping, it is trained again
on all rows for as long; weights, calibration and out-of-scope scores stay those of the first, whose
rows had not been seen.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from shared.inference.dense import Views
from shared.inference.runtime import Embedder
from shared.pretrained import PretrainedEncoder
from shared.training.adapters import finetuned_embedder
from shared.training.batches import HeadTask
from shared.training.examples import Examples
from shared.training.finetune import finetune_classifier
from shared.training.fusion import FusedFit
from shared.training.kernel import fit_dense
from shared.training.options import FineTuned, TrainOptions
from shared.training.runs import checkpoints_of
from shared.training.scorers import LexicalRows, fit_linear

Say = Callable[[str], None]


def may_go_again(run: FineTuned, options: TrainOptions) -> bool:
    """Whether a run as long as this one still fits into the budget, and may keep its last weights:
    no row is left to choose the best by."""
    return options.keep != "best" and (
        options.minutes is None or 2 * run.seconds <= 60 * options.minutes
    )


def finetune_again(
    tasks: Sequence[HeadTask],
    run: FineTuned,
    *,
    base: PretrainedEncoder,
    embedder: Embedder,
    options: TrainOptions,
    probes: Sequence[str],
    say: Say,
) -> Embedder:
    """The encoder fine-tuned on these tasks, in the place of the one in the folder of `run`.

    tasks: with all rows; their validation parts only show the way. embedder, probes: as in
    `finetuned_embedder`. The journal and the trackers keep the curves of `run`.
    """
    folder = run.folder.with_name(f"{run.folder.name}.again")
    checkpoints = checkpoints_of(run.folder, options)
    again = replace(
        options,
        method=run.method,
        keep="last",
        minutes=None,
        checkpoints=checkpoints.with_name(f"{checkpoints.name}.again"),
        journal=None,
        logdir=None,
        tracking="none",
    )
    finetune_classifier(tasks, encoder=base, options=again, folder=folder, say=say)
    shutil.rmtree(run.folder)
    folder.rename(run.folder)
    return finetuned_embedder(
        run.folder, embedder=embedder, probes=probes, options=options, say=say
    )


def refitted(
    fit: FusedFit,
    tuned: Embedder,
    examples: Examples,
    *,
    copies: Sequence[tuple[int, str]],
    seed: int,
    threads: int,
) -> FusedFit:
    """The scorers of `fit` on these rows, which have the same labels; what needs unseen rows stays
    as it is."""
    old = fit.classifier
    truth = examples.targets(old.labels)
    features = old.embedder.features(examples.texts)
    views = Views.of(features, old.embedder.dim)
    with threadpool_limits(limits=threads):
        words = LexicalRows.of(examples.texts, truth, copies)
        lexical = words.fit(np.arange(len(examples)), threads=threads)
        dense = fit_dense(views(features), truth, (), seed=seed)
        head = fit_linear(tuned.encode(examples.texts), truth, examples.kind)
    classifier = replace(
        old, lexical=lexical, views=views, dense=dense.scorer, known=dense.known,
        finetuned=tuned, tuned=head,
    )  # fmt: skip
    unseen = np.full(truth.shape, np.nan, dtype=np.float32)
    return replace(fit, classifier=classifier, out_of_fold=unseen)
