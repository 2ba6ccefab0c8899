"""Fills a network with the steps of a graph, and with the constants that they read."""

from __future__ import annotations

import math
from collections import ChainMap, Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from .constants import Constant, described, hold, is_small
from .import_nodes import Raw
from .operations import OPERATIONS
from .operations.base import Node, UnsupportedError
from .operations.shapes import NUMERIC
from .steps import Held, Network, Read, StepCall

MAKE_NUMBERS = frozenset({"Shape", "Size", "ConstantOfShape", "Range"})
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
STATISTICS: Mapping[str, tuple[int, ...]] = {"BatchNormalization": (3, 4)}


def with_bias(
    nodes: Sequence[Raw], constants: dict[str, Constant], views: Mapping[str, Constant], output: str
) -> list[Raw]:
    """Let each product or convolution with a weight take in the addition of a bias that alone reads its value.

    A bias holds one number a neuron, and becomes a parameter.

    Args:
        views: constants that nodes among these turn.
    """
    known = ChainMap(constants, dict(views))
    readers = Counter(name for node in nodes for name in node.inputs)
    products = {
        node.outputs[0]: node
        for node in nodes
        if node.op_type in PRODUCTS
        and len(node.inputs) == 2
        and node.inputs[1] in known
        and readers[node.outputs[0]] == 1
        and node.attributes.get("beta", 1) == 1
    }
    products.pop(output, None)
    joined: dict[int, Raw | None] = {}
    for node in nodes:
        if node.op_type != "Add":
            continue
        product, bias = node.inputs if node.inputs[0] in products else node.inputs[::-1]
        if product in products and bias in known and _is_bias(products[product], known, bias):
            source = products[product]
            if bias in constants:
                constants[bias] = replace(constants[bias], trained=True)
            joined[source.index] = None
            joined[node.index] = replace(source, inputs=(*source.inputs, bias), outputs=node.outputs)
    chosen = [joined.get(node.index, node) for node in nodes]
    return [node for node in chosen if node is not None]


def _is_bias(product: Raw, constants: Mapping[str, Constant], name: str) -> bool:
    """Whether a constant is [U], [1, U] or wider for a matrix product, [U, 1, ...] or wider for a convolution."""
    value = constants[name].value
    weight, bias = _shape(constants, product.inputs[1]), _shape(constants, name)
    is_matrix = product.op_type in {"MatMul", "Gemm"}
    behind = 0 if is_matrix else len(weight) - 2
    fits = len(weight) == 2 if is_matrix else len(weight) > 2 and len(bias) <= len(weight)
    if not isinstance(value, Tensor) or not value.is_floating_point() or not fits or len(bias) <= behind:
        return False
    if product.op_type == "Conv" or product.attributes.get("transB", 0):
        neurons = weight[0]
    else:
        neurons = weight[1] * int(product.attributes.get("group", 1))
    return bias[-1 - behind] == neurons == math.prod(bias)


def _shape(constants: Mapping[str, Constant], name: str) -> tuple[int, ...]:
    """Of a constant tensor, else empty."""
    value = constants[name].value if name in constants else None
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _reason(node: Node) -> str:
    """Why a node has no converter, or an empty string."""
    try:
        return OPERATIONS[node.op_type].refuses(node)
    except (TypeError, ValueError) as error:
        return f"a setting that is none: {error}"


class Assembly:
    """Appends the nodes of a graph to a network.

    Args:
        constants: by the name of the value.
        output: name of the logits.
    """

    def __init__(self, network: Network, constants: Mapping[str, Constant], opset: int, output: str) -> None:
        self.network, self.constants, self.opset, self.output = network, constants, opset, output
        self.held: dict[tuple[str, bool], Held] = {}
        self.numeric: set[str] = set()

    def add(self, nodes: Sequence[Raw]) -> None:
        """Append all nodes.

        Raises:
            UnsupportedError: uses of operations that have no converter, all of them.
        """
        readers = {name: node.index for node in nodes for name in node.inputs} | {self.output: -1}
        refused = []
        for node in nodes:
            used = tuple(name in readers for name in node.outputs)
            step = described(node, self.opset, self.constants, used)
            reason = _reason(step)
            if reason:
                refused.append(f"ai.onnx::{node.op_type} ({reason})")
            ended = [name for name in node.inputs if name not in self.constants and readers[name] == node.index]
            unread = [name for name in node.outputs if name not in readers]
            call = StepCall(
                step=f"{node.op_type}_{node.index}",
                operands=self._operands(node),
                outputs=node.outputs,
                finished=tuple(dict.fromkeys((*ended, *unread))),
            )
            self.network.add(step, call)
        if refused:
            raise UnsupportedError(tuple(dict.fromkeys(refused)))

    def _operands(self, node: Raw) -> tuple[object, ...]:
        computed = [name for name in node.inputs if name and name not in self.constants]
        on_numbers = node.op_type in NUMERIC and all(name in self.numeric for name in computed)
        if on_numbers or node.op_type in MAKE_NUMBERS:
            self.numeric.update(node.outputs)
        return tuple(
            Read(name) if name in computed else self._constant(node, place, name, on_numbers)
            for place, name in enumerate(node.inputs)
        )

    def _constant(self, node: Raw, place: int, name: str, on_numbers: bool) -> object:
        if not name:
            return None
        constant = self.constants[name]
        if not isinstance(constant.value, Tensor):
            return constant.value
        if place in OPERATIONS[node.op_type].numbers or constant.value.dim() == 0:
            return constant.value.tolist()
        if on_numbers and is_small(constant.value):
            return constant.value.tolist()
        # exporters store equal tensors once, and statistics that are also a weight would ask for a gradient
        trained = constant.trained and place not in STATISTICS.get(node.op_type, ())
        if (name, trained) not in self.held:
            # a change of the weight must leave the statistic as it is
            value = constant.value.clone() if (name, not trained) in self.held else constant.value
            path = hold(self.network, replace(constant, trained=trained, value=value))
            self.network.stored_names[path] = constant.name
            self.held[name, trained] = Held(path)
        return self.held[name, trained]
