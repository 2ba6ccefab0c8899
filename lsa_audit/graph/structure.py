"""Facts about a functional graph that every later step asks for: what depends on the input, who called what, which
parameters flow where, and the shapes of a real run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..models.base import PixelModel
from .operations import SHAPE_ONLY

NETWORK = "network"
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """One call of a module: `path` within the network ("" is the network itself), `key` unique to the call."""

    key: str
    path: str


@dataclass(frozen=True)
class Structure:
    """A graph with what is known about its nodes.

    Attributes:
        order: position of each node.
        dependent: nodes whose value depends on the images.
        sources: for each other node, the parameters (names in the graph module) that it is made of, in order of use.
        calls: for each node inside the network, the module calls around it, outermost first.
        shapes: of each tensor-valued node in a run on `images` images.
        module: the PixelModel, for its submodules and parameter names.
    """

    graph_module: fx.GraphModule
    order: Mapping[fx.Node, int]
    dependent: frozenset[fx.Node]
    sources: Mapping[fx.Node, tuple[str, ...]]
    calls: Mapping[fx.Node, tuple[Call, ...]]
    shapes: Mapping[fx.Node, Shape]
    images: int
    module: PixelModel

    @property
    def graph(self) -> fx.Graph:
        """The nodes, in the order of execution."""
        return self.graph_module.graph

    def parameter(self, name: str) -> nn.Parameter:
        """The model's own parameter behind a name in the graph module."""
        return self.graph_module.get_parameter(name)

    def tensors(self, node: fx.Node) -> list[fx.Node]:
        """The operands of a node that depend on the images, in order."""
        return [operand for operand in node.all_input_nodes if operand in self.dependent]

    def parameters(self, node: fx.Node) -> list[str]:
        """Names of the parameters that a node takes in, directly or through operations on parameters alone."""
        return [
            name
            for operand in node.all_input_nodes
            if operand not in self.dependent
            for name in self.sources.get(operand, ())
        ]

    def submodule(self, call: Call) -> nn.Module:
        """The module that was called."""
        return self.module.get_submodule(f"{NETWORK}.{call.path}" if call.path else NETWORK)


def operation(node: fx.Node) -> str:
    """`conv2d` for aten.conv2d.default, `getitem` for operator.getitem; empty for nodes that call nothing."""
    if node.op != "call_function":
        return ""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.split("::")[-1]
    return str(getattr(node.target, "__name__", node.target))


def arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments of a call by the names in its schema."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return {}
    names = [argument.name for argument in node.target._schema.arguments]
    return dict(zip(names, node.args, strict=False)) | dict(node.kwargs)


def analyse(graph_module: fx.GraphModule, module: PixelModel, images: Tensor) -> Structure:
    """Cost: one forward of `graph_module` on the images [N, ...]."""
    graph = graph_module.graph
    names = {name for name, _ in graph_module.named_parameters(remove_duplicate=False)}
    dependent: set[fx.Node] = set()
    sources: dict[fx.Node, tuple[str, ...]] = {}
    calls: dict[fx.Node, tuple[Call, ...]] = {}
    for node in graph.nodes:
        if node.op == "placeholder" or (
            operation(node) not in SHAPE_ONLY and any(operand in dependent for operand in node.all_input_nodes)
        ):
            dependent.add(node)
        elif node.op == "get_attr":
            sources[node] = (str(node.target),) if node.target in names else ()
        else:
            sources[node] = tuple(
                dict.fromkeys(name for operand in node.all_input_nodes for name in sources.get(operand, ()))
            )
        stack = calls_of(node)
        if stack:
            calls[node] = stack
    recorder = ShapeRecorder(graph_module)
    with torch.no_grad():
        recorder.run(images)
    order = {node: position for position, node in enumerate(graph.nodes)}
    return Structure(graph_module, order, frozenset(dependent), sources, calls, recorder.shapes, len(images), module)


class ShapeRecorder(fx.Interpreter):
    """Runs a graph and keeps the shape of every tensor, not the tensors."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self.shapes: dict[fx.Node, Shape] = {}

    def run_node(self, n: fx.Node) -> object:
        """Note the shape of the node's value."""
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.shapes[n] = tuple(value.shape)
        return value


def calls_of(node: fx.Node) -> tuple[Call, ...]:
    """The module calls around a node, outermost first."""
    found = []
    for key, (path, _) in node.meta.get("nn_module_stack", {}).items():
        if path == NETWORK:
            found.append(Call(key, ""))
        elif path.startswith(f"{NETWORK}."):
            found.append(Call(key, path.removeprefix(f"{NETWORK}.")))
    return tuple(found)
