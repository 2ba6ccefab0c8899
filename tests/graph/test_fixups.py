"""Repairs on exported graphs."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from lsa_audit.graph.fixups import repair
from lsa_audit.graph.structure import operation


def exported(network: nn.Module, images: Tensor) -> fx.GraphModule:
    network.eval().requires_grad_(False)
    program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=False)
    return program.run_decompositions({}).module(check_guards=False)


def operations(module: fx.GraphModule) -> list[str]:
    return [operation(node) for node in module.graph.nodes if operation(node)]


def test_a_batch_norm_is_one_operation_with_its_place():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    images = torch.rand(3, 3, 6, 6)
    repaired = repair(exported(network, images))
    assert operations(repaired) == ["conv2d", "batch_norm", "relu"]
    (norm,) = [node for node in repaired.graph.nodes if operation(node) == "batch_norm"]
    assert [path for path, _ in norm.meta["nn_module_stack"].values()] == ["", "1"]
    assert torch.equal(repaired(images), network(images))


def test_a_batch_norm_without_statistics_keeps_using_the_batch():
    network = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([0.5, 2.0, 3.0]))
    images = torch.rand(4, 3, 6, 6)
    repaired = repair(exported(network, images))
    assert operations(repaired) == ["batch_norm"]
    assert torch.allclose(repaired(images), network(images))


def test_views_work_whatever_the_strides():
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(x.shape[0], -1)

    images = torch.rand(3, 4, 5)
    repaired = repair(exported(Flat(), images))
    other = torch.rand(3, 5, 4).transpose(1, 2)
    assert "view" not in operations(repaired)
    assert torch.equal(repaired(other), other.reshape(3, -1))


def test_the_graph_module_can_be_put_into_training_mode():
    repaired = repair(exported(nn.Sequential(nn.Linear(4, 2)), torch.rand(3, 4)))
    assert repaired.train().training
