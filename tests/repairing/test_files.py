"""The repaired model as a file: the format and name of the input, and the edited model's logits when loaded again."""

from __future__ import annotations

import tempfile

import pytest
import torch
from safetensors.torch import load as load_bytes
from safetensors.torch import save_file

from lsa_audit import models
from lsa_audit.errors import ModelError, OutputError
from lsa_audit.graph.walker import walk
from lsa_audit.models.fitting import fit
from lsa_audit.models.request import ModelRequest
from lsa_audit.records.repair import Strengths
from lsa_audit.repairing import files
from lsa_audit.repairing.files import checked_file, fitted_to_file
from lsa_audit.repairing.scaling import folds, scaled

from ..hardening.weak import Weak, table, weak_data

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
    return ModelRequest(f"{folder}/net.py:make", checkpoint=folder / "trained.pth"), {"trained-repaired.pth"}


@pytest.mark.slow_for("torchscript")
@pytest.mark.parametrize("make", [torchscript, exported, checkpoint_over_a_factory])
def test_the_file_has_the_edited_models_logits(make, tmp_path):
    request, names = make(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    model = fit(models.load(request), IMAGES)
    with torch.no_grad():
        next(model.module.parameters()).mul_(1.25)
        found = checked_file(model, request, IMAGES, "repaired")
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
        found = checked_file(model, request, images, "repaired")
    assert set(found.contents) == {"digits-cnn-repaired.safetensors", "digits-cnn-repaired.yaml"}


def test_a_file_that_gives_other_logits_is_refused(tmp_path, monkeypatch):
    request, _ = torchscript(tmp_path)
    model = fit(models.load(request), IMAGES)
    unchanged = files.pack(model, request)
    with torch.no_grad():
        next(model.module.parameters()).mul_(1.01)
    monkeypatch.setattr(files, "pack", lambda *_arguments: unchanged)
    with pytest.raises(ModelError, match="loaded again, differs by"):
        checked_file(model, request, IMAGES, "repaired")


def half_checkpoint(folder):
    """A .safetensors file in float16 for a network that computes in float32, but for one bias."""
    (folder / "net.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 2))\n"
    )
    torch.manual_seed(0)
    state = torch.nn.Sequential(torch.nn.Linear(9, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2)).state_dict()
    save_file(
        {key: value if key == "0.bias" else value.to(torch.float16) for key, value in state.items()},
        folder / "half.safetensors",
    )
    return ModelRequest(str(folder / "half.safetensors"), arch=f"{folder}/net.py:make")


def fragile_and_robust(model, images):
    graph = walk(model, images[:3])
    layer = next(layer for layer in graph.layers if layer.info.neurons == 6)
    return folds(graph, [layer], [table(layer.info.name, [40, 7, 1, 1, 1, 0], [0, 0, 0, 1, 0, 0])])[0]


def test_a_file_of_short_floats_is_judged_as_it_will_be_written(tmp_path):
    request = half_checkpoint(tmp_path)
    model = fit(models.load(request), IMAGES)
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    chosen = fragile_and_robust(model, IMAGES)
    strengths = Strengths(fragile=0.1, robust=0.05)
    with scaled(chosen, strengths), pytest.raises(ModelError, match="cannot hold the change"):
        checked_file(model, request, IMAGES, "repaired")
    fitted = fitted_to_file(chosen, model, request, IMAGES)
    assert fitted[0].describe(strengths).rounded_to == ("float16",)
    with scaled(fitted, strengths):
        written = checked_file(model, request, IMAGES, "repaired")
        weight = fitted[0].weights.weight
        assert torch.equal(weight, weight.half().float())
        bias = fitted[0].weights.bias
        assert not torch.equal(bias, bias.half().float())
    assert written.info.difference == 0
    assert load_bytes(written.contents["half-repaired.safetensors"])["0.weight"].dtype == torch.float16
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())


def test_a_file_that_cannot_hold_the_change_is_refused_before_the_attacks(tmp_path, monkeypatch):
    request, _ = torchscript(tmp_path)
    model = fit(models.load(request), IMAGES)
    graph = walk(model, IMAGES[:3])
    layer = next(layer for layer in graph.layers if layer.info.neurons == 18)
    chosen = folds(graph, [layer], [table(layer.info.name, [30, 28, *[1] * 16], [0] * 18)])[0]
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    assert fitted_to_file(chosen, model, request, IMAGES) == chosen
    unchanged = files.pack(model, request)
    monkeypatch.setattr(files, "pack", lambda *_arguments: unchanged)
    with pytest.raises(ModelError, match=r"weak.v2-repaired.pt would not hold .*hidden.* as it was edited"):
        fitted_to_file(chosen, model, request, IMAGES)
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())


def test_a_full_temporary_folder_is_no_internal_error(tmp_path, monkeypatch):
    request, _ = torchscript(tmp_path)
    model = fit(models.load(request), IMAGES)
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    packed = files.pack(model, request)
    monkeypatch.setattr(files, "pack", lambda *_arguments: packed)

    def full(_path, _content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.Path, "write_bytes", full)
    with pytest.raises(OutputError, match="temporary folder: No space left"):
        checked_file(model, request, IMAGES, "repaired")
    assert list(place.iterdir()) == []
