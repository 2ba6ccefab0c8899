"""What a TorchScript file returns becomes logits, traced, scripted or frozen; plain PyTorch tells what is right."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.graph.walker import walk
from lsa_audit.models import fit

from .networks import KINDS, loaded

IMAGES = torch.rand((6, 3, 8, 8), generator=torch.Generator().manual_seed(0))


class Headed(nn.Module):
    shape = (3, 8, 8)

    def __init__(self, outputs: int, head: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv, self.fc, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, outputs), head

    def scores(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).relu().mean([2, 3]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.scores(x))


@pytest.mark.slow_except("5-head2-log-softmax-scripted-frozen")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("outputs", "head", "known"),
    [
        (5, nn.Softmax(1), "softmax"),
        (5, nn.Sigmoid(), "sigmoids"),
        (5, nn.LogSoftmax(1), "log-softmax"),
        (1, nn.Sigmoid(), "sigmoids"),
        (5, nn.Sequential(nn.Softmax(1), nn.Flatten()), "softmax"),
    ],
)
def test_the_activation_at_the_end_is_left_out(outputs, head, known, kind, tmp_path: Path) -> None:
    network = Headed(outputs, head).eval()
    model = fit(loaded(network, kind, tmp_path), IMAGES)
    assert (model.outputs.kind, model.outputs.logits) == (known, "peeled")
    with torch.no_grad():
        logits, expected = model.module(IMAGES), network.scores(IMAGES)
    logits = logits if outputs > 1 else logits[:, 1:] - logits[:, :1]
    assert torch.allclose(logits, expected, atol=1e-6)
    assert walk(model, IMAGES[:3]).info.walker == "export"
