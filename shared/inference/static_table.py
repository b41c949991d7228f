"""A static encoder: a vector for each token, and nothing else. No layers, no torch.

A text's vector is the mean of its tokens' rows; what a word means in its sentence is lost, and a
processor encodes ten thousand short texts a second or more. Made by shared/training/table_student.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from shared.atomic import write_text
from shared.errors import ModelError
from shared.inference.batches import TextTokens, encode_texts, unit_length
from shared.modeling.encoder_folder import DESCRIPTION_FILE, STATIC_MODEL, EncoderFolder

TABLE = "table"
WEIGHTS_FILE, TOKENIZER_FILE, CONFIG_FILE = "model.safetensors", "tokenizer.json", "config.json"
VIEWS = 2  # the mean of the rows, and the largest value of each dimension


class StaticEmbedder:
    """See runtime.Embedder. A text has the same vector in any company, to the bit."""

    def __init__(self, found: EncoderFolder, *, fingerprint: str, batch_size: int = 32) -> None:
        """Raises ModelError, naming the file that is missing, damaged or of another shape."""
        self.dim = found.dim
        self.fingerprint = fingerprint
        self._batch_size = batch_size
        self._table = _read_table(found)
        path = found.weights / TOKENIZER_FILE
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises a bare Exception for a damaged file
            raise ModelError(f"{path}: the tokenizer cannot be loaded: {error}") from error
        if tokenizer.get_vocab_size() > len(self._table):
            raise ModelError(
                f"{path}: {tokenizer.get_vocab_size()} tokens for a table of {len(self._table)} "
                "rows; the folder's files do not belong together"
            )
        self._tokens = TextTokens(
            tokenizer,
            prefix=found.prefix,
            max_length=found.max_length,
            pad_token_id=found.pad_token_id,
        )

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        """(len(texts), dim) in the order of `texts`."""
        vectors = self.features(texts)[:, : self.dim]
        return unit_length(vectors) if normalised else np.ascontiguousarray(vectors)

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(len(texts), VIEWS * dim) in the order of `texts`."""
        return encode_texts(
            texts,
            tokens=self._tokens,
            forward=self._forward,
            width=VIEWS * self.dim,
            batch_size=self._batch_size,
        )

    def _forward(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = self._table[ids].astype(np.float32)  # (batch, length, dim)
        present = mask[:, :, None].astype(np.float32)
        mean = (rows * present).sum(1) / np.maximum(present.sum(1), 1)
        largest = np.where(present > 0, rows, np.finfo(np.float32).min).max(1)
        return np.concatenate([mean, largest], axis=1)


def write_static_encoder(
    folder: Path,
    table: NDArray[np.float32],
    tokenizer: Tokenizer,
    *,
    prefix: str,
    max_length: int,
    pad_token_id: int,
) -> None:
    """Fill `folder` with a static encoder of this table (tokens, dim), kept in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({TABLE: table.astype(np.float16)}, folder / WEIGHTS_FILE)
    tokenizer.save(str(folder / TOKENIZER_FILE))
    config = {
        "model_type": STATIC_MODEL,
        "vocab_size": len(table),
        "hidden_size": table.shape[1],
        "max_position_embeddings": max_length,
        "pad_token_id": pad_token_id,
    }
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
    description = {"prefix": prefix, "max_length": max_length, "pooling": "mean"}
    write_text(folder / DESCRIPTION_FILE, json.dumps(description, indent=2) + "\n")


def _read_table(found: EncoderFolder) -> NDArray[np.float16]:
    path = found.weights / WEIGHTS_FILE
    try:
        table: NDArray[np.float16] = load_file(path)[TABLE]
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ModelError(f"{path}: no table of token vectors ({error!r}); make it again") from error
    if table.ndim != 2 or table.shape[1] != found.dim:
        raise ModelError(
            f"{path}: a table of shape {table.shape}; expected (tokens, {found.dim}), as "
            f"{CONFIG_FILE} says"
        )
    return table
