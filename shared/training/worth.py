"""Whether fine-tuning earned its minutes: losses of rows that neither model has seen, paired."""

import numpy as np
from numpy.typing import NDArray

from shared.training.examples import Examples
from shared.training.fusion import FusedFit
from shared.training.fusion_weights import row_losses, worse_beyond_noise


def losses_on(fit: FusedFit, trained: Examples, part: Examples) -> NDArray[np.float32]:
    """(m,) nats of each row of `part`, all of them among the rows that `fit` was trained on, by
    models that had not seen it; NaN where none is."""
    place = {text: row for row, text in enumerate(trained.texts)}
    held = fit.out_of_fold[[place[text] for text in part.texts]]  # (m, C)
    losses = row_losses(np.nan_to_num(held), part.targets(fit.classifier.labels), part.kind)
    return np.where(np.isnan(held).any(axis=1), np.float32(np.nan), losses)


def worth_it(tuned: NDArray[np.float32], frozen: NDArray[np.float32], *, few: bool) -> bool:
    """Whether fine-tuning is kept. tuned, frozen: (m,) nats of the same unseen rows, NaN in the
    second where nobody knows.

    It must lower the mean loss. Where rows are few it must not raise it beyond noise: a row a
    label tells no more, the encoder is trained again on all rows afterwards, and on each of four
    draws of ten rows a label it was the better one then (docs/fine_tuning.md).
    """
    if few:
        return not worse_beyond_noise(tuned, frozen)
    return float(np.nanmean(frozen - tuned)) > 0
