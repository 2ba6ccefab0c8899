from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lsa_audit.errors import ModelError
from lsa_audit.models import ModelRequest, load
from lsa_audit.models.saving import pack

from .files import changed, check_differs, check_same, scale, write

FACTORY = """
from torch import nn

class Net(nn.Sequential):
    pass

def build():
    return Net(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()

def tied():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    net[3].weight = net[1].weight
    return net
"""

WRAPPED: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "bare": lambda state: state,
    "DataParallel": lambda state: {
        "best_prec1": 91.7,
        "state_dict": {f"module.{name}": value for name, value in state.items()},
    },
    "training": lambda state: {"model": state, "optimizer": {"lr": 0.1}, "args": argparse.Namespace(lr=0.1)},
    "nested": lambda state: {"state_dict": {"net": state}, "epoch": 3},
}


@pytest.fixture
def factory(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(FACTORY)
    return f"{tmp_path / 'net.py'}:build"


@pytest.fixture
def state(factory: str) -> dict[str, Tensor]:
    return load(ModelRequest(factory, seed=5)).module.network.state_dict()


def images_of(count: int = 4) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(3))


def plain(payload: Any) -> Any:
    """The payload with the names of its tensors alone."""
    if isinstance(payload, dict):
        return {key: plain(value) for key, value in payload.items()}
    return "tensor" if isinstance(payload, Tensor) else payload


@pytest.mark.slow_for("training-zip")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_the_container_stays_as_it_was(wrap: Any, zipped: bool, factory: str, state: Any, tmp_path: Path):
    path = tmp_path / "weights.th"
    payload = wrap(state)
    torch.save(payload, path, _use_new_zipfile_serialization=zipped)
    request = ModelRequest(str(path), arch=factory)
    written = changed(request, tmp_path)
    check_same(written, images_of())
    check_differs(written, request, images_of())
    with torch.serialization.safe_globals([argparse.Namespace]):
        found = torch.load(written.path, weights_only=True)
    assert plain(found) == plain(payload)
    assert written.path.suffix == ".th"
    assert (written.packed.content[:2] == b"PK") == zipped
    assert written.packed.sidecar is None


def test_types_of_the_file_stay_and_what_did_not_change_keeps_its_bytes(factory: str, state: Any, tmp_path: Path):
    path = tmp_path / "mixed.pt"
    mixed = {name: value.double() if value.is_floating_point() else value for name, value in state.items()}
    mixed["0.weight"] = state["0.weight"].half()
    mixed["4.weight"] += 1e-12
    torch.save(mixed, path)
    written = changed(ModelRequest(str(path), arch=factory), tmp_path, "0.weight", "1.bias")
    found = torch.load(written.path, weights_only=True)
    assert {name: value.dtype for name, value in found.items()} == {name: value.dtype for name, value in mixed.items()}
    assert torch.equal(found["4.weight"], mixed["4.weight"])
    wanted = written.model.module.network.state_dict()
    assert torch.equal(found["0.weight"], wanted["0.weight"].half())
    assert torch.equal(found["1.bias"], wanted["1.bias"].double())


def test_weights_that_the_file_ties_and_the_network_does_not(state: Any, factory: str, tmp_path: Path):
    path = tmp_path / "tied.pt"
    state["1.bias"] = state["1.weight"]
    torch.save(state, path)
    model = load(request := ModelRequest(str(path), arch=factory))
    scale(model, "1.bias")
    with pytest.raises(ModelError, match="in the same bytes as another weight"):
        pack(model, request)


def test_weights_that_the_network_ties(factory: str, tmp_path: Path):
    arch = factory.replace(":build", ":tied")
    path = tmp_path / "tied.pt"
    torch.save(load(ModelRequest(arch)).module.network.state_dict(), path)
    request = ModelRequest(str(path), arch=arch)
    written = changed(request, tmp_path)
    check_same(written, images_of())
    check_differs(written, request, images_of())


def test_a_whole_pickled_module_stays_one(tmp_path: Path):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).eval()
    torch.save({"model": network, "epoch": 2}, tmp_path / "whole.pt")
    request = ModelRequest(str(tmp_path / "whole.pt"), allow_code=True)
    written = changed(request, tmp_path)
    check_same(written, images_of())
    check_differs(written, request, images_of())
    found = torch.load(written.path, weights_only=False)
    assert found["epoch"] == 2
    assert torch.equal(found["model"][1].weight, written.model.module.network[1].weight)


def test_safetensors_keep_their_metadata_and_types(factory: str, state: Any, tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    mixed = {f"module.{name}": value for name, value in state.items()}
    mixed["module.4.weight"] = state["4.weight"].to(torch.bfloat16)
    save_file(mixed, path, {"author": "someone"})
    request = ModelRequest(str(path), arch=factory)
    written = changed(request, tmp_path)
    check_differs(written, request, images_of())
    with safe_open(written.path, "pt") as file:
        assert file.metadata() == {"author": "someone"}
    found, wanted = load_file(written.path), written.model.module.network.state_dict()
    assert found.keys() == mixed.keys()
    assert all(torch.equal(value, wanted[name[7:]].to(mixed[name].dtype)) for name, value in found.items())


def test_an_unchanged_safetensors_file_is_the_same(factory: str, state: Any, tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    request = ModelRequest(str(path), arch=factory)
    assert pack(load(request), request).content == path.read_bytes()


def test_what_was_said_of_the_file_goes_into_the_new_sidecar(factory: str, state: Any, tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    path.with_suffix(".yaml").write_text("mean: 0.1\nstd: [1e-05]\nclasses: 3\n")
    request = ModelRequest(str(path), arch=factory, input_shape=(1, 8, 8), layout="nchw")
    (tmp_path / "out").mkdir()
    written = write(load(request), request, tmp_path / "out")
    assert written.packed.sidecar is not None
    assert "arch" not in written.packed.sidecar
    again = load(ModelRequest(str(written.path), arch=factory))
    assert again.preprocessing.mean == (0.1,)
    assert again.preprocessing.std == (1e-05,)
    assert again.preprocessing.input_shape == (1, 8, 8)
    assert again.wanted_classes == 3
