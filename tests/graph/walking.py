"""The inner steps of a walk, for tests that look at one of them."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from lsa_audit.graph.base import Graph, Layer
from lsa_audit.graph.export import export
from lsa_audit.graph.finding import FoundLayer, find, find_blocks
from lsa_audit.graph.structure import Structure, analyse
from lsa_audit.graph.walker import walk

from .networks import images_for, model_of, randomise


def structure_of(network: nn.Module) -> Structure:
    """The analysed graph of a network."""
    module = model_of(randomise(network).requires_grad_(False)).module
    images = images_for(network)
    return analyse(export(module, images), module, images)


def all_layers(structure: Structure) -> list[FoundLayer]:
    """Layers and blocks in the order of execution."""
    found = find(structure)
    return sorted([*found, *find_blocks(structure, found)], key=lambda layer: structure.order[layer.site])


@functools.cache
def walked(network: type[nn.Module]) -> tuple[Graph, dict[str, Layer]]:
    """A network with random weights, and its layers by name."""
    torch.manual_seed(0)
    built = network()
    graph = walk(model_of(randomise(built).requires_grad_(False)), images_for(built))
    return graph, {layer.info.name: layer for layer in graph.layers}


def close(found: Tensor, expected: Tensor) -> bool:
    """For each image [K], to 1e-5 of its largest logit; the verdict is the same."""
    error = (found - expected).abs().amax(-1) / expected.abs().amax(-1)
    return bool((error <= 1e-5).all()) and torch.equal(found.argmax(-1), expected.argmax(-1))
