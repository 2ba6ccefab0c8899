from __future__ import annotations

import struct
from pathlib import Path
from urllib.error import URLError

import numpy
import pytest
import scipy.io
import torch
from torchvision import datasets

from lsa_audit.data import torchvision
from lsa_audit.data.base import DataRequest, InputSpec
from lsa_audit.errors import DataError


def write_idx(path: Path, array: numpy.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(numpy.uint8).tobytes())


@pytest.fixture
def root(tmp_path, coded) -> Path:
    """A data root with MNIST and Fashion-MNIST of 12 coded test images, in the official file format."""
    images, labels = coded((5, 3, 4), size=28)
    for name in ("MNIST", "FashionMNIST"):
        folder = tmp_path / name / "raw"
        folder.mkdir(parents=True)
        for part in ("t10k", "train"):
            write_idx(folder / f"{part}-images-idx3-ubyte", images[..., 0])
            write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    return tmp_path


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_files_are_read_in_their_order(name, root, coded):
    data = torchvision.load(DataRequest(name, root=root, offline=True, slice=(2, 9)), InputSpec(channels=3))
    assert data.pixels.shape == (7, 3, 28, 28)
    assert data.labels.tolist() == coded((5, 3, 4))[1][2:9].tolist()
    assert torch.equal(data.pixels[:, 0, 0, 0].long() // 20, data.labels)
    assert data.image_ids == tuple(str(index) for index in range(2, 9))
    assert (data.name, data.source, data.classes, len(data.class_names)) == (name, name, 10, 10)


def test_svhn_is_read_from_its_matlab_file(tmp_path, coded, monkeypatch):
    images, labels = coded((5, 3, 4), size=32, channels=3)
    path = tmp_path / "test_32x32.mat"
    scipy.io.savemat(path, {"X": images.transpose(1, 2, 3, 0), "y": numpy.where(labels == 0, 10, labels)[:, None]})
    monkeypatch.setattr(datasets.SVHN, "_check_integrity", lambda self: True)
    data = torchvision.load(DataRequest("svhn", root=tmp_path, offline=True), InputSpec())
    assert data.pixels.shape == (12, 3, 32, 32)
    assert data.labels.tolist() == labels.tolist()
    assert torch.equal(data.pixels[:, 0, 0, 0].long() // 20, data.labels)


@pytest.mark.parametrize("part", [None, "test", "train"])
@pytest.mark.parametrize("name", sorted(torchvision.SPLITS))
def test_each_set_asks_torchvision_for_its_part(name, part, monkeypatch, tmp_path, coded):
    member = torchvision.SPLITS[name]
    calls = []

    class Stand:
        classes = ("a", "b")

        def __init__(self, root, **options):
            print("progress that must not be seen")  # noqa: T201
            calls.append((root, options))
            self.data, self.targets = coded((2, 2), channels=3)
            self.labels = self.targets

    monkeypatch.setattr(datasets, member.class_name, Stand)
    spec = name if part is None else f"{name}:{part}"
    found = torchvision.load(DataRequest(spec, root=tmp_path), InputSpec())
    chosen = {"split": part or "test"} if name == "svhn" else {"train": part == "train"}
    assert calls == [(str(tmp_path), {"download": True, **chosen})]
    assert found.name == (spec if part == "train" else name)
    assert found.source == name


def test_the_parts_hold_other_images(root, coded):
    images, labels = coded((7, 2), size=28)
    write_idx(root / "MNIST/raw/train-images-idx3-ubyte", images[..., 0])
    write_idx(root / "MNIST/raw/train-labels-idx1-ubyte", labels)
    sizes = {
        spec: torchvision.load(DataRequest(spec, root=root, offline=True), InputSpec()).labels.tolist()
        for spec in ("mnist", "mnist:test", "mnist:train")
    }
    assert sizes["mnist:train"] == labels.tolist()
    assert sizes["mnist"] == sizes["mnist:test"] == coded((5, 3, 4))[1].tolist()


@pytest.mark.parametrize("name", sorted(torchvision.SPLITS))
def test_missing_files_offline_are_one_line_and_silent(name, tmp_path, capfd):
    with pytest.raises(DataError) as caught:
        torchvision.load(DataRequest(name, root=tmp_path / "none", offline=True), InputSpec())
    text = str(caught.value)
    assert text.startswith(f"{name} is not complete under")
    assert all(part in text for part in ("--data-root", "--offline", ".npz"))
    assert "download=True" not in text
    assert "\n" not in text
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("Error downloading:\nTried a, got:\nno route")])
def test_failed_download_is_one_line(error, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(datasets, "CIFAR10", fail)
    with pytest.raises(DataError) as caught:
        torchvision.load(DataRequest("cifar10", root=tmp_path), InputSpec())
    text = str(caught.value)
    assert "could not be downloaded" in text
    assert "no route" in text
    assert all(part in text for part in ("--data-root", "--offline", ".npz"))


def test_damaged_file_is_an_error(root):
    (root / "MNIST/raw/t10k-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0\0\x05")
    with pytest.raises(DataError, match="mnist is not complete"):
        torchvision.load(DataRequest("mnist", root=root, offline=True), InputSpec())


def test_default_root_lies_in_the_users_cache():
    assert torchvision.default_root().parts[-2:] == ("lsa-audit", "data")
