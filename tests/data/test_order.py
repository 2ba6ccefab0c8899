"""Class names become the model's classes in the one order that is possible, or in the one that is stated."""

from __future__ import annotations

import json
import os

import numpy
import pytest
import torch

from lsa_audit.data import from_arrays
from lsa_audit.data.base import DataRequest, InputSpec, Naming, remarks
from lsa_audit.data.labels import choose_labels
from lsa_audit.data.names import class_numbers, places_in, read_names
from lsa_audit.data.order import settle
from lsa_audit.data.source import Source, assemble
from lsa_audit.errors import AuditError, DataError, UsageError


def named(names, folders=True):
    """One image for each name, in the order given; its only pixel is the place of the name in that order."""
    listed = tuple(sorted(names))
    labels = torch.tensor([listed.index(name) for name in names])
    source = Source(
        name="things",
        loader="folder",
        interpretation=f"{len(names)} class folders",
        labels=labels,
        image_ids=[str(index) for index in range(len(names))],
        read=lambda indices: (torch.zeros(len(indices), 1, 1, 1), ()),
        classes=len(names),
        class_names=listed,
        naming=Naming(listed, "things", folders=folders),
    )
    return assemble(source, DataRequest("things"))


def labels_of(names, classes, folders=True, **choice):
    return settle(named(names, folders), classes, **choice).labels.tolist()


COUNTED = [str(number) for number in range(12)]
SYNSETS = ["n01440764", "n01443537", "n01484850"]


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (COUNTED, 12),
        (COUNTED, 20),
        ([f"class{number}" for number in range(12)], 12),
        ([f"{number}_thing" for number in range(12)], 12),
        ([str(number) for number in range(1, 11)], 10),
        (["zero", "one", "two", "three"], 4),
        (["3", "5"], 10),
        (["003", "005", "010"], 1000),
    ],
)
def test_two_readings_are_named_and_none_is_taken(names, classes):
    with pytest.raises(UsageError, match=r"can be read .* or .*--class-order numeric or --class-order text") as caught:
        settle(named(names), classes)
    assert "\n" not in str(caught.value)
    assert labels_of(names, classes, order="text") == [sorted(names).index(name) for name in names]
    assert settle(named(names), classes, mode="self").labels.tolist() == [sorted(names).index(name) for name in names]


def test_by_number_they_count_as_the_names_say():
    assert labels_of(COUNTED, 12, order="numeric") == list(range(12))
    assert labels_of([f"class{number}" for number in range(12)], 12, order="numeric") == list(range(12))
    assert labels_of([str(number) for number in range(1, 11)], 10, order="numeric") == list(range(10))
    assert labels_of(["zero", "one", "two", "three"], 4, order="numeric") == [0, 1, 2, 3]


def test_fewer_numbers_than_classes_are_the_models_class_numbers():
    data = settle(named(["3", "5"]), 10, order="numeric")
    assert data.labels.tolist() == [3, 5]
    assert choose_labels(data, 10, "auto").source == "dataset"
    assert labels_of(["11", "12"], 10, order="numeric") == [0, 1]


@pytest.mark.parametrize(
    "names",
    [
        ["ant", "bee", "cat"],
        ["00", "01", "02"],
        [f"{number:02}" for number in range(1, 11)],
        [str(number) for number in range(10)],
        ["DC-10", "DC-3", "A310"],
        ["Zebra", "ape"],
        ["1", "01", "2"],
    ],
)
def test_one_reading_is_taken_as_every_loader_does(names):
    data = settle(named(names), len(names))
    assert data.labels.tolist() == [sorted(names).index(name) for name in names]
    assert data.class_names == tuple(sorted(names))
    assert data.interpretation == f"{len(names)} class folders, labels by sorted name"
    assert (remarks(data), data.naming) == ((), None)
    assert choose_labels(data, len(names), "auto").source == "dataset"


def test_a_subset_of_the_classes_is_never_counted_from_0_in_silence():
    names = ["ant", "bee", "cat"]
    data = settle(named(names), 10)
    told = choose_labels(data, 10, "auto")
    assert told.source == "self"
    assert "3 classes and the model 10" in told.reason
    assert "--class-order FILE" in told.reason
    with pytest.raises(UsageError, match=r"3 classes .* and the model 10: which ones is not known; give --class-order"):
        settle(named(names), 10, mode="dataset")
    counted = settle(named(names), 10, order="text")
    assert choose_labels(counted, 10, "auto").source == "dataset"


def test_wordnet_ids_count_by_what_the_model_has():
    places = settle(named(SYNSETS), 1000)
    assert places.labels.tolist() == [0, 1, 2]
    few = settle(named(["n01440764", "n01491361", "n15075141"]), 1000)
    assert (few.labels.tolist(), few.classes, few.class_names) == ([0, 3, 999], 1000, ())
    assert remarks(few) == ("labels are the positions of WordNet ids in imagenet-1k",)
    assert labels_of(["n01440764", "n01491361", "n15075141"], 3) == [0, 1, 2]
    assert choose_labels(settle(named(SYNSETS), 10), 10, "auto").source == "self"
    assert settle(named(["n01440764", "n01491361"]), 1001).classes == 1000
    with pytest.raises(UsageError, match="no WordNet ids of a 7-class ImageNet set"):
        settle(named(SYNSETS), 7, order="wnid")


