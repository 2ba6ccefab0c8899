"""Who trains and who judges."""

from __future__ import annotations

import pytest

from lsa_audit.data import LOADERS
from lsa_audit.errors import DataError, UsageError
from lsa_audit.hardening.sets import TEST_MOST, Sides, apart, sides
from lsa_audit.progress import Silent

from .training.trainings import dataset

NAMED = [name for name, loader in LOADERS.items() if loader.named]


class Listening(Silent):
    def __init__(self):
        self.said = []

    def message(self, text):
        self.said.append(text)


@pytest.mark.parametrize("name", NAMED)
def test_of_a_named_set_the_train_part_trains_and_the_test_part_judges(name):
    expected = Sides(f"{name}:train", f"{name}:test", TEST_MOST)
    assert sides(name, None) == sides(f"{name}:train", None) == expected
    assert sides(name, "other.npz") == Sides(f"{name}:train", "other.npz", None)
    assert sides(f"{name}:test", None) == Sides(f"{name}:test", None, None)
    assert sides(f"{name}:test", f"{name}:train") == Sides(f"{name}:test", f"{name}:train", None)


@pytest.mark.parametrize("path", ["photos/", "x.npz", "./digits", r"C:\images", "C:train"])
def test_of_a_path_a_held_out_part_judges_unless_another_one_is_named(path):
    assert sides(path, None) == Sides(path, None, None)
    assert sides(path, "digits") == Sides(path, "digits", None)


@pytest.mark.parametrize("specs", [("digits:val", None), ("x.npz", "moons:valid")])
def test_a_wrong_part_is_told_before_anything_is_loaded(specs):
    with pytest.raises(DataError, match="has no part"):
        sides(*specs)


def test_a_fifth_is_held_out_and_said():
    heard = Listening()
    found = apart(dataset(600, 0), None, None, 0, heard)
    assert (len(found.test), len(found.validation), len(found.training)) == (120, 50, 430)
    ids = [set(part.image_ids) for part in found]
    assert not ids[0] & ids[1] | ids[0] & ids[2] | ids[1] & ids[2]
    name = dataset(600, 0).name
    assert heard.said == [
        f"120 of the 600 images of {name} are held out and give the verdict; 430 images of {name} are trained on, 50 "
        "choose the weights"
    ]


def test_more_than_half_is_not_held_out():
    with pytest.raises(UsageError, match="cannot be for the test"):
        apart(dataset(100, 0), None, 60, 0, Silent())
