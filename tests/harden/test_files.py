"""The repaired model as a file: the format and name of the input, and the edited model's logits when loaded again."""

from __future__ import annotations

import pytest
import torch

from lsa_audit import models
from lsa_audit.errors import ModelError
from lsa_audit.harden import files
from lsa_audit.harden.files import checked_file
from lsa_audit.models.base import fit
from lsa_audit.models.request import ModelRequest

from .weak import Weak, weak_data

IMAGES = torch.from_numpy(weak_data(20)[0])


def torchscript(folder):
    torch.jit.script(Weak().eval()).save(str(folder / "weak.v2.pt"))
    return ModelRequest(str(folder / "weak.v2.pt")), {"weak.v2-repaired.pt"}


def exported(folder):
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(Weak().eval(), (torch.zeros(2, 9),), dynamic_shapes=shapes)
    torch.export.save(program, folder / "weak.pt2")
    return ModelRequest(str(folder / "weak.pt2")), {"weak-repaired.pt2"}


def checkpoint_over_a_factory(folder):
    (folder / "net.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))\n"
    )
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(9, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    torch.save(network.state_dict(), folder / "trained.pth")
    return ModelRequest(f"{folder}/net.py:make", checkpoint=folder / "trained.pth"), {"trained-repaired.safetensors"}


@pytest.mark.parametrize("make", [torchscript, exported, checkpoint_over_a_factory])
def test_the_file_has_the_edited_models_logits(make, tmp_path):
    request, names = make(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    model = fit(models.load(request), IMAGES)
    with torch.no_grad():
        next(model.module.parameters()).mul_(1.25)
        found = checked_file(model, request, IMAGES)
    assert set(found.contents) == names
    assert found.info.name in names
    assert found.info.difference <= 1e-5
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_named_model_becomes_weights_with_a_sidecar():
    request = ModelRequest("digits-cnn")
    images = torch.rand(4, 1, 8, 8)
    model = fit(models.load(request), images)
    with torch.no_grad():
        next(model.module.parameters()).mul_(1.25)
        found = checked_file(model, request, images)
    assert set(found.contents) == {"digits-cnn-repaired.safetensors", "digits-cnn-repaired.yaml"}


def test_a_file_that_gives_other_logits_is_refused(tmp_path, monkeypatch):
    request, _ = torchscript(tmp_path)
    model = fit(models.load(request), IMAGES)
    unchanged = files.pack(model, request)
    with torch.no_grad():
        next(model.module.parameters()).mul_(1.01)
    monkeypatch.setattr(files, "pack", lambda *_arguments: unchanged)
    with pytest.raises(ModelError, match="loaded again, differs by"):
        checked_file(model, request, IMAGES)
