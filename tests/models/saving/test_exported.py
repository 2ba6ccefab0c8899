from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.errors import ModelError
from lsa_audit.models import ModelRequest, load
from lsa_audit.models.saving import pack

from ...thinning import thin
from ..exported.files import Recurrent, Residual, Tokens, edited, images_of, randomised, save, save_old
from .files import changed, check_differs, check_same, scale, write

CONFIG = "data/weights/model_weights_config.json"


def check_export(path: Path, images: Tensor, expected: Tensor) -> None:
    """Assert that torch's own reader makes the same of the file."""
    with torch.no_grad():
        torch.testing.assert_close(torch.export.load(path).module()(images), expected, rtol=0, atol=1e-5)


@pytest.mark.slow_for("Residual-None")
@pytest.mark.parametrize(
    ("kind", "batch"), thin([(kind, batch) for kind in (Residual, Tokens, Recurrent) for batch in (None, 2)])
)
def test_every_weight_comes_back(kind: type[nn.Module], batch: int | None, tmp_path: Path):
    request = ModelRequest(str(save(randomised(kind()), tmp_path / "model.pt2", batch)))
    images = images_of(2)
    written = changed(request, tmp_path)
    check_same(written, images)
    check_differs(written, request, images)
    with torch.no_grad():
        check_export(written.path, images, written.model.module(images))


def test_the_layout_of_older_releases_comes_back(tmp_path: Path):
    request = ModelRequest(str(save_old(randomised(Residual()), tmp_path / "old.pt2")))
    written = changed(request, tmp_path)
    check_same(written, images_of(3))
    check_differs(written, request, images_of(3))


def test_an_unchanged_model_keeps_its_tensors(tmp_path: Path):
    network = randomised(Residual())
    request = ModelRequest(str(save(network, tmp_path / "model.pt2")))
    written = write(load(request), request, tmp_path)
    state = torch.export.load(written.path).state_dict
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_tied_and_turned_weights_come_back(tmp_path: Path):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(192, 192)
            self.second = nn.Linear(192, 192)
            self.second.weight = self.first.weight
            self.turned = nn.Parameter(torch.randn(5, 192).t())

        def forward(self, images: Tensor) -> Tensor:
            return self.second(torch.relu(self.first(images.flatten(1)))) @ self.turned

    request = ModelRequest(str(save(Tied().eval(), tmp_path / "model.pt2")))
    written = changed(request, tmp_path)
    check_same(written, images_of(2))
    check_differs(written, request, images_of(2))


def test_a_weight_that_repeats_its_elements_has_no_place(tmp_path: Path):
    def expand(described: dict) -> None:
        described["config"]["head.weight"]["tensor_meta"]["strides"][0]["as_int"] = 0

    path = edited(save(randomised(Residual()), tmp_path / "model.pt2"), expand, CONFIG)
    model = load(request := ModelRequest(str(path)))
    pack(model, request)
    scale(model, "head.weight")
    with pytest.raises(ModelError, match=r"does not hold head\.weight"):
        pack(model, request)
