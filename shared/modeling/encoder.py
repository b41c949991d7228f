"""A pretrained transformer that turns token ids into one vector per text."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from shared.errors import ModelError
from shared.modeling.encoder_folder import (
    DESCRIPTION_FILE,
    EncoderFolder,
    Pooling,
    read_encoder_folder,
)

# Their pooler (a tanh layer trained for next-sentence prediction) is not used here: left out, it
# cannot take memory, nor be counted as trainable.
_HAS_POOLER = {"bert", "mpnet", "roberta", "xlm-roberta", "camembert"}

FEATURE_BLOCKS = 4  # vectors of width dim that features() puts side by side


class Encoder(nn.Module):
    """Token ids -> (batch, dim), pooled, not normalised.

    model: the transformer, or a PEFT model around it. tokenizer: a fast Hugging Face tokenizer.
    prefix: to be put before every text by whoever tokenises; max_length: tokens to keep.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        dim: int,
        prefix: str = "",
        max_length: int = 128,
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.dim = dim
        self.prefix = prefix
        self.max_length = max_length
        self.pooling = pooling

    @classmethod
    def from_pretrained(
        cls, folder: Path, prefix: str | None = None, max_length: int | None = None
    ) -> "Encoder":
        """Read our own, a sentence-transformers or a plain Hugging Face folder, offline.

        prefix and max_length, where given, win over what the folder says.

        Raises:
            ModelNotFoundError, ModelError: see read_encoder_folder; also if weights are missing
                or have another shape than the config says, and for a static encoder.
        """
        found = read_encoder_folder(folder, prefix=prefix, max_length=max_length)
        if not found.has_layers:
            raise ModelError(
                f"{folder}: a static encoder, which has no layers to train; use it as it is, with "
                "--method frozen or auto"
            )
        return cls(
            _load_transformer(found),
            _load_tokenizer(found),
            dim=found.dim,
            prefix=found.prefix,
            max_length=found.max_length,
            pooling=found.pooling,
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Both (batch, length) -> (batch, dim)."""
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return pool(states, attention_mask, self.pooling)

    def features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Both (batch, length) -> (batch, FEATURE_BLOCKS * dim), what forward() gives first."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        found = self.model(**given, output_hidden_states=True)
        return pooled_layers(found, attention_mask, self.pooling)

    def tokens(self, texts: list[str]) -> dict[str, Tensor]:
        """Padded input_ids and attention_mask, (len(texts), longest), prefix included."""
        batch = self.tokenizer(
            [self.prefix + text for text in texts],
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_token_type_ids=False,
            return_tensors="pt",
        )
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder that SentenceTransformer(folder) reads as well.

        Adapters (LoRA) are merged into the weights of a copy; this encoder stays as it is.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with quiet_transformers():
            _without_adapters(self.model).save_pretrained(folder, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)
        description = {
            "prefix": self.prefix,
            "max_length": self.max_length,
            "pooling": self.pooling,
        }
        _write_json(folder / DESCRIPTION_FILE, description)
        self._write_sentence_transformers(folder)

    def _write_sentence_transformers(self, folder: Path) -> None:
        names = ("Transformer", "Pooling", "Normalize")
        modules = [
            {
                "idx": place,
                "name": str(place),
                "path": "" if place == 0 else f"{place}_{name}",
                "type": f"sentence_transformers.models.{name}",
            }
            for place, name in enumerate(names)
        ]
        _write_json(folder / "modules.json", modules)
        (folder / "2_Normalize").mkdir(exist_ok=True)
        (folder / "1_Pooling").mkdir(exist_ok=True)
        pooling = {
            "word_embedding_dimension": self.dim,
            "pooling_mode_cls_token": self.pooling == "cls",
            "pooling_mode_mean_tokens": self.pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        }
        _write_json(folder / "1_Pooling" / "config.json", pooling)
        config: dict[str, Any] = {"max_seq_length": self.max_length, "do_lower_case": False}
        if cast(Any, self.model).config.model_type in _HAS_POOLER:
            # Else the reader makes a random pooler and warns about it.
            config["model_args"] = {"add_pooling_layer": False}
        _write_json(folder / "sentence_bert_config.json", config)
        prompts = {"query": self.prefix, "document": self.prefix}
        _write_json(
            folder / "config_sentence_transformers.json",
            {"prompts": prompts, "default_prompt_name": "query" if self.prefix else None},
        )


def pool(states: Tensor, attention_mask: Tensor, pooling: Pooling) -> Tensor:
    """(batch, length, dim) -> (batch, dim): the mean over the unmasked tokens, or the first one.

    In float32 also where the states are bf16: a sum of a hundred tokens would lose digits.
    A row without any token gives zeros.
    """
    states = states.float()
    if pooling == "cls":
        return states[:, 0]
    mask = attention_mask.unsqueeze(-1).float()  # (batch, length, 1)
    return (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)


def pooled_layers(output: Any, attention_mask: Tensor, pooling: Pooling) -> Tensor:
    """(batch, FEATURE_BLOCKS * dim) of a transformer's output with hidden states: the last layer
    pooled, its largest value of each dimension over the tokens, and the mean and the largest value
    of the layer two thirds up.

    The last layer is shaped by what the encoder was trained for; lower ones keep more of the
    wording, sentiment among it. Source: Jawahar, Sagot and Seddah 2019, and what is measured in
    shared/training/kernel.py.
    """
    last, layers = output.last_hidden_state, output.hidden_states
    middle = layers[round((len(layers) - 1) * 2 / 3)]
    views = [
        pool(last, attention_mask, pooling),
        largest(last, attention_mask),
        pool(middle, attention_mask, "mean"),
        largest(middle, attention_mask),
    ]
    return torch.cat(views, dim=1)


def largest(states: Tensor, attention_mask: Tensor) -> Tensor:
    """(batch, length, dim) -> (batch, dim), float32: over the unmasked tokens, of which each row
    must have one."""
    hidden = attention_mask.unsqueeze(-1) == 0  # (batch, length, 1)
    return states.float().masked_fill(hidden, torch.finfo(torch.float32).min).amax(1)


def _load_transformer(found: EncoderFolder) -> nn.Module:
    options = {"add_pooling_layer": False} if found.model_type in _HAS_POOLER else {}
    try:
        with quiet_transformers():
            model, info = AutoModel.from_pretrained(
                found.weights,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                dtype=torch.float32,
                **options,
            )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        line = " ".join(str(error).split())
        raise ModelError(f"{found.weights}: cannot be loaded as an encoder: {line}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        # transformers fills them with random numbers and goes on.
        raise ModelError(
            f"{found.weights}: {len(missing)} weights are missing, {missing[0]} among them; "
            "the folder is not a complete encoder"
        )
    return cast(nn.Module, model)


def _load_tokenizer(found: EncoderFolder) -> Any:
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(
                found.weights, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # the tokenizers library raises a bare Exception for a damaged file
        line = " ".join(str(error).split())
        raise ModelError(f"{found.weights}: the tokenizer cannot be loaded: {line}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{found.weights}: no fast tokenizer; expected a tokenizer.json")
    tokenizer.model_max_length = found.max_length
    return tokenizer


def _without_adapters(model: nn.Module) -> Any:
    """The plain transformer. A PEFT model is known by its method, so that peft is not imported."""
    if hasattr(model, "merge_and_unload"):
        return cast(Any, deepcopy(model)).merge_and_unload()
    return model


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No loading bars and no table of unused weights while the block runs."""
    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
