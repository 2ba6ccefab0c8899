from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lsa_audit.errors import ModelError, UnsafeError
from lsa_audit.models.archives import sha256
from lsa_audit.models.pickled import load
from lsa_audit.models.request import ModelRequest


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))


@pytest.mark.parametrize("wrap", [lambda module: module, lambda module: {"epoch": 3, "model": module}])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickled_module_loads_only_if_trusted(tmp_path: Path, wrap, zipped: bool) -> None:
    path, own = tmp_path / "x.pt", network()
    torch.save(wrap(own), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeError, match=r"container\.Sequential.*--allow-code"):
        load(ModelRequest(str(path)))
    with pytest.raises(UnsafeError, match=r"container\.Sequential"):
        load(ModelRequest(str(path), trusted=frozenset({"0" * 64})))
    images = torch.rand(2, 3, 2, 2)
    for request in (
        ModelRequest(str(path), allow_code=True),
        ModelRequest(str(path), trusted=frozenset({sha256(path)})),
    ):
        model = load(request)
        assert torch.allclose(model.module(images), own(images), rtol=1e-6, atol=1e-6)
        assert "unpickled" in model.notes[0]
        assert not model.module.training


def test_weights_alone_need_an_architecture(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "x.pt")
    for request in (ModelRequest(str(tmp_path / "x.pt")), ModelRequest(str(tmp_path / "x.pt"), allow_code=True)):
        with pytest.raises(ModelError, match=r"holds weights.*--arch"):
            load(request)
