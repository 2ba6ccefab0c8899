"""Which nodes of a graph wait for which."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from onnx import GraphProto, NodeProto


def read_by(node: NodeProto) -> Iterator[str]:
    """What a node reads: its inputs, and what the graphs inside it (branches, loop bodies) take from around them."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for inner in graph.node:
                yield from read_by(inner)


def in_order(graph: GraphProto) -> list[NodeProto]:
    """The nodes of a graph, each behind those whose values it reads, else as they are; those of a circle are left out.

    The specification wants files sorted, but some writers append nodes, and onnxruntime does not mind.
    """
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    awaited = [{makers[name] for name in read_by(node) if name in makers} for node in graph.node]
    if all(max(before, default=-1) < index for index, before in enumerate(awaited)):
        return list(graph.node)
    followers: list[list[int]] = [[] for _ in graph.node]
    for index, before in enumerate(awaited):
        for maker in before:
            followers[maker].append(index)
    ready = deque(index for index, before in enumerate(awaited) if not before)
    ordered = []
    while ready:
        done = ready.popleft()
        ordered.append(graph.node[done])
        for index in followers[done]:
            awaited[index].discard(done)
            if not awaited[index]:
                ready.append(index)
    return ordered
