"""Cuts a graph behind one value: what must run before it, what depends on it, and which other values cross the cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx
from torch.fx.node import map_arg

from .operations import SHAPE_ONLY
from .structure import operation


@dataclass(frozen=True)
class GraphCut:
    """A graph in two, each part in the order of execution.

    Attributes:
        site: the node behind which the graph is cut.
        prefix: what `site` and `crossing` are computed from, themselves included.
        suffix: what depends on `site` and leads to the logits; empty where `site` is the logits, or never reaches them.
        crossing: nodes of the prefix that the suffix reads, besides `site`: parameters, constants, sizes, activations.
        dependent: those of `crossing` whose values depend on the images, not only on how many there are.
        images: the node that takes the images.
        logits: the node that the graph returns; in the prefix where it does not depend on `site`.
    """

    site: fx.Node
    prefix: tuple[fx.Node, ...]
    suffix: tuple[fx.Node, ...]
    crossing: tuple[fx.Node, ...]
    dependent: frozenset[fx.Node]
    images: fx.Node
    logits: fx.Node

    @property
    def reached(self) -> bool:
        """Whether the logits depend on the site; where they do not, the prefix leads to them alone."""
        return self.logits is self.site or bool(self.suffix)


def find_cut(graph: fx.Graph, site: str) -> GraphCut:
    """The cut behind the node of that name.

    Raises:
        StopIteration: no node has that name.

    Cost: a few passes over the nodes; nothing is run.
    """
    node = next(node for node in graph.nodes if node.name == site)
    (images,) = [one for one in graph.nodes if one.op == "placeholder"]
    (logits,) = graph.output_node().all_input_nodes
    below = _descendants([node], frozenset())
    needed = _ancestors([logits])
    suffix = tuple(one for one in graph.nodes if one in below and one in needed)
    read = {operand for one in suffix for operand in one.all_input_nodes} - {*suffix, node}
    before = _ancestors([node, *read] if suffix or logits is node else [logits])
    dependent = {images, *_descendants([images], SHAPE_ONLY)}
    return GraphCut(
        site=node,
        prefix=tuple(one for one in graph.nodes if one in before),
        suffix=suffix,
        crossing=tuple(one for one in graph.nodes if one in read),
        dependent=frozenset(read & dependent),
        images=images,
        logits=logits,
    )


class GraphSection:
    """Some nodes of a graph, to be run again and again; a value is freed as soon as its last reader has run."""

    def __init__(self, module: fx.GraphModule, nodes: Iterable[fx.Node], wanted: Iterable[fx.Node]) -> None:
        self._calls = fx.Interpreter(module)
        last: dict[fx.Node, fx.Node] = {}
        nodes = tuple(nodes)
        for node in nodes:
            last[node] = node
            last.update(dict.fromkeys(node.all_input_nodes, node))
        done: dict[fx.Node, list[fx.Node]] = defaultdict(list)
        kept = frozenset(wanted)
        for operand, node in last.items():
            if operand not in kept:
                done[node].append(operand)
        self._steps = [(node, done[node]) for node in nodes if node.op != "placeholder"]

    def run(self, values: dict[fx.Node, Any], watch: Callable[[Mapping[fx.Node, Any]], None] | None = None) -> None:
        """Fill in the values of the nodes; those that nobody reads any more go, except the wanted ones.

        Args:
            values: of the operands from outside, by node.
            watch: sees the values after each node, before any of them goes.
        """
        for node, done in self._steps:
            arguments = map_arg(node.args, values.__getitem__)
            named = map_arg(node.kwargs, values.__getitem__) if node.kwargs else {}
            values[node] = getattr(self._calls, node.op)(node.target, arguments, named)
            # Else these two hold the operands until the next node has run.
            del arguments, named
            if watch is not None:
                watch(values)
            for operand in done:
                del values[operand]


def _descendants(nodes: Iterable[fx.Node], stop: frozenset[str]) -> set[fx.Node]:
    """All nodes that read one of these, directly or not, but through no operation named in `stop`."""
    found: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        users = [user for user in waiting.pop().users if user not in found and operation(user) not in stop]
        found.update(users)
        waiting += users
    return found


def _ancestors(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """These nodes and all that they are computed from."""
    found = set(nodes)
    waiting = list(found)
    while waiting:
        operands = [operand for operand in waiting.pop().all_input_nodes if operand not in found]
        found.update(operands)
        waiting += operands
    return found
