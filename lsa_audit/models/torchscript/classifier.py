"""The outermost module of a rebuilt file: images in, logits out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from ...errors import ModelError
from ..static_batch import in_groups
from .objects import Scripted
from .opening import Opening, open_batch
from .operations import Place
from .program import Program

LOGITS = ("logits", "out", "output")
"""Entries of a dictionary that are taken before all others."""


class Classifier(Scripted):
    """A Scripted module that tells its programs where they run, and returns logits only.

    Attributes:
        group_size: the only batch size that the programs take; None: any.
    """

    def __init__(self, programs: Mapping[str, Program], place: Place) -> None:
        super().__init__(programs)
        self._place = place
        self.group_size: int | None = None

    def forward(self, images: Tensor) -> Tensor:
        """images as the file takes them -> logits [N, K]."""
        self._place.device = images.device
        return self._run(images) if self.group_size is None else in_groups(self._run, images, self.group_size)

    def open_batch(self, images: Tensor, size: int) -> bool:
        """Make programs of one batch size take any; whether that gives the logits that they give in groups.

        Args:
            images: as the file takes them, [N >= 1, ...].
        """
        self._place.device = images.device

        def set_opening(opening: Opening | None) -> None:
            self._place.opening = opening

        return open_batch(self._run, set_opening, images, size)

    def _run(self, images: Tensor) -> Tensor:
        if self._place.opening is not None:
            self._place.opening.begin(images.shape[0])
        return logits_of(super().forward(images))


def logits_of(output: Any) -> Tensor:
    """The logits among what a model returns: the first float tensor [N, K], of a dictionary an entry named so.

    Raises:
        ModelError: there is none.
    """
    if isinstance(output, Tensor):
        return output
    found = next((tensor for tensor in _tensors(output) if tensor.dim() == 2 and tensor.is_floating_point()), None)
    if found is None:
        what = f"the model returns a {type(output).__name__} without a tensor [N, K]"
        raise ModelError(what, "export it so that it returns its logits")
    return found


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        for name in sorted(output, key=lambda name: name not in LOGITS):
            yield from _tensors(output[name])
    elif isinstance(output, tuple | list):
        for entry in output:
            yield from _tensors(entry)
