"""The two data sets that come with scikit-learn: handwritten digits and the two moons. No download."""

from __future__ import annotations

from typing import NamedTuple

import numpy
import torch
from torch import Tensor

from ..errors import DataError
from .base import DataRequest, Dataset, InputSpec
from .parts import TRAIN, split_name
from .source import Source, assemble
from .transforms import to_input

SETS = ("digits", "moons")
SPLIT_SEED = 313
DIGITS_LEVELS = 16
DIGITS_HELD_OUT = 0.3
MOONS_POINTS, MOONS_NOISE, MOONS_HELD_OUT = 2000, 0.1, 0.5
MOONS_OFFSET, MOONS_SCALE = 1.5, 4.0


class Split(NamedTuple):
    """A data set and its held-out part. The audit reads the held-out part, training reads the other."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    test_ids: tuple[str, ...]
    train_ids: tuple[str, ...]


def digits_split() -> Split:
    """scikit-learn's 1,797 digits, 30 % of each class held out by a fixed seed, whatever seed the audit has.

    Returns:
        Images float32 [N, 1, 8, 8] in [0, 1] (the 17 gray levels over 16), labels int64 0..9, and the held-out images'
        positions in scikit-learn's order, ascending; those of the others last.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy((bunch.images / DIGITS_LEVELS).astype(numpy.float32))[:, None]
    return _split(images, torch.from_numpy(bunch.target.astype(numpy.int64)), DIGITS_HELD_OUT)


def moons_split() -> Split:
    """2,000 points of scikit-learn's two moons (noise 0.1), half of each class held out by a fixed seed.

    Coordinates go to [0, 1] by (raw + 1.5) / 4, the same for both axes, so a model undoes it with mean 0.375 and
    standard deviation 0.25, and an epsilon in pixel units is 4 times as large in raw coordinates. Nothing is clipped.

    Returns:
        Images float32 [N, 2] in [0, 1], labels int64 0..1, and the held-out points' positions, ascending.

    Raises:
        DataError: a point lies outside [0, 1] (it does not in the versions of scikit-learn that were tried).
    """
    from sklearn.datasets import make_moons

    raw, labels = make_moons(n_samples=MOONS_POINTS, noise=MOONS_NOISE, random_state=SPLIT_SEED)
    points = torch.from_numpy(((raw + MOONS_OFFSET) / MOONS_SCALE).astype(numpy.float32))
    if bool((points < 0).any()) or bool((points > 1).any()):
        raise DataError("moons: a point lies outside [0, 1]", "install another version of scikit-learn")
    return _split(points, torch.from_numpy(labels.astype(numpy.int64)), MOONS_HELD_OUT)


def load(request: DataRequest, spec: InputSpec) -> Dataset:
    """The held-out part of `digits` or `moons`, or with `NAME:train` the other one.

    Raises:
        DataError: the model wants another kind of input.
        UsageError: a choice that makes no sense.
    """
    found = split_name(request.spec, SETS)
    if found is None:
        raise KeyError(request.spec)
    if found.name == "digits":
        split, names = digits_split(), tuple(str(digit) for digit in range(10))
        what, parts, rest = "scikit-learn digits, gray 8x8 in 17 levels", ("held-out 30 %", "the other 70 %"), ""
    else:
        split, names = moons_split(), ("upper moon", "lower moon")
        what, parts = "scikit-learn moons, noise 0.1", ("held-out half", "the other half")
        rest = "; (x, y) to [0, 1] by (raw + 1.5) / 4"
    is_train = found.part == TRAIN
    images, labels, ids = split.test_images, split.test_labels, split.test_ids
    if is_train:
        images, labels, ids = split.train_images, split.train_labels, split.train_ids

    def read(indices: Tensor) -> tuple[Tensor, tuple[str, ...]]:
        return to_input(images[indices], spec)

    source = Source(
        name=request.spec if is_train else found.name,
        loader=found.name,
        interpretation=f"{what}, {parts[is_train]}{rest}",
        labels=labels,
        image_ids=ids,
        read=read,
        classes=len(names),
        class_names=names,
    )
    return assemble(source, request)


def _split(images: Tensor, labels: Tensor, held_out: float) -> Split:
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        numpy.arange(len(labels)), test_size=held_out, stratify=labels.numpy(), random_state=SPLIT_SEED
    )
    train, test = torch.from_numpy(numpy.sort(train)), torch.from_numpy(numpy.sort(test))
    train_ids, test_ids = (tuple(str(index) for index in part.tolist()) for part in (train, test))
    return Split(images[train], labels[train], images[test], labels[test], test_ids, train_ids)
