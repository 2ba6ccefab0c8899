"""Every mistake with data that the issue lists, and its kin: one line, the right exit code, the cause and a way out."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy
import pytest

from lsa_audit.data import from_arrays, load
from lsa_audit.data.base import DataRequest, InputSpec
from lsa_audit.data.labels import choose_labels
from lsa_audit.errors import AuditError, ExitCode

GOOD = numpy.full((4, 8, 8), 200, dtype="uint8")
LABELS = numpy.array([0, 1, 0, 1])
COLOUR = numpy.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=numpy.uint8)
FLOATS = numpy.full((4, 8, 8), 0.5)


def with_value(value: float) -> numpy.ndarray:
    images = FLOATS.copy()
    images[2, 3, 3] = value
    return images


FILES = [
    ("no pair", {"a": GOOD, "b": LABELS}, InputSpec(), "no pair of images and labels (it holds: a, b)"),
    ("half a pair", {"images": GOOD, "z": LABELS}, InputSpec(), "it holds: images, z"),
    ("two pairs", {"images": GOOD, "labels": LABELS, "x": GOOD, "y": LABELS}, InputSpec(), "several pairs"),
    ("empty archive", {}, InputSpec(), "it holds: nothing"),
    ("empty data", {"images": GOOD[:0], "labels": LABELS[:0]}, InputSpec(), "holds no images"),
    ("more labels", {"images": GOOD, "labels": numpy.arange(5)}, InputSpec(), "4 images and 5 labels"),
    ("one image", {"images": COLOUR[0], "labels": 1}, InputSpec(), "labels have shape ()"),
    ("a number", {"images": 3.0, "labels": LABELS}, InputSpec(), "images are a single value"),
    ("objects", {"images": numpy.array([None, 1]), "labels": LABELS}, InputSpec(), "holds Python objects"),
    ("0..255 floats", {"images": FLOATS * 401, "labels": LABELS}, InputSpec(), "range from 200.5 to 200.5"),
    ("normalised", {"images": with_value(-2.1), "labels": LABELS}, InputSpec(), "range from -2.1 to 0.5"),
    ("NaN", {"images": with_value(numpy.nan), "labels": LABELS}, InputSpec(), "hold NaN"),
    ("infinite", {"images": with_value(numpy.inf), "labels": LABELS}, InputSpec(), "range from 0.5 to inf"),
    ("bytes of 0 and 1", {"images": GOOD // 200, "labels": LABELS}, InputSpec(), "largest value is 1"),
    ("bool", {"images": GOOD > 3, "labels": LABELS}, InputSpec(), "of type bool"),
    ("int64", {"images": GOOD.astype(int) // 20, "labels": LABELS}, InputSpec(), "white can be 255 or 10"),
    ("text", {"images": numpy.array([["a"]] * 4), "labels": LABELS}, InputSpec(), "of type <U1"),
    ("negative label", {"images": GOOD, "labels": LABELS - 1}, InputSpec(), "label -1"),
    ("broken label", {"images": GOOD, "labels": LABELS / 2}, InputSpec(), "label 0.5 is not a whole number"),
    ("soft labels", {"images": GOOD, "labels": numpy.full((4, 2), 0.5)}, InputSpec(), "not one-hot"),
    ("rank 1", {"images": GOOD[:, 0, 0], "labels": LABELS}, InputSpec(), "1 dimensions"),
    ("rank 5", {"images": COLOUR[None].repeat(4, 0), "labels": LABELS}, InputSpec(), "5 dimensions"),
    ("no channels", {"images": COLOUR[:, :, :, [0, 1]], "labels": LABELS}, InputSpec(), "no side of 1 or 3"),
    ("two readings", {"images": COLOUR[:, :3], "labels": LABELS}, InputSpec(), "as NHWC and as NCHW"),
    ("features", {"images": GOOD[:, 0], "labels": LABELS}, InputSpec((3, 8, 8)), "vectors of 8 features"),
    ("for features", {"images": GOOD, "labels": LABELS}, InputSpec((64,)), "wants 64 features"),
    ("few features", {"images": GOOD[:, 0], "labels": LABELS}, InputSpec((9,)), "wants 9 features"),
    ("colour for gray", {"images": COLOUR, "labels": LABELS}, InputSpec((1, 8, 8)), "in colour"),
    ("4 for 3", {"images": GOOD, "labels": LABELS}, InputSpec((4, 8, 8)), "wants 4 channels and the images have 1"),
]


def check_one_line(error: AuditError, part: str) -> None:
    text = str(error)
    assert part in text
    assert "\n" not in text
    assert error.hint
    assert error.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(("arrays", "spec", "part"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_bad_arrays(arrays, spec, part, save_npz):
    path = save_npz(**arrays)
    with pytest.raises(AuditError) as caught:
        load(DataRequest(path), spec)
    check_one_line(caught.value, part)


def broken_archive() -> bytes:
    stream = io.BytesIO()
    numpy.savez_compressed(stream, images=COLOUR, labels=LABELS)
    content = bytearray(stream.getvalue())
    content[100:160] = b"\xff" * 60
    return bytes(content)


def lying_archive() -> bytes:
    """A header that promises 8 EB of images, in front of four bytes."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (8000000000000000000,), }"
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"abcd"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("images.npy", member)
        archive.writestr("labels.npy", member)
    return stream.getvalue()


