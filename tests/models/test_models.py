"""Which loader a spec goes to (the package's `__init__`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lsa_audit import models
from lsa_audit.errors import ExitCode, ModelError, UsageError
from lsa_audit.models import LOADERS, ModelRequest, load

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


BAD = {
    "model.pt": "model.pt is a checkpoint file, not a model; .*--checkpoint FILE",
    "weights": "weights is a checkpoint file, not a model; .*--checkpoint FILE",
    "nothing.pth": "there is no file nothing.pth; .*--checkpoint FILE",
    "nets.py": "nets.py names no factory; write nets.py:FACTORY",
    "nothing.py": "nothing.py names no factory .and there is no such file.",
    "some/folder": "neither a model name nor a file",
    "": "there is no model ''",
}


@pytest.mark.parametrize(("spec", "words"), BAD.items(), ids=lambda value: value or "empty")
def test_what_is_no_model_gets_one_line(spec: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("model.pt", "weights", "nets.py"):
        Path(name).write_text("x")
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


def test_importing_the_loaders_brings_in_no_optional_library() -> None:
    code = "import sys, lsa_audit.models; print(sorted({'timm', 'huggingface_hub', 'torchvision'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
