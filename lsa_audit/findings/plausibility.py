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


def find(record: AuditRecord) -> list[Finding]:
    """The best change of the input and the best order of the classes, where they gain clearly."""
    trial = record.plausibility
    if trial is None:
        return []
    clear = [entry for entry in trial.alternatives if _is_clear(entry)]
    inputs = [entry for entry in clear if entry.reading != "class order"]
    orders = [entry for entry in clear if entry.reading == "class order"]
    best = [_chosen(entries) for entries in (inputs, orders) if entries]
    return [
        Finding(rule="plausibility", level="warning", subject=record.data.name, message=_message(entry))
        for entry in best
    ]


def _chosen(entries: list[Alternative]) -> Alternative:
    """Of the changes that gain about as much as the best one the first; they are listed with the commonest first."""
    most = max(map(_gain, entries))
    return next(entry for entry in entries if _gain(entry) >= most - ALIKE)


def _is_clear(entry: Alternative) -> bool:
    if entry.p_value is None:
        return False
    if entry.reading == "class order" and 1 - entry.after.value > LEFT_WRONG * (1 - entry.before.value):
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
