from __future__ import annotations

import bz2
import gzip
import json
import lzma
import socket
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lsa_audit.errors import ModelError, UnsafeError
from lsa_audit.models import files
from lsa_audit.models.checkpoint import load_state_dict
from lsa_audit.models.files import is_safetensors, mismatch, sniff
from lsa_audit.settings.limits import Limits

from ..hostile import archives

Maker = Callable[[Path], object]
IMAGE = torch.zeros(1, 1, 4, 4)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)).eval()


def traced(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network(), IMAGE).save(path)


def scripted_for_phones(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network(), IMAGE)._save_for_lite_interpreter(str(path))


def without_code(path: Path) -> None:
    scripted_for_phones(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if "/code/" not in name}
    archives.write(path, members)


def exported(path: Path) -> None:
    torch.export.save(torch.export.export(network(), (IMAGE,)), path)


def exported_long_ago(path: Path) -> None:
    archives.write(path, {"version": b"8.8", "serialized_exported_program.json": b"{}"})


def onnx_model(path: Path) -> None:
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", ends[:1], ends[1:])
    model = helper.make_model(graph, producer_name="a test")
    helper.set_model_props(model, {"key": "value"})
    path.write_bytes(model.SerializeToString())


def onnx_cut_off(path: Path) -> None:
    onnx_model(path)
    path.write_bytes(path.read_bytes()[:60])


KINDS: dict[str, tuple[Maker, str]] = {
    "traced": (traced, "torchscript"),
    "lite with code": (scripted_for_phones, "torchscript"),
    "lite without code": (without_code, "lite"),
    "exported": (exported, "exported"),
    "exported long ago": (exported_long_ago, "exported"),
    "checkpoint": (lambda path: torch.save(network().state_dict(), path), "checkpoint"),
    "legacy": (
        lambda path: torch.save(network().state_dict(), path, _use_new_zipfile_serialization=False),
        "checkpoint",
    ),
    "module": (lambda path: torch.save(network(), path), "checkpoint"),
    "safetensors": (lambda path: save_file(network().state_dict(), path), "safetensors"),
    "onnx": (onnx_model, "onnx"),
    "onnx, cut off": (onnx_cut_off, "onnx"),
}


