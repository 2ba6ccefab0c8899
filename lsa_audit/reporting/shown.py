"""What a report is rendered from."""

from __future__ import annotations

from dataclasses import dataclass

from ..records import AuditRecord
from ..records.gallery import Flipped
from ..records.gating import Gating


@dataclass(frozen=True)
class Picture:
    """One flipped image as PNG files.

    Attributes:
        clean, adversarial: as the model saw them, enlarged without smoothing where small.
        difference: ten times adversarial minus clean around mid-grey, clipped.
    """

    flipped: Flipped
    clean: bytes
    adversarial: bytes
    difference: bytes


@dataclass(frozen=True)
class Shown:
    """A run: its record, what gates said of it where they were asked, and the pictures of its gallery."""

    record: AuditRecord
    gating: Gating | None = None
    pictures: tuple[Picture, ...] = ()
