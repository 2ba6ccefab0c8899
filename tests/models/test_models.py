"""Which loader a spec goes to (the package's `__init__`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lsa_audit import models
from lsa_audit.errors import ExitCode, ModelError, UsageError
from lsa_audit.models import FILE_LOADERS, LOADERS, ModelRequest, from_module, load

ROUTES = {
    "digits-cnn": "builtin",
    "moons-mlp": "builtin",
    "resnet18": "timm",
    "resnet18.a1_in1k": "timm",
    "timm/resnet18.a1_in1k": "timm",
    "hf_hub:timm/resnet18.a1_in1k": "timm",
    "hf-hub:timm/resnet18.a1_in1k": "timm",
    "nets.py:net": "factory",
    "a/b/nets.py:net": "factory",
    "package.module:net": "factory",
}


def test_the_table_of_loaders() -> None:
    assert list(LOADERS) == ["builtin", "timm", "factory"]
    assert set(ROUTES.values()) == set(LOADERS)


@pytest.mark.parametrize(("spec", "loader"), ROUTES.items())
def test_specs_go_to_their_loader(spec: str, loader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    for name in LOADERS:
        monkeypatch.setitem(models.LOADERS, name, lambda request, name=name: asked.append((name, request)))
    load(ModelRequest(spec))
    assert asked == [(loader, ModelRequest(spec))]


FILES: dict[str, tuple[bytes, str]] = {
    "net.onnx": (b"\x08\x08:\x00", "onnx"),
    "net.safetensors": (b"\x02\0\0\0\0\0\0\0{}", "safetensors"),
    "net.pth": (b"\x80\x02}.", "checkpoint"),
    "lies.pt2": (b"\x08\x08:\x00", "onnx"),
    "odd:name.pt": (b"\x80\x02}.", "checkpoint"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_go_to_the_loader_of_what_they_hold(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, kind = FILES[name]
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    asked = []
    for loader in FILE_LOADERS:
        answer = from_module(nn.Linear(2, 2))
        monkeypatch.setitem(
            models.FILE_LOADERS, loader, lambda request, kind=loader, answer=answer: asked.append(kind) or answer
        )
    model = load(ModelRequest(name))
    assert asked == [kind]
    assert model.notes == (("lies.pt2 is an ONNX model, although its name ends in .pt2",) if "lies" in name else ())


def test_a_checkpoint_goes_into_the_architecture_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text("from torch import nn\n\n\ndef make():\n    return nn.Linear(3, 2)\n")
    donor = nn.Linear(3, 2)
    torch.save({"state_dict": donor.state_dict()}, tmp_path / "weights.th")
    model = load(ModelRequest(str(tmp_path / "weights.th"), arch=f"{tmp_path / 'net.py'}:make"))
    assert torch.equal(model.module.network.weight, donor.weight)  # type: ignore[arg-type]
    assert (model.source, model.weights) == ("factory", "checkpoint weights.th")


CONTRADICTIONS = {
    "arch for a name": (ModelRequest("digits-cnn", arch="resnet18"), "--arch goes with a checkpoint file"),
    "arch for a graph": (ModelRequest("net.onnx", arch="resnet18"), "carries its own graph"),
    "arch that is a file": (ModelRequest("net.pth", arch="net.onnx"), "is a file, not an architecture"),
    "two checkpoints": (ModelRequest("net.pth", arch="resnet18", checkpoint=Path("x.pt")), "names another"),
    "random weights of a file": (ModelRequest("net.onnx", random_weights=True), "contradicts the weights"),
}


@pytest.mark.parametrize(("request_", "words"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradicting_options_are_refused(
    request_: ModelRequest, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("net.onnx", "net.pth"):
        Path(name).write_bytes(FILES[name][0])
    with pytest.raises(UsageError, match=words):
        load(request_)


BAD = {
    "model.pt": "model.pt is text, not a model",
    "weights": "weights is text, not a model",
    "nothing.pth": "there is no file nothing.pth",
    "nothing.onnx": "there is no file nothing.onnx",
    "nets.py": "nets.py names no factory; write nets.py:FACTORY",
    "nothing.py": "nothing.py names no factory .and there is no such file.",
    "some/folder": "neither a model name nor a file",
    "folder": "folder is a folder; give .*net.onnx",
    "": "there is no model ''",
}


@pytest.mark.parametrize(("spec", "words"), BAD.items(), ids=lambda value: value or "empty")
def test_what_is_no_model_gets_one_line(spec: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("model.pt", "weights", "nets.py"):
        Path(name).write_text("x")
    Path("folder").mkdir()
    Path("folder/net.onnx").write_text("x")
    with pytest.raises(ModelError, match=words) as caught:
        load(ModelRequest(spec))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(("name", "source"), [("digits-cnn", "builtin"), ("test_resnet", "timm")])
def test_a_file_named_like_a_model_does_not_hide_it(
    name: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("x")
    assert load(ModelRequest(name, random_weights=True)).source == source


def test_contradicting_weights_are_refused() -> None:
    with pytest.raises(UsageError, match="contradict"):
        load(ModelRequest("digits-cnn", checkpoint=Path("x.pt"), random_weights=True))


@pytest.mark.slow
def test_importing_the_loaders_brings_in_no_optional_library() -> None:
    optional = {"timm", "huggingface_hub", "torchvision", "onnx", "onnxruntime"}
    code = f"import sys, lsa_audit.models; print(sorted({optional} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
