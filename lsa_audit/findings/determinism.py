"""Models whose answer on an image is not the image's alone."""

from __future__ import annotations

from ..records import AuditRecord, Finding
from .attack_health import at_stake, graded, health

REPEAT_TOLERANCE = 1e-4
"""Rounding that differs between two runs stays below this, the difference that a converted model may have too."""
REPEAT_LIMIT = 1e-2
"""A hundredth of the largest logit turns verdicts and the direction of small gradients."""


def random_outputs(record: AuditRecord) -> list[Finding]:
    """Two forwards of the same images differ."""
    if record.health is None or record.health.repeat_difference <= REPEAT_TOLERANCE:
        return []
    difference = record.health.repeat_difference
    message = (
        f"Two forwards of the same images differ by {difference:.2g} of the largest logit: verdicts change from run to "
        "run and gradients point where the chance of one forward sends them. Turn the randomness off, or audit the "
        "average of many forwards."
    )
    severe = difference > REPEAT_LIMIT and at_stake(record)
    return [health("random-outputs", graded(severe), record.model.name, message)]


def training_mode(record: AuditRecord) -> list[Finding]:
    """Layers that stay in training mode although the model was told to evaluate, or that came in training mode."""
    if record.health is None:
        return []
    layers, given = record.health.training_layers, record.health.given_in_training
    if layers:
        more = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
        message = (
            f"{layers[0]}{more} stay{'' if more else 's'} in training mode in eval mode. Dropout and batch norm act "
            "differently there; look for a train() or eval() of the model's own."
        )
        return [health("training-mode", "warning", record.model.name, message)]
    if given:
        message = (
            f"The model came with {given} layer{'s' if given > 1 else ''} in training mode. It was audited in eval "
            "mode and given back as it was: the figures are those of the model after eval()."
        )
        return [health("training-mode", "note", record.model.name, message)]
    return []


def batch_coupled(record: AuditRecord) -> list[Finding]:
    """An image's logits depend on the other images in its batch."""
    if record.graph.batch_independent is not False:
        return []
    message = (
        "An image's logits depend on the other images in its batch (a batch norm in training mode, or a statistic over "
        "the batch), so no verdict belongs to one image. Look for what is computed over the batch, and for eval mode."
    )
    return [health("batch-coupled", "error", record.model.name, message)]
