"""Gradients that do not lead uphill: of the wrong sign, unrelated to the loss, or wrong in some parts."""

from __future__ import annotations

from ..records import AuditRecord, Finding, SlopeTrial
from ..units import format_percent
from .attack_health import at_stake, graded, health

DOWNHILL_IMAGES = 2
"""One image may lie on a kink of the loss."""
DOWNHILL_SHARE = 0.1
"""Of the images whose loss moves. On networks with their own gradients none was seen, at random half of them."""
SMOOTH_SHARE = 0.5
"""With fewer parts that are close to linear the model rounds inside, and its gradients are stand-ins on purpose."""
WRONG_PARTS = 5
WRONG_PARTS_SHARE = 0.05
"""Of the smooth parts. One of eight hidden channels reversed gives 2 %, two give 19 %; own gradients gave none."""


def find(record: AuditRecord) -> list[Finding]:
    """A small step along the gradient does not raise the loss."""
    trial = None if record.health is None else record.health.slopes
    if trial is None:
        return []
    if trial.downhill > DOWNHILL_SHARE * trial.tested:
        severe = trial.downhill >= DOWNHILL_IMAGES and at_stake(record)
        share = format_percent(trial.downhill / trial.tested)
        message = (
            f"On {trial.downhill} of {trial.tested} images ({share}) a small step along the gradient lowers the loss: "
            "attacks that follow it run the wrong way. Look for a custom backward with a wrong sign, or a gradient "
            "that belongs to another function."
        )
        return [health("wrong-gradients", graded(severe), record.model.name, message)]
    if wrong_parts(trial):
        share = format_percent(trial.parts_downhill / trial.smooth)
        message = (
            f"Along {trial.parts_downhill} of {trial.smooth} parts of the gradients ({share}) the loss falls where it "
            "should rise: some channels, inside the model or at its input, have a wrong backward, and attacks are "
            "weaker than they should be. Look for a custom backward."
        )
        return [health("wrong-gradients", graded(at_stake(record)), record.model.name, message)]
    return []


def wrong_parts(trial: SlopeTrial) -> bool:
    """Whether too many parts of the gradients are wrong, on a model on which that can be told."""
    if trial.smooth < SMOOTH_SHARE * trial.parts or trial.parts_downhill < WRONG_PARTS:
        return False
    return trial.parts_downhill > WRONG_PARTS_SHARE * trial.smooth


def tiny_but_right(record: AuditRecord) -> bool:
    """Whether the model scales its gradients down and they lead uphill all the same.

    The trial's loss never goes flat, so that its gradient is tiny only where the model makes it so.
    """
    trial = None if record.health is None else record.health.slopes
    if trial is None or min(trial.tested, trial.tiny) <= trial.images / 2:
        return False
    return trial.downhill <= DOWNHILL_SHARE * trial.tested and not wrong_parts(trial)
