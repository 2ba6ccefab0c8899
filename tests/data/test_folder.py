from __future__ import annotations

import csv

import numpy
import pytest
import torch
from PIL import Image

from lsa_audit.data import folder, photos
from lsa_audit.data.base import DataRequest, InputSpec
from lsa_audit.errors import DataError


def load(path, spec=None, **request):
    return folder.load(DataRequest(str(path), **request), spec or InputSpec())


def write_list(path, text):
    (path / "labels.csv").write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def flat(tmp_path):
    """Ten images `0.png` .. `9.png`; image i has 20 * (i % 3) + 5 in every pixel."""
    for index in range(10):
        Image.new("RGB", (8, 8), (20 * (index % 3) + 5,) * 3).save(tmp_path / f"{index}.png")
    return tmp_path


@pytest.mark.parametrize(("samples", "chosen"), [(None, None), (7, None), (None, (2, 9)), (4, (2, 11))])
def test_class_folders_keep_labels_with_images(class_folders, samples, chosen):
    data = load(class_folders(), samples=samples, slice=chosen)
    assert torch.equal(data.pixels.flatten(1).float().mean(1).long() // 20, data.labels)
    assert [data.class_names[label] for label in data.labels] == [name.split("/")[0] for name in data.image_ids]
    assert (data.name, data.source, data.total, data.classes) == ("photos", "folder", 12, 3)
    assert list(data.image_ids) == sorted(data.image_ids)


def test_hidden_folders_are_no_classes_and_other_files_are_counted(class_folders):
    path = class_folders()
    (path / ".cache").mkdir()
    (path / "bee" / "notes.txt").write_text("x")
    (path / "bee" / ".hidden.png").write_text("x")
    data = load(path)
    assert data.class_names == ("ant", "bee", "cat")
    assert data.interpretation == "3 class folders, labels by sorted name; other files ignored: 1"


def test_wordnet_folders_get_imagenet_positions(class_folders):
    data = load(class_folders(("n01440764", "n01491361", "n15075141"), each=1))
    assert data.labels.tolist() == [0, 3, 999]
    assert data.classes == 1000


def test_wordnet_folders_outside_imagenet_count_from_0(class_folders):
    data = load(class_folders(("n00000001", "n01491361"), each=1))
    assert data.labels.tolist() == [0, 1]
    assert data.classes == 2


@pytest.mark.parametrize(
    "header", ["file,label", "label,file", "weight,label,note,file", "\ufefffile,label", " file , label "]
)
@pytest.mark.parametrize(("samples", "chosen"), [(None, None), (5, None), (3, (2, 9))])
def test_list_keeps_labels_with_images(flat, header, samples, chosen):
    columns = [column.strip().lstrip("\ufeff") for column in header.split(",")]
    rows = [
        {"file": f"{index}.png", "label": index % 3, "weight": 0.5, "note": "a b"}
        for index in (4, 9, 0, 1, 8, 3, 2, 5, 7, 6)
    ]
    lines = [",".join(str(row[column]) for column in columns) for row in rows]
    data = load(write_list(flat, "\n".join([header, *lines])), samples=samples, slice=chosen)
    assert torch.equal(data.pixels.flatten(1).float().mean(1).long() // 20, data.labels)
    listed = [row["file"] for row in rows]
    assert list(data.image_ids) == [name for name in listed if name in data.image_ids]
    assert (data.total, data.classes) == (10, 3)


def test_list_may_name_subfolders_and_quoted_names(flat):
    (flat / "sub, folder").mkdir()
    (flat / "0.png").rename(flat / "sub, folder" / "0.png")
    data = load(write_list(flat, 'file,label\n"sub, folder/0.png",0\n1.png,1\n'))
    assert data.image_ids == ("sub, folder/0.png", "1.png")


def test_only_chosen_images_are_opened(flat, monkeypatch):
    for index in range(5, 10):
        (flat / f"{index}.png").write_bytes(b"damaged")
    write_list(flat, "file,label\n" + "".join(f"{index}.png,{index % 3}\n" for index in range(10)))
    opened = set()
    original = photos._open
    monkeypatch.setattr(photos, "_open", lambda path, name: opened.add(name) or original(path, name))
    assert len(load(flat, slice=(0, 5), samples=3)) == 3
    assert len(opened) == 3
    with pytest.raises(DataError, match=r"image 5.png .* cannot be read"):
        load(flat)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", r"no clear column file \(its first line: nothing\)"),
        ("name,label\n0.png,0\n", r"no clear column file \(its first line: name, label\)"),
        ("file;label\n0.png;0\n", "no clear column file"),
        ("file,class\n0.png,0\n", r"no clear column imagenet_index .* must name file and label"),
        ("file,label,label\n0.png,0,0\n", "no clear column label"),
        ("file,label\n", "holds no images"),
        ("file,label\n0.png,cat\n", "line 2: label 'cat' is not a class index"),
        ("file,label\n0.png,-1\n", "line 2: label '-1'"),
        ("file,label\n0.png,1.0\n", "line 2: label '1.0'"),
        ("file,label\n0.png\n", "line 2: label ''"),
        ("file,label\n0.png," + "9" * 5000, "is not a class index"),
        ("file,label\n0.png,99999999999\n", "99999999999 is not a class index"),
        ("file,label\n,0\n", "line 2 names no file"),
        ("file,label\n../secret.png,0\n", "line 2: ../secret.png leads outside the folder"),
        ("file,label\n/etc/passwd,0\n", "leads outside the folder"),
        ("file,label\na/../../b.png,0\n", "leads outside the folder"),
        ("file,label\nout/x.png,0\n", "leads outside the folder"),
        ("file,label\n0.png,0\n0.png,1\n", "names 0.png more than once"),
        ("file,label\n77.png,0\n", "image 77.png does not exist"),
        ("file,imagenet_index\n0.png,1000\n", "imagenet_index 1000 is above 999"),
        ("file,label\n0.p\0ng,0\n", "labels.csv"),
    ],
)
def test_bad_lists_are_refused(flat, tmp_path_factory, text, part):
    (flat / "out").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(DataError, match=part) as caught:
        load(write_list(flat, text))
    assert "\n" not in str(caught.value)


