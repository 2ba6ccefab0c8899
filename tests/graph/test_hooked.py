"""The layer table through module hooks, on networks whose exported table is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lsa_audit.graph.hooked import describe_hooked
from lsa_audit.graph.walker import walk
from lsa_audit.records import Skipped

from .networks import BatchCoupled, Residual, SharedWeights, images_for, model_of, randomise

WHY = Skipped(what="functional operations", reason="module-hooks", detail="a test asked for it")


def test_the_modules_agree_with_the_exported_graph():
    network = randomise(Residual()).requires_grad_(False)
    images = images_for(network)
    exported = {layer.info.name: layer.info for layer in walk(model_of(network), images).layers}
    graph = describe_hooked(model_of(network).module, images, [WHY])
    assert graph.info.skipped == (WHY,)
    assert graph.info.batch_independent is True
    for layer in graph.layers:
        info, other = layer.info, exported[layer.info.name]
        assert (info.kind, info.parameters, info.output_shape, info.flops) == (
            other.kind,
            other.parameters,
            other.output_shape,
            other.flops,
        )
        assert info.neurons in {other.neurons, None}
    assert set(exported) - {layer.info.name for layer in graph.layers} == {
        "relu",
        "mean",
        "layers.0.add",
        "layers.1.add",
    }


def test_shared_modules_are_counted_once_and_numbered():
    network = randomise(SharedWeights())
    graph = describe_hooked(model_of(network).module, images_for(network), [])
    # hooks cannot see that nothing reads the 7 parameters that the network itself holds
    assert [(layer.info.name, layer.site, layer.info.parameters) for layer in graph.layers] == [
        ("same", "same", 42 + 7),
        ("same_2", "same@1", 0),
        ("one", "one", 42),
        ("other", "other", 6),
    ]
    assert graph.unassigned_parameters == 0


def test_a_batch_coupling_is_seen():
    network = randomise(BatchCoupled())
    graph = describe_hooked(model_of(network).module, images_for(network), [WHY])
    assert graph.info.batch_independent is False
    assert [layer.info.name for layer in graph.layers] == ["first"]
    assert [entry.what for entry in graph.info.skipped] == ["functional operations", "layer second"]


def test_a_module_that_another_one_reads_is_named_as_not_called():
    class Borrowing(nn.Module):
        shape = (4,)

        def __init__(self) -> None:
            super().__init__()
            self.lent, self.fc = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(nn.functional.linear(x, self.lent.weight))

    network = randomise(Borrowing())
    graph = describe_hooked(model_of(network).module, images_for(network), [])
    assert {entry.what for entry in graph.info.skipped} == {"parameter lent.weight", "parameter lent.bias"}
    assert graph.unassigned_parameters == 20
    assert torch.equal(torch.tensor([layer.info.parameters for layer in graph.layers]), torch.tensor([10]))
