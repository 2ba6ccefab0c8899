from __future__ import annotations

from dataclasses import replace

import numpy
import pytest
import torch

from lsa_audit.data.arrays import from_arrays
from lsa_audit.data.base import DataRequest, InputSpec
from lsa_audit.data.labels import choose_labels, contiguous_classes, read_labels, shifted
from lsa_audit.errors import DataError, UsageError


@pytest.mark.parametrize(
    "values",
    [
        numpy.array([2, 0, 1], dtype="uint8"),
        numpy.array([2, 0, 1], dtype=">i8"),
        numpy.array([2.0, 0.0, 1.0]),
        numpy.array([[2], [0], [1]]),
        numpy.array([[2.0], [0.0], [1.0]], dtype="float32"),
        numpy.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
        numpy.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]]),
    ],
)
def test_labels_are_read(values):
    labels, note = read_labels(values, "data")
    assert labels.dtype == torch.int64
    assert labels.tolist() == [2, 0, 1]
    assert (note == "one-hot labels of 3 classes") == (values.shape == (3, 3))
    assert note.endswith("in one column") == (values.shape == (3, 1))


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ([0.5, 1.0], "0.5 is not a whole number"),
        ([float("nan"), 1.0], "nan is not a whole number"),
        ([float("inf"), 1.0], "inf is not a whole number"),
        ([0, -1], "-1 is not a class index"),
        ([0, 2**40], "1099511627776 is not a class index"),
        ([[[0]], [[1]]], r"shape \(2, 1, 1\)"),
        ([[0.5], [1.0]], "0.5 is not a whole number"),
        ([[0, 1], [1, 1]], "not one-hot"),
        ([[0, 0], [1, 0]], "not one-hot"),
        ([[0, 2], [1, 0]], "not one-hot"),
        ([[0.9, 0.1], [0.2, 0.8]], "not one-hot"),
        (["cat", "dog"], "of type"),
        ([1 + 2j, 0], "of type"),
        (3, r"shape \(\)"),
    ],
)
def test_other_labels_are_refused(values, part):
    with pytest.raises(DataError, match=part):
        read_labels(numpy.array(values), "data")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [([0, 1, 2, 1], 3), ([2, 1, 0], 3), ([0], 1), ([0, 2], None), ([1, 2], None), ([], None)],
)
def test_class_count_is_told_only_from_gapless_labels(labels, classes):
    assert contiguous_classes(torch.tensor(labels, dtype=torch.int64)) == classes


def dataset(labels, **request):
    images = numpy.full((len(labels), 4, 4), 200, dtype="uint8")
    return from_arrays(images, labels, InputSpec(), DataRequest(spec="memory", **request))


def test_auto_takes_the_labels_when_the_class_counts_agree():
    choice = choose_labels(dataset([0, 1, 2, 2]), 3, "auto")
    assert choice.source == "dataset"


@pytest.mark.parametrize("classes", [2, 5, 1000])
def test_auto_falls_back_on_predictions_and_names_both_counts(classes):
    choice = choose_labels(dataset([0, 1, 2, 2]), classes, "auto")
    assert choice.source == "self"
    assert "3 classes" in choice.reason
    assert f"model {classes}" in choice.reason
    assert "--labels dataset" in choice.reason


def test_auto_counts_classes_over_the_whole_source():
    choice = choose_labels(dataset([0, 1, 2, 2], slice=(2, 4)), 3, "auto")
    assert choice.source == "dataset"


def test_auto_takes_labels_with_gaps_below_the_class_count():
    assert choose_labels(dataset([3, 13, 993]), 1000, "auto").source == "dataset"


def test_auto_refuses_labels_with_gaps_above_the_class_count():
    with pytest.raises(DataError, match="label 13 of image 1 is out of range: the model has 10 classes"):
        choose_labels(dataset([3, 13, 993]), 10, "auto")


def test_auto_refuses_a_subset_that_hides_labels_out_of_range():
    with pytest.raises(DataError, match="holds label 993 outside the chosen images"):
        choose_labels(dataset([3, 4, 993], slice=(0, 2)), 10, "auto")


def test_forced_labels_are_checked():
    data = dataset([0, 1, 2, 3])
    assert choose_labels(data, 4, "dataset").source == "dataset"
    assert choose_labels(data, 9, "dataset").source == "dataset"
    with pytest.raises(DataError, match="label 2 of image 2 is out of range"):
        choose_labels(data, 2, "dataset")


def test_forced_predictions_need_no_fitting_labels():
    assert choose_labels(dataset([0, 7]), 2, "self").source == "self"


def test_unknown_mode_is_refused():
    with pytest.raises(UsageError, match="--labels model"):
        choose_labels(dataset([0, 1]), 2, "model")


def test_an_offset_shifts_labels_names_and_counts():
    named = replace(dataset([0, 1, 2, 2]), class_names=("a", "b", "c"))
    moved = shifted(named, 1)
    assert moved.labels.tolist() == [1, 2, 3, 3]
    assert (moved.classes, moved.largest_label, moved.class_names) == (4, 3, ("", "a", "b", "c"))
    assert moved.interpretation.endswith("; +1 added to the labels")
    assert choose_labels(moved, 4, "auto").source == "dataset"
    back = shifted(moved, -1)
    assert (back.labels.tolist(), back.classes, back.class_names) == ([0, 1, 2, 2], 3, ("a", "b", "c"))
    assert shifted(named, None) is named


def test_an_offset_below_the_first_class_names_the_image():
    with pytest.raises(DataError, match="label 0 of image 2 lies below 0 with --label-offset -1"):
        shifted(dataset([1, 2, 0]), -1)


@pytest.mark.parametrize("mode", ["auto", "dataset"])
def test_one_class_more_than_the_data_has_is_asked_for(mode):
    data = dataset(list(range(10)))
    with pytest.raises(
        UsageError, match=r"11 classes .* 10: label 0 can mean class 0 or, behind a background class, c"
    ):
        choose_labels(data, 11, mode)
    for offset, first in ((0, 0), (1, 1)):
        stated = shifted(data, offset)
        assert choose_labels(stated, 11, "dataset").source == "dataset"
        assert int(stated.labels[0]) == first
    assert choose_labels(data, 11, "self").source == "self"


def test_a_part_of_imagenet_and_a_model_with_1001_classes_are_asked_for():
    with pytest.raises(UsageError, match="--label-offset 0 or --label-offset 1"):
        choose_labels(dataset([3, 13, 993]), 1001, "auto")
    assert choose_labels(shifted(dataset([3, 13, 993]), 1), 1001, "auto").source == "dataset"
    assert choose_labels(dataset([3, 13, 1000]), 1001, "auto").source == "dataset"
