"""Labellers that bear slips in writing, and what the version before knew better: for the report.

Words are never mended here: a headline is full of names that no training row has, and a name one
letter away from a known word is still a name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from shared.evaluation.forgetting import forgotten, recall
from shared.evaluation.robustness import Judged, slips_table
from shared.evaluation.side_by_side import SideBySide
from shared.inference.classifier import FusedClassifier
from shared.inference.runtime import Embedder
from shared.registry import ModelVersion
from shared.training.examples import Examples
from shared.training.fusion import FusedFit
from shared.training.hardening import COPIES, harden, scored
from shared.training.head_data import HeadData
from shared.training.learning import refit
from shared.training.options import TrainOptions


@dataclass(frozen=True)
class Hardening:
    """heads: told to use altered copies where these help. notes: what was tried."""

    heads: tuple[HeadData, ...]
    notes: tuple[str, ...]
    embedder: Embedder
    options: TrainOptions

    @classmethod
    def of(
        cls,
        heads: Sequence[HeadData],
        *,
        embedder: Embedder,
        options: TrainOptions,
        copies: bool,
        say: Callable[[str], None],
    ) -> "Hardening":
        """copies: whether altered copies are to be tried."""
        if not copies:
            return cls(tuple(heads), (), embedder, options)
        chosen = [
            harden(head, embedder=embedder, options=options, spelling=False, copies=True, say=say)
            for head in heads
        ]
        return cls(
            tuple(
                replace(head, altered=found.copies)
                for head, found in zip(heads, chosen, strict=True)
            ),
            tuple(note for found in chosen for note in found.notes),
            embedder,
            options,
        )

    def tables(
        self, fits: Mapping[str, FusedFit], held: Mapping[str, Examples]
    ) -> tuple[SideBySide, ...]:
        """Before and after on the report's rows, for heads that learned from copies and have no
        fine-tuned encoder, which is not trained a second time without them."""
        return tuple(
            slips_table(
                [COPIES],
                scored(self._without_copies(head)),
                scored(fits[head.name].classifier),
                Judged(held[head.name].texts, held[head.name].labels, held[head.name].groups),
                task=head.name,
                seed=self.options.seed,
            )
            for head in self.heads
            if head.altered and fits[head.name].classifier.finetuned is None
        )

    def _without_copies(self, head: HeadData) -> FusedClassifier:
        plain = replace(head, altered=False)
        return refit(plain, embedder=self.embedder, options=self.options).classifier


def forgetting(
    fits: Mapping[str, FusedFit],
    taught: Mapping[str, Examples],
    previous: Sequence[ModelVersion],
) -> tuple[SideBySide, ...]:
    """Head by head, beside each earlier version. taught: the rows each head learned from."""
    asked = [
        recall(
            name,
            fit.classifier.labels,
            taught[name].texts,
            scored(fit.classifier),
            fit.held_out_scores,
        )
        for name, fit in fits.items()
    ]
    return tuple(
        table for version in previous for table in forgotten(version.path, version.reference, asked)
    )
