"""The outermost module of a rebuilt file: images in, whatever the file returns out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .objects import Scripted
from .operations import Place
from .program import Program


class Classifier(Scripted):
    """A Scripted module that tells its programs where they run."""

    def __init__(self, programs: Mapping[str, Program], place: Place) -> None:
        super().__init__(programs)
        self._place = place

    def forward(self, images: Tensor) -> Any:
        """images as the file takes them -> what the file returns."""
        self._place.device = images.device
        return super().forward(images)
