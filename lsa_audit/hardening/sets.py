"""The three sets of images of a hardening: one trains, one chooses, one gives the verdict; none has one in common."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..data import named
from ..data.base import Dataset
from ..data.held_out import part
from ..data.parts import TEST, TRAIN
from ..errors import DataError
from ..progress import Progress
from .training.batches import split

TEST_SHARE, TEST_LEAST, TEST_MOST = 5, 50, 1_000


class Sides(NamedTuple):
    """What is loaded to train on, and what to judge on.

    Attributes:
        test: None: a held-out part of the training images gives the verdict.
        most: images of the test that are enough; None: all of them.
    """

    training: str
    test: str | None
    most: int | None


class Sets(NamedTuple):
    """Images without one in common."""

    training: Dataset
    validation: Dataset
    test: Dataset


def sides(data: str, test: str | None) -> Sides:
    """Of a named set the training images train and the test images judge; of a folder or file a held-out part judges.

    `NAME:test` is taken at its word: the test images train, and some of them are held out.

    Args:
        data, test: as the command line names them.

    Raises:
        DataError: a named set has no such part.
    """
    found = named(data)
    if test is not None:
        # A wrong part is told before anything is loaded.
        named(test)
    if found is None or found.part == TEST:
        return Sides(data, test, None)
    most = TEST_MOST if test is None else None
    return Sides(f"{found.name}:{TRAIN}", test or f"{found.name}:{TEST}", most)


def apart(dataset: Dataset, test: Dataset | None, test_samples: int | None, seed: int, progress: Progress) -> Sets:
    """The three sets; how many images each has is said.

    Args:
        dataset: the images to train on.
        test: those that give the verdict; None: a fifth of `dataset`, at least 50 and at most 1,000.
        test_samples: of the held-out part.

    Raises:
        DataError: too few images, or none that is not in the test too.
        UsageError: more to be held out than half of the images.
    """
    if test is None:
        total = len(dataset)
        count = test_samples or min(max(total // TEST_SHARE, TEST_LEAST), TEST_MOST, total // 2)
        dataset, test = split(dataset, count, seed, "the test")
        judge = f"{len(test):,} of the {total:,} images of {dataset.name} are held out and give the verdict"
    else:
        dataset = _without(dataset, test, progress)
        judge = f"{len(test):,} images of {_shown(test)} give the verdict"
    training, validation = split(dataset, None, seed)
    progress.message(
        f"{judge}; {len(training):,} images of {_shown(dataset)} are trained on, {len(validation):,} choose the weights"
    )
    return Sets(training, validation, test)


def _shown(dataset: Dataset) -> str:
    """With its part: the test part of a named set is called by the set's name alone."""
    found = named(dataset.name) if dataset.source == dataset.name else None
    return f"{dataset.name}:{TEST}" if found is not None else dataset.name


def _without(training: Dataset, test: Dataset, progress: Progress) -> Dataset:
    """The training images without those that the test holds as well: two ranges of one source may overlap."""
    judged = {image.numpy().tobytes() for image in test.pixels}
    others = [place for place, image in enumerate(training.pixels) if image.numpy().tobytes() not in judged]
    shared = len(training) - len(others)
    if not shared:
        return training
    if not others:
        raise DataError(f"{training.name} holds no image that is not in the test too", "give others with --data")
    progress.message(f"{shared} images of {training.name} are among the test images: they are not trained on")
    return part(training, torch.tensor(others), f"{training.selection}; without {shared} that the test holds")
