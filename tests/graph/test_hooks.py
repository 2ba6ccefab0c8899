"""Reading and replacing module outputs through hooks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.graph.hooks import first_tensor, hooked, run_hooked, site_of

from .networks import SharedWeights, images_for, model_of, randomise


class Recurrent(nn.Module):
    shape = (5, 4)

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.lstm(x)
        return self.fc(output[:, -1])


def test_only_the_call_that_was_named_is_replaced():
    network = randomise(SharedWeights()).requires_grad_(False)
    module = model_of(network).module
    images = images_for(network)
    seen: list[Tensor] = []
    with torch.no_grad():
        logits = run_hooked(module, images, {"same@1": lambda value: seen.append(value) or value * 0})
        expected = network.other(network.one(torch.zeros(3, 6)))
    assert len(seen) == 1
    assert torch.allclose(logits, expected)


def test_the_first_of_several_outputs_is_replaced():
    network = randomise(Recurrent()).requires_grad_(False)
    with torch.no_grad():
        logits = run_hooked(model_of(network).module, images_for(network), {"lstm": lambda value: value * 0})
    assert torch.allclose(logits, network.fc.bias.expand(3, 2))


def test_hooks_are_removed_when_the_model_raises():
    network = SharedWeights()
    with pytest.raises(RuntimeError):
        run_hooked(model_of(network).module, torch.zeros(3, 5), {"same": lambda value: None, "one": lambda value: None})
    assert all(not module._forward_hooks for module in network.modules())


def test_hooks_see_what_came_in_by_name_as_well():
    network = nn.Sequential(nn.Linear(4, 4))
    seen = []
    module = model_of(network).module
    with hooked(module, ["0"], lambda path, operand, output: seen.append((path, operand))):
        network[0](input=torch.ones(1, 4))
    assert seen[0][0] == "0"
    assert torch.equal(seen[0][1], torch.ones(1, 4))


def test_sites_and_first_tensors():
    assert [site_of("a.b", count) for count in range(3)] == ["a.b", "a.b@1", "a.b@2"]
    tensor = torch.ones(1)
    assert first_tensor((tensor, 2)) is tensor
    assert first_tensor([]) is None
    assert first_tensor("text") is None
