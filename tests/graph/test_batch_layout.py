"""Where the images lie in a value."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lsa_audit.graph.base import Layout, split_batch
from lsa_audit.graph.batch_layout import find_layout, per_image_shape, probe_images, same


def value_of(order: list[int], layout: Layout, dims: int, repeats: int) -> Tensor:
    """[..., outer * N * inner, ...] whose entries say which image they belong to and where in it they are."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((4, layout.batch_outer, repeats, *([2] * dims)), generator=generator)
    chosen = images[order].movedim(0, 1).flatten(0, 2)
    return chosen.movedim(0, layout.batch_dim)


@pytest.mark.parametrize(
    ("layout", "repeats", "dims"),
    [
        (Layout(0), 1, 2),
        (Layout(1), 1, 2),
        (Layout(2), 1, 2),
        (Layout(0), 6, 2),
        (Layout(0, 6), 1, 1),
        (Layout(1, 2), 3, 2),
    ],
)
def test_a_layout_is_found(layout: Layout, repeats: int, dims: int):
    pair, triple = value_of([0, 1], layout, dims, repeats), value_of([2, 1, 0], layout, dims, repeats)
    assert find_layout(pair, triple) == layout
    assert torch.equal(split_batch(pair, layout, 2).select(layout.batch_dim + 1, 1).flatten(),
                       split_batch(triple, layout, 3).select(layout.batch_dim + 1, 1).flatten())  # fmt: skip


def test_a_value_whose_images_mix_has_no_layout():
    pair, triple = value_of([0, 1], Layout(0), 2, 1), value_of([2, 1, 0], Layout(0), 2, 1)
    assert find_layout(pair - pair.mean(0), triple - triple.mean(0)) is None


def test_a_value_of_which_only_the_first_image_stays_has_no_layout():
    pair, triple = value_of([0, 1], Layout(0), 2, 1), value_of([2, 3, 0], Layout(0), 2, 1)
    assert find_layout(pair, triple) is None


@pytest.mark.parametrize(
    ("pair", "triple"),
    [([1, 0], [0, 1, 2]), ([1, 0], [0, 2, 1]), ([0, 0], [2, 2, 2]), ([1, 1], [0, 0, 0])],
    ids=["reversed", "rolled", "the first", "the last"],
)
def test_a_value_whose_images_change_places_has_no_layout(pair: list[int], triple: list[int]):
    assert find_layout(value_of(pair, Layout(0), 2, 1), value_of(triple, Layout(0), 2, 1)) is None


@pytest.mark.parametrize(
    ("pair", "triple", "shape"),
    [
        ((2, 5), (3, 5), (5,)),
        ((8, 5), (12, 5), (4, 5)),
        ((7, 2, 5), (7, 3, 5), (7, 5)),
        ((2, 2), (3, 3), None),
        ((5,), (5,), None),
        ((5,), (6,), None),
        ((2,), (3, 1), None),
    ],
)
def test_the_shape_of_one_image(pair: tuple[int, ...], triple: tuple[int, ...], shape: tuple[int, ...] | None):
    assert per_image_shape(pair, triple) == shape


def test_equal_images_are_made_different_and_stay_images():
    image = torch.zeros(1, 3, 4, 4)
    probes = probe_images(image.expand(5, -1, -1, -1))
    assert probes.shape == (3, 3, 4, 4)
    assert 0 <= probes.min() < probes.max() <= 1
    assert not torch.equal(probes[0], probes[1])
    assert not torch.equal(probes[1], probes[2])
    different = torch.rand(3, 4)
    assert torch.equal(probe_images(different), different)


def test_rounding_is_the_same_and_infinities_must_agree():
    one = torch.tensor([1.0, 100.0, float("-inf")])
    assert same(one, one + torch.tensor([0.001, 0.0, 0.0]))
    assert not same(one, one + torch.tensor([0.1, 0.0, 0.0]))
    assert not same(one, torch.tensor([1.0, 100.0, 5.0]))
