"""Which nodes of a graph are layers, and of what kind."""

from __future__ import annotations

import operator
from collections import defaultdict
from dataclasses import dataclass, replace

from torch import fx, nn

from ..records import LayerKind
from .operations import AFFINE, KINDS, MATRIX_PRODUCTS, PASSTHROUGH, REDUCTIONS, SOFTMAX, SUMS
from .structure import Call, Structure, operation


@dataclass(frozen=True)
class FoundLayer:
    """A node that is a layer.

    Attributes:
        node: the operation itself.
        site: the node whose value is the layer's output; another one than `node` where that returns several values, or
            where the layer is a whole module.
        members: all nodes that belong to the layer.
        entry: the first operand that depends on the images.
        call: the module call of a block; None for others.
    """

    kind: LayerKind
    op: str
    node: fx.Node
    site: fx.Node
    members: frozenset[fx.Node]
    entry: fx.Node | None
    call: Call | None = None


def find(structure: Structure) -> list[FoundLayer]:
    """All layers but blocks, in the order of execution."""
    deciding = _only_deciding(structure)
    found = [
        layer
        for node in structure.graph.nodes
        if node not in deciding and (layer := _classify(structure, node)) is not None
    ]
    found = _as_modules(structure, found)
    return sorted(found, key=lambda layer: structure.order[layer.site])


def _only_deciding(structure: Structure) -> frozenset[fx.Node]:
    """Nodes that make the outputs of a network whose logits are what is in front of them (`models.heads.as_decided`).

    They tell which class wins and are no part of the logits.
    """
    if not structure.module.head.ties:
        return frozenset()
    waiting, seen = [node for node in structure.graph.nodes if node.op == "output"], set[fx.Node]()
    while waiting:
        node = waiting.pop()
        if node not in seen and (operation(node) != "argmax" or node in structure.calls):
            seen.add(node)
            waiting.extend(node.all_input_nodes)
    return frozenset(structure.graph.nodes) - seen


def _classify(structure: Structure, node: fx.Node) -> FoundLayer | None:
    if node not in structure.dependent or node not in structure.calls:
        return None
    name = operation(node)
    kind = KINDS.get(name)
    if name in SOFTMAX:
        kind = "attention" if _weights_a_product(structure, node) else "activation"
    elif name in SUMS:
        kind = "add" if _joins(structure, node) else None
    elif name in REDUCTIONS:
        kind = "pool" if _reduces_features(structure, node) else None
    elif name in MATRIX_PRODUCTS:
        kind = "learnable" if structure.parameters(node) and len(structure.tensors(node)) == 1 else None
    if kind is None:
        return None
    site = node if node in structure.shapes else _first_value(node)
    if site is None or site not in structure.shapes:
        return None
    entry = next(iter(structure.tensors(node)), None)
    return FoundLayer(kind, name.strip("_"), node, site, frozenset({node, site}), entry)


def _first_value(node: fx.Node) -> fx.Node | None:
    return next((user for user in node.users if user.target is operator.getitem and user.args[1] == 0), None)


def _joins(structure: Structure, node: fx.Node) -> bool:
    """Whether a sum joins two values of the input, of which at least one has the sum's shape."""
    operands = structure.tensors(node)
    shape = structure.shapes.get(node)
    return len(operands) >= 2 and shape is not None and any(structure.shapes.get(one) == shape for one in operands)


def _reduces_features(structure: Structure, node: fx.Node) -> bool:
    operand = structure.tensors(node)[0] if structure.tensors(node) else None
    before, dims = structure.shapes.get(operand) if operand else None, node.args[1] if len(node.args) > 1 else None
    if before is None or len(before) < 3 or not isinstance(dims, list | tuple) or not 1 <= len(dims) <= 2:
        return False
    return all(isinstance(dim, int) and before[dim] != structure.images for dim in dims)


def _weights_a_product(structure: Structure, softmax: fx.Node) -> bool:
    """Whether the result goes into a matrix product, perhaps through projections of the same attention module."""
    around = [call for call in structure.calls[softmax] if any(True for _ in structure.submodule(call).children())]
    scope = f"{around[-1].path}." if around and around[-1].path else None
    waiting, seen = list(softmax.users), set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        name = operation(node)
        if name in MATRIX_PRODUCTS:
            return True
        own = scope is not None and node in structure.calls and structure.calls[node][-1].path.startswith(scope)
        if name in PASSTHROUGH or (own and KINDS.get(name) == "learnable"):
            waiting.extend(node.users)
    return False


