"""What a .pt2 file returns becomes logits; plain PyTorch tells what is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.models import Model, ModelRequest, fit, load
from lsa_audit.models.outputs import UndecidedError

from .files import OPEN

IMAGES = torch.rand((6, 3, 8, 8), generator=torch.Generator().manual_seed(0))


class Ends(nn.Module):
    def __init__(self, end: str) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.fc, self.end = nn.Conv2d(3, 4, 3), nn.Linear(4, 5), end

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.conv(images).relu().mean((2, 3))
        return features, self.fc(features)

    def forward(self, images: Tensor) -> Any:
        features, logits = self.logits(images)
        ends = {
            "softmax": logits.softmax(1),
            "four": logits[:, :, None, None],
            "one": logits[:, :1].sigmoid().squeeze(1),
            "two": (features, logits),
        }
        return ends[self.end]


def fitted(end: str, folder: Path, classes: int | None = None, batch: Any = OPEN, **wishes: Any) -> tuple[Model, Ends]:
    network = Ends(end).eval()
    program = torch.export.export(network, (IMAGES[:2],), dynamic_shapes=batch)
    torch.export.save(program, folder / "net.pt2")
    return fit(load(ModelRequest(str(folder / "net.pt2"), **wishes)), IMAGES, classes), network


@pytest.mark.slow_except("four-fixed")
@pytest.mark.parametrize("batch", [OPEN, None], ids=["open", "fixed"])
@pytest.mark.parametrize("end", ["softmax", "four"])
def test_the_logits_are_found(end, batch, tmp_path) -> None:
    model, network = fitted(end, tmp_path, batch=batch)
    with torch.no_grad():
        assert torch.allclose(model.module(IMAGES), network.logits(IMAGES)[1], atol=1e-6)
    assert model.classes == 5


def test_one_squeezed_sigmoid_is_decided_at_a_half(tmp_path) -> None:
    model, network = fitted("one", tmp_path)
    with torch.no_grad():
        assert torch.allclose(model.module(IMAGES).softmax(1)[:, 1], network(IMAGES), atol=1e-6)


def test_of_two_outputs_the_classes_or_the_user_tell(tmp_path) -> None:
    for classes, wishes in ((5, {}), (None, {"logits": "1"})):
        model, network = fitted("two", tmp_path, classes, **wishes)
        with torch.no_grad():
            assert torch.allclose(model.module(IMAGES), network.logits(IMAGES)[1], atol=1e-6)
    with pytest.raises(UndecidedError, match=r"returns 2 outputs that can be logits: \w+ \[N, 4\], \w+ \[N, 5\]"):
        fitted("two", tmp_path)
