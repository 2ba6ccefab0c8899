"""Graphs traced for one batch size become dynamic."""

from __future__ import annotations

import operator

import torch
from torch import Tensor, nn

from lsa_audit.graph.batching import TRACED_SIZE, is_static, traced_batch
from lsa_audit.graph.export import export
from lsa_audit.graph.suffix import rerun
from lsa_audit.graph.walker import walk

from .networks import Windows, images_for, model_of, randomise


class Collision(nn.Module):
    """Fixes its batch size, and has a dimension of the size that stands for it: the repair must be found wrong."""

    shape = (TRACED_SIZE,)

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(TRACED_SIZE, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.reshape(len(x), TRACED_SIZE))


class Halves(nn.Module):
    """Sees each image twice, and takes the second half up to its end, which is 2**63 - 1 in a graph."""

    shape = (6,)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.fc = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        n = len(x)
        z = self.fc(torch.relu(self.a(torch.cat([x, x.flip(1)]))))
        return z[:n] + z[n:]


def test_the_end_of_a_slice_is_no_size():
    network = randomise(Halves()).requires_grad_(False)
    images = images_for(network, 5)
    graph = walk(model_of(network), images)
    assert graph.info.walker == "export"
    numbers = [value for node in graph.module.graph.nodes for value in node.args if isinstance(value, int)]
    assert max(numbers) == 2**63 - 1
    factors = [node.args[1] for node in graph.module.graph.nodes if node.target is operator.mul]
    assert all(factor == 2 for factor in factors)
    layer = graph.layers[0]
    found = rerun(graph, layer)
    dropped = found.drop(found.keep(images), [1])

    def zero(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output.index_fill(1, torch.tensor([1]), 0.0)

    with torch.no_grad():
        handle = network.a.register_forward_hook(zero)
        expected = model_of(network).module(images)
        handle.remove()
    assert torch.allclose(dropped[0], expected, atol=1e-5)


def test_the_traced_batch_takes_no_memory():
    images = torch.rand(3, 2, 4, 4)
    batch = traced_batch(images)
    assert batch.shape == (TRACED_SIZE, 2, 4, 4)
    assert batch.untyped_storage().data_ptr() == images.untyped_storage().data_ptr()


def test_a_fixed_batch_size_becomes_the_size_of_the_input():
    network = randomise(Windows()).requires_grad_(False)
    module = model_of(network).module
    program = torch.export.export(
        module, (images_for(network),), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=False
    )
    assert is_static(program.module(check_guards=False)), "len(images) no longer fixes the batch: the repair can go"
    graph_module = export(module, images_for(network))
    assert str(TRACED_SIZE) not in graph_module.code
    images = images_for(network, 5)
    with torch.no_grad():
        assert torch.allclose(torch.utils._pytree.tree_leaves(graph_module(images))[0], module(images), atol=1e-6)


def test_a_wrong_repair_is_not_believed():
    network = randomise(Collision())
    graph = walk(model_of(network), images_for(network))
    assert graph.info.walker == "hooks"
    assert [layer.info.name for layer in graph.layers] == ["fc"]
