from __future__ import annotations

from dataclasses import replace

import numpy
import pytest
import torch

from lsa_audit.data.arrays import from_arrays
from lsa_audit.data.base import DataRequest, InputSpec, describe, digests


@pytest.fixture
def dataset(coded):
    images, labels = coded((3, 3, 3))
    return from_arrays(images, labels, InputSpec(shape=(3, 4, 4)), DataRequest(spec="memory", samples=6))


def test_images_are_pixels_over_255(dataset):
    images = dataset.images(1, 4)
    assert images.dtype == torch.float32
    assert images.shape == (3, 3, 4, 4)
    assert torch.equal(images, dataset.pixels[1:4].float() / 255)


def test_images_are_new_memory_also_for_repeated_channels(dataset):
    before = dataset.pixels.clone()
    dataset.images(0, 6).zero_()
    assert torch.equal(dataset.pixels, before)
    floats = replace(dataset, pixels=(before[:, :1].float() / 255).expand(-1, 3, -1, -1))
    images = floats.images(0, 6)
    assert images.is_contiguous()
    images[:, 0] = 0
    assert bool((images[:, 1] > 0).all())
    assert bool((floats.pixels > 0).all())


def test_record_holds_what_was_loaded(dataset):
    info = describe(dataset)
    assert (info.samples, info.total, info.classes, info.source) == (6, 9, 3, "memory")
    assert info.selection == "6 of 9, class-balanced, seed 0"
    assert info.transforms == ("gray to RGB (the channel repeated)",)
    assert info.interpretation == "uint8 NHWC, 9 x 4 x 4 x 1, the largest value is 45 of 255; int64 labels"


def variants(dataset):
    """The data, and the same with its last image changed in one way each."""
    pixels = dataset.pixels.clone()
    pixels[5, 2, 3, 3] += 1
    labels = dataset.labels.clone()
    labels[5] += 1
    return [
        dataset,
        replace(dataset, pixels=pixels),
        replace(dataset, labels=labels),
        replace(dataset, image_ids=(*dataset.image_ids[:-1], "x")),
        replace(dataset, pixels=dataset.pixels.reshape(6, 3, 2, 8)),
        replace(dataset, pixels=dataset.pixels.float() / 255),
    ]


def test_hash_follows_pixels_labels_and_ids(dataset):
    found = variants(dataset)
    assert len({describe(variant).sha256 for variant in found}) == len(found)


def test_digest_of_an_image_follows_its_pixels_label_and_id(dataset):
    found = [digests(variant) for variant in variants(dataset)]
    assert all(entry.shape == (6, 8) for entry in found)
    assert len({entry[5].tobytes() for entry in found}) == len(found)
    assert all(numpy.array_equal(entry[:5], found[0][:5]) for entry in found[:4])


def test_digest_of_an_image_is_free_of_its_mates(dataset):
    part = replace(dataset, pixels=dataset.pixels[2:5], labels=dataset.labels[2:5], image_ids=dataset.image_ids[2:5])
    assert numpy.array_equal(digests(part), digests(dataset)[2:5])


def test_hash_ignores_memory_layout_and_names(dataset):
    twin = replace(dataset, pixels=dataset.pixels.contiguous(), name="other", selection="other")
    assert describe(twin).sha256 == describe(dataset).sha256


def test_same_request_gives_the_same_hash(coded):
    images, labels = coded((20, 20))
    request = DataRequest(spec="memory", samples=7, seed=9)
    first, second = (describe(from_arrays(images, labels, InputSpec(), request)).sha256 for _ in range(2))
    assert first == second
    other = replace(request, seed=10)
    assert describe(from_arrays(images, labels, InputSpec(), other)).sha256 != first


def test_length_is_the_number_of_chosen_images(dataset):
    assert len(dataset) == 6 == len(dataset.pixels) == len(dataset.image_ids)
    assert numpy.unique(dataset.image_ids).size == 6
