"""What the nodes of an ONNX graph are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import onnx

from .import_nodes import Raw

SCOPES = "pkg.torch.onnx.name_scopes"
NUMBERED = re.compile(r"node_\w+|n\d+(_\d+)?")
"""What exporters call a node for want of a name."""

UNKNOWN = "_empty_nn_module_stack_from_metadata_hook"
"""What the exporter notes for operations that it has put in itself."""

QUOTED = re.compile(r"'([^']*)'")


def module_of(node: onnx.NodeProto) -> str:
    """Path of the innermost module that a node comes from; empty where the file does not say, or it is the model."""
    noted = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "")
    scopes = QUOTED.findall(noted)
    return scopes[-2] if len(scopes) > 1 and scopes[-2] != UNKNOWN else ""


def named(nodes: Sequence[Raw]) -> list[Raw]:
    """The nodes, each with the name that the report gives it, none twice.

    It is the node's own name in the file. Where that is a number of the exporter (`node_conv2d_3`), it is the module
    that the node's weight is called after, or else the module that the exporter noted, followed by the operation where
    the module has several nodes: `layer1.0.conv1`, `layer1.0/Add`.
    """
    members = Counter(_owner(node) or node.module for node in nodes)
    return [replace(node, name=name) for node, name in zip(nodes, _numbered(_names(nodes, members)), strict=True)]


def _names(nodes: Sequence[Raw], members: Counter[str]) -> Iterator[str]:
    for node in nodes:
        module = _owner(node) or node.module
        if not module or not NUMBERED.fullmatch(node.name):
            yield node.name
        else:
            yield module if _owner(node) or members[module] == 1 else f"{module}/{node.op_type}"


def _owner(node: Raw) -> str:
    weight = next((name for name in node.inputs if name.endswith(".weight")), "")
    return weight.removesuffix(".weight")


def _numbered(names: Iterable[str]) -> Iterator[str]:
    taken: set[str] = set()
    seen: Counter[str] = Counter()
    for name in names:
        unique = name
        while unique in taken:
            seen[name] += 1
            unique = f"{name}_{seen[name] + 1}"
        taken.add(unique)
        yield unique
