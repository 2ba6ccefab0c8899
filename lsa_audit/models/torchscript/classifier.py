"""The outermost module of a rebuilt file: images in, whatever the file returns out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..outputs import plain, rows
from ..static_batch import has_rules, in_groups
from .objects import Scripted
from .opening import Opening, open_batch
from .operations import ExecutionState
from .program import ScriptProgram


class Classifier(Scripted):
    """A Scripted module that tells its programs where they run."""

    def __init__(self, programs: Mapping[str, ScriptProgram], place: ExecutionState) -> None:
        super().__init__(programs)
        self._place = place

    def forward(self, images: Tensor) -> Any:
        """images as the file takes them -> what the file returns."""
        self._place.device = images.device
        if self._place.group_size is None:
            return self._run(images)
        return in_groups(self._plain, images, self._place.group_size, loops=self._place.loops)

    def take(self, images: Tensor, size: int) -> None:
        """Run in groups of `size` images from now on.

        Args:
            images: as the file takes them, [N >= 1, ...].
        """
        self._place.device = images.device
        self._place.group_size, self._place.loops = size, not has_rules(self._plain, images, size)

    def open_batch(self, images: Tensor, size: int) -> bool:
        """Make programs of one batch size take any; whether that gives the logits that they give in groups.

        Args:
            images: as the file takes them, [N >= 1, ...].
        """
        self._place.device = images.device

        def set_opening(opening: Opening | None) -> None:
            self._place.opening = opening

        return open_batch(lambda some: rows(self._run(some)), set_opening, images, size)

    def _plain(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        return plain(self._run(images))

    def _run(self, images: Tensor) -> Any:
        if self._place.opening is not None:
            self._place.opening.begin(images.shape[0])
        return super().forward(images)
