"""Checkpoints and metadata as real training scripts and libraries leave them: files on which the tool was wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lsa_audit import data
from lsa_audit.data.base import DataRequest, Dataset, InputSpec
from lsa_audit.errors import ModelError
from lsa_audit.models import Model, ModelRequest, fit, load
from lsa_audit.models.state import preserved

pytestmark = [pytest.mark.realdata, pytest.mark.filterwarnings("ignore")]
NORMALISED: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.fixture
def cases(shared: Path) -> Path:
    if not (shared / "cases").is_dir():
        pytest.skip("needs the folder cases in the shared folder")
    return shared / "cases"


def loaded(request: ModelRequest, spec: Path, samples: int | None = None) -> tuple[Model, Dataset]:
    model = load(request)
    wanted = model.preprocessing
    shape = InputSpec(wanted.input_shape, wanted.channels, wanted.interpolation, wanted.crop_share)
    dataset = data.load(DataRequest(str(spec), samples=samples), shape)
    with preserved(model.module):
        return fit(model, dataset.images(0, 2)), dataset


def right(model: Model, dataset: Dataset, batch: int = 25) -> int:
    with torch.no_grad(), preserved(model.module):
        parts = [model.module(dataset.images(at, at + batch)) for at in range(0, len(dataset), batch)]
    return int((torch.cat(parts).argmax(1) == dataset.labels).sum())


@pytest.mark.parametrize(
    ("file", "weights", "expected", "words"),
    [
        ("ema_timm.pth.tar", None, 94, "EMA weights (state_dict_ema) of checkpoint"),
        ("ema_timm.pth.tar", "raw", 86, "weights state_dict of checkpoint"),
        ("lightning.ckpt", None, 94, "checkpoint lightning.ckpt"),
    ],
)
def test_checkpoints_of_training_scripts(
    cases: Path, file: str, weights: str | None, expected: int, words: str
) -> None:
    arch = f"{cases / 'nets/resnet20.py'}:build"
    request = ModelRequest(str(cases / "files" / file), arch=arch, weights=weights, **NORMALISED)
    model, dataset = loaded(request, cases / "data/c10_100.npz")
    assert right(model, dataset) == expected
    assert words in model.weights


def test_a_header_that_looks_like_a_pickle(cases: Path) -> None:
    spec = f"{cases / 'nets/nets.py'}:short"
    model = load(ModelRequest(spec, checkpoint=cases / "files/header1152.safetensors"))
    assert model.weights == "checkpoint header1152.safetensors"


def test_half_precision(cases: Path) -> None:
    model, dataset = loaded(ModelRequest(str(cases / "files/half.pt"), **NORMALISED), cases / "data/c10_100.npz")
    assert right(model, dataset) == 94
    assert model.notes == ("the file computes in float16; it is audited in float32",)
    assert model.conversion is not None
    assert 0 < (model.conversion.parity or 0) < 1e-2


def test_a_built_in_batch_of_two(cases: Path) -> None:
    model, dataset = loaded(
        ModelRequest(str(cases / "files/baked_batch2.pt"), **NORMALISED), cases / "data/c10_100.npz"
    )
    assert right(model, dataset) == right(model, dataset, batch=33) == 94
    assert model.conversion is not None
    assert model.conversion.static_batch == 2


def test_dropout_traced_in_training(cases: Path) -> None:
    request = ModelRequest(str(cases / "files/trace_dropout_train.pt"), **NORMALISED)
    with pytest.raises(ModelError, match="itself is random"):
        loaded(request, cases / "data/c10_100.npz")


def hub_folder(cases: Path, shared: Path, folder: Path) -> Path:
    (folder / "config.json").write_bytes((cases / "data/hf-folder/config.json").read_bytes())
    (folder / "pytorch_model.bin").write_bytes((shared / "models/mobilenetv2_100_timm_padsame.pth").read_bytes())
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("form", ["{}", "local-dir:{}", "{}/pytorch_model.bin"])
def test_a_hub_folder_says_everything(cases: Path, shared: Path, tmp_path: Path, form: str) -> None:
    folder = hub_folder(cases, shared, tmp_path)
    model, dataset = loaded(ModelRequest(form.format(folder)), shared / "data/imagenet_photos")
    assert right(model, dataset) == 90


@pytest.mark.slow
def test_crop_and_interpolation_of_a_torchscript_file(cases: Path, shared: Path, tmp_path: Path) -> None:
    network = load(ModelRequest(str(hub_folder(cases, shared, tmp_path)))).module.network
    torch.jit.trace(network, torch.rand(2, 3, 224, 224)).save(str(tmp_path / "net.pt"))
    target = tmp_path / "alone"
    target.mkdir()
    (tmp_path / "net.pt").rename(target / "net.pt")
    plain = ModelRequest(str(target / "net.pt"), mean=(0.5,), std=(0.5,), input_shape=(3, 224, 224))
    assert right(*loaded(plain, shared / "data/imagenet_photos")) == 85
    (target / "net.yaml").write_text("crop: 0.875\ninterpolation: bilinear\n")
    assert right(*loaded(plain, shared / "data/imagenet_photos")) == 90
