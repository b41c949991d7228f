"""Room for adapters in an ONNX graph: two more inputs at each product that one may stand beside.

They are initialisers that a call may override, of rank 0 unless it does: then what is added is
zero, and the base's vectors stay as they are, bit for bit. ONNX Runtime's own LoraAdapter feeds
such inputs by name too, from a file format of its own; here they come from a safetensors file.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from shared.modeling.architectures import ARCHITECTURES

# How the tracer names the product of a linear layer inside _Features(encoder).
_PRODUCT = re.compile(r"/model/(?P<path>.+)/MatMul_output_0")


@dataclass(frozen=True)
class Place:
    """A product of the graph. module: its name in the transformer. given, made: names of x and of
    x @ W. width_in, width_out: of the matrix."""

    module: str
    given: str
    made: str
    width_in: int
    width_out: int


def adapter_places(model: ModelProto, model_type: str) -> tuple[Place, ...]:
    """Where LoRA stands in a traced encoder of this family; none in a family without adapters.

    To be asked before the products are brought to int8, which hides what they multiply.
    """
    if model_type not in ARCHITECTURES:
        return ()
    names = ARCHITECTURES[model_type].attention
    widths = {t.name: tuple(t.dims) for t in model.graph.initializer if len(t.dims) == 2}
    found = []
    for node in model.graph.node:
        match = _PRODUCT.fullmatch(node.output[0]) if node.op_type == "MatMul" else None
        if match is None or node.input[1] not in widths:
            continue
        module = match["path"].replace("/", ".")
        if module.rpartition(".")[2] in names:
            found.append(Place(module, node.input[0], node.output[0], *widths[node.input[1]]))
    return tuple(found)


def add_adapter_inputs(model: ModelProto, places: Sequence[Place]) -> None:
    """Change in place what each of the products gives: x @ W becomes x @ W + (x @ down) @ up.

    down (width in, rank) and up (rank, width out) are inputs under the names of Adapter.tensors;
    the rank is free, and 0 where they are not given.
    """
    nodes: list[NodeProto] = []
    by_output = {place.made: place for place in places}
    for node in model.graph.node:
        nodes.append(node)
        place = by_output.get(node.output[0])
        if place is not None:
            node.output[0] = f"{place.made}/base"
            nodes.extend(_added(model, place))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _added(model: ModelProto, place: Place) -> tuple[NodeProto, ...]:
    down, up, rank = (f"{place.module}.{part}" for part in ("down", "up", "rank"))
    for name, shape, declared in (
        (down, (place.width_in, 0), (place.width_in, rank)),
        (up, (0, place.width_out), (rank, place.width_out)),
    ):
        nothing = np.zeros(shape, np.float32)
        model.graph.initializer.append(numpy_helper.from_array(nothing, name))
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, declared))
    low, high = f"{place.made}/down", f"{place.made}/up"
    return (
        helper.make_node("MatMul", [place.given, down], [low]),
        helper.make_node("MatMul", [low, up], [high]),
        helper.make_node("Add", [f"{place.made}/base", high], [place.made]),
    )
