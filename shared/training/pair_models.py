"""Our models as sentence-transformers sees them, and its loss with a weight for each pair."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.modules import InputModule
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import Tensor
from torch.nn import functional

from shared.modeling.encoder import Encoder
from shared.modeling.heads import HeadSpec
from shared.modeling.text_model import TextModel

PAIR_HEAD = HeadSpec("match", "multi", ("match",))


class EncoderInput(InputModule):  # type: ignore[misc]
    """Our encoder as the one module of a SentenceTransformer."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.tokenizer = encoder.tokenizer

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **_: Any) -> Any:  # noqa: ARG002
        return self.encoder.tokens(list(inputs))

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        vectors = self.encoder(features["input_ids"], features["attention_mask"])
        return {**features, "sentence_embedding": vectors.float()}

    def get_embedding_dimension(self) -> int:
        return self.encoder.dim

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        self.encoder.save(Path(output_path))


class PairInput(InputModule):  # type: ignore[misc]
    """A TextModel with the head "match" as the one module of a CrossEncoder."""

    def __init__(self, model: TextModel) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = model.encoder.tokenizer

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **_: Any) -> Any:  # noqa: ARG002
        return pair_tokens(self.model.encoder, [pair[0] for pair in inputs], [p[1] for p in inputs])

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        vectors = self.model.encoder(features["input_ids"], features["attention_mask"])
        return {**features, "scores": self.model.heads[PAIR_HEAD.name](vectors).float()}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        self.model.save(Path(output_path))


class WeightedRankingLoss(MultipleNegativesRankingLoss):  # type: ignore[misc]
    """In-batch negatives where pair i counts weights[i]; weights of mean 1 arrive as the labels.

    With all weights 1 this is the library's loss.
    """

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        candidates = torch.cat(embeddings[1:])  # (batch * columns, dim)
        scores = self.similarity_fct(embeddings[0], candidates) * self.scale  # (batch, candidates)
        own = torch.arange(len(scores), device=scores.device)
        return (functional.cross_entropy(scores, own, reduction="none") * labels).mean()


def pair_tokens(encoder: Encoder, lefts: list[str], rights: list[str]) -> dict[str, Tensor]:
    """Both texts in one row, cut to the encoder's length from the longer of the two."""
    batch = encoder.tokenizer(
        [encoder.prefix + left for left in lefts],
        rights,
        padding=True,
        truncation="longest_first",
        max_length=encoder.max_length,
        return_token_type_ids=False,
        return_tensors="pt",
    )
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
