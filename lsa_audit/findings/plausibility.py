"""Another reading of images or labels would make far more images right."""

from __future__ import annotations

from ..records import AuditRecord, Finding
from ..records.plausibility import Alternative
from ..units import format_percent

GAIN = 0.05
"""An adversarially trained network may gain a point by a wrong normalisation; a forgotten one costs far more."""
SIGNIFICANCE = 0.01
ALIKE = 0.02
LEFT_WRONG = 0.5
"""A network that knows nothing fits some order of the classes better than another; the right one leaves few wrong."""
LEFT_WRONG_ALONE = 0.1
"""Where no change of the input was tried: images that are fed wrongly may fit another order better too."""


def find(record: AuditRecord) -> list[Finding]:
    """The change of the input or of the order of classes that gains most, where that is clear.

    One alone: where images are fed wrongly, another order of the classes may fit better by chance.
    """
    trial = record.plausibility
    if trial is None:
        return []
    left = LEFT_WRONG if trial.input_settled else LEFT_WRONG_ALONE
    clear = [entry for entry in trial.alternatives if _is_clear(entry, left)]
    if not clear:
        return []
    # Listed are the commonest first, and an order of the classes last.
    most = max(map(_gain, clear))
    best = next(entry for entry in clear if _gain(entry) >= most - ALIKE)
    return [Finding(rule="plausibility", level="warning", subject=record.data.name, message=_message(best))]


def _is_clear(entry: Alternative, left_wrong: float) -> bool:
    if entry.p_value is None:
        return False
    if entry.reading == "class order" and 1 - entry.after.value > left_wrong * (1 - entry.before.value):
        return False
    return _gain(entry) >= GAIN and entry.p_value < SIGNIFICANCE


def _gain(entry: Alternative) -> float:
    return entry.after.value - entry.before.value


def _message(entry: Alternative) -> str:
    figures = f"{format_percent(entry.after.value)} instead of {format_percent(entry.before.value)}"
    change = entry.options if entry.options and "FILE" not in entry.options else entry.change
    also = f" ({entry.change})" if change != entry.change else ""
    way = f" with {entry.options}" if change == entry.change and entry.options else ""
    return (
        f"With {change} clean accuracy would be {figures} (on {entry.after.total} images){also}. Nothing was changed: "
        f"look up how the model was trained, and state it{way}."
    )
