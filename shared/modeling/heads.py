"""Heads: from one vector per text to one logit per label."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from shared.errors import ModelError

HeadKind = Literal["single", "multi"]


@dataclass(frozen=True)
class HeadSpec:
    """What a head decides.

    kind: "single" for exactly one label per text (softmax), "multi" for any number of them
    (a sigmoid each). labels: in the order of the logits.

    Raises:
        ModelError: a name that cannot be a module's, no labels, one label twice, or a single
            choice among fewer than two.
    """

    name: str
    kind: HeadKind
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        # nn.ModuleDict refuses dots and its own attribute names, in words that help nobody.
        if not self.name or "." in self.name or hasattr(nn.ModuleDict, self.name):
            raise ModelError(
                f"head name '{self.name}'; allowed is a word without dots that torch does not use"
            )
        if self.kind not in ("single", "multi"):
            raise ModelError(
                f"head '{self.name}': kind '{self.kind}'; allowed are single and multi"
            )
        twice = sorted({label for label in self.labels if self.labels.count(label) > 1})
        if twice:
            raise ModelError(f"head '{self.name}': label '{twice[0]}' is there twice")
        fewest = 2 if self.kind == "single" else 1
        if len(self.labels) < fewest:
            raise ModelError(
                f"head '{self.name}': {len(self.labels)} labels; "
                f"a {self.kind} head needs at least {fewest}"
            )


class Head(nn.Module):
    """Dropout and one linear layer: (batch, dim) -> (batch, len(spec.labels)) logits."""

    def __init__(self, spec: HeadSpec, dim: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.spec = spec
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(dim, len(spec.labels))

    def forward(self, vectors: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.dropout(vectors))
        return logits
