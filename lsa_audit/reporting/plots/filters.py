"""What is left of the network under each synaptic filter, over the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...page import text
from ...page.drawing import MARKERS, QUIET, SERIES, Figure, canvas, finish
from ...records import AuditRecord, FilterCurve
from .. import selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEY = "filters-figure"
TITLE = "Synaptic filters on all layers together"
PANEL_HEIGHT = 150.0


def figures(record: AuditRecord) -> tuple[Figure, ...]:
    """A panel for each filter on the network; none where no filter was measured."""
    filters = record.filters
    if filters is None:
        return ()
    if filters.clean.count == 0:
        nothing = "The unfiltered model gets no image right, so there is no figure of the filters."
        return (Figure(KEY, TITLE, nothing),)
    curves = filters.network.curves
    named = record.accuracy_name
    attack = selection.labels(record).get(filters.perturbation, text.name(filters.perturbation))
    with canvas(70.0 + PANEL_HEIGHT * len(curves), panels=len(curves)) as (drawing, panels):
        for axes, curve in zip(panels, curves, strict=True):
            _draw_curve(axes, curve, named)
        panels[-1].set_xlabel("threshold (0: least filtering)")
        handles = {name: line for axes in panels for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}
        entries = (list(handles.values()), list(handles))
        drawing.legend(*entries, loc="outside upper left", ncols=3, columnspacing=1.2, borderaxespad=0)
        return (finish(drawing, KEY, TITLE, _describe(curves, named, attack)),)


def _draw_curve(axes: Axes, curve: FilterCurve, named: str) -> None:
    """Accuracies as shares of the first one; one that is 0 there has no line."""
    share_left = [100 * share for share in curve.kept]
    axes.plot(curve.thresholds, share_left, "--", color=QUIET, label="weights left (d)")
    lines = ((curve.clean, f"{named} (p)"), (curve.adversarial, "under attack (q)"))
    for place, (accuracies, label) in enumerate(lines):
        if accuracies[0]:
            shares = [100 * accuracy / accuracies[0] for accuracy in accuracies]
            axes.plot(curve.thresholds, shares, "-", marker=MARKERS[place], color=SERIES[place], label=label)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(bottom=-4)
    axes.set_ylabel("share (%)")
    axes.set_title(curve.filter, loc="left")


def _describe(curves: Sequence[FilterCurve], named: str, attack: str) -> str:
    parts = [
        f"{text.capitalized(named)} of the filtered network on clean images and under {attack}, both as shares of "
        "what they are at the first threshold, beside the share of the weights that are left. A line above the dashed "
        "one loses less than its share of the weights."
    ]
    for curve in curves:
        scores = [text.number(score) for score in (curve.clean_score, curve.adversarial_score)]
        parts.append(f"{text.capitalized(curve.filter)}: score {scores[0]} clean, {scores[1]} under attack.")
    if any(not curve.adversarial[0] for curve in curves):
        parts.append("Where no image is right under attack at the first threshold, the line under attack is missing.")
    return " ".join(parts)
