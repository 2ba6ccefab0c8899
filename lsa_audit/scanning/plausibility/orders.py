"""Other orders of the classes, held against the predictions that are there already."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..stages import Evaluation
from .candidates import Candidate

NAMED = 3
STEPS = (1, -1)
"""Labels that count a background class, or from 1."""


def other_orders(evaluation: Evaluation, predictions: Tensor) -> list[tuple[Candidate, Tensor]]:
    """Labels one off, and the order of classes that fits the predictions best; [N] bool each, which are then right.

    None of them where the order is stated. The best order is learned on half of each class and held against the
    other; labels that are one off teach nothing, so that all images count. No passes.
    """
    order = evaluation.dataset.class_order
    if order is not None and order.stated:
        return []
    steps = [step for step in STEPS if _fits(evaluation, step)]
    found = [(_step(step), predictions == evaluation.labels + step) for step in steps]
    learned = _learned(evaluation, predictions)
    if learned is not None and all(learned[0].options != candidate.options for candidate, _ in found):
        found.append(learned)
    return found


def _fits(evaluation: Evaluation, step: int) -> bool:
    """Whether labels may be so far off: nobody said of an offset or of names, and none would leave the classes."""
    dataset = evaluation.dataset
    if dataset.label_offset is not None or dataset.class_order is not None:
        return False
    largest = max(dataset.largest_label, int(evaluation.labels.max()))
    return int(evaluation.labels.min()) + step >= 0 and largest + step < evaluation.model.settled[1]


def _step(step: int) -> Candidate:
    return Candidate("class order", f"labels {step:+d}", f"--label-offset {step}")


def _learned(evaluation: Evaluation, predictions: Tensor) -> tuple[Candidate, Tensor] | None:
    """None where the best order is the present one."""
    labels = evaluation.labels
    half = _halves(labels)
    expected = labels.clone()
    # A label or a class may be in one half alone.
    count = int(max(labels.max(), predictions.max())) + 1
    for side in (False, True):
        mapping = _assigned(labels[half != side], predictions[half != side], count)
        expected[half == side] = mapping[labels[half == side]]
    mapping = _assigned(labels, predictions, count)
    moved = [(label, int(mapping[label])) for label in torch.unique(labels).tolist() if int(mapping[label]) != label]
    if not moved:
        return None
    names = evaluation.dataset.class_names
    steps = {to - label for label, to in moved}
    if len(steps) == 1 and len(moved) == len(torch.unique(labels)):
        return _step(steps.pop()), predictions == expected
    shown = [f"{names[label] if label < len(names) else label} is class {to}" for label, to in moved[:NAMED]]
    change = f"another order of the classes ({', '.join(shown)}{' ...' if len(moved) > NAMED else ''})"
    options = "--class-order FILE" if evaluation.dataset.class_order is not None else ""
    return Candidate("class order", change, options), predictions == expected


def _halves(labels: Tensor) -> Tensor:
    """[N] bool: every second image of each class."""
    order = labels.argsort(stable=True)
    _, counts = torch.unique(labels, return_counts=True)
    places = torch.cat([torch.arange(count) for count in counts.tolist()])
    half = torch.empty(len(labels), dtype=torch.bool)
    half[order] = places % 2 == 1
    return half


def _assigned(labels: Tensor, predictions: Tensor, count: int) -> Tensor:
    """Label -> class, [count], one to one, that makes most predictions right; one that fits none keeps itself."""
    rows, row_of = torch.unique(labels, return_inverse=True)
    columns, column_of = torch.unique(predictions, return_inverse=True)
    counts = torch.zeros(len(rows), len(columns))
    counts.index_put_((row_of, column_of), torch.ones(len(labels)), accumulate=True)
    mapping = torch.arange(count)
    for row, column in zip(*linear_sum_assignment(counts.numpy(), maximize=True), strict=True):
        if counts[row, column] > 0:
            mapping[rows[row]] = columns[column]
    return mapping
