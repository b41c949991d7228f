"""Which layers of the encoder learn: those above `TrainOptions.freeze_layers`."""

import re
from collections.abc import Sequence

from torch import nn

from shared.errors import SettingsError
from shared.training.options import TrainOptions

_LAYER = re.compile(r"\.layers?\.(\d+)\.")


def layer_of(name: str) -> int | None:
    """Layer of a parameter or module by its name, the lowest 1; 0 for the embeddings; None for what
    has no place, such as the position bias that all layers of MPNet share."""
    found = _LAYER.search(name)
    if found:
        return int(found.group(1)) + 1
    return 0 if "embeddings." in name else None


def layers_in(model: nn.Module) -> int:
    """How many layers the transformer has."""
    return max((layer_of(name) or 0 for name, _ in model.named_parameters()), default=0)


def learns(name: str, options: TrainOptions) -> bool:
    """Whether a parameter of the encoder learns where its own weights do.

    What has no place among the layers learns only where all of them do: the lower ones may use it.
    """
    if options.freeze_layers:
        return (layer_of(name) or 0) > options.freeze_layers
    return not (options.freeze_embeddings and name.startswith("embeddings."))


def adapted(model: nn.Module, names: Sequence[str], options: TrainOptions) -> list[str]:
    """Names of the modules that an adapter goes beside: those of `names`, in layers that learn."""
    if not options.freeze_layers:
        return list(names)
    ends = tuple(f".{name}" for name in names)
    return [
        name
        for name, _ in model.named_modules()
        if name.endswith(ends) and (layer_of(name) or 0) > options.freeze_layers
    ]


def check_freezing(model: nn.Module, options: TrainOptions, *, adapter: bool) -> None:
    """adapter: the method learns one, which needs a layer to sit in.

    Raises SettingsError for more frozen layers than there are.
    """
    layers = layers_in(model)
    most = layers - 1 if adapter else layers
    if options.freeze_layers > max(most, 0):
        why = "; an adapter needs one that learns" if adapter else ""
        raise SettingsError(
            f"freeze_layers = {options.freeze_layers}: expected 0 to {max(most, 0)}, the encoder "
            f"has {layers} layers{why}"
        )
