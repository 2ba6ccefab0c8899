"""Accuracy against epsilon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...page import text
from ...page.drawing import INK, MARKERS, SERIES, Figure, canvas, finish
from ...records import AttackResult, AuditRecord, Estimate
from ...units import format_epsilon
from .. import selection

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.transforms import Transform

DODGE = 4.0


def figure(record: AuditRecord) -> Figure:
    """Accuracy against epsilon, one panel for each norm and one line for each attack, from the clean images at 0."""
    key = "accuracy-figure"
    title = f"{text.capitalized(record.accuracy_name)} against epsilon"
    if not record.attacks:
        return Figure(
            key, title, f"No attack was run, so there is no figure of {record.accuracy_name} against epsilon."
        )
    norms = list(dict.fromkeys(result.perturbation.norm for result in record.attacks))
    attacks = dict.fromkeys(selection.attack_name(result.perturbation) for result in record.attacks)
    places = {name: place for place, name in enumerate(attacks)}
    legend_rows = math.ceil((len(places) + 1) / 3)
    with canvas(40.0 + 220.0 * len(norms) + 17.0 * legend_rows, panels=len(norms)) as (drawing, panels):
        handles: dict[str, Artist] = {}
        for axes, norm in zip(panels, norms, strict=True):
            _draw_panel(axes, record, [result for result in record.attacks if result.perturbation.norm == norm], places)
            axes.set_xlabel(f"epsilon ({norm})")
            artists, names = axes.get_legend_handles_labels()
            handles |= dict(zip(names, artists, strict=True))
        entries = (list(handles.values()), list(handles))
        drawing.legend(*entries, loc="outside upper left", ncols=3, columnspacing=1.2, borderaxespad=0)
        description = (
            f"Clean {record.accuracy_name} at epsilon 0; the bars are 95 % Wilson intervals; noises are dashed. "
            "Marks at the same epsilon are set side by side."
        )
        return finish(drawing, key, title, description)


def _draw_panel(axes: Axes, record: AuditRecord, results: Sequence[AttackResult], places: dict[str, int]) -> None:
    _draw_interval(axes, 0.0, record.clean, INK)
    axes.plot([0.0], [100 * record.clean.value], "*", color=INK, markersize=9, label="clean", zorder=5)
    named: dict[str, list[AttackResult]] = {}
    for result in sorted(results, key=lambda result: result.perturbation.epsilon):
        named.setdefault(selection.attack_name(result.perturbation), []).append(result)
    for order, (name, series) in enumerate(named.items()):
        _draw_series(axes, record.clean, series, places[name], DODGE * (order - (len(named) - 1) / 2))
    largest = max(result.perturbation.epsilon for result in results) or 1.0
    axes.set_xlim(-0.07 * largest, 1.07 * largest)
    ticks = _apart(sorted({0.0, *(result.perturbation.epsilon for result in results)}), 0.15 * largest)
    axes.set_xticks(ticks, [format_epsilon(tick) for tick in ticks])
    axes.set_ylim(-4, 104)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_ylabel(f"{record.accuracy_name} (%)")


def _draw_series(axes: Axes, clean: Estimate, series: Sequence[AttackResult], place: int, shift: float) -> None:
    """One line from the clean figure on, `shift` units to the right so that marks at one epsilon stay apart."""
    from matplotlib.transforms import Affine2D

    aside = axes.transData + Affine2D().translate(shift, 0)
    colour, marker = SERIES[place % len(SERIES)], MARKERS[(place + place // len(SERIES)) % len(MARKERS)]
    for result in series:
        _draw_interval(axes, result.perturbation.epsilon, result.robust_accuracy, colour, aside)
    axes.plot(
        [0.0, *(result.perturbation.epsilon for result in series)],
        [100 * share.value for share in (clean, *(result.robust_accuracy for result in series))],
        "--" if series[0].perturbation.kind == "noise" else "-",
        marker=marker,
        markevery=slice(1, None),
        color=colour,
        label=selection.attack_name(series[0].perturbation, 18),
        transform=aside,
    )


def _draw_interval(axes: Axes, epsilon: float, share: Estimate, colour: str, aside: Transform | None = None) -> None:
    ends = [100 * share.low, 100 * share.high]
    axes.plot([epsilon, epsilon], ends, "-", color=colour, linewidth=1.2, transform=aside or axes.transData)


def _apart(values: Sequence[float], distance: float) -> list[float]:
    """The largest value and those below it that lie far enough from each other to be labelled."""
    kept: list[float] = []
    for value in reversed(values):
        if not kept or kept[-1] - value >= distance:
            kept.append(value)
    return kept[::-1]
