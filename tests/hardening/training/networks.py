"""Small networks as trainees."""

from __future__ import annotations

import torch
from torch import nn

from lsa_audit import models
from lsa_audit.graph.training import TrainedGraph
from lsa_audit.graph.walker import walk


def trainee(network: nn.Module, shape: tuple[int, ...]) -> TrainedGraph:
    """The network as training runs it; it takes images [N, *shape] in [0, 1]."""
    images = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    model = models.fit(models.from_module(network.eval(), input_shape=shape), images)
    return TrainedGraph(walk(model, images), model.module)
