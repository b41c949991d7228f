"""An encoder cut in two: lower layers, whose output may be kept, and the upper ones above it."""

from copy import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from shared.errors import ModelError
from shared.modeling.encoder import Encoder, pool


class LayerSplit:
    """Token ids -> states below the cut -> vectors: together what the encoder computes.

    Both halves run the encoder's own modules, adapters among them, so that what is learned through
    the upper half is learned by the encoder; its names, checkpoints and file stay as they are. The
    transformer's own forward makes masks, and position biases where layers share one (MPNet).

    No module: the encoder registers the weights, and would otherwise hold them twice.
    """

    def __init__(self, encoder: Encoder, below: int) -> None:
        """below: layers under the cut, with the embeddings; up to all.

        Raises ModelError where the transformer is not a stack of layers over embeddings.
        """
        wrapped = cast(Any, encoder.model)
        # An adapter of PEFT is known by this method; its modules sit inside the plain transformer.
        plain = wrapped.get_base_model() if hasattr(wrapped, "get_base_model") else wrapped
        name = next((n for n in ("encoder", "transformer") if hasattr(plain, n)), None)
        stack = None if name is None else getattr(plain, name)
        layers = getattr(stack, "layer", None)
        if not isinstance(layers, nn.ModuleList) or not hasattr(plain, "embeddings"):
            raise ModelError(
                f"encoder of the family {plain.config.model_type!r}: its layers are not kept as "
                "BERT keeps them, so that it cannot be cut between two; leave freeze_layers at 0"
            )
        if not 0 <= below <= len(layers):
            raise ModelError(f"a cut above layer {below}: the encoder has {len(layers)} layers")
        self.pooling = encoder.pooling
        self._lower = _view(plain, {str(name): _view(stack, {"layer": layers[:below]})})
        replaced = {str(name): _view(stack, {"layer": layers[below:]}), "embeddings": _Given()}
        if hasattr(plain, "embeddings_project"):  # ELECTRA's small embeddings, widened
            replaced["embeddings_project"] = nn.Identity()
        self._upper = _view(plain, replaced)

    def lower(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Both (batch, length) -> (batch, length, dim): the output of the layer below the cut, of
        the embeddings where there is none. Without dropout and without gradients."""
        self._lower.eval()
        with torch.no_grad():
            found = self._lower(input_ids=input_ids, attention_mask=attention_mask)
        return cast(Tensor, found.last_hidden_state)

    def upper(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, length, dim) of any float format and (batch, length) -> (batch, dim), pooled."""
        found = self._upper(inputs_embeds=states.float(), attention_mask=attention_mask)
        return pool(found.last_hidden_state, attention_mask, self.pooling)


class _Given(nn.Module):
    """In the place of the embeddings: states that are already computed."""

    def forward(
        self,
        input_ids: Tensor | None = None,  # noqa: ARG002
        inputs_embeds: Tensor | None = None,
        *_: Any,
        **__: Any,
    ) -> Tensor:
        assert inputs_embeds is not None
        return inputs_embeds


def _view(module: Any, replaced: dict[str, nn.Module]) -> Any:
    """The same module, weights and all, with other children of these names."""
    view = copy(module)
    view._modules = {**module._modules, **replaced}
    return view
