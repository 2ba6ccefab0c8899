"""Graphs traced for one batch size become dynamic."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lsa_audit.graph.batching import TRACED_SIZE, is_static, traced_batch
from lsa_audit.graph.export import export
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
