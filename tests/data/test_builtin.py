from __future__ import annotations

import numpy
import pytest
import torch
from sklearn.datasets import load_digits, make_moons

from lsa_audit.data import builtin
from lsa_audit.data.base import DataRequest, InputSpec
from lsa_audit.errors import DataError


@pytest.fixture(scope="module")
def digits() -> builtin.Split:
    return builtin.digits_split()


@pytest.fixture(scope="module")
def moons() -> builtin.Split:
    return builtin.moons_split()


def test_digits_split_holds_out_30_percent_of_each_class(digits):
    assert (len(digits.train_images), len(digits.test_images)) == (1257, 540)
    everything = digits.train_labels.bincount() + digits.test_labels.bincount()
    assert ((digits.test_labels.bincount() / everything - 0.3).abs() < 0.006).all()


def test_digits_are_scikit_learns(digits):
    bunch = load_digits()
    indices = [int(index) for index in digits.test_ids]
    assert indices == sorted(set(indices))
    assert numpy.array_equal(digits.test_images[:, 0].numpy() * 16, bunch.images[indices])
    assert digits.test_labels.tolist() == bunch.target[indices].tolist()
    rest = numpy.setdiff1d(numpy.arange(1797), indices)
    assert numpy.array_equal(digits.train_images[:, 0].numpy() * 16, bunch.images[rest])
    assert digits.train_labels.tolist() == bunch.target[rest].tolist()


def test_moons_go_to_the_unit_square_without_clipping(moons):
    raw, labels = make_moons(n_samples=2000, noise=0.1, random_state=313)
    indices = [int(index) for index in moons.test_ids]
    assert len(indices) == 1000 == len(moons.train_images)
    assert numpy.abs(moons.test_images.numpy() * 4 - 1.5 - raw[indices]).max() < 1e-6
    normalized = (moons.test_images - 0.375) / 0.25
    assert numpy.abs(normalized.numpy() - raw[indices]).max() < 1e-6
    assert moons.test_labels.tolist() == labels[indices].tolist()
    for points in (moons.train_images, moons.test_images):
        assert points.min() > 0
        assert points.max() < 1


def test_a_moon_outside_the_range_is_an_error(monkeypatch):
    monkeypatch.setattr(builtin, "MOONS_NOISE", 1.0)
    with pytest.raises(DataError, match="outside"):
        builtin.moons_split()


def test_split_is_free_of_the_audits_seed(digits):
    for seed in (0, 7):
        data = builtin.load(DataRequest("digits", seed=seed), InputSpec())
        assert torch.equal(data.pixels, digits.test_images)
        assert data.image_ids == digits.test_ids


@pytest.mark.slow_except("moons-1000-1000")
@pytest.mark.parametrize(("name", "train", "test"), [("digits", 1257, 540), ("moons", 1000, 1000)])
def test_the_parts_are_the_two_sides_of_the_split(name, train, test):
    shape = (1, 8, 8) if name == "digits" else (2,)
    first, second, usual = (
        builtin.load(DataRequest(spec), InputSpec(shape=shape)) for spec in (f"{name}:train", f"{name}:test", name)
    )
    assert (len(first), len(second)) == (train, test)
    assert not {*first.image_ids} & {*second.image_ids}
    assert {int(entry) for entry in (*first.image_ids, *second.image_ids)} == set(range(train + test))
    assert (first.name, second.name, first.source) == (f"{name}:train", name, name)
    assert torch.equal(second.pixels, usual.pixels)
    assert "the other" in first.interpretation
    assert "held-out" in second.interpretation


def test_digits_for_a_colour_model(digits):
    data = builtin.load(DataRequest("digits", samples=20), InputSpec(shape=(3, 32, 32)))
    assert data.pixels.shape == (20, 3, 32, 32)
    assert data.labels.bincount().tolist() == [2] * 10
    assert (data.classes, data.total, data.source) == (10, 540, "digits")
    positions = [digits.test_ids.index(image_id) for image_id in data.image_ids]
    assert torch.equal(data.labels, digits.test_labels[positions])


def test_moons_are_features():
    data = builtin.load(DataRequest("moons", slice=(0, 100)), InputSpec(shape=(2,)))
    assert data.images(0, 100).shape == (100, 2)
    assert (data.classes, data.class_names) == (2, ("upper moon", "lower moon"))


def test_global_generators_are_left_alone():
    before = numpy.random.get_state()[1].tolist()
    builtin.digits_split()
    builtin.moons_split()
    assert numpy.random.get_state()[1].tolist() == before
