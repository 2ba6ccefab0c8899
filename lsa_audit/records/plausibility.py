"""Whether another reading of images or labels would fit the model far better: what was tried, and what it gave."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Estimate, Record

TELLING = 20
GAIN = 0.05
"""An adversarially trained network may gain a point by a wrong normalisation; a forgotten one costs far more."""
SIGNIFICANCE = 0.01
NOTHING_LEFT = "all of it is stated"
Reading = Literal["normalisation", "channel order", "layout", "class order", "pixel range", "pixel order"]


class Alternative(Record):
    """One change that nothing stated forbids, held against the reading of the scan on the same images."""

    reading: Reading
    change: str = Field(description="in words, e.g. 'mean and standard deviation of ImageNet'")
    options: str = Field(default="", description="that make the change; empty where no option does")
    before: Estimate = Field(description="right as the scan read these images")
    after: Estimate = Field(description="right with the change")
    gained: int = Field(description="images right with the change alone")
    lost: int = Field(description="images right without it alone")
    p_value: float | None = Field(
        description="exact two-sided McNemar test of gained against lost, times the number of tests, at most 1; None: "
        "a first look only, at images that are wrong as the scan read them"
    )

    @property
    def gain(self) -> float:
        """Share of the images, above 0 where the change makes more of them right."""
        return (self.after.count - self.before.count) / self.after.total if self.after.total else 0.0

    @property
    def clear(self) -> bool:
        """Whether the gain is large, and no chance."""
        return self.p_value is not None and self.gain >= GAIN and self.p_value < SIGNIFICANCE


class Plausibility(Record):
    """A short trial of the usual mistakes. It changes nothing."""

    alternatives: tuple[Alternative, ...] = ()
    passes: int = Field(description="images that it sent forward")
    allowed: int = Field(description="images that it may send forward")
    note: str = Field(default="", description="why changes of the input were not tried, or not all of them")

    @property
    def inputs(self) -> tuple[Alternative, ...]:
        """Changes of the input that were tested, the commonest first."""
        return tuple(one for one in self.alternatives if one.reading != "class order" and one.p_value is not None)

    @property
    def input_settled(self) -> bool:
        """Whether a change of the input was tried on images enough to tell, or none was left to try."""
        return self.note == NOTHING_LEFT or any(entry.after.total >= TELLING for entry in self.inputs)
