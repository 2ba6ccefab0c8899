"""How far the layers of two runs move under the same perturbation."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from scipy import stats

from ..gating.comparability import layer_refusals
from ..gating.snapshot import measured_layers, values
from ..records.diff import LayerChange, LayerTable, Trend
from ..records.snapshot import LayerState, MeasuredLayers, Snapshot
from ..stats.statistics import CONFIDENCE, Floats, finite, holm
from .images import trend
from .sides import Pairs


class Move(TypedDict):
    """The figures of a `LayerChange`."""

    before: float | None
    after: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_adjusted: float | None
    trend: Trend | None


def layer_table(pairs: Pairs, perturbation: str) -> LayerTable | None:
    """The layers that both have, matched by name; None where one run did not measure them, or in another way.

    Raises:
        DataError: malformed values.
    """
    before, after = pairs.before.snapshot, pairs.after.snapshot
    first, second = measured_layers(before, perturbation), measured_layers(after, perturbation)
    if first is None or second is None or layer_refusals(after, before, perturbation, lists=False):
        return None
    left, right = ({state.layer: state for state in measured.layers} for measured in (first, second))
    shared = [name for name in right if name in left]
    left_values, right_values = _values(before, first, shared), _values(after, second, shared)
    if left_values is None or right_values is None:
        moves = [_unpaired(left[name], right[name]) for name in shared]
    else:
        moves = paired_moves(left_values[:, pairs.rows_before], right_values[:, pairs.rows_after])
    return LayerTable(
        perturbation=perturbation,
        measure=second.measure,
        paired=left_values is not None and right_values is not None,
        lists_compared=first.eta == second.eta,
        mvl_before=first.mvl,
        mvl_after=second.mvl,
        layers=tuple(
            LayerChange(layer=name, in_mvl_before=name in first.mvl, in_mvl_after=name in second.mvl, **move)
            for name, move in zip(shared, moves, strict=True)
        ),
        only_before=tuple(name for name in left if name not in right),
        only_after=tuple(name for name in right if name not in left),
    )


def paired_moves(before: Floats, after: Floats) -> list[Move]:
    """Means and their differences over the images that are defined on both sides.

    The interval and the p-value are Student's for the mean of paired differences, the p-value after Holm over the
    layers: hundreds of layers take no time, and both say the same.

    Args:
        before, after: [layers, images], NaN where undefined.
    """
    both = np.isfinite(before) & np.isfinite(after)
    counts = both.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        first, second = (np.where(both, side, 0.0).sum(axis=1) / counts for side in (before, after))
        difference = second - first
        apart = np.where(both, after - before - difference[:, None], 0.0)
        error = np.sqrt((apart**2).sum(axis=1) / (counts - 1) / counts)
        # Layers that did not move at all have no error: 0 / 0 there means no difference.
        ratio = np.where(difference == 0, 0.0, np.abs(difference) / error)
        p_values = 2 * stats.t.sf(ratio, counts - 1)
        spread = stats.t.ppf((1 + CONFIDENCE) / 2, counts - 1) * error
    known = np.isfinite(p_values) & np.isfinite(error)
    adjusted = np.full(len(counts), np.nan)
    adjusted[known] = holm(p_values[known])
    rows = zip(first, second, difference, difference - spread, difference + spread, adjusted, strict=True)
    return [_move(*(finite(value) for value in row)) for row in rows]


def _move(
    before: float | None,
    after: float | None,
    difference: float | None,
    low: float | None = None,
    high: float | None = None,
    p_adjusted: float | None = None,
) -> Move:
    told = None if p_adjusted is None or difference is None else trend(p_adjusted, -difference)
    return Move(
        before=before, after=after, difference=difference, low=low, high=high, p_adjusted=p_adjusted, trend=told
    )


def _unpaired(before: LayerState, after: LayerState) -> Move:
    if before.mean is None or after.mean is None:
        return _move(before.mean, after.mean, None)
    return _move(before.mean, after.mean, finite(after.mean - before.mean))


def _values(snapshot: Snapshot, measured: MeasuredLayers, names: list[str]) -> Floats | None:
    """[layers, images] of the named layers; None where they were not kept."""
    found = values(measured, snapshot.clean.count)
    places = {state.layer: place for place, state in enumerate(measured.layers)}
    return None if found is None else found[[places[name] for name in names]]