@pytest.mark.parametrize(("make", "kind"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("name", ["model.onnx", "model.pt", "model"])
def test_the_content_decides(tmp_path: Path, make: Maker, kind: str, name: str) -> None:
    make(tmp_path / name)
    assert sniff(tmp_path / name) == kind


def test_a_suffix_that_claims_another_kind_is_mentioned(tmp_path: Path) -> None:
    sentence = mismatch(tmp_path / "model.onnx", "torchscript")
    assert sentence == "model.onnx is a TorchScript archive, although its name ends in .onnx"
    for name, kind in (
        ("a.pt", "torchscript"),
        ("a.PT", "checkpoint"),
        ("a.ptl", "torchscript"),
        ("a.onnx", "onnx"),
        ("a", "onnx"),
        ("a.best", "checkpoint"),
    ):
        assert mismatch(tmp_path / name, kind) is None
    assert "safetensors" in str(mismatch(tmp_path / "a.pth", "safetensors"))


def _tar(path: Path) -> None:
    (path.parent / "inside").write_text("x")
    with tarfile.open(path, "w") as archive:
        archive.add(path.parent / "inside", "storages")


def _keras(path: Path) -> None:
    archives.write(path, {"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b"x"})


def _package(path: Path) -> None:
    archives.write(path, {"net/.data/extern_modules": b"torch", "net/model/model.pkl": b"x"})


STRANGERS: dict[str, tuple[Maker, str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "lfs": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0"), "git lfs pull"),
    "html": (lambda path: path.write_text("<!DOCTYPE html><html>404"), "is a web page"),
    "html after a comment": (lambda path: path.write_text("\n<!-- x -->\n<HTML>"), "is a web page"),
    "text": (lambda path: path.write_text("hello, I am a model"), "is text"),
    "long text": (lambda path: path.write_text("é" * 9001), "is text"),
    "json": (lambda path: path.write_text('{"model": 1}'), "is text"),
    "hdf5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "HDF5"),
    "tflite": (lambda path: path.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(99)), "TFLite"),
    "ort": (lambda path: path.write_bytes(b"\x1c\x00\x00\x00ORTM" + bytes(99)), "onnxruntime's own format"),
    "mar": (lambda path: archives.write(path, {"MAR-INF/MANIFEST.json": b"{}", "model.pt": b"x"}), "TorchServe"),
    "keras": (_keras, "Keras"),
    "torch.package": (_package, r"torch\.package"),
    "npz": (lambda path: numpy.savez(path.open("wb"), images=numpy.zeros(3)), "NumPy arrays"),
    "npy": (lambda path: numpy.save(path.open("wb"), numpy.zeros(3)), "NumPy array"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"x")), "gzip"),
    "bzip2": (lambda path: path.write_bytes(bz2.compress(b"x")), "bzip2"),
    "xz": (lambda path: path.write_bytes(lzma.compress(b"x")), "an xz file"),
    "tar": (_tar, "tar archive"),
    "zip": (lambda path: archives.write(path, {"word/document.xml": b"x"}), "no data.pkl"),
    "noise": (lambda path: path.write_bytes(bytes(range(255, 0, -1)) * 9), "not a model file, or damaged"),
    "another protobuf": (lambda path: path.write_bytes(b"\x08\x01\x12\x02ab\xa2\x1f\x01c"), "not a model file"),
    "colon": (lambda path: path.write_bytes(b":\x0a\x00\x01" * 9), "not a model file"),
}


@pytest.mark.parametrize(("make", "words"), STRANGERS.values(), ids=STRANGERS)
def test_other_files_are_named(tmp_path: Path, make: Maker, words: str) -> None:
    make(tmp_path / "model.pt")
    with pytest.raises(ModelError, match=words) as caught:
        sniff(tmp_path / "model.pt")
    assert "model.pt" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_what_is_no_regular_file_is_never_opened(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.pt")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket.pt"))
    for name, words in (("pipe.pt", "is a pipe"), ("socket.pt", "is a socket"), ("gone.pt", "does not exist")):
        with pytest.raises(ModelError, match=words):
            sniff(tmp_path / name)
    listener.close()
    with pytest.raises(ModelError, match="is a device"):
        sniff(Path("/dev/zero"))


def test_a_folder_is_looked_into(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder; give the model file inside it"):
        sniff(tmp_path)
    onnx_model(tmp_path / "net.onnx")
    (tmp_path / "README.md").write_text("x")
    with pytest.raises(ModelError, match=r"is a folder; give .*net\.onnx"):
        sniff(tmp_path)
    for index in range(5):
        (tmp_path / f"net{index}.pt").touch()
    with pytest.raises(ModelError, match=r"holds net.onnx, net0.pt, net1.pt, net2.pt and 2 more"):
        sniff(tmp_path)


def test_malformed_archives_are_unsafe(tmp_path: Path) -> None:
    with pytest.raises(UnsafeError, match="truncated or malformed"):
        sniff(archives.truncated(tmp_path))
    with pytest.raises(UnsafeError, match="above the limits"):
        sniff(archives.honest(tmp_path), Limits(total_bytes=100))


@pytest.mark.parametrize(
    ("version", "fine"), [("2.9.1+cpu", False), ("2.10.0", True), ("3.0.0a0", True), ("1.13", False)]
)
def test_old_torch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, fine: bool) -> None:
    path = archives.honest(tmp_path)
    monkeypatch.setattr(files.torch, "__version__", version)
    if fine:
        assert sniff(path) == "checkpoint"
    else:
        with pytest.raises(ModelError, match=r"torch .* cannot load files safely; pip install 'torch>=2\.10'"):
            sniff(path)


def test_the_floor_is_that_of_the_package() -> None:
    text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    assert f'"torch>={files.TORCH_FLOOR[0]}.{files.TORCH_FLOOR[1]}"' in text


@pytest.mark.realdata
def test_real_files(shared: Path) -> None:
    found = {path.name: sniff(path) for path in (shared / "models").iterdir() if not path.name.startswith("LICENSE")}
    assert found["cifar_resnet20_scripted.pt"] == "torchscript"
    assert found["cifar_resnet20.th"] == "checkpoint"
    assert found["cifar_cnn_a_adv.model"] == "checkpoint"
    assert found["mnist_cnn_a_adv.onnx"] == "onnx"


PICKLES = [0x80 + 256 * protocol for protocol in range(6)]
"""Lengths of a header whose first two bytes are those of a pickle."""
OTHERS = [0x4B50, 0x8B1F, 0x0808, 0x7B7B, 0x3C3C, *(0x10000 + length for length in PICKLES)]
"""Of a zip archive, a gzip file, an ONNX model, JSON, a web page; and of a pickle with a third byte."""


@pytest.mark.parametrize("length", PICKLES + OTHERS)
def test_safetensors_with_a_header_of_any_length(tmp_path: Path, length: int) -> None:
    """The length is the beginning of the file, so that it may look like that of anything else."""
    values = torch.arange(6.0).reshape(2, 3)
    entry = {"a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    header = json.dumps(entry).encode().ljust(length)
    path = tmp_path / "x.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + header + values.numpy().tobytes())
    assert sniff(path) == "safetensors"
    assert torch.equal(load_state_dict(path)[0]["a.weight"], values)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ModelError, match="truncated"):
        load_state_dict(path)


def test_no_length_of_a_header_hides_safetensors() -> None:
    assert all(is_safetensors(length.to_bytes(8, "little") + b'{"') for length in range(2, 1 << 17))
    assert not is_safetensors(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P")
