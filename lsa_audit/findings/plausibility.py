"""Another reading of images or labels would make far more images right."""

from __future__ import annotations

from ..records import AuditRecord, Finding, Plausibility
from ..records.plausibility import GAIN, NOTHING_LEFT, SIGNIFICANCE, Alternative
from ..units import format_percent, quantity

ALIKE = 0.02
RIVAL = 0.05
LEFT_WRONG = 0.5
"""A network that knows nothing fits some order of the classes better than another; the right one leaves few wrong."""
LEFT_WRONG_ALONE = 0.1
"""Where no change of the input was tried: images that are fed wrongly may fit another order better too."""
LOW = 0.6
"""Clean accuracy, at the upper end of its interval, below which a trial on few images is worth a line."""
FEW = 32
"""Images with which a trial can tell."""
HINT = 0.1
"""Gain that is worth a line although it may be chance."""
HINT_SIGNIFICANCE, HINT_SIGNIFICANCE_OF_FEW = 1.0, 0.1
"""The corrected p-value from which on it is not; with fewer than `FEW` images."""

__all__ = ["FEW", "GAIN", "HINT", "LOW", "SIGNIFICANCE", "find"]


def find(record: AuditRecord) -> list[Finding]:
    """The change of the input or of the order of classes that gains most, where that is clear.

    One alone: where images are fed wrongly, another order of the classes may fit better by chance. Where nothing is
    clear and the accuracy is low, whether that is for want of images.
    """
    trial = record.plausibility
    if trial is None:
        return []
    left = LEFT_WRONG if trial.input_settled else LEFT_WRONG_ALONE
    clear = [entry for entry in trial.alternatives if entry.clear and not _fits_by_chance(entry, left)]
    if not clear:
        unsure = _unsure(record, trial)
        return [Finding(rule="plausibility", level="note", subject=record.data.name, message=unsure)] if unsure else []
    # Listed are the commonest first, and an order of the classes last.
    most = max(entry.gain for entry in clear)
    best = next(entry for entry in clear if entry.gain >= most - ALIKE)
    message = _message(best) + _rivals(best, clear)
    return [Finding(rule="plausibility", level="warning", subject=record.data.name, message=message)]


def _rivals(best: Alternative, clear: list[Alternative]) -> str:
    """Changes that fit hardly worse: which of them is true nobody knows, and under attack they may differ."""
    near = [entry for entry in clear if entry is not best and entry.gain >= best.gain - RIVAL]
    if not near:
        return ""
    said = " and ".join(f"{_named(entry)[0]} ({format_percent(entry.after.value)})" for entry in near[:2])
    return f" {said[0].upper()}{said[1:]} {'fits' if len(near) == 1 else 'fit'} about as well."


def _fits_by_chance(entry: Alternative, left_wrong: float) -> bool:
    return entry.reading == "class order" and 1 - entry.after.value > left_wrong * (1 - entry.before.value)


def _unsure(record: AuditRecord, trial: Plausibility) -> str:
    """Why the trial could not tell; empty where it could, or where the accuracy raises no question."""
    best = max(trial.inputs, key=lambda entry: entry.gain, default=None)
    if best is not None and _may_be_one(best):
        seen = f"{_figures(best)} on {quantity(best.after.total, 'image')}"
        what = f"With {_named(best)[0]} clean accuracy would be {seen}, which may be chance."
    elif _few(record, trial):
        tried = quantity(max((entry.after.total for entry in trial.alternatives), default=0), "image")
        what = f"Clean accuracy is low, and {tried} are too few to tell whether images or labels were read wrongly."
    else:
        return ""
    return f"{what} Scan more images, or state --mean, --std and --channel-order as in training."


def _may_be_one(entry: Alternative) -> bool:
    limit = HINT_SIGNIFICANCE if entry.after.total >= FEW else HINT_SIGNIFICANCE_OF_FEW
    return entry.gain >= HINT and entry.p_value is not None and entry.p_value < limit


def _few(record: AuditRecord, trial: Plausibility) -> bool:
    """Whether the accuracy is low, and not so low that the rule clean-accuracy gives the same advice."""
    asked = trial.alternatives and trial.note != NOTHING_LEFT
    low = 1 / record.model.classes < record.clean.low and record.clean.high < LOW
    return bool(asked) and low and max((entry.after.total for entry in trial.inputs), default=0) < FEW


def _figures(entry: Alternative) -> str:
    return f"{format_percent(entry.after.value)} instead of {format_percent(entry.before.value)}"


def _named(entry: Alternative) -> tuple[str, str]:
    """The change as a reader can make it, and what else is to be said of it."""
    if entry.reading in ("pixel range", "pixel order"):
        return entry.change, f" and {entry.options}" if entry.options else ""
    change = entry.options if entry.options and "FILE" not in entry.options else entry.change
    return change, f" with {entry.options}" if change == entry.change and entry.options else ""


def _message(entry: Alternative) -> str:
    change, way = _named(entry)
    said = f"With {change} clean accuracy would be {_figures(entry)} (on {entry.after.total} images)"
    if entry.reading in ("pixel range", "pixel order"):
        return f"{said}. Nothing was changed: look at how the images were saved, and give them that way{way}."
    also = f" ({entry.change})" if change != entry.change else ""
    return f"{said}{also}. Nothing was changed: look up how the model was trained, and state it{way}."
