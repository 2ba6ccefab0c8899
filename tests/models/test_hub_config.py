"""A `config.json` beside the weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from lsa_audit.errors import ExitCode, ModelError, UsageError
from lsa_audit.models import Model, ModelRequest, load
from lsa_audit.models.saving import pack, reload_request

ORIGIN = "config.json beside the weights"
CONFIG: dict[str, Any] = {
    "architecture": "resnet10t",
    "num_classes": 5,
    "label_names": ["a", "b", "c", "d", "e"],
    "pretrained_cfg": {
        "tag": "x",
        "custom_load": False,
        "input_size": [1, 40, 40],
        "interpolation": "bilinear",
        "crop_pct": 0.8,
        "mean": [0.25],
        "std": [0.125],
    },
    "model_args": {"in_chans": 1, "output_stride": 16},
}


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model("resnet10t", num_classes=5, in_chans=1, output_stride=16).eval()


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return network().state_dict()


@pytest.fixture
def folder(tmp_path: Path, weights: dict[str, torch.Tensor]) -> Path:
    described(tmp_path)
    torch.save(weights, tmp_path / "pytorch_model.bin")
    return tmp_path


def described(folder: Path, **changes: Any) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))


def check(model: Model) -> None:
    """The right network, and the input that it wants, recomputed with plain timm."""
    images = torch.rand(2, 1, 40, 40)
    with torch.no_grad():
        assert torch.allclose(model.module(images), network()((images - 0.25) / 0.125), atol=1e-5)
    settled = model.preprocessing
    assert (settled.input_shape, settled.crop_share, settled.interpolation) == ((1, 40, 40), 0.8, "bilinear")
    assert settled.source == ORIGIN
    assert model.provenance["crop"] == model.provenance["interpolation"] == ORIGIN


@pytest.mark.slow_except("{}/pytorch_model.bin")
@pytest.mark.parametrize("form", ["{}", "local-dir:{}", "{}/pytorch_model.bin"])
def test_everything_comes_from_it(folder: Path, form: str) -> None:
    model = load(ModelRequest(form.format(folder)))
    check(model)
    assert model.provenance["architecture"] == ORIGIN


def test_it_counts_for_a_checkpoint_over_a_name_too(folder: Path) -> None:
    check(load(replace(ModelRequest("resnet10t"), checkpoint=folder / "pytorch_model.bin")))


def test_the_user_and_the_sidecar_go_before_it(folder: Path) -> None:
    (folder / "pytorch_model.yaml").write_text("crop: 0.5\ninterpolation: nearest\n")
    model = load(ModelRequest(str(folder), mean=(0.5,), crop_share=0.9, arguments={"output_stride": 32}))
    settled = model.preprocessing
    assert (settled.mean, settled.std, settled.crop_share, settled.interpolation) == ((0.5,), (0.125,), 0.9, "nearest")
    assert settled.source == f"mean: given by the user; std: {ORIGIN}"
    assert model.provenance["interpolation"] == "the sidecar pytorch_model.yaml"


def test_another_architecture_of_the_user_sets_it_aside(folder: Path) -> None:
    with pytest.raises(ModelError, match="does not fit ResNet"):
        load(ModelRequest(str(folder), arch="resnet18"))


def test_it_describes_usual_names_and_lone_files_only(folder: Path) -> None:
    (folder / "pytorch_model.bin").rename(folder / "mine.pth")
    check(load(ModelRequest(str(folder / "mine.pth"))))
    (folder / "other.pth").write_bytes(b"x")
    with pytest.raises(ModelError, match="holds weights, not the network they are for"):
        load(ModelRequest(str(folder / "mine.pth")))
    with pytest.raises(ModelError, match="several model files"):
        load(ModelRequest(str(folder)))


@pytest.mark.slow
def test_sharded_weights_in_a_folder(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    described(tmp_path)
    names = list(weights)
    parts = {"a.safetensors": names[:20], "b.safetensors": names[20:]}
    for file, held in parts.items():
        save_file({name: weights[name].contiguous() for name in held}, tmp_path / file)
    places = {name: file for file, held in parts.items() for name in held}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    request = ModelRequest(str(tmp_path))
    model = load(request)
    check(model)
    packed = pack(model, request)
    assert packed.suffix == ".safetensors"
    target = tmp_path / "new"
    target.mkdir()
    (target / "x.safetensors").write_bytes(packed.content)
    (target / "x.yaml").write_text(str(packed.sidecar))
    again = load(reload_request(request, target / "x.safetensors"))
    images = torch.rand(2, 1, 40, 40)
    with torch.no_grad():
        assert torch.equal(again.module(images), model.module(images))


def test_a_changed_model_takes_the_description_along(folder: Path, tmp_path: Path) -> None:
    request = ModelRequest(str(folder))
    model = load(request)
    with torch.no_grad():
        model.module.network.fc.bias.add_(1.0)  # type: ignore[union-attr,operator]
    packed = pack(model, request)
    target = tmp_path / "new"
    target.mkdir()
    (target / f"x{packed.suffix}").write_bytes(packed.content)
    (target / "x.yaml").write_text(str(packed.sidecar))
    again = load(ModelRequest(str(target / f"x{packed.suffix}")))
    images = torch.rand(2, 1, 40, 40)
    with torch.no_grad():
        assert torch.equal(again.module(images), model.module(images))
    assert again.preprocessing.crop_share == 0.8


def test_the_older_form_without_a_part_of_its_own(folder: Path) -> None:
    flat = {key: value for key, value in CONFIG.items() if key != "pretrained_cfg"} | CONFIG["pretrained_cfg"]
    (folder / "config.json").write_text(json.dumps(flat))
    check(load(ModelRequest(str(folder))))


BAD: dict[str, tuple[Any, str]] = {
    "no such architecture": ({"architecture": "nonsense"}, "which timm does not have"),
    "a factory": ({"architecture": "net.py:build"}, "which timm does not have"),
    "a repository": ({"architecture": "hf-hub:owner/name"}, "which timm does not have"),
    "a path": ({"model_args": {"checkpoint_path": "/etc/passwd"}}, "holds a model_args that is not understood"),
    "a download": ({"model_args": {"pretrained": True}}, "model_args"),
    "features": ({"model_args": {"features_only": True}}, "model_args"),
    "no arguments": ({"model_args": [1]}, "model_args"),
    "nested": ({"model_args": {"a": {"b": 1}}}, "model_args"),
    "huge": ({"num_classes": 10**9}, "model_args"),
    "crop": ({"pretrained_cfg": {"crop_pct": 3}}, "holds a crop_pct"),
    "interpolation": ({"pretrained_cfg": {"interpolation": "magic"}}, "holds a interpolation"),
    "mean": ({"pretrained_cfg": {"mean": ["x"], "std": [1]}}, "malformed"),
    "no mapping": ({"pretrained_cfg": 3}, "holds a pretrained_cfg"),
}


@pytest.mark.parametrize(("changes", "words"), BAD.values(), ids=BAD)
def test_it_is_data_from_a_stranger(folder: Path, changes: Any, words: str) -> None:
    described(folder, **changes)
    with pytest.raises(ModelError, match=words) as caught:
        load(ModelRequest(str(folder)))
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)


def test_what_is_no_description_of_timm(folder: Path) -> None:
    (folder / "config.json").write_text("{broken")
    with pytest.raises(ModelError, match="not JSON that can be read"):
        load(ModelRequest(str(folder)))
    (folder / "config.json").write_text('{"model_type": "resnet", "architectures": ["ResNetForImageClassification"]}')
    with pytest.raises(ModelError, match="'ResNetForImageClassification' of the library transformers"):
        load(ModelRequest(str(folder)))
    with pytest.raises(ModelError, match="describes a model and holds no weights"):
        load(ModelRequest(str(folder / "config.json")))
    (folder / "config.json").write_text('{"learning_rate": 3}')
    with pytest.raises(ModelError, match="holds weights, not the network"):
        load(ModelRequest(str(folder)))


def test_folders_without_weights(tmp_path: Path) -> None:
    described(tmp_path)
    with pytest.raises(ModelError, match=r"holds a config\.json and no weights"):
        load(ModelRequest(str(tmp_path)))
    with pytest.raises(ModelError, match="there is no folder"):
        load(ModelRequest(f"local-dir:{tmp_path / 'nothing'}"))


def test_weights_are_chosen_among_those_of_a_checkpoint_only() -> None:
    with pytest.raises(UsageError, match="--weights ema goes with a checkpoint"):
        load(ModelRequest("digits-cnn", weights="ema"))
