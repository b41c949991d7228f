"""Whether a smaller runtime still gives the vectors of the fp32 encoder."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shared.atomic import write_text
from shared.errors import ModelError
from shared.modeling.encoder_folder import read_json_object

PARITY_FILE = "parity.json"
# Two texts about equally near to a third may change places without harm to anyone.
NEIGHBOUR_TIE = 0.01


@dataclass(frozen=True)
class ParityGate:
    """What a runtime must reach on the probe texts, against fp32.

    cosine_min, cosine_mean: between the two vectors of a text. neighbour_agreement: share of texts
    with the same nearest other text. label_agreement: share of texts with the same best label.
    metric_drop: accuracy lost, 0.01 is one point.
    """

    cosine_min: float = 0.97
    cosine_mean: float = 0.99
    neighbour_agreement: float = 0.9
    label_agreement: float = 0.98
    metric_drop: float = 0.01


@dataclass(frozen=True)
class HeadCheck:
    """What is computed from the vectors, so that parity is judged where it counts.

    score: (n, dim) vectors of unit length -> (n, C), higher is better. expected: the right column
    for each probe text (n,), or None where nobody knows.
    """

    score: Callable[[NDArray[np.float32]], NDArray[np.floating[Any]]]
    expected: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Parity:
    """One runtime against fp32; the fields are those of ParityGate, None where not asked for."""

    cosine_min: float
    cosine_mean: float
    neighbour_agreement: float
    label_agreement: float | None = None
    metric_drop: float | None = None

    def failures(self, gate: ParityGate) -> tuple[str, ...]:
        """What misses the gate, e.g. "cosine_min 0.81 below 0.97"; empty if nothing does."""
        missed = []
        for name in ("cosine_min", "cosine_mean", "neighbour_agreement", "label_agreement"):
            value, least = getattr(self, name), getattr(gate, name)
            # Written so that a value that is no number fails.
            if value is not None and not value >= least:
                missed.append(f"{name} {value:.4g} below {least:g}")
        if self.metric_drop is not None and not self.metric_drop <= gate.metric_drop:
            missed.append(f"metric_drop {self.metric_drop:.4g} above {gate.metric_drop:g}")
        return tuple(missed)


@dataclass(frozen=True)
class ParityReport:
    """What an export was measured to be.

    fingerprint: of the int8 runtime. texts: number of probes. int8, bf16: None where it could not
    be run at all, or bf16 is no faster than fp32, with the reason in int8_failures or
    bf16_failures. texts_per_second: on the
    probes, for information; it decides nothing but whether bf16 is worth its loss.
    """

    fingerprint: str
    texts: int
    gate: ParityGate
    int8: Parity | None
    bf16: Parity | None
    int8_failures: tuple[str, ...]
    bf16_failures: tuple[str, ...]
    texts_per_second: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether int8 may serve."""
        return self.int8 is not None and not self.int8_failures

    @property
    def best(self) -> Literal["int8", "bf16", "fp32"]:
        """int8 if it passed, else bf16 if that passed, else fp32."""
        if self.passed:
            return "int8"
        return "bf16" if self.bf16 is not None and not self.bf16_failures else "fp32"

    def write(self, folder: Path) -> None:
        """parity.json in `folder`."""
        content = {"passed": self.passed, "best": self.best, **asdict(self)}
        write_text(folder / PARITY_FILE, json.dumps(content, indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "ParityReport":
        """Raises ModelError naming the file if it is not what write() wrote."""
        path = folder / PARITY_FILE
        said = read_json_object(path)
        try:
            return cls(
                fingerprint=str(said["fingerprint"]),
                texts=int(said["texts"]),
                gate=ParityGate(**said["gate"]),
                int8=_parity(said["int8"]),
                bf16=_parity(said["bf16"]),
                int8_failures=tuple(map(str, said["int8_failures"])),
                bf16_failures=tuple(map(str, said["bf16_failures"])),
                texts_per_second=dict(said["texts_per_second"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: unexpected content ({error!r}); export again") from error


def compare(
    reference: NDArray[np.float32], other: NDArray[np.float32], head: HeadCheck | None = None
) -> Parity:
    """reference, other: (n, dim) of unit length, the same n >= 3 texts in two precisions."""
    cosines = np.einsum("nd,nd->n", reference, other)  # (n,)
    return Parity(
        cosine_min=float(cosines.min()),
        cosine_mean=float(cosines.mean()),
        neighbour_agreement=neighbour_agreement(reference, other),
        **({} if head is None else _head_parity(reference, other, head)),
    )


def neighbour_agreement(reference: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Share of texts whose nearest other text in `other` is the nearest in `reference` too, or
    within a cosine of .01 of it. (n, dim) each, of unit length; 0..1."""
    near = reference @ reference.T  # (n, n)
    np.fill_diagonal(near, -2)
    found = other @ other.T
    np.fill_diagonal(found, -2)
    chosen = np.take_along_axis(near, found.argmax(axis=1)[:, None], axis=1)[:, 0]
    return float((chosen >= near.max(axis=1) - NEIGHBOUR_TIE).mean())


def _head_parity(
    reference: NDArray[np.float32], other: NDArray[np.float32], head: HeadCheck
) -> dict[str, float]:
    before = np.asarray(head.score(reference)).argmax(axis=1)
    after = np.asarray(head.score(other)).argmax(axis=1)
    measured = {"label_agreement": float((before == after).mean())}
    if head.expected is not None:
        right, still = before == head.expected, after == head.expected
        measured["metric_drop"] = float(right.mean() - still.mean())
    return measured


def _parity(said: dict[str, float | None] | None) -> Parity | None:
    return None if said is None else Parity(**said)  # type: ignore[arg-type]
