"""Screening and racing over whole layers, as a scan does it, for `benchmarks.dropout`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lsa_audit.graph.base import Graph, Layer
from lsa_audit.measurements.costs import MOST_PASSES
from lsa_audit.measurements.dropout import LayerDropout, drop_all
from lsa_audit.measurements.neuron_table import neuron_table
from lsa_audit.measurements.survey import Attacked, Survey

SEED = 0
EPSILON = 2 / 255


@dataclass(frozen=True)
class Screened:
    """CPU seconds for clean and attacked images, the share of the pairs measured, and the fragile (layer, channel)s."""

    seconds: float
    measured: float
    fragile: frozenset[tuple[str, int]]


def attacked(module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The images [N, ...] after one step of FGSM."""
    leaf = images.clone().requires_grad_(True)
    loss = functional.cross_entropy(module(leaf), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaf)
    return (images + EPSILON * gradient.sign()).clamp(0, 1)


def screened(
    graph: Graph, layers: Sequence[Layer], images: Tensor, adversarial: Tensor, labels: Tensor, share: float
) -> Screened:
    """Every channel of the layers, with that share of all pairs of channel and image measured."""
    begin = time.process_time()
    batches = [Attacked(images, adversarial, labels, 0)]
    survey = Survey(graph, layers, "zero", len(images))
    for batch in batches:
        survey.observe(batch)
    dropouts = [LayerDropout(graph, layer, len(images)) for layer in layers]
    for dropout in dropouts:
        dropout.prepare(survey, round(share * dropout.pairs), SEED)
    drop_all(dropouts, lambda: batches, MOST_PASSES, lambda _: None)
    seconds = time.process_time() - begin
    fragile = set()
    for layer, dropout in zip(layers, dropouts, strict=True):
        table = neuron_table(layer, dropout, survey, "fgsm", "zero", SEED)
        fragile |= {
            (table.layer, neuron.neuron_index) for neuron in table.neurons if neuron.clean.neuron_class == "fragile"
        }
    measured = sum(int(dropout.measured.sum()) for dropout in dropouts)
    pairs = sum(dropout.pairs for dropout in dropouts)
    return Screened(seconds, measured / pairs, frozenset(fragile))
