"""Texts to vectors, fast: torch in fp32 or bf16, ONNX Runtime in int8.

Importing this file, and encoding in int8, loads neither torch nor transformers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.modeling.encoder_folder import EncoderFolder, read_encoder_folder

Precision = Literal["auto", "fp32", "bf16", "int8"]


class Embedder(Protocol):
    """Turns texts into vectors.

    dim: width of a vector. fingerprint: names weights, tokenizer, pooling, prefix, length and
    family of precision; vectors of two embedders may be compared only where it is equal. fp32 and
    bf16 are one family ("float"): their vectors agree to a cosine of .9999. int8 is another.
    """

    @property
    def dim(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        """(len(texts), dim), row i for texts[i]; unit length if normalised."""
        ...


def float_fingerprint(folder: EncoderFolder) -> str:
    """Fingerprint of the torch family (fp32 and bf16)."""
    return f"float-{folder.digest()[:32]}"


def load_embedder(
    folder: Path,
    *,
    precision: Precision = "auto",
    threads: int | None = None,
    batch_size: int = 32,
    cache: Path | None = None,
    prefix: str | None = None,
    max_length: int | None = None,
) -> Embedder:
    """The embedder of the encoder in `folder`.

    threads: intra-op threads (None: the library's default). prefix, max_length: where given, win
    over what the folder says.

    Raises:
        ModelNotFoundError, ModelError: the folder holds no encoder that can be used.
    """
    found = read_encoder_folder(folder, prefix=prefix, max_length=max_length)
    # Deferred: an int8 service must not load torch and transformers (4 s and 400 MB).
    from shared.inference.torch_runtime import TorchEmbedder
    from shared.modeling.encoder import Encoder

    encoder = Encoder.from_pretrained(folder, prefix=prefix, max_length=max_length)
    return TorchEmbedder(
        encoder,
        fingerprint=float_fingerprint(found),
        precision="bf16" if precision == "bf16" else "fp32",
        threads=threads,
        batch_size=batch_size,
    )
