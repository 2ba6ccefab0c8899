"""Which images a step of training sees, and which random numbers belong to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...attacks.draws import Draws
from ...data.base import Dataset
from ...data.held_out import part
from ...data.subset import select
from ...device.ranks import Ranks
from ...errors import DataError, UsageError
from ...settings.recipe import Augmentation, Recipe
from ...units import PIXEL_LEVELS

LEAST, MOST = 50, 1_000
SHARE = 10
FEWEST_IMAGES = 20

PAD_SHARE = 8
SMALLEST_ERASED, LARGEST_ERASED = 0.02, 0.20
GREY = 0.5


def split(dataset: Dataset, count: int | None, seed: int, purpose: str = "validation") -> tuple[Dataset, Dataset]:
    """Training and validation images, without a common one; the validation part is class-balanced.

    A class gives at most half of its images to validation, so that a rare one stays in training; a single image of a
    class may land in either part.

    Args:
        count: validation images; None: a tenth of all, at least 50 and at most 1,000, never more than half.
        seed: of the choice; the global generators are neither read nor moved.
        purpose: of the second part, in words.

    Raises:
        DataError: fewer than 20 images.
        UsageError: `count` is below 1 or more than half of the images.
    """
    total = len(dataset)
    if total < FEWEST_IMAGES:
        what = f"too few images for a split into training and {purpose}: {dataset.name} has {total}"
        raise DataError(what, f"give at least {FEWEST_IMAGES}")
    if count is not None and not 1 <= count <= total // 2:
        raise UsageError(f"{count} of {total} images cannot be for {purpose}", f"give 1 to {total // 2}")
    if count is None:
        count = min(max(total // SHARE, LEAST), MOST, total // 2)
    order = _uniform(seed, "split", "order", (total,)).argsort(stable=True)
    by_class = order[dataset.labels[order].argsort(stable=True)]
    candidates = by_class[1::2]
    chosen = candidates[select(dataset.labels[candidates], count, seed=seed).indices].sort().values
    others = torch.ones(total, dtype=torch.bool)
    others[chosen] = False
    return (
        part(
            dataset,
            others.nonzero().flatten(),
            f"{dataset.selection}; {total - count} that are not for {purpose}, seed {seed}",
        ),
        part(dataset, chosen, f"{dataset.selection}; {count} for {purpose}, class-balanced, seed {seed}"),
    )


@dataclass(frozen=True)
class Piece:
    """The images of one forward and backward.

    Attributes:
        images: [N, ...] float32 in [0, 1], augmented, on the device.
        labels: [N] int64, on the device.
        draw: a function from a purpose and a shape [N, ...] to numbers uniform in [0, 1) on the device, the same for an
            image whatever process or micro-batch it is in. Each purpose gives other numbers, the same one the same.
    """

    images: Tensor
    labels: Tensor
    draw: Callable[[str, tuple[int, ...]], Tensor]


class Batches:
    """The images of every step, a pure function of the recipe's seed and the step.

    An epoch is a seeded order of all images, cut into batches; what is left over at its end is dropped. Processes, and
    within them micro-batches, take equal contiguous parts of a batch. A data set that is smaller than the batch is one
    batch, less what cannot be divided into equal parts.

    Args:
        dataset: the training images.
        recipe: batch_size, accumulate, augment, channels_last (which feature vectors ignore) and seed count here.
        ranks: the processes that share a batch.
        device: where the images go.

    Attributes:
        batch_size: images in one step, over all processes and micro-batches.
        steps_an_epoch: at least 1.

    Raises:
        UsageError: the recipe's batch cannot be divided into equal parts, or feature vectors are to be augmented.
        DataError: fewer images than processes and micro-batches.
    """

    def __init__(self, dataset: Dataset, recipe: Recipe, ranks: Ranks, device: torch.device) -> None:
        parts = ranks.size * recipe.accumulate
        shown = f"{ranks.size} processes with {recipe.accumulate} micro-batches each"
        if recipe.batch_size % parts:
            hint = f"give a batch size that {parts} divides, such as {math.ceil(recipe.batch_size / parts) * parts}"
            raise UsageError(f"a batch of {recipe.batch_size} images cannot be shared by {shown}", hint)
        if len(dataset) < parts:
            raise DataError(f"{len(dataset)} training images are too few for {shown}", "give more images")
        if recipe.augment and dataset.pixels.ndim != 4:
            what = f"{dataset.name} holds feature vectors, which {', '.join(recipe.augment)} cannot augment"
            raise UsageError(what, "leave augment empty")
        self.batch_size = min(recipe.batch_size, len(dataset) // parts * parts)
        self.steps_an_epoch = len(dataset) // self.batch_size
        self._dataset, self._recipe, self._device = dataset, recipe, device
        share = self.batch_size // parts
        first = ranks.rank * recipe.accumulate
        self._parts = [slice(place * share, (place + 1) * share) for place in range(first, first + recipe.accumulate)]
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def step(self, step: int) -> list[Piece]:
        """This process's micro-batches of a step, counted from 0 over all epochs.

        Cost: the images are copied to the device as they are stored and prepared there; every draw makes the numbers of
        the whole batch.
        """
        epoch, place = divmod(step, self.steps_an_epoch)
        if epoch != self._epoch:
            drawn = _uniform(self._recipe.seed, f"epoch {epoch}", "order", (len(self._dataset),))
            self._epoch, self._order = epoch, drawn.argsort(stable=True)
        batch = self._order[place * self.batch_size :][: self.batch_size]
        return [self._piece(step, batch[mine], mine) for mine in self._parts]

    def _piece(self, step: int, places: Tensor, mine: slice) -> Piece:
        def draw(purpose: str, shape: tuple[int, ...]) -> Tensor:
            drawn = _uniform(self._recipe.seed, f"step {step}", purpose, (self.batch_size, *shape[1:]))
            return drawn[mine].to(self._device)

        pixels = self._dataset.pixels[places].to(self._device)
        images = pixels.to(torch.float32).div_(PIXEL_LEVELS) if pixels.dtype == torch.uint8 else pixels
        for name, (numbers, augment) in AUGMENTATIONS.items():
            if name in self._recipe.augment:
                images = augment(images, draw(f"augment {name}", (len(places), numbers)))
        last = self._recipe.channels_last and images.ndim == 4
        images = images.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
        return Piece(images, self._dataset.labels[places].to(self._device), draw)


def _uniform(seed: int, moment: str, purpose: str, shape: tuple[int, ...]) -> Tensor:
    """Numbers in [0, 1) on the CPU, which depend on nothing but the arguments."""
    return Draws(seed, [moment], purpose).uniform(torch.empty(1, *shape))[0]


def _crop(images: Tensor, drawn: Tensor) -> Tensor:
    """Black borders of an eighth of the side (4 at 32), rounded up, then a crop of the old size anywhere in that."""
    height, width = images.shape[2:]
    down, right = math.ceil(height / PAD_SHARE), math.ceil(width / PAD_SHARE)
    padded = functional.pad(images, (right, right, down, down))
    offsets = (drawn * drawn.new_tensor([2 * down + 1, 2 * right + 1])).long().tolist()
    moved = [image[:, top:, left:][:, :height, :width] for image, (top, left) in zip(padded, offsets, strict=True)]
    return torch.stack(moved)


def _flip(images: Tensor, drawn: Tensor) -> Tensor:
    """Left and right change places in about half of the images."""
    return torch.where(drawn[:, :, None, None] < 0.5, images.flip(-1), images)


def _erase(images: Tensor, drawn: Tensor) -> Tensor:
    """One rectangle in each image becomes grey: 2 to 20 % of the area, at most twice as long one way as the other.

    Both are shares of the sides, and sides are rounded to pixels.
    """
    share = SMALLEST_ERASED + (LARGEST_ERASED - SMALLEST_ERASED) * drawn[:, 0]
    stretch = 2.0 ** (2 * drawn[:, 1] - 1)
    tall = _within((share * stretch).sqrt(), drawn[:, 2], images.shape[2])
    wide = _within((share / stretch).sqrt(), drawn[:, 3], images.shape[3])
    return images.masked_fill((tall[:, :, None] & wide[:, None, :])[:, None], GREY)


def _within(share: Tensor, drawn: Tensor, side: int) -> Tensor:
    """Which of the pixels along a side [N, side] lie in a span of that share [N], placed by numbers in [0, 1) [N]."""
    length = (share * side).round().clamp(min=1)
    start = (drawn * (side - length + 1)).floor()
    place = torch.arange(side, device=share.device)
    return (place >= start[:, None]) & (place < (start + length)[:, None])


AUGMENTATIONS: dict[Augmentation, tuple[int, Callable[[Tensor, Tensor], Tensor]]] = {
    "crop": (2, _crop),
    "flip": (1, _flip),
    "erase": (4, _erase),
}
"""Name -> how many random numbers an image needs, and what is done with images [N, C, H, W] and these.

They are done in this order.
"""
