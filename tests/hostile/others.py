"""Makers of files that are no models, and of model files with something wrong beside them."""

from __future__ import annotations

import gzip
import os
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy
import torch

from lsa_audit.models.builtin import weights_path

from . import onnx_files, programs
from .checkpoints import CANARY

Maker = Callable[[Path], Path]


def content(text: bytes, name: str = "model.pt") -> Maker:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(text)
        return folder / name

    return make


def missing(folder: Path) -> Path:
    return folder / "model.pt"


def directory(folder: Path) -> Path:
    (folder / "model.pt").mkdir()
    return folder / "model.pt"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "model.pt")
    return folder / "model.pt"


def unix_socket(folder: Path) -> Path:
    # The path of a socket may be about 100 characters long.
    before = Path.cwd()
    os.chdir(folder)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("model.pt")
    finally:
        os.chdir(before)
    return folder / "model.pt"


def link_to_itself(folder: Path) -> Path:
    (folder / "model.pt").symlink_to(folder / "model.pt")
    return folder / "model.pt"


def link_to_nothing(folder: Path) -> Path:
    (folder / "model.pt").symlink_to(folder / "gone.pt")
    return folder / "model.pt"


def device(folder: Path) -> Path:
    (folder / "model.pt").symlink_to("/dev/zero")
    return folder / "model.pt"


def packed(folder: Path) -> Path:
    return content(gzip.compress(b"a model"))(folder)


def tar(folder: Path) -> Path:
    (folder / "storages").write_bytes(b"x")
    with tarfile.open(folder / "model.pt", "w") as archive:
        archive.add(folder / "storages", "storages")
    return folder / "model.pt"


def array(folder: Path) -> Path:
    with (folder / "model.pt").open("wb") as file:
        numpy.save(file, numpy.zeros(3))
    return folder / "model.pt"


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Maker:
    """The weights of digits-cnn, changed, as a checkpoint."""

    def make(folder: Path) -> Path:
        from safetensors.torch import load_file

        state = load_file(weights_path("digits-cnn"))
        change(state)
        torch.save(state, folder / "model.pth")
        return folder / "model.pth"

    return make


def renamed(make: Maker, name: str) -> Maker:
    return lambda folder: make(folder).rename(folder / name)


def with_sidecar(text: str) -> Maker:
    """A sound TorchScript file with this text in the YAML beside it; `{folder}` is where it lies."""

    def make(folder: Path) -> Path:
        (folder / "model.yaml").write_text(text.replace("{canary}", str(folder / CANARY)))
        return programs.traced(folder)

    return make


YAML_BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

sound_onnx = onnx_files.sound
