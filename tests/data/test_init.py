from __future__ import annotations

import subprocess
import sys

import numpy
import pytest
import torch

from lsa_audit import data
from lsa_audit.data.base import DataRequest, InputSpec
from lsa_audit.errors import DataError, UsageError


def test_catalogue_is_complete():
    assert list(data.LOADERS) == [
        "digits", "moons", "mnist", "fashion-mnist", "cifar10", "cifar100", "svhn", "folder", "arrays",
    ]  # fmt: skip


def test_every_loader_has_a_module_with_load():
    for name, loader in data.LOADERS.items():
        module = __import__(f"lsa_audit.data.{loader.module}", fromlist=["load"])
        assert callable(module.load), name


def test_reading_the_catalogue_leaves_torch_out():
    code = "import sys, lsa_audit.data; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_specs_lead_to_their_loaders(class_folders, coded, save_npz):
    images, labels = coded((2, 2))
    requests = {"digits": "digits", "folder": str(class_folders()), "arrays": save_npz(images=images, labels=labels)}
    for source, spec in requests.items():
        assert data.load(DataRequest(spec), InputSpec()).source == source


def test_a_name_wins_over_a_path_of_the_same_name(class_folders, monkeypatch):
    folder = class_folders()
    folder.rename(folder.parent / "digits")
    monkeypatch.chdir(folder.parent)
    assert data.load(DataRequest("digits"), InputSpec()).source == "digits"
    assert data.load(DataRequest("./digits"), InputSpec()).source == "folder"


@pytest.mark.parametrize("spec", ["digits:val", "digits:", "digits:train:x", "digits:Train", "moons:0:5"])
def test_an_unknown_part_is_one_line_that_names_the_parts(spec):
    with pytest.raises(DataError, match="has no part") as caught:
        data.load(DataRequest(spec), InputSpec())
    name = spec.partition(":")[0]
    assert all(f"{name}:{part}" in str(caught.value) for part in ("train", "test"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", [r"C:\images", "C:/x.npz", "c:train", "nets.py:build", "x:digits", ":train", "a:b:c"])
def test_a_colon_of_anything_else_is_no_part(spec):
    assert data.named(spec) is None
    with pytest.raises(DataError, match="neither a data set nor a file or folder"):
        data.load(DataRequest(spec), InputSpec())


def test_a_misspelt_set_with_a_part_is_guessed():
    with pytest.raises(DataError, match="did you mean digits"):
        data.load(DataRequest("digit:train"), InputSpec())


def test_files_and_folders_have_no_parts_but_may_hold_a_colon(class_folders, save_npz, coded, monkeypatch):
    images, labels = coded((2, 2))
    file = save_npz(images=images, labels=labels)
    folder = class_folders()
    with pytest.raises(UsageError, match="holds no train images and labels"):
        data.load(DataRequest(f"{file}:train"), InputSpec())
    with pytest.raises(DataError, match="has no parts"):
        data.load(DataRequest(f"{folder}:test"), InputSpec())
    folder.rename(folder.parent / "digits:train")
    monkeypatch.chdir(folder.parent)
    assert data.load(DataRequest("./digits:train"), InputSpec()).source == "folder"
    assert data.load(DataRequest("digits:train"), InputSpec()).source == "digits"


@pytest.mark.parametrize("wanted", [(3, 12, 12), (1, 8, 8)])
def test_every_path_gives_the_wanted_shape(wanted, class_folders, save_npz):
    gray = numpy.full((6, 5, 5), 90, dtype="uint8")
    path = save_npz(images=gray, labels=numpy.arange(6))
    for spec in ("digits", str(class_folders()), path):
        dataset = data.load(DataRequest(spec, samples=4), InputSpec(shape=wanted))
        images = dataset.images(0, len(dataset))
        assert images.shape == (4, *wanted)
        assert images.dtype == torch.float32
        assert images.min() >= 0
        assert images.max() <= 1


def test_memory_goes_through_the_same_door():
    images = torch.rand(6, 3, 4, 4)
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    direct = data.from_arrays(images, labels, InputSpec(), DataRequest("memory", samples=2))
    loaded = data.from_loader(
        torch.utils.data.TensorDataset(images, labels), InputSpec(), DataRequest("memory", samples=2)
    )
    assert torch.equal(direct.pixels, loaded.pixels)
    assert direct.image_ids == loaded.image_ids
