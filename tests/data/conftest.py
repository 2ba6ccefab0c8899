"""Small data whose label can be read from the pixels, so that a mix-up shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from PIL import Image

PixelMaker = Callable[..., tuple[numpy.ndarray, numpy.ndarray]]


@pytest.fixture
def coded() -> PixelMaker:
    """make(counts, size, channels) -> images uint8 [N, H, W, C] and labels [N] in a fixed mixed order.

    Every pixel is 20 * label + 5, so `pixel // 20` is the label.
    """

    def make(counts: tuple[int, ...], size: int = 4, channels: int = 1) -> tuple[numpy.ndarray, numpy.ndarray]:
        labels = numpy.repeat(numpy.arange(len(counts)), counts)
        labels = numpy.random.default_rng(5).permutation(labels)
        images = (20 * labels + 5).astype(numpy.uint8)[:, None, None, None]
        return numpy.tile(images, (1, size, size, channels)), labels

    return make


@pytest.fixture
def save_npz(tmp_path: Path) -> Callable[..., str]:
    """save(**arrays) -> path of an .npz that holds them."""

    def save(**arrays: numpy.ndarray) -> str:
        path = tmp_path / "data.npz"
        numpy.savez(path, **arrays)
        return str(path)

    return save


@pytest.fixture
def class_folders(tmp_path: Path) -> Callable[..., Path]:
    """make(names, each, size, mode) -> a folder with `each` PNG files per class, 20 * class + 5 in every pixel."""

    def make(
        names: tuple[str, ...] = ("ant", "bee", "cat"),
        each: int = 4,
        size: tuple[int, int] = (8, 8),
        mode: str = "RGB",
    ) -> Path:
        folder = tmp_path / "photos"
        for index, name in enumerate(names):
            (folder / name).mkdir(parents=True)
            for number in range(each):
                value = 20 * index + 5
                colour = value if mode == "L" else (value, value, value)
                Image.new(mode, size, colour).save(folder / name / f"{number}.png")
        return folder

    return make
