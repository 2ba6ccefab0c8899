from __future__ import annotations

import itertools
import random

import numpy
import pytest
import torch

from lsa_audit.data.subset import select
from lsa_audit.errors import DataError, UsageError

LABELS = torch.tensor([0] * 50 + [1] * 7 + [2] * 30 + [9] * 2)[
    torch.randperm(89, generator=torch.Generator().manual_seed(1))
]


def counts(labels: torch.Tensor) -> list[int]:
    return sorted(torch.unique(labels, return_counts=True)[1].tolist())


def fair_counts(sizes: list[int], samples: int) -> list[int]:
    """The slow and obvious answer: give one image at a time to a smallest class that still has one."""
    given = [0] * len(sizes)
    for _ in range(samples):
        open_classes = [index for index, size in enumerate(sizes) if given[index] < size]
        given[min(open_classes, key=lambda index: given[index])] += 1
    return sorted(given)


@pytest.mark.parametrize("samples", [1, 3, 4, 8, 9, 20, 40, 60, 88])
def test_choice_is_as_equal_as_the_data_allows(samples):
    chosen = select(LABELS, samples).indices
    assert len(torch.unique(chosen)) == samples
    found = counts(LABELS[chosen])
    assert [0] * (4 - len(found)) + found == fair_counts([50, 7, 30, 2], samples)


def test_choice_is_in_the_datas_own_order():
    chosen = select(LABELS, 20).indices
    assert bool((chosen[1:] > chosen[:-1]).all())


def test_same_seed_same_choice_and_another_seed_another():
    assert torch.equal(select(LABELS, 20, seed=3).indices, select(LABELS, 20, seed=3).indices)
    assert not torch.equal(select(LABELS, 20, seed=3).indices, select(LABELS, 20, seed=4).indices)


def test_larger_choice_contains_the_smaller():
    choices = [set(select(LABELS, samples, seed=2).indices.tolist()) for samples in range(1, 90)]
    assert all(small < large for small, large in itertools.pairwise(choices))


def test_choice_neither_reads_nor_moves_the_global_generators():
    states = []
    choices = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        numpy.random.seed(seed)
        random.seed(seed)
        before = (torch.get_rng_state().tolist(), numpy.random.get_state()[1].tolist(), random.getstate())
        choices.append(select(LABELS, 20).indices)
        after = (torch.get_rng_state().tolist(), numpy.random.get_state()[1].tolist(), random.getstate())
        states.append(before == after)
    assert states == [True, True]
    assert torch.equal(*choices)


def test_every_image_of_a_class_can_be_chosen():
    labels = torch.zeros(6, dtype=torch.int64)
    assert {int(select(labels, 1, seed=seed).indices[0]) for seed in range(200)} == set(range(6))


def test_slice_comes_before_samples():
    selection = select(LABELS, 10, (20, 60))
    assert selection.indices.min() >= 20
    assert selection.indices.max() < 60
    assert selection.sentence == "10 of images 20:60 of 89, class-balanced, seed 0"


@pytest.mark.parametrize(
    ("samples", "slice_range", "size", "sentence"),
    [
        (None, None, 89, "all 89 images"),
        (89, None, 89, "all 89 images"),
        (100, None, 89, "all 89 images; 100 were asked for and there are 89"),
        (None, (0, 10), 10, "images 0:10 of 89"),
        (None, (80, None), 9, "images 80:89 of 89"),
        (None, (None, 3), 3, "images 0:3 of 89"),
        (None, (80, 100), 9, "images 80:89 of 89 (80:100 was asked for)"),
        (20, (0, 10), 10, "images 0:10 of 89; 20 were asked for and there are 10"),
    ],
)
def test_what_is_taken_is_said(samples, slice_range, size, sentence):
    selection = select(LABELS, samples, slice_range)
    assert (len(selection.indices), selection.sentence) == (size, sentence)


@pytest.mark.parametrize(
    ("samples", "slice_range", "seed", "kind", "part"),
    [
        (0, None, 0, UsageError, "--samples 0"),
        (-4, None, 0, UsageError, "--samples -4"),
        (4, None, -1, UsageError, "seed -1"),
        (None, (-5, None), 0, UsageError, "--slice -5:"),
        (None, (5, 5), 0, UsageError, "--slice 5:5"),
        (None, (5, 2), 0, UsageError, "--slice 5:2"),
        (None, (None, -1), 0, UsageError, "--slice :-1"),
        (None, (89, None), 0, DataError, "--slice 89: is empty: the data holds 89 images"),
    ],
)
def test_senseless_choices_are_refused(samples, slice_range, seed, kind, part):
    with pytest.raises(kind, match=part):
        select(LABELS, samples, slice_range, seed)


def test_empty_data_is_refused():
    with pytest.raises(DataError, match="holds no images"):
        select(torch.zeros(0, dtype=torch.int64))
