"""Images that an attack flipped, for people to look at."""

from __future__ import annotations

from pydantic import Field

from .base import Record


class ClassScore(Record):
    """The logit of one class on the clean and on the adversarial image."""

    label: int
    name: str = Field(description="of the class; its number where the data names none")
    clean: float
    adversarial: float


class Flipped(Record):
    """An image that is right before an attack and wrong after; its pixels are row `place` of the gallery's arrays."""

    place: int
    image_id: str
    perturbation: str = Field(description="id of the attack")
    label: int
    prediction: int = Field(description="on the adversarial image")
    linf: float = Field(description="of the perturbation")
    l2: float
    scores: tuple[ClassScore, ...] = Field(description="the classes that matter most, both tops among them")
