"""Data as strangers save it: .npz archives, and options about data of every kind."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from .case import QUICK, VERDICTS_ONLY, Case, pick
from .damage import damaged, damaged_member

NET = """
import torch
from torch import nn


def build(channels=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
"""


def odd_archives(draws: Generator, folder: Path, number: int) -> Case:
    """An .npz file whose arrays, keys or bytes are not what they should be."""
    images, labels = _images(draws), _labels(draws)
    usual_names = draws.random() < 0.7
    names = ("images", "labels") if usual_names else pick(draws, KEYS)
    arrays = {name: (labels if "l" in name[1:] or name in "yY" else images) for name in names}
    arrays |= pick(draws, ({}, {}, {}, EXTRAS[int(draws.integers(len(EXTRAS)))]))
    stream = io.BytesIO()
    (np.savez if draws.random() < 0.7 else np.savez_compressed)(stream, **arrays)
    content, how = stream.getvalue(), "whole"
    what = draws.random()
    if what < 0.1:
        content, how = damaged(draws, content)
    elif what < 0.2 and arrays:
        content, how = damaged_member(draws, content)
    elif what < 0.3:
        how, content = _forged(draws)
    name = pick(draws, ("data.npz", "data.npz", "data.npz", "data.NPZ", "my data.npz", "d\u00e4ta.npz", "data.npy"))
    (folder / name).write_bytes(content)
    channels = next((size for size in (1, 3, 4) if size in images.shape[1:2] + images.shape[-1:]), 1)
    if draws.random() < 0.1:
        channels = pick(draws, (1, 3))
    shape = f"{images.dtype}{list(images.shape)} {labels.dtype}{list(labels.shape)}"
    return data_case(draws, folder, f"npz {number} {','.join(names)} {shape} {how}", name, channels)


def _images(draws: Generator) -> Any:
    """Images of a usual or an odd shape, dtype and range."""
    shape = pick(draws, SHAPES[:6] if draws.random() < 0.75 else SHAPES)
    images = draws.random(shape)
    if draws.random() < 0.5:
        return (images * 255).astype(np.uint8)
    if draws.random() < 0.4:
        return images.astype(np.float32)
    changed = pick(draws, VALUES)(images)
    if draws.random() < 0.6:
        return changed
    with np.errstate(all="ignore"), contextlib.suppress(TypeError, ValueError):
        return changed.astype(pick(draws, DTYPES))
    return changed


def _labels(draws: Generator) -> Any:
    """Labels of a usual or an odd kind."""
    labels = np.arange(24) % 10
    return labels if draws.random() < 0.5 else pick(draws, LABELS)(labels)


SHAPES: tuple[tuple[int, ...], ...] = (
    (24, 1, 8, 8),
    (24, 8, 8, 1),
    (24, 8, 8),
    (24, 64),
    (24, 3, 16, 16),
    (24, 16, 16, 3),
    (24, 3, 8, 8),
    (24, 8, 8, 3),
    (24, 3, 8, 3),
    (24, 1, 1, 1),
    (24, 3, 1, 200),
    (24, 4, 16, 16),
    (24, 2, 16, 16),
    (24, 16, 16, 4),
    (24, 1, 3, 16, 16),
    (24,),
    (),
    (0, 1, 8, 8),
    (24, 0, 8, 8),
    (24, 1, 0, 8),
    (1, 1, 8, 8),
    (23, 1, 8, 8),
    (25, 1, 8, 8),
    (8, 8, 1, 24),
    (24, 63),
    (24, 192),
    (24, 784),
)

DTYPES = (
    "float16",
    "float64",
    ">f4",
    "int8",
    "int64",
    "uint16",
    "bool",
    "complex64",
    "S4",
    "U4",
    "object",
    "longdouble",
)


def _some(value: float) -> Callable[[Any], Any]:
    def change(images: Any) -> Any:
        if images.size:
            images.flat[images.size // 2] = value
        return images

    return change


VALUES: tuple[Callable[[Any], Any], ...] = (
    _some(np.nan),
    _some(np.inf),
    _some(-1e-9),
    _some(1.0001),
    _some(300.0),
    lambda images: images * 255,
    lambda images: (images * 255).round(),
    lambda images: images * 2 - 1,
    lambda images: (images - 0.485) / 0.229,
    lambda images: images * 0,
    lambda images: images * 0 + 1,
    lambda images: images.round(),
    lambda images: (images * 65535).round(),
    lambda images: images * 1e300,
    lambda images: images * 1e-300,
    lambda images: np.full_like(images, np.nan),
    lambda images: np.asfortranarray(images),
    lambda images: np.zeros(images.shape, dtype=[("r", "u1"), ("g", "u1")]),
    lambda images: np.array([None, *list(images.flat)[:5]], dtype=object),
    lambda images: np.zeros(images.shape, dtype="datetime64[s]"),
    lambda _images: np.array("images/"),
)

LABELS: tuple[Callable[[Any], Any], ...] = (
    lambda labels: labels + 1,
    lambda labels: labels - 1,
    lambda labels: labels * 1000,
    lambda labels: labels % 2,
    lambda labels: labels * 0,
    lambda labels: labels * 0 + 9,
    lambda labels: labels.astype(float),
    lambda labels: labels + 0.5,
    lambda labels: np.where(labels == 3, np.nan, labels),
    lambda labels: labels > 4,
    lambda labels: labels.astype(str),
    lambda labels: np.array(["cat", "dog"])[labels % 2],
    lambda labels: labels.astype(bytes),
    lambda labels: labels.astype(object),
    lambda labels: labels[:, None],
    lambda labels: labels[None],
    lambda labels: labels[:-1],
    lambda labels: labels[:0],
    lambda labels: labels[0],
    lambda labels: np.eye(10)[labels],
    lambda labels: np.eye(10, dtype=np.uint8)[labels],
    lambda labels: np.eye(10)[labels] * 0.9 + 0.01,
    lambda _labels: np.ones((24, 10)),
    lambda _labels: np.zeros((24, 10)),
    lambda labels: np.eye(10)[labels][:, :, None],
    lambda labels: np.concatenate([labels[:-1], [2**62]]),
    lambda labels: labels.astype(np.uint64) + np.uint64(2**63),
    lambda labels: labels.astype(">i2"),
    lambda labels: labels.astype("timedelta64[s]"),
    lambda labels: labels + 0j,
    lambda labels: labels.astype(np.uint8) - np.uint8(1),
)

KEYS = (
    ("x", "y"),
    ("x_test", "y_test"),
    ("data", "targets"),
    ("images", "label"),
    ("X", "Y"),
    ("arr_0", "arr_1"),
    ("images",),
    ("labels",),
    (),
    ("images", "labels", "x", "y"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("images", "labels\n"),
    ("../images", "labels"),
    ("a" * 300, "labels"),
)

EXTRAS: tuple[dict[str, Any], ...] = (
    {"layout": np.array("NCHW")},
    {"layout": np.array("nhwc")},
    {"layout": np.array(7)},
    {"layout": np.array(["n", "c"], dtype=object)},
    {"layout": np.array("x" * 5000)},
    {"class_names": np.array(["a", "a"])},
    {"class_names": np.array([object.__name__, None], dtype=object)},
    {"mean": np.array([0.5]), "std": np.array([0.0])},
    {"meta": np.zeros((0, 0))},
)


def _forged(draws: Generator) -> tuple[str, bytes]:
    """The name and bytes of an archive that numpy.savez would not write."""
    header = b"\x93NUMPY\x01\x00"
    texts = (
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 3, 224, 224), }",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 8), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (24,), }",
        b"{'descr': '|u1', 'shape': (24,)}",
        b"{'descr': '<f99', 'fortran_order': False, 'shape': (24,), }",
        b"{" * 3000,
        b"",
    )
    text = pick(draws, texts) + b"\n"
    labels = _bytes(np.arange(24) % 10)
    twice, plain = io.BytesIO(), io.BytesIO()
    np.savez(plain, images=np.zeros((24, 1, 8, 8), np.uint8), labels=np.arange(24) % 10)
    with zipfile.ZipFile(twice, "w") as archive:
        for _ in range(2):
            archive.writestr("images.npy", _bytes(np.zeros((24, 1, 8, 8), np.uint8)))
        archive.writestr("labels.npy", labels)
    header += len(text).to_bytes(2, "little") + text
    kinds = {
        "forged header": _zip({"images.npy": header + b"\0" * 64, "labels.npy": labels}),
        "named twice": twice.getvalue(),
        "no .npy": _zip({"images": _bytes(np.zeros((24, 1, 8, 8), np.uint8)), "labels": labels}),
        "text members": _zip({"images.npy": b"hello", "labels.npy": labels}),
        "in a folder": _zip({"data/images.npy": labels, "data/labels.npy": labels}),
        "one .npy": _bytes(np.zeros((24, 1, 8, 8), np.uint8)),
        "empty archive": _zip({}),
        "empty file": b"",
        "text": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n",
        "behind other bytes": b"#!/bin/sh\n" + plain.getvalue(),
        "much": b"",
    }
    name = pick(draws, list(kinds))
    if name == "much":
        return name, _zip({"images.npy": _bytes(np.zeros((24, 1, 1300, 1300), np.uint8)), "labels.npy": labels})
    return name, kinds[name]


def _bytes(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _zip(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in members.items():
            archive.writestr(name, value)
    return stream.getvalue()


def data_case(draws: Generator, folder: Path, name: str, data: str, channels: int = 3) -> Case:
    """A scan of the built-in network or of one with so many channels on the data, with options at random."""
    (folder / "net.py").write_text(NET)
    model: tuple[str, ...] = ("net.py:build", *(() if channels == 3 else ("--model-arg", f"channels={channels}")))
    if draws.random() < (0.5 if channels == 1 else 0.1):
        model = ("digits-cnn",)
    if draws.random() < 0.05:
        return Case(name, ("layers", *model, "--data", data))
    options: list[str] = []
    for _ in range(int(draws.integers(0, 3))):
        option, values = pick(draws, OPTIONS)
        if option not in options:
            options += [option, pick(draws, values)]
            if option == "--mean" and draws.random() < 0.8:
                options += ["--std", "0.3" if options[-1] == "0.5" else "0.3,0.2,0.3"]
    # All images, which are few, but for what the case chooses itself.
    quick = [*QUICK[2:], *VERDICTS_ONLY]
    return Case(f"{name} {' '.join(options)}", ("scan", *model, "--data", data, *quick, *options, "--out", "run"))


OPTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("--samples", ("1", "5", "20", "24", "25", "1000000")),
    ("--slice", ("0:5", "5:5", "5:2", "20:40", "-5:-1", ":", "0:1000000", "3:4")),
    ("--labels", ("self", "dataset", "auto")),
    ("--input-size", ("3x16x16", "3x16x16", "3x16x16", "1x8x8", "8x8", "3x16", "3x1x1", "4x16x16", "1x300x2")),
    ("--mean", ("0.5", "0.5,0.5,0.5", "0.485,0.456,0.406", "0,0")),
    ("--std", ("0.5", "0.5,0.5,0.5", "0.2,0.2,0.2", "0,0,0", "255,255,255")),
    ("--layout", ("nchw", "nhwc", "flat")),
    ("--classes", ("10", "2", "1000")),
    ("--batch-size", ("1", "7")),
)
