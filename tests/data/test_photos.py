from __future__ import annotations

import os
import socket

import numpy
import pytest
import torch
from PIL import Image

from lsa_audit.data.base import InputSpec
from lsa_audit.data.photos import FORMATS, read_photos
from lsa_audit.errors import DataError


def save(folder, name, mode="RGB", size=(8, 6), colour=None, **options):
    colour = colour if colour is not None else {"L": 90, "1": 1, "P": 3, "I;16": 9000}.get(mode, (90,) * len(mode))
    Image.new(mode, size, colour).save(folder / name, **options)
    return name


def test_pixels_are_those_of_the_file(tmp_path):
    pixels = numpy.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=numpy.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    result, done = read_photos(tmp_path, ["a.png"], InputSpec())
    assert torch.equal(result[0], torch.from_numpy(pixels).permute(2, 0, 1))
    assert done == ()


def test_order_of_the_names_is_the_order_of_the_images(tmp_path):
    names = [save(tmp_path, f"{index}.png", colour=(index, 0, 0)) for index in range(30)]
    result, _ = read_photos(tmp_path, names[::-1], InputSpec())
    assert result[:, 0, 0, 0].tolist() == list(range(30))[::-1]


def test_gray_files_give_gray_unless_colour_is_wanted(tmp_path):
    names = [save(tmp_path, "a.png", "L"), save(tmp_path, "b.png", "L")]
    assert read_photos(tmp_path, names, InputSpec())[0].shape == (2, 1, 6, 8)
    result, done = read_photos(tmp_path, names, InputSpec(channels=3))
    assert result.shape == (2, 3, 6, 8)
    assert done == ("gray to RGB (the channel repeated)",)


def test_gray_among_colour_is_counted(tmp_path):
    names = [save(tmp_path, "a.png", "L"), save(tmp_path, "b.png"), save(tmp_path, "c.png")]
    result, done = read_photos(tmp_path, names, InputSpec())
    assert result.shape == (3, 3, 6, 8)
    assert done == ("gray to RGB (the channel repeated) for 1 of 3 images",)


def test_other_modes_are_named(tmp_path):
    names = [save(tmp_path, "a.png", "RGBA"), save(tmp_path, "b.jpg", "CMYK"), save(tmp_path, "c.png")]
    _, done = read_photos(tmp_path, names, InputSpec())
    assert done == ("CMYK to RGB for 1 of 3 images", "RGBA to RGB for 1 of 3 images")


def test_equal_channels_are_gray_and_colour_is_not(tmp_path):
    gray = save(tmp_path, "a.png", colour=(7, 7, 7))
    result, done = read_photos(tmp_path, [gray], InputSpec(shape=(1, 6, 6)))
    assert bool((result == 7).all())
    assert done[0] == "RGB to gray (its three channels are equal)"
    colour = save(tmp_path, "b.png", colour=(7, 7, 8))
    with pytest.raises(DataError, match=r"wants gray images and b\.png is in colour"):
        read_photos(tmp_path, [gray, colour], InputSpec(shape=(1, 6, 6)))


def test_fitting_images_are_not_said_to_be_changed(tmp_path):
    name = save(tmp_path, "a.png")
    assert read_photos(tmp_path, [name], InputSpec(shape=(3, 6, 8)))[1] == ()
    changed = read_photos(tmp_path, [name], InputSpec(shape=(3, 4, 4)))[1]
    assert changed == ("short side to 4 (bicubic), centre crop 4x4",)


@pytest.mark.parametrize("suffix", ["bmp", "jpg", "png", "ppm", "tif", "webp"])
def test_formats_that_are_read(tmp_path, suffix):
    result, _ = read_photos(tmp_path, [save(tmp_path, f"a.{suffix}")], InputSpec())
    assert (result.int() - 90).abs().max() <= 3


def test_parsers_that_start_programs_are_never_tried(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    with pytest.raises(DataError, match=r"a.jpg .* not an image of a known format"):
        read_photos(tmp_path, ["a.jpg"], InputSpec())
    assert "EPS" not in FORMATS


def test_truncated_file_is_named(tmp_path):
    save(tmp_path, "a.jpg", size=(200, 200))
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"image b.jpg .* cannot be read"):
        read_photos(tmp_path, ["a.jpg", "b.jpg"], InputSpec())


def test_sixteen_bits_are_refused_not_clipped(tmp_path):
    with pytest.raises(DataError, match="has mode I"):
        read_photos(tmp_path, [save(tmp_path, "a.png", "I;16")], InputSpec())


def test_huge_images_are_refused(tmp_path, monkeypatch):
    name = save(tmp_path, "a.png", size=(100, 100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with pytest.raises(DataError, match=r"a.png .* cannot be read"):
        read_photos(tmp_path, [name], InputSpec())


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        (InputSpec(), "differ in size: a.png is 8x6 and b.png is 9x9; give --input-size"),
        (InputSpec(shape=(4, 8, 8)), "wants 4 channels and image files have 1 or 3"),
        (InputSpec(shape=(7,)), "wants 7 features"),
        (InputSpec(shape=(3, 8, 8), interpolation="random"), "interpolation 'random'"),
    ],
)
def test_mismatches_are_refused(tmp_path, spec, part):
    names = [save(tmp_path, "a.png"), save(tmp_path, "b.png", size=(9, 9))]
    with pytest.raises(DataError, match=part):
        read_photos(tmp_path, names, spec)


def turned_files(folder, suffix):
    """One picture for each rotation mark, stored so that all look alike once the mark is applied."""
    upright = numpy.zeros((6, 8, 3), dtype=numpy.uint8)
    upright[:3, :4] = 200
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: numpy.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: numpy.rot90(upright, -1),
    }
    for mark, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = mark
        options = {} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
        Image.fromarray(numpy.ascontiguousarray(pixels)).save(folder / f"{mark}.{suffix}", exif=exif, **options)
    return upright, [f"{mark}.{suffix}" for mark in stored]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_rotation_marks_are_applied_and_said(tmp_path, suffix):
    upright, names = turned_files(tmp_path, suffix)
    result, done = read_photos(tmp_path, names, InputSpec())
    wanted = torch.from_numpy(upright).permute(2, 0, 1).int()
    assert done == ("EXIF rotation applied to 7 of 8 images",)
    assert int((result.int() - wanted).abs().max()) <= (40 if suffix == "jpg" else 0)


@pytest.mark.parametrize("value", [0, 9, 600])
def test_marks_that_say_nothing_change_nothing(tmp_path, value):
    exif = Image.Exif()
    exif[0x0112] = value
    Image.new("RGB", (8, 6), (9, 9, 9)).save(tmp_path / "a.png", exif=exif)
    result, done = read_photos(tmp_path, ["a.png"], InputSpec())
    assert (tuple(result.shape), done) == ((1, 3, 6, 8), ())


def test_a_damaged_exif_block_spoils_nothing(tmp_path):
    Image.new("RGB", (8, 6), (9, 9, 9)).save(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff\xff\xff")
    assert read_photos(tmp_path, ["a.jpg"], InputSpec())[0].shape == (1, 3, 6, 8)


@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "folder", "loop"])
def test_what_is_no_file_is_not_opened(tmp_path, kind):
    path = tmp_path / "a.png"
    make = {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "socket": lambda: socket.socket(socket.AF_UNIX).bind(str(path)),
        "folder": path.mkdir,
        "loop": lambda: path.symlink_to(path),
    }
    make[kind]()
    with pytest.raises(DataError, match=r"image a.png in .* (is no file|cannot be read: .*symbolic links)"):
        read_photos(tmp_path, ["a.png"], InputSpec())
