"""Adapters beside a transformer's products in torch, each call with its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

from shared.errors import ModelError

Matrices = Mapping[str, tuple[Tensor, Tensor]]
"""Module -> (down, up), see modeling.adapter.Factors."""

# One for each thread: several may compute on the same transformer at once.
_ACTIVE: ContextVar[Matrices | None] = ContextVar("adapter", default=None)


def hook_product(model: nn.Module, name: str) -> None:
    """Let the product called `name` take what `adapter_active` gives it; without, it is as before.

    Raises ModelError if the transformer has no such product.
    """
    try:
        product = model.get_submodule(name)
    except AttributeError as error:
        raise ModelError(f"the base encoder has no module {name}; train again") from error

    def added(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:  # noqa: ARG001
        active = _ACTIVE.get()
        if active is None or name not in active:
            return None
        down, up = active[name]
        adapted: Tensor = output + (inputs[0] @ down) @ up
        return adapted

    product.register_forward_hook(added)


@contextmanager
def adapter_active(matrices: Matrices) -> Iterator[None]:
    """While the block runs, and in this thread alone, the transformer computes with the adapter."""
    token = _ACTIVE.set(matrices)
    try:
        yield
    finally:
        _ACTIVE.reset(token)
