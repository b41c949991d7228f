"""What a classifier learns from, and what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.inference.classifier import FusedClassifier, Kind
from shared.training.copies import copies_of
from shared.training.examples import Examples
from shared.training.fusion import FusedFit
from shared.training.options import FineTuned, Method, TrainOptions


@dataclass(frozen=True)
class HeadData:
    """What one classifier learns from. out_of_scope: texts it must refuse, if any are known.
    altered: altered copies of the examples teach it too (copies.py). named: rows made of its
    labels' names, which teach it too (label_names.py). unlabelled: texts that may teach it too,
    where examples of one label each are few and fine-tuned on."""

    name: str
    examples: Examples
    out_of_scope: tuple[str, ...] = ()
    altered: bool = False
    named: Examples | None = None
    unlabelled: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        return self.examples.kind


@dataclass(frozen=True)
class Learned:
    """Trained classifiers, head by head.

    chosen: head -> what is to be served. frozen: head -> the fusion without fine-tuning, on all
    rows. encoder: folder of the fine-tuned encoder if any chosen head uses it. finetuned: the run,
    also when its encoder was not worth keeping. pseudo: head -> unlabelled texts that taught it
    beside its rows, where they helped. notes: for the report.
    """

    chosen: Mapping[str, FusedFit]
    frozen: Mapping[str, FusedFit]
    encoder: Path | None
    finetuned: FineTuned | None
    method: Method
    notes: tuple[str, ...]
    pseudo: Mapping[str, int] = field(default_factory=dict)

    def classifier(self, head: str) -> FusedClassifier:
        return self.chosen[head].classifier


def copies_for(
    head: HeadData, rows: Examples, options: TrainOptions
) -> tuple[tuple[int, str], ...]:
    """(row, altered copy of it) of some rows of the head, where it wants them."""
    return tuple(copies_of(rows, options.seed)) if head.altered else ()
