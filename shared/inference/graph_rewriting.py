"""Replacing nodes of an ONNX graph: what the two ways to int8 share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

CONTRIB = "com.microsoft"  # ONNX Runtime's own operators


@dataclass
class Rewriting:
    """The graph so far: its new nodes in order, and the constants they need."""

    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def add(self, operation: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Append a node of the standard's operators with one output; its name."""
        self.nodes.append(helper.make_node(operation, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Append a constant; its name."""
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def apply(self, model: ModelProto) -> None:
        """Put the nodes in the place of the model's own; constants that none needs are dropped."""
        graph = model.graph
        needed = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in needed]
        _assign(graph.node, self.nodes)
        _assign(graph.initializer, [*kept, *self.constants])
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))


def constant_matrices(model: ModelProto) -> Mapping[str, TensorProto]:
    """The model's two-dimensional constants by name."""
    return {tensor.name: tensor for tensor in model.graph.initializer if len(tensor.dims) == 2}


def is_constant_product(node: NodeProto, matrices: Mapping[str, TensorProto]) -> bool:
    """Whether the node is X @ W with a constant W."""
    return bool(node.op_type == "MatMul" and node.input[1] in matrices)


def _assign(field_: object, items: Iterable[object]) -> None:
    """Replace what a repeated protobuf field holds."""
    content = list(items)
    del field_[:]  # type: ignore[attr-defined]
    field_.extend(content)  # type: ignore[attr-defined]
