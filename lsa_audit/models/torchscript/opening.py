"""Opens the batch of a traced program that holds one batch size as a number wherever it reshapes.

The program runs once as it is, on one group of images, and once on two, in which every reshape gets the sizes that keep
the first group where it was. Nothing of this is believed: the logits must be those of the groups one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..parity import PARITY_TOLERANCE, relative_difference
from ..static_batch import filled_groups, open_sizes

Run = Callable[[Tensor], Tensor]


class Opening:
    """The sizes that the reshapes of a program get, by their order in a run.

    Attributes:
        count: images of the run that is under way.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.count: Any = size
        self._records: list[tuple[Tensor, tuple[int, ...]]] | None = []
        self._sizes: list[list[int] | str | None] = []
        self._place = 0

    def begin(self, count: Any) -> None:
        """A run starts, on so many images."""
        self.count, self._place = count, 0

    def sizes(self, name: str, operand: Tensor, given: Any) -> Any:
        """What to reshape or expand to, in the place of the sizes that the program gives."""
        place, self._place = self._place, self._place + 1
        if self._records is None:
            known = self._sizes[place] if place < len(self._sizes) else None
        elif len(self._sizes) == place and place < len(self._records) and self.count != self.size:
            known = self._opened(name, operand, *self._records[place])
            self._sizes.append(known)
        else:
            return given
        if known is None:
            return given
        return [self.count, *list(given)[1:]] if isinstance(known, str) else known

    def seen(self, operand: Tensor, result: Tensor) -> None:
        """What a reshape of the run on one group made of its operand."""
        if self._records is not None and self.count == self.size:
            self._records.append((operand, tuple(result.shape)))

    def settle(self) -> None:
        """From now on the sizes are fixed."""
        self._records = None

    def _opened(self, name: str, operand: Tensor, single: Tensor, result: tuple[int, ...]) -> list[int] | str | None:
        if single.shape != operand.shape:
            return open_sizes(single, operand, result, self.size, expands=name == "expand")
        # A constant such as a class token, repeated for each image.
        leading = len(result) > single.dim() or (single.dim() > 0 and single.shape[0] == 1)
        return "images" if name == "expand" and leading and result[0] == self.size else None


def open_batch(run: Run, set_opening: Callable[[Opening | None], None], images: Tensor, size: int) -> bool:
    """Whether a program gives the same logits with its batch opened as in groups; if so, it stays open.

    Args:
        run: images to logits, in a batch of any size that it takes.
        set_opening: puts an opening into the program; None: none.
        images: as the program takes them, [N >= 1, ...].

    Cost: seven forwards of a group.
    """
    batch = images[torch.arange(2 * size + 1) % len(images)]
    # Another image in every place, so that a row that went elsewhere shows.
    batch = batch * torch.linspace(0.5, 1.0, len(batch)).view(-1, *[1] * (batch.dim() - 1))
    opening = Opening(size)
    try:
        expected = torch.cat([run(group) for group in filled_groups(batch, size)])[: len(batch)]
        set_opening(opening)
        run(batch[:size])
        run(batch[: 2 * size])
        opening.settle()
        found = [run(batch), run(batch[:1])]
    except Exception:  # noqa: BLE001 - whatever an operation says about sizes that do not fit
        set_opening(None)
        return False
    same = all(relative_difference(logits, expected[: len(logits)]) <= PARITY_TOLERANCE for logits in found)
    if not same or [len(logits) for logits in found] != [len(batch), 1]:
        set_opening(None)
        return False
    return True


def has_branches(nodes: Sequence[Any]) -> bool:
    """Whether the order of a program's operations may differ from run to run."""
    return any(node.kind() in ("prim::If", "prim::Loop") for node in nodes)
