"""A stand-in for an encoder, where meaning is not the point."""

import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from apps.chatbot.mining.answer_choice import Encode


@pytest.fixture(scope="session")
def words_encode() -> Encode:
    """Hashed words and, of Chinese, characters; unit length."""

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        out = np.zeros((len(texts), 512), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().replace("?", " ").replace(".", " ").split() or [""]:
                for piece in [word] if word.isascii() else word:
                    out[row, zlib.crc32(piece.encode()) % 512] += 1
        unit: NDArray[np.float32] = out / np.linalg.norm(out, axis=1, keepdims=True)
        return unit

    return encode
