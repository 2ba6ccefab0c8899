"""Programs of torch.export in another precision, and random ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.errors import ModelError
from lsa_audit.models import ModelRequest, load

IMAGES = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.noise = noise
        self.conv = nn.Conv2d(1, 3, 3)
        self.fc = nn.Linear(48, 4)

    def forward(self, images: Tensor) -> Tensor:
        values = torch.relu(self.conv(images)).flatten(1)
        return self.fc(values + self.noise * torch.randn_like(values) if self.noise else values)


def saved(network: nn.Module, example: Tensor, folder: Path) -> Path:
    program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(program, folder / "net.pt2")
    return folder / "net.pt2"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_run_in_float32_and_say_so(tmp_path: Path, dtype: torch.dtype) -> None:
    network = Net().eval().to(dtype)
    model = load(ModelRequest(str(saved(network, IMAGES.to(dtype), tmp_path))))
    name = str(dtype).removeprefix("torch.")
    assert model.notes == (f"the file computes in {name}; it is audited in float32",)
    with torch.no_grad():
        assert torch.allclose(model.module(IMAGES), network.float()(IMAGES), atol=1e-5)
    assert model.conversion is not None
    assert model.conversion.parity is not None
    assert name in model.conversion.parity_detail
    if dtype != torch.float64:
        assert 1e-5 < model.conversion.parity < 8e-2


def test_a_random_program_is_called_random(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"net\.pt2: the program itself is random"):
        load(ModelRequest(str(saved(Net(0.1).eval(), IMAGES, tmp_path))))
