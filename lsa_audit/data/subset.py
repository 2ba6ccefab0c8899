"""Which images of a source are audited: a fixed range first, then a seeded class-balanced choice."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DataError, UsageError

SEED_LIMIT = 2**63


@dataclass(frozen=True)
class Selection:
    """The chosen images.

    Attributes:
        indices: int64 [N], ascending: positions in the source.
        sentence: the choice in words, for the record.
    """

    indices: Tensor
    sentence: str


def select(
    labels: Tensor,
    samples: int | None = None,
    slice_range: tuple[int | None, int | None] | None = None,
    seed: int = 0,
) -> Selection:
    """The positions of the images to audit, in the source's own order.

    Args:
        labels: int64 [total], of the whole source.
        samples: images to choose, as equally over the classes as the data allows; None takes the whole range. More
            than there are takes all, and the sentence says so.
        slice_range: (start, stop), applied first. A stop beyond the end stops at the end, and the sentence says so.
        seed: of the choice.

    Raises:
        UsageError: a negative number, a range that ends before it starts, or fewer than one sample.
        DataError: the source is empty, or the range lies behind its end.

    Random: a generator of its own; the global ones are neither read nor moved. With the same seed and range a larger
    choice contains every smaller one.
    """
    if len(labels) == 0:
        raise DataError("the data holds no images", "give data with at least one image")
    start, stop, sentence = _range(len(labels), slice_range)
    if samples is None:
        return Selection(torch.arange(start, stop), sentence)
    if samples < 1:
        raise UsageError(f"--samples {samples} chooses no image", "give 1 or more")
    if not 0 <= seed < SEED_LIMIT:
        raise UsageError(f"seed {seed} is out of range", "give a whole number from 0 to 2^63 - 1")
    available = stop - start
    if samples >= available:
        note = f"; {samples} were asked for and there are {available}" if samples > available else ""
        return Selection(torch.arange(start, stop), sentence + note)
    chosen = _balanced(labels[start:stop], samples, torch.Generator().manual_seed(seed)) + start
    part = f"of {sentence}" if slice_range else f"of {available}"
    return Selection(chosen, f"{samples} {part}, class-balanced, seed {seed}")


def _range(total: int, slice_range: tuple[int | None, int | None] | None) -> tuple[int, int, str]:
    if slice_range is None:
        return 0, total, f"all {total} images"
    start, stop = slice_range
    text = f"{'' if start is None else start}:{'' if stop is None else stop}"
    start = 0 if start is None else start
    if start < 0 or (stop is not None and stop <= start):
        raise UsageError(f"--slice {text} is not a range", "give START:STOP with 0 <= START < STOP")
    if start >= total:
        raise DataError(f"--slice {text} is empty: the data holds {total} images", f"start below {total}")
    if stop is None or stop <= total:
        stop = total if stop is None else stop
        return start, stop, f"images {start}:{stop} of {total}"
    return start, total, f"images {start}:{total} of {total} ({text} was asked for)"


def _balanced(labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Positions [count], ascending. Deals the images like cards: one of each class in turn until `count` are dealt."""
    order = torch.randperm(len(labels), generator=generator)
    classes, codes = torch.unique(labels[order], return_inverse=True)
    turn = torch.randperm(len(classes), generator=generator)
    by_class = torch.argsort(codes, stable=True)
    sizes = torch.bincount(codes, minlength=len(classes))
    first = torch.cumsum(sizes, 0) - sizes
    rounds = torch.empty_like(codes)
    rounds[by_class] = torch.arange(len(codes)) - first[codes[by_class]]
    dealt = torch.argsort(rounds * len(classes) + turn[codes])
    return order[dealt[:count]].sort().values