def test_all_of_imagenet_counts_as_sorted():
    from timm.data.imagenet_info import ImageNetInfo

    ids = sorted(ImageNetInfo("imagenet-1k").label_names())
    assert labels_of(ids, 1000) == list(range(1000))


FILES = {
    "names.txt": "cat\nant\n\nBlack bee\n",
    "windows.txt": "\ufeffcat\r\nant\r\nblack_bee\r\n",
    "list.json": '["cat", "ant", "black-bee"]',
    "index.json": '{"1": "ant", "0": "cat", "2": "black bee"}',
    "to_index.json": '{"ant": 1, "cat": 0, "black bee": 2}',
    "inner.json": '{"class_names": ["cat", "ant", "black bee"]}',
    "pairs.json": '{"0": ["cat", "x"], "1": ["ant", "y"], "2": ["black bee", "z"]}',
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_gives_the_models_order(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FILES[name].encode())
    data = settle(named(["ant", "black_bee", "cat"]), 3, order=str(path))
    assert data.labels.tolist() == [1, 2, 0]
    assert remarks(data) == (f"labels by the order of {name}",)
    subset = settle(named(["cat", "black_bee"]), 3, order=str(path))
    assert subset.labels.tolist() == [0, 2]
    assert choose_labels(subset, 3, "auto").source == "dataset"


def test_lines_may_begin_with_a_wordnet_id(tmp_path):
    path = tmp_path / "synsets.txt"
    path.write_text("n01484850 great white shark\nn01440764 tench, Tinca tinca\n")
    assert labels_of(["n01440764", "n01484850"], 2, order=str(path)) == [1, 0]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("ant\nbee\n", "names 2 classes, and the model has 3"),
        ("ant\nbee\ndog\n", "does not name 'cat' of things"),
        ("ant\nbee\nant\n", "names 'ant' twice"),
        ("", "names no class"),
        ("{", "is not JSON"),
        ("[1, 2, 3]", "other things than names"),
        ('{"0": "ant", "2": "bee", "3": "cat"}', "without a gap"),
        ('{"class_names": 3}', "other things than names"),
        ("[" * 100_000, "is not JSON"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"a\n" * 3_000_000, "is larger than"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, content, part):
    path = tmp_path / "names.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AuditError, match=part) as caught:
        settle(named(["ant", "bee", "cat"]), 3, order=str(path))
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_no_file_is_no_order():
    with pytest.raises(DataError, match="--class-order nmeric is no file; use numeric, text, wnid, or a file"):
        settle(named(["ant", "bee"]), 2, order="nmeric")
    with pytest.raises(UsageError, match="hold no class numbers"):
        settle(named(["ant", "bee"]), 2, order="numeric")


def test_the_models_own_names_settle_it():
    words = ("zero", "one", "two", "three")
    data = settle(named(sorted(words)), 4, model_names=words)
    assert [words[label] for label in data.labels] == sorted(words)
    assert remarks(data) == ("labels by the model's own class names",)
    assert labels_of(["ant", "bee"], 2, model_names=("LABEL_0", "LABEL_1")) == [0, 1]
    assert labels_of(sorted(words), 4, model_names=words, order="text") == [0, 1, 2, 3]


def arrays(labels):
    return from_arrays(numpy.full((len(labels), 4, 4), 200, dtype="uint8"), labels, InputSpec())


def test_labels_that_are_names_need_an_order(tmp_path):
    data = arrays(numpy.array(["dog", "cat", "dog"]))
    with pytest.raises(UsageError, match=r"labels are names \(cat, dog\).*--class-order FILE.*--class-order text"):
        settle(data, 2)
    with pytest.raises(DataError, match="not settled"):
        choose_labels(data, 2, "auto")
    assert settle(data, 2, order="text").labels.tolist() == [1, 0, 1]
    path = tmp_path / "names.json"
    path.write_text(json.dumps(["dog", "cat"]))
    assert settle(data, 2, order=str(path)).labels.tolist() == [0, 1, 0]
    assert settle(arrays(numpy.array([[b"dog"], [b"cat"]])), 2, order="text").labels.tolist() == [1, 0]


def test_labels_that_are_numbers_have_one():
    data = arrays(numpy.array(["10", "2", "0"]))
    assert (data.labels.tolist(), data.naming) == ([10, 2, 0], None)
    assert settle(data, 11).labels.tolist() == [10, 2, 0]
    with pytest.raises(UsageError, match="the labels of memory are numbers; leave --class-order out"):
        settle(data, 11, order="text")


def test_only_names_that_number_something_are_numbers():
    assert class_numbers(["1", "01"]) is None
    assert class_numbers(["a1", "b2"]) is None
    assert class_numbers(["9" * 400]) is None
    assert class_numbers(["\u0661", "\u0662"]) is None


def test_names_are_compared_loosely_only_where_that_is_clear():
    assert places_in(("Black Bee", "ant"), ("black_bee", "ANT")) == (0, 1)
    assert places_in(("a b", "a_b"), ("A B",)) is None
    assert places_in(("ant",), ("ant", "bee")) is None


def test_a_pipe_is_no_list(tmp_path):
    os.mkfifo(tmp_path / "names")
    with pytest.raises(DataError, match="is no file"):
        read_names(tmp_path / "names", ())
