"""Names of layers: the model's own module paths, and never one name twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from torch import nn

from .finding import FoundLayer
from .structure import NETWORK, Structure


def names(structure: Structure, found: Sequence[FoundLayer]) -> list[str]:
    """One name for each layer, in the same order.

    A layer that is all of its module takes the module's path; else a learnable one or a norm takes the path of its
    parameter; else the module's path and the operation. Further calls are numbered: `act`, `act_2`. A block whose name
    is taken ends in `.out`.

    Where a network has `layer_names` (path of a module in it -> name), as one made from a graph file has, layers in
    these modules take the names that the file gives them, followed by the operation where there are several.
    """
    aliases = _aliases(structure.module)
    given = _given(structure.module)
    inside = Counter(structure.calls[layer.node][-1] for layer in found if layer.kind != "block")
    alone = Counter(structure.calls[layer.node][-1] for layer in found if layer.kind not in {"add", "block"})
    taken: set[str] = set()
    result = []
    for layer in found:
        if layer.call is not None:
            base = layer.call.path if layer.call.path not in taken else f"{layer.call.path}.out"
        elif (call := structure.calls[layer.node][-1]).path in given:
            base = given[call.path] if inside[call] == 1 else f"{given[call.path]}.{layer.op}"
        else:
            base = _base(structure, layer, alone[call] == 1, aliases)
        result.append(unique(base, taken))
    return result


def unique(base: str, taken: set[str]) -> str:
    """`base`, or `base_2`, `base_3` ... if it is taken; takes it."""
    name, count = base, 1
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    taken.add(name)
    return name


def _base(structure: Structure, layer: FoundLayer, alone: bool, aliases: Mapping[int, list[str]]) -> str:
    call = structure.calls[layer.node][-1]
    module = structure.submodule(call)
    children = {name for name, _ in module.named_children()} - {"parametrizations"}
    if alone and call.path and not children and layer.kind != "add":
        return call.path
    if layer.kind in {"learnable", "norm"}:
        parameters = structure.parameters(layer.node)
        if parameters:
            return _of_parameter(_alias(structure, parameters[0], call.path, aliases)) or layer.op
    return f"{call.path}.{layer.op}" if call.path else layer.op


def _alias(structure: Structure, parameter: str, path: str, aliases: Mapping[int, list[str]]) -> str:
    """Of all names of a shared parameter the one that lies under the module that was called."""
    known = aliases.get(id(structure.parameter(parameter)), [parameter.removeprefix(f"{NETWORK}.")])
    under = [name for name in known if not path or name.startswith(f"{path}.")]
    return (under or known)[0]


def _of_parameter(name: str) -> str:
    """`attn.qkv.weight` -> `attn.qkv`; `attn.in_proj_weight` -> `attn.in_proj`; `weight` -> ""."""
    name = name.split(".parametrizations.")[0] + ".weight" if ".parametrizations." in name else name
    prefix, _, leaf = name.rpartition(".")
    if leaf == "weight":
        return prefix
    return ".".join(part for part in (prefix, leaf.removesuffix("_weight")) if part)


def _aliases(module: nn.Module) -> Mapping[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for name, parameter in module.named_parameters(remove_duplicate=False):
        found[id(parameter)].append(name.removeprefix(f"{NETWORK}."))
    return found


def _given(module: nn.Module) -> Mapping[str, str]:
    """Path of a module within the network -> what the file calls it; the network may wrap the one that knows."""
    network = module.get_submodule(NETWORK)
    found: dict[str, str] = {}
    for path, inner in network.named_modules():
        known = getattr(inner, "layer_names", None)
        if isinstance(known, Mapping):
            found.update({f"{path}.{place}" if path else place: name for place, name in known.items()})
    return found