def test_list_in_another_encoding_is_refused(flat):
    (flat / "labels.csv").write_bytes("file,label\nä.png,0\n".encode("latin-1"))
    with pytest.raises(DataError, match="not a readable CSV file"):
        load(flat)


def test_folder_of_folders_of_classes_is_refused(class_folders):
    path = class_folders()
    with pytest.raises(DataError, match=r"class folder photos .* holds no images.*val or test folder"):
        load(path.parent)


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"neither class folders nor labels\.csv"):
        load(tmp_path)


@pytest.mark.realdata
def test_imagenet_photos(shared):
    path = shared / "data/imagenet_photos"
    with (path / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    data = load(path, InputSpec(shape=(3, 224, 224), crop_share=0.875))
    assert data.image_ids == tuple(row["file"] for row in rows)
    assert data.labels.tolist() == [int(row["imagenet_index"]) for row in rows]
    assert data.classes == 1000
    assert data.transforms == ("short side to 256 (bicubic), centre crop 224x224",)
    for index in (0, 50, 99):
        photo = Image.open(path / rows[index]["file"]).convert("RGB")
        short = min(photo.size)
        photo = photo.resize([int(256 * side / short) for side in photo.size], Image.Resampling.BICUBIC)
        left, top = round((photo.width - 224) / 2), round((photo.height - 224) / 2)
        expected = numpy.array(photo.crop((left, top, left + 224, top + 224)))
        assert numpy.array_equal(data.pixels[index].permute(1, 2, 0).numpy(), expected)
