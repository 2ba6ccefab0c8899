from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lsa_audit.errors import ModelError
from lsa_audit.models import ModelRequest, load
from lsa_audit.models.saving import pack

from .files import changed, check_differs, check_same


def test_a_builtin_network_becomes_weights_with_a_sidecar(tmp_path: Path):
    request = ModelRequest("digits-cnn")
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    written = changed(request, tmp_path)
    check_same(written, images)
    check_differs(written, request, images)
    assert written.path.suffix == ".safetensors"
    assert written.packed.sidecar == "arch: digits-cnn\n"
    alone = load(ModelRequest(str(written.path)))
    assert torch.allclose(alone.module(images), written.model.module(images), rtol=1e-6, atol=1e-6)


def test_a_timm_network_with_what_the_user_said_of_it(tmp_path: Path):
    request = ModelRequest(
        "resnet10t", random_weights=True, mean=(0.5,), std=(0.25,), arguments={"num_classes": 5, "in_chans": 1}
    )
    written = changed(request, tmp_path)
    check_same(written, torch.rand(1, 1, 32, 32))
    assert (
        written.packed.sidecar
        == "mean:\n- 0.5\nstd:\n- 0.25\narch: resnet10t\nmodel_args:\n  num_classes: 5\n  in_chans: 1\n"
    )
    assert written.request.arguments == request.arguments


def test_a_factory_is_named_by_the_user_alone(tmp_path: Path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n"
        "def build():\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))\n"
        "    net[3].weight = net[1].weight\n"
        "    return net\n"
    )
    request = ModelRequest(f"{tmp_path / 'net.py'}:build", seed=1)
    written = changed(request, tmp_path)
    check_same(written, torch.rand(3, 1, 2, 2))
    assert written.packed.sidecar is None
    assert written.request.arch == request.spec


def test_a_checkpoint_over_a_name_stays_a_checkpoint(tmp_path: Path):
    state = {name: value + 1 for name, value in load(ModelRequest("moons-mlp")).module.network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "other.pt")
    request = ModelRequest("moons-mlp", checkpoint=tmp_path / "other.pt", mean=(0.5,), std=(0.25,))
    written = changed(request, tmp_path)
    check_same(written, torch.rand(3, 2))
    assert (written.path.suffix, written.packed.sidecar) == (".pt", "mean:\n- 0.5\nstd:\n- 0.25\narch: moons-mlp\n")
    content = torch.load(written.path, weights_only=True)
    assert content["epoch"] == 3
    assert {*content["state_dict"]} == {*state}


def test_a_sidecar_that_was_not_asked_for_says_nothing_of_a_checkpoint_over_a_name(tmp_path: Path):
    torch.save(load(ModelRequest("moons-mlp")).module.network.state_dict(), tmp_path / "other.pt")
    (tmp_path / "other.yaml").write_text("mean: 0.3\nstd: 0.1\n")
    request = ModelRequest("moons-mlp", checkpoint=tmp_path / "other.pt")
    written = changed(request, tmp_path)
    check_same(written, torch.rand(3, 2))
    assert written.packed.sidecar == "arch: moons-mlp\n"


def test_state_that_is_no_tensor_is_refused(monkeypatch: pytest.MonkeyPatch):
    request = ModelRequest("moons-mlp")
    model = load(request)
    monkeypatch.setattr(nn.Linear, "get_extra_state", lambda self: "text", raising=False)
    with pytest.raises(ModelError, match="_extra_state, which is no tensor"):
        pack(model, request)
