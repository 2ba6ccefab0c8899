"""Images that the scan did not use, in two parts."""

from __future__ import annotations

import pytest
import torch

from lsa_audit.data.base import Dataset, describe
from lsa_audit.data.held_out import is_same_data, split, wanted
from lsa_audit.errors import UsageError


def dataset(count, name="data", total=None):
    return Dataset(
        name=name,
        source="arrays",
        interpretation="",
        selection="",
        transforms=(),
        pixels=torch.arange(count).view(-1, 1).float() / max(count, 1),
        labels=torch.arange(count) % 4,
        image_ids=tuple(str(place) for place in range(count)),
        total=total or count,
        classes=4,
        class_names=(),
        largest_label=3,
    )


def test_the_parts_are_disjoint_balanced_and_leave_out_what_was_used():
    whole = dataset(200)
    used = [str(place) for place in range(0, 80)]
    first, second = split(whole, used, None, seed=3)
    assert (len(first), len(second)) == (40, 80)
    names = [*first.image_ids, *second.image_ids]
    assert len(set(names)) == 120
    assert not set(names) & set(used)
    assert torch.bincount(first.labels).tolist() == [10] * 4
    assert torch.bincount(second.labels).tolist() == [20] * 4
    for part in (first, second):
        places = torch.tensor([int(name) for name in part.image_ids])
        assert torch.equal(part.labels, whole.labels[places])
        assert torch.equal(part.pixels, whole.pixels[places])


@pytest.mark.parametrize(
    ("count", "samples", "sizes"),
    [(5000, None, (300, 1000)), (5000, 90, (30, 60)), (5000, 3000, (300, 2700)), (7, None, (2, 5)), (3, None, (1, 2))],
)
def test_sizes(count, samples, sizes):
    first, second = split(dataset(count), (), samples, seed=0)
    assert (len(first), len(second)) == sizes


def test_another_seed_takes_other_images():
    one, other = (split(dataset(200), (), None, seed)[0].image_ids for seed in (0, 1))
    assert one != other
    assert one == split(dataset(200), (), None, 0)[0].image_ids


def test_too_few_are_left():
    used = [str(place) for place in range(8)]
    with pytest.raises(UsageError, match="all but 2 of the 10 images"):
        split(dataset(10), used, None, seed=0)


def test_enough_is_loaded_whatever_the_scan_used():
    assert wanted(200, None) == 1500
    assert wanted(200, 90) == 290


def test_the_same_data_is_known_wherever_it_lies():
    scanned, used = describe(dataset(10)), [str(place) for place in range(10)]
    assert is_same_data(dataset(5, total=10), scanned, used)
    assert is_same_data(dataset(10, name="a copy"), scanned, used)
    assert not is_same_data(dataset(10, name="a copy"), scanned, used[:9])
    assert not is_same_data(dataset(5, name="others", total=10), scanned, used)


def test_data_that_have_grown_are_the_same_and_smaller_ones_are_not():
    scanned, used = describe(dataset(10)), [str(place) for place in range(10)]
    assert is_same_data(dataset(12), scanned, used)
    assert not is_same_data(dataset(8), scanned, used)