def _as_modules(structure: Structure, found: list[FoundLayer]) -> list[FoundLayer]:
    """Turn the operations of a small module into the one layer that the module is.

    A childless module around one activation (a hand-written SiLU or GELU) is that activation, read at the module's
    exit; so is one around a product that parameters alone scale and shift before it returns. A childless module with
    parameters and none of the known operations (layer scale, a hand-written RMS norm, an affine map) that keeps its
    input's shape is a norm.
    """
    members: dict[Call, list[fx.Node]] = defaultdict(list)
    for node, calls in structure.calls.items():
        if node in structure.dependent:
            members[calls[-1]].append(node)
    inside: dict[Call, list[FoundLayer]] = defaultdict(list)
    for layer in found:
        inside[structure.calls[layer.node][-1]].append(layer)
    kept = list(found)
    for call, nodes in members.items():
        whole = _whole_module(structure, call, nodes, inside[call])
        if whole is not None:
            kept = [layer for layer in kept if layer not in inside[call]] + [whole]
    return kept


def _whole_module(
    structure: Structure, call: Call, nodes: list[fx.Node], inside: list[FoundLayer]
) -> FoundLayer | None:
    module = structure.submodule(call)
    if not call.path or any(True for _ in module.children()):
        return None
    exits = _exits(nodes)
    entry = next((one for node in nodes for one in structure.tensors(node) if one not in nodes), None)
    if len(exits) != 1 or entry is None or exits[0] not in structure.shapes:
        return None
    site = exits[0]
    kinds = [layer.kind for layer in inside]
    if kinds.count("activation") == 1 and set(kinds) <= {"activation", "add"}:
        activation = next(layer for layer in inside if layer.kind == "activation")
        if structure.shapes[site] != structure.shapes[activation.site]:
            return None
        return replace(activation, site=site, members=frozenset(nodes), entry=entry)
    if kinds == ["learnable"] and _is_affine(structure, nodes, inside[0], site):
        return replace(inside[0], site=site, members=frozenset(nodes))
    same = structure.shapes.get(entry) == structure.shapes[site]
    if same and set(kinds) <= {"add", "pool"} and any(True for _ in module.parameters()):
        return FoundLayer("norm", type(module).__name__, site, site, frozenset(nodes), entry)
    return None


def _is_affine(structure: Structure, nodes: list[fx.Node], layer: FoundLayer, site: fx.Node) -> bool:
    """Whether a module does nothing to the value of its one layer but scale and shift it, in its own shape."""
    node, inside = layer.site, set(nodes)
    while node is not site:
        readers = [user for user in node.users if user in inside]
        if len(readers) != 1 or len(node.users) != 1:
            return False
        node = readers[0]
        same = structure.shapes.get(node) == structure.shapes[layer.site]
        if operation(node) not in AFFINE or not same or len(structure.tensors(node)) != 1:
            return False
    return True


def _exits(nodes: list[fx.Node]) -> list[fx.Node]:
    """The nodes whose values are used outside."""
    inside = set(nodes)
    return [node for node in nodes if any(user not in inside for user in node.users)]


def find_blocks(structure: Structure, found: list[FoundLayer]) -> list[FoundLayer]:
    """Repeated units: children of a Sequential or ModuleList with a learnable layer and more than one layer.

    Only those whose value leaves through one node count.
    """
    members: dict[Call, list[fx.Node]] = defaultdict(list)
    for node, calls in structure.calls.items():
        if node in structure.dependent:
            for call in calls:
                members[call].append(node)
    blocks = []
    for call, nodes in members.items():
        inside = [layer for layer in found if layer.site in set(nodes)]
        if len(inside) < 2 or all(layer.kind != "learnable" for layer in inside) or not _repeated(structure, call):
            continue
        exits = _exits(nodes)
        if len(exits) != 1 or exits[0] not in structure.shapes:
            continue
        entry = next((one for node in nodes for one in structure.tensors(node) if one not in nodes), None)
        op = type(structure.submodule(call)).__name__
        blocks.append(FoundLayer("block", op, exits[0], exits[0], frozenset(), entry, call))
    return blocks


def _repeated(structure: Structure, call: Call) -> bool:
    parent, _, name = call.path.rpartition(".")
    if not name:
        return False
    holder = structure.submodule(Call("", parent))
    return isinstance(holder, nn.Sequential | nn.ModuleList)
