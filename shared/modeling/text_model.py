"""One encoder under several heads, and the one folder it is kept in."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shared.errors import ModelError, ModelNotFoundError
from shared.modeling.encoder import Encoder
from shared.modeling.encoder_folder import check_safetensors, read_json_object
from shared.modeling.heads import Head, HeadSpec

HEADS_FILE = "heads.json"
HEAD_WEIGHTS_FILE = "heads.safetensors"


class TextModel(nn.Module):
    """An encoder and named heads: one forward pass serves them all.

    Its folder is an encoder's folder (usable as one) plus heads.json and heads.safetensors.
    """

    def __init__(
        self, encoder: Encoder, specs: Sequence[HeadSpec], *, dropout: float = 0.1
    ) -> None:
        """Raises ModelError if two heads have one name or there is none."""
        super().__init__()
        names = [spec.name for spec in specs]
        if not names or len(set(names)) < len(names):
            raise ModelError(f"heads {names}; expected at least one, each with a name of its own")
        self.encoder = encoder
        self.dropout = dropout
        self.heads = nn.ModuleDict(
            {spec.name: Head(spec, encoder.dim, dropout=dropout) for spec in specs}
        )

    @property
    def specs(self) -> tuple[HeadSpec, ...]:
        """The heads in the order they were given."""
        return tuple(cast(Head, head).spec for head in self.heads.values())

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Both (batch, length) -> {head name: (batch, labels) logits}."""
        vectors = self.encoder(input_ids, attention_mask)  # (batch, dim)
        return {name: head(vectors) for name, head in self.heads.items()}

    def save(self, folder: Path) -> None:
        """Write safetensors and JSON only; adapters are merged into the written weights."""
        self.encoder.save(folder)
        save_file(_head_weights(self.heads), folder / HEAD_WEIGHTS_FILE)
        heads = [
            {"name": spec.name, "kind": spec.kind, "labels": list(spec.labels)}
            for spec in self.specs
        ]
        content = json.dumps(
            {"dropout": self.dropout, "heads": heads}, indent=2, ensure_ascii=False
        )
        (folder / HEADS_FILE).write_text(content + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "TextModel":
        """Read what save() wrote, in evaluation mode.

        Raises:
            ModelNotFoundError, ModelError: no heads here, or a file that is damaged, incomplete
                or does not fit the others; the message names it.
        """
        specs, dropout = _read_specs(folder)
        model = cls(Encoder.from_pretrained(folder), specs, dropout=dropout)
        path = folder / HEAD_WEIGHTS_FILE
        if not path.is_file():
            raise ModelNotFoundError(f"{path}: no such file; expected the weights of the heads")
        check_safetensors(path)
        try:
            model.heads.load_state_dict(load_file(path))
        except (SafetensorError, RuntimeError) as error:
            line = " ".join(str(error).split())
            raise ModelError(f"{path}: does not fit {HEADS_FILE} ({line})") from error
        return model.eval()


def _head_weights(heads: nn.ModuleDict) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in heads.state_dict().items()}


def _read_specs(folder: Path) -> tuple[tuple[HeadSpec, ...], float]:
    path = folder / HEADS_FILE
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: no such file; expected a model with heads in {folder}")
    content = read_json_object(path)
    try:
        specs = tuple(
            HeadSpec(str(head["name"]), head["kind"], tuple(str(name) for name in head["labels"]))
            for head in content["heads"]
        )
        return specs, float(content["dropout"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path}: unexpected content ({error!r}); expected dropout and heads, "
            "each with name, kind and labels"
        ) from error
