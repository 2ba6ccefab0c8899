from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from lsa_audit.data import folder, photos
from lsa_audit.data.base import DataRequest, InputSpec
from lsa_audit.data.order import settle
from lsa_audit.errors import DataError, UsageError


def load(path, spec=None, classes=None, **request):
    """Settled for a model of that many classes; None: as many as there are."""
    found = folder.load(DataRequest(str(path), **request), spec or InputSpec())
    return settle(found, classes or found.classes or 1000, order=request.get("class_order"))


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
    data = load(class_folders(("n01440764", "n01491361", "n15075141"), each=1), classes=1000)
    assert data.labels.tolist() == [0, 3, 999]
    assert data.classes == 1000
    assert data.interpretation == "3 class folders, labels are the positions of WordNet ids in imagenet-1k"


def test_wordnet_folders_outside_imagenet_count_from_0(class_folders):
    data = load(class_folders(("n00000001", "n01491361"), each=1), classes=2)
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
        ("file,label\n0.png,cat\n1.png,2\n", "line 2: label 'cat' is not a class index"),
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
    with pytest.raises(DataError, match=r"can be its folders \(photos\) or those inside photos \(ant, bee, cat"):
        load(path.parent)


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"neither class folders nor labels\.csv"):
        load(tmp_path)


def test_images_below_class_folders_are_found_as_torchvision_finds_them(class_folders):
    datasets = pytest.importorskip("torchvision.datasets")
    path = class_folders()
    for place in ("ant/more", "ant/more/deeper", "cat/a"):
        (path / place).mkdir()
        (path / place / "9.png").write_bytes((path / place[:3] / "0.png").read_bytes())
    data = load(path)
    expected = datasets.ImageFolder(str(path))
    assert list(data.image_ids) == [str(Path(name).relative_to(path)) for name, _ in expected.samples]
    assert data.labels.tolist() == expected.targets
    assert (data.total, data.class_names) == (15, tuple(expected.classes))


def test_what_programs_leave_is_no_class(class_folders):
    path = class_folders()
    for name in (
        "__pycache__",
        ".ipynb_checkpoints",
        "__MACOSX",
        "@eaDir",
        "bee/.ipynb_checkpoints",
        "bee/__pycache__",
    ):
        (path / name).mkdir()
        (path / name / "0.png").write_bytes((path / "ant" / "0.png").read_bytes())
    for name in (".DS_Store", "bee/.DS_Store", "Thumbs.db"):
        (path / name).write_text("x")
    (path / "loose.png").write_bytes((path / "ant" / "0.png").read_bytes())
    data = load(path)
    assert (data.class_names, data.total) == (("ant", "bee", "cat"), 12)
    assert data.interpretation == (
        "3 class folders, labels by sorted name; images outside the class folders ignored: 1"
    )


def test_an_empty_class_folder_is_named(class_folders):
    path = class_folders()
    (path / "bat").mkdir()
    with pytest.raises(DataError, match=r"class folder bat in .* holds no images"):
        load(path)


def test_circles_of_links_end(class_folders):
    path = class_folders()
    (path / "ant" / "again").symlink_to(path / "ant")
    assert load(path).total == 12


def test_pipes_are_no_images(class_folders):
    path = class_folders()
    os.mkfifo(path / "ant" / "pipe.png")
    data = load(path)
    assert data.total == 12
    write_list(path, "file,label\nant/pipe.png,0\n")
    with pytest.raises(DataError, match=r"image ant/pipe\.png .* is no file"):
        load(path)


@pytest.mark.parametrize("names", [("train", "val"), ("Test", "Train"), ("ant", "bee")])
def test_parts_of_a_data_set_are_not_taken_for_classes(tmp_path, names):
    for name in names:
        for inner in ("x", "y"):
            (tmp_path / name / inner).mkdir(parents=True)
            Image.new("L", (4, 4)).save(tmp_path / name / inner / "0.png")
    with pytest.raises(
        DataError, match=rf"can be its folders \({names[0]}, {names[1]}\) or those inside {names[0]} \(x, y"
    ):
        load(tmp_path)
    assert load(tmp_path, class_order="text").class_names == names
    assert load(tmp_path / names[0]).class_names == ("x", "y")


def test_one_subfolder_in_each_class_is_no_doubt(tmp_path):
    for name in ("n1", "n2"):
        (tmp_path / name / "images").mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / name / "images" / "0.png")
    assert load(tmp_path).image_ids == ("n1/images/0.png", "n2/images/0.png")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("header", ["file,label", ""])
def test_lists_from_windows_and_without_a_header_are_read(flat, end, start, header):
    (flat / "sub").mkdir()
    (flat / "0.png").rename(flat / "sub" / "0.png")
    lines = [*([header] if header else []), "sub\\0.png,2", "1.png,1", ""]
    (flat / "labels.csv").write_bytes((start + end.join(lines)).encode())
    data = load(flat)
    assert (data.image_ids, data.labels.tolist()) == (("sub/0.png", "1.png"), [2, 1])


def test_windows_paths_stay_inside(flat):
    for text in ("..\\secret.png", "C:\\0.png", "sub\\..\\..\\0.png"):
        with pytest.raises(DataError, match=r"leads outside|does not exist"):
            load(write_list(flat, f"file,label\n{text},0\n"))


def test_a_backslash_may_be_a_part_of_a_name(flat):
    (flat / "0.png").rename(flat / "a\\b.png")
    assert load(write_list(flat, "file,label\na\\b.png,0\n")).image_ids == ("a\\b.png",)


def test_names_in_a_list_need_an_order(flat):
    write_list(flat, "file,label\n0.png,dog\n1.png,cat\n")
    with pytest.raises(UsageError, match=r"labels are names \(cat, dog\)"):
        load(flat)
    assert load(flat, class_order="text").labels.tolist() == [1, 0]


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
