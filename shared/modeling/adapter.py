"""A fine-tuned encoder as what it adds to its base: low-rank matrices beside some of its products.

LoRA, and AdaLoRA once its ranks are final, leave nothing else behind: for all-MiniLM-L6-v2 at rank
8 less than half a megabyte. Read without torch.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from shared.atomic import replacing, write_text
from shared.errors import ModelError, ModelNotFoundError
from shared.modeling.encoder_folder import read_json_object

ADAPTER_FILE = "adapter.json"
FACTORS_FILE = "adapter.safetensors"
# Of the two files, and of the way vectors are computed from them: part of every fingerprint.
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Factors:
    """What is added to one product x @ W: (x @ down) @ up.

    down: (width in, rank), up: (rank, width out), float32; the adapter's scale is in `up`.
    """

    down: NDArray[np.float32]
    up: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Raises ModelError for matrices that do not fit one another or hold no numbers."""
        if self.down.ndim != 2 or self.up.ndim != 2 or self.down.shape[1] != self.up.shape[0]:
            raise ModelError(
                f"an adapter's matrices have the shapes {self.down.shape} and {self.up.shape}; "
                "expected (width, rank) and (rank, width)"
            )
        if not (np.isfinite(self.down).all() and np.isfinite(self.up).all()):
            raise ModelError("an adapter's matrix holds values that are no numbers; train again")


@dataclass(frozen=True, eq=False)
class Adapter:
    """factors: module of the base's transformer -> what is added to its product.

    base_sha256: of the base encoder's weights, as PretrainedEncoder. max_length: tokens kept of a
    text, which may be others than the base keeps. base_fingerprint: of the base's runtime that the
    adapter was judged on and is served on; None: not judged yet.
    """

    factors: Mapping[str, Factors]
    base_sha256: str
    max_length: int
    base_fingerprint: str | None = None

    def fingerprint(self, base: str) -> str:
        """Of the vectors it makes on the base encoder with the fingerprint `base`."""
        family = base.partition("-")[0]
        content = json.dumps([FORMAT, base, _sha256(self._packed()), self.max_length])
        return f"{family}-{_sha256(content.encode())[:32]}"

    def check_base(self, fingerprint: str) -> None:
        """Raises ModelError unless the adapter is served on a base of this fingerprint."""
        if self.base_fingerprint not in (None, fingerprint):
            raise ModelError(
                f"an adapter made for the base encoder {self.base_fingerprint} cannot be served "
                f"on {fingerprint}; use the encoder and the precision of training, or train again"
            )

    def save(self, folder: Path) -> None:
        """adapter.safetensors and adapter.json in `folder`, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        packed = self._packed()
        description = {
            "format": FORMAT,
            "base_sha256": self.base_sha256,
            "base_fingerprint": self.base_fingerprint,
            "max_length": self.max_length,
            "sha256": _sha256(packed),
        }
        with replacing(folder / FACTORS_FILE) as part:
            part.write_bytes(packed)
        write_text(folder / ADAPTER_FILE, json.dumps(description, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Adapter":
        """Read what save() wrote, every byte of it checked.

        Raises ModelNotFoundError or ModelError, naming the file that is missing, damaged or of a
        later version.
        """
        said = read_json_object(_present(folder / ADAPTER_FILE))
        if said.get("format") != FORMAT:
            raise ModelError(
                f"{folder / ADAPTER_FILE}: format {said.get('format')!r}; this version reads "
                f"{FORMAT}: install the version that trained it, or train again"
            )
        path = _present(folder / FACTORS_FILE)
        packed = path.read_bytes()
        try:
            if _sha256(packed) != said["sha256"]:
                raise ModelError(
                    f"{path}: sha256 differs from the one in {ADAPTER_FILE}; restore the file "
                    "or train again"
                )
            known = said["base_fingerprint"]
            return cls(
                _unpacked(packed),
                str(said["base_sha256"]),
                int(said["max_length"]),
                None if known is None else str(known),
            )
        except (KeyError, TypeError, ValueError, SafetensorError) as error:
            raise ModelError(
                f"{folder / ADAPTER_FILE}: unexpected content ({error!r}); train again"
            ) from error

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """All matrices under the names `<module>.down` and `<module>.up`."""
        return {
            f"{module}.{side}": np.ascontiguousarray(matrix, dtype=np.float32)
            for module, factors in sorted(self.factors.items())
            for side, matrix in (("down", factors.down), ("up", factors.up))
        }

    def _packed(self) -> bytes:
        return save(self.tensors())


def is_adapter(folder: Path) -> bool:
    """Whether a model's encoder folder holds an adapter, and not a whole encoder."""
    return (folder / ADAPTER_FILE).is_file()


def _unpacked(packed: bytes) -> dict[str, Factors]:
    tensors = load(packed)
    modules = {name.rpartition(".")[0] for name in tensors}
    return {
        module: Factors(tensors[f"{module}.down"], tensors[f"{module}.up"]) for module in modules
    }


def _present(path: Path) -> Path:
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: no such file; expected the adapter of a trained model")
    return path


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
