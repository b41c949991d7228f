"""Texts to vectors with torch, in fp32 or bf16.

Apart from runtime.py, which a serving process on ONNX imports without paying for torch.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.inference.batches import TextTokens, encode_texts, unit_length
from shared.modeling.adapter import Adapter
from shared.modeling.adapter_hooks import Matrices, adapter_active, hook_product
from shared.modeling.encoder import FEATURE_BLOCKS, Encoder

FloatPrecision = Literal["fp32", "bf16"]

_HOOKING = Lock()


class TorchEmbedder:
    """See runtime.AdaptableEmbedder. bf16 keeps the weights so: faster than autocast, as close."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        fingerprint: str,
        precision: FloatPrecision = "fp32",
        threads: int | None = None,
        batch_size: int = 32,
        device: str = "cpu",
    ) -> None:
        self.dim = encoder.dim
        self.fingerprint = fingerprint
        self.precision: FloatPrecision = precision
        number = torch.bfloat16 if precision == "bf16" else torch.float32
        self._device = torch.device(device)
        self._encoder = encoder.eval().to(self._device, number)
        self._threads = threads
        self._batch_size = batch_size
        self._tokens = TextTokens(
            encoder.tokenizer.backend_tokenizer,
            prefix=encoder.prefix,
            max_length=encoder.max_length,
            pad_token_id=int(encoder.tokenizer.pad_token_id or 0),
        )
        self._number = number
        self._hooked: set[str] = set()  # products that take adapters, of all who share the encoder
        self._adapter: Matrices = {}

    def with_adapter(self, adapter: Adapter) -> "TorchEmbedder":
        """See runtime.AdaptableEmbedder."""
        adapter.check_base(self.fingerprint)
        with _HOOKING:
            for name in adapter.factors.keys() - self._hooked:
                hook_product(self._encoder.model, name)
                self._hooked.add(name)
        adapted = copy.copy(self)
        adapted.fingerprint = adapter.fingerprint(self.fingerprint)
        adapted._tokens = self._tokens.cut_at(adapter.max_length)
        adapted._adapter = {
            name: (self._placed(factors.down), self._placed(factors.up))
            for name, factors in adapter.factors.items()
        }
        return adapted

    def _placed(self, matrix: NDArray[np.float32]) -> Tensor:
        return torch.tensor(matrix, device=self._device, dtype=self._number)

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        """(len(texts), dim) in the order of `texts`."""
        vectors = self._run(texts, self._encoder, self.dim)
        return unit_length(vectors) if normalised else vectors

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(len(texts), FEATURE_BLOCKS * dim) in the order of `texts`."""
        return self._run(texts, self._encoder.features, FEATURE_BLOCKS * self.dim)

    def _run(
        self, texts: Sequence[str], pooled: Callable[[Tensor, Tensor], Tensor], width: int
    ) -> NDArray[np.float32]:
        def forward(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
            tokens, present = (torch.from_numpy(part).to(self._device) for part in (ids, mask))
            with adapter_active(self._adapter):
                vectors = pooled(tokens, present)
            return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)

        with torch.inference_mode(), threads_limited(self._threads):
            return encode_texts(
                texts,
                tokens=self._tokens,
                forward=forward,
                width=width,
                batch_size=self._batch_size,
            )


@contextmanager
def threads_limited(count: int | None) -> Iterator[None]:
    """torch's thread count is one per process: set it for the block, then give it back."""
    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
