"""What came of judging the stored images of a run again."""

from __future__ import annotations

from pydantic import Field

from .base import Record


class Images(Record):
    """How many images, and the ids of the first ones."""

    count: int
    first_ids: tuple[str, ...] = ()


class VerdictDifference(Record):
    """Something that is not as recorded."""

    subject: str = Field(description="the perturbation, or what else it is about: model, data, labels, sweeps ...")
    what: str
    images: Images | None = Field(default=None, description="None where it is not about single images")


class Checked(Record):
    """One perturbation, judged again; or the clean images."""

    perturbation: str
    images: int
    agree: int = Field(description="images whose verdict is as stored")
    within_rounding: Images = Field(
        description="images whose verdict is another, but whose logits are so near a tie that rounding decides"
    )
    largest_distance: float | None = Field(
        default=None,
        description="of a stored image from its clean one, in the perturbation's norm; None: not finite, or clean",
    )
    sha256_agrees: bool | None = Field(default=None, description="of the stored images; None: clean, hashed as data")
    differences: tuple[VerdictDifference, ...] = ()


class Verification(Record):
    """The whole run; `checks` is empty where model, data or settings are not the recorded ones."""

    checks: tuple[Checked, ...] = ()
    others: tuple[VerdictDifference, ...] = Field(default=(), description="about no single perturbation")

    @property
    def differences(self) -> tuple[VerdictDifference, ...]:
        """All of them."""
        return (*self.others, *(entry for checked in self.checks for entry in checked.differences))
