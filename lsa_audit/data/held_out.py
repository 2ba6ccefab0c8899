"""Images that a scan did not use, in two parts: one to choose with, one to judge with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import UsageError
from ..records import DataInfo
from .base import Dataset, sha256
from .subset import select

CHOOSING, JUDGING = 300, 1_000
LEAST = 3


def wanted(used: int, samples: int | None) -> int:
    """How many images to load, so that enough of them are left when those that the scan used are taken out."""
    return used + (CHOOSING + JUDGING if samples is None else samples)


def is_same_data(dataset: Dataset, scanned: DataInfo, used: Sequence[str]) -> bool:
    """Whether the images are of the data that was scanned: by the name, or under another one by what they show.

    Data of the same name that have grown since are the same. Where they are others after all, that costs some images.

    Args:
        used: ids of the scanned images, in their order.

    Cost: one pass over the pixels of these for the hash.
    """
    if dataset.name == scanned.name and dataset.total >= scanned.total:
        return True
    places = {name: place for place, name in enumerate(dataset.image_ids)}
    if not places.keys() >= set(used):
        return False
    chosen = part(dataset, torch.tensor([places[name] for name in used], dtype=torch.int64), "")
    return sha256(chosen) == scanned.sha256


def split(dataset: Dataset, used: Collection[str], samples: int | None, seed: int) -> tuple[Dataset, Dataset]:
    """Two class-balanced parts without a common image: a third of what is left chooses, at most 300; the rest judges.

    Args:
        used: ids of the images that may not be in either.
        samples: images of both together, at most; None: 1,300.
        seed: of the choice.

    Raises:
        UsageError: fewer than three images are left.
    """
    taken = set(used)
    left = torch.tensor([place for place, name in enumerate(dataset.image_ids) if name not in taken], dtype=torch.int64)
    if len(left) < LEAST:
        what = f"the scan used all but {len(left)} of the {dataset.total} images of {dataset.name}"
        raise UsageError(what, "scan with fewer --samples, or give other images of the kind with --data")
    total = min(len(left), CHOOSING + JUDGING if samples is None else samples)
    chosen = left[select(dataset.labels[left], total, seed=seed).indices]
    first = select(dataset.labels[chosen], min(CHOOSING, total // LEAST), seed=seed).indices
    others = torch.ones(total, dtype=torch.bool)
    others[first] = False

    def unused(places: Tensor, what_for: str) -> Dataset:
        sentence = f"{len(places)} that the scan did not use, {what_for}, class-balanced, seed {seed}"
        return part(dataset, places, sentence)

    return unused(chosen[first], "to choose"), unused(chosen[others], "to judge")


def part(dataset: Dataset, places: Tensor, selection: str) -> Dataset:
    """The images at these places, int64 [n], in that order; `selection` says in words which they are."""
    return replace(
        dataset,
        pixels=dataset.pixels[places],
        labels=dataset.labels[places],
        image_ids=tuple(dataset.image_ids[place] for place in places.tolist()),
        selection=selection,
    )