def foreign_archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("images", "not an array")
        archive.writestr("labels", "not an array")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("data.npy", b"\x93NUMPY", "is not an .npz file"),
        ("data.csv", b"1,2", "is not an .npz file"),
        ("data", b"", "is not an .npz file"),
        ("data.npz", b"", "is not an .npz archive"),
        ("data.npz", pickle.dumps({"images": 1}), "is not an .npz archive"),
        ("data.npz", broken_archive(), "cannot be read"),
        ("data.npz", broken_archive()[:300], "is not an .npz archive"),
        ("data.npz", lying_archive(), "cannot be read"),
        ("data.npz", foreign_archive(), "is not an array"),
    ],
)
def test_bad_files(tmp_path, name, content, part):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AuditError) as caught:
        load(DataRequest(str(path)), InputSpec())
    check_one_line(caught.value, part)


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ("missing.npz", "'missing.npz' is neither a data set nor a file or folder"),
        ("cifar-10", "did you mean cifar10"),
        ("minst", "did you mean mnist"),
        ("zzz", "names: digits, moons, mnist"),
        ("folder", "is neither a data set"),
        ("", "is neither a data set"),
        ("a\0b", "is neither a data set"),
        ("x" * 5000, "cannot be opened"),
        ("~nobody-of-this-name/data.npz", "cannot be opened"),
    ],
)
def test_bad_names(tmp_path, monkeypatch, spec, part):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AuditError) as caught:
        load(DataRequest(spec), InputSpec())
    check_one_line(caught.value, part)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"samples": 0}, "--samples 0"),
        ({"samples": -1}, "--samples -1"),
        ({"slice": (-1, 3)}, "--slice -1:3"),
        ({"slice": (3, 3)}, "--slice 3:3"),
        ({"slice": (4, None)}, "the data holds 4 images"),
        ({"samples": 2, "seed": -7}, "seed -7"),
    ],
)
def test_bad_choices(options, part):
    with pytest.raises(AuditError) as caught:
        from_arrays(GOOD, LABELS, InputSpec(), DataRequest("memory", **options))
    check_one_line(caught.value, part)


@pytest.mark.parametrize(
    ("labels", "mode", "part"),
    [
        ([0, 5, 12, 5], "auto", "label 12 of image 2 is out of range: the model has 10 classes"),
        ([0, 1, 10, 2], "dataset", "label 10 of image 2 is out of range"),
        ([0, 1, 2, 2], "both", "--labels both"),
    ],
)
def test_labels_out_of_range(labels, mode, part):
    data = from_arrays(GOOD, labels, InputSpec())
    with pytest.raises(AuditError) as caught:
        choose_labels(data, 10, mode)
    check_one_line(caught.value, part)
