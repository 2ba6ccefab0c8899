"""The inner steps of a walk, for tests that look at one of them."""

from __future__ import annotations

from torch import nn

from lsa_audit.graph.export import export
from lsa_audit.graph.finding import Found, find, find_blocks
from lsa_audit.graph.structure import Structure, analyse

from .networks import images_for, model_of, randomise


def structure_of(network: nn.Module) -> Structure:
    """The analysed graph of a network."""
    module = model_of(randomise(network).requires_grad_(False)).module
    images = images_for(network)
    return analyse(export(module, images), module, images)


def all_layers(structure: Structure) -> list[Found]:
    """Layers and blocks in the order of execution."""
    found = find(structure)
    return sorted([*found, *find_blocks(structure, found)], key=lambda layer: structure.order[layer.site])
