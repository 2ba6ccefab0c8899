"""The figures of a hardening: the layers before and after, and the curves of the training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...page import text
from ...page.drawing import GOOD, MARKERS, SERIES, Figure, canvas, finish, is_finite
from ...records.hardening import Epoch, Hardening, LayerShift
from .layers import LABEL_LIMIT, LOG_FROM, NAME_WIDTH, RING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LAYERS = "hardening-layers"
CURVES = "hardening-training"
CURVES_HEIGHT = 440.0
MARKED_EPOCHS = 40


def figures(record: Hardening) -> tuple[Figure, ...]:
    """The layers, then the training; one that has nothing to show has a description that says so, and no SVG."""
    return _layers(record), _curves(record)


def _layers(record: Hardening) -> Figure:
    title = "Relative error of every layer before and after"
    values = [value for entry in record.layers for value in (entry.before, entry.after) if is_finite(value)]
    if not values:
        return Figure(LAYERS, title, "No layer was measured, so there is no figure of the layers.")
    with canvas(_height(len(record.layers))) as (drawing, (axes,)):
        before, after = [entry.before for entry in record.layers], [entry.after for entry in record.layers]
        _draw_errors(axes, before, "--", SERIES[1], "before")
        _draw_errors(axes, after, "-", SERIES[0], "after")
        _ring_chosen(axes, record.layers)
        _name_axes(axes, record.layers, values)
        drawing.legend(loc="outside upper left", ncols=3, handletextpad=0.4, columnspacing=1.2, borderaxespad=0)
        return finish(drawing, LAYERS, title, _describe_layers(record))


def _height(layers: int) -> float:
    """Few rows are spread out, many are set close; below and above them stand the axis and the legend."""
    row = 6.0 if layers > LABEL_LIMIT else max(15.0, min(30.0, 300.0 / layers))
    return min(max(row * layers, 90.0), 1_200.0) + 85.0


def _draw_errors(axes: Axes, errors: Sequence[float | None], style: str, colour: str, label: str) -> None:
    known = [(error, row) for row, error in enumerate(errors) if is_finite(error)]
    if known:
        values, rows = zip(*known, strict=True)
        axes.plot(values, rows, style, marker="o", markersize=4, color=colour, label=label)


def _ring_chosen(axes: Axes, layers: Sequence[LayerShift]) -> None:
    """Around the error after, or before where there is none after."""
    known = [
        (entry.before if entry.after is None else entry.after, row)
        for row, entry in enumerate(layers)
        if entry.chosen and is_finite(entry.before if entry.after is None else entry.after)
    ]
    if known:
        values, rows = zip(*known, strict=True)
        axes.plot(values, rows, "o", zorder=4, label="regularised", **RING)


def _name_axes(axes: Axes, layers: Sequence[LayerShift], values: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    log = min(values) > 0 and max(values) / min(values) > LOG_FROM
    axes.set_xlabel(f"mean relative error{' (log scale)' if log else ''}")
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=7))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(left=0)
    labelled = range(0, len(layers), math.ceil(len(layers) / LABEL_LIMIT))
    axes.set_yticks(list(labelled), [text.name(layers[row].layer, NAME_WIDTH) for row in labelled])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(layers) - 0.4, -0.6)


def _describe_layers(record: Hardening) -> str:
    attack = "the same attack" if record.layer_attack is None else text.name(record.layer_attack)
    parts = [f"Layers from the input (top) to the output (bottom), under {attack} on the test images."]
    if any(entry.chosen for entry in record.layers):
        parts.append("A ring marks a layer that the regulariser acts on.")
    if all(entry.after is None for entry in record.layers):
        parts.append("No file was written, so there is nothing after.")
    return " ".join(parts)


def _curves(record: Hardening) -> Figure:
    title = "Training, epoch by epoch"
    epochs = record.log.epochs
    if not epochs:
        return Figure(CURVES, title, "No epoch was finished, so there is no figure of the training.")
    with canvas(CURVES_HEIGHT, panels=2) as (drawing, (loss, accuracy)):
        _draw_loss(loss, epochs)
        _draw_accuracies(accuracy, record)
        for axes in (loss, accuracy):
            _mark_kept(axes, record)
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, columnspacing=1.2)
        return finish(drawing, CURVES, title, _describe_curves(record))


def _draw_loss(axes: Axes, epochs: Sequence[Epoch]) -> None:
    _draw_curve(axes, [(entry.epoch, entry.loss) for entry in epochs], 0, "loss")
    _draw_curve(axes, [(entry.epoch, entry.penalty) for entry in epochs], 1, "of it penalty")
    axes.set_ylabel("mean loss")
    axes.margins(y=0.1)


def _draw_accuracies(axes: Axes, record: Hardening) -> None:
    log = record.log
    clean = [(0, log.clean_before), *((entry.epoch, entry.clean) for entry in log.epochs)]
    robust = [(0, log.robust_before), *((entry.epoch, entry.robust) for entry in log.epochs)]
    trained = [(entry.epoch, entry.train_robust) for entry in log.epochs]
    curves = ((clean, "validation, clean"), (robust, "validation, PGD"), (trained, "training, attacked"))
    for place, (points, label) in enumerate(curves):
        _draw_curve(axes, [(epoch, 100 * share) for epoch, share in points], place + 2, label)
    axes.set_ylim(-4, 104)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_xlabel("epoch (0: before training)")
    axes.set_ylabel(f"{record.before.accuracy_name} (%)")


def _draw_curve(axes: Axes, points: Sequence[tuple[int, float | None]], place: int, label: str) -> None:
    known = [(epoch, value) for epoch, value in points if is_finite(value)]
    if known:
        epochs, values = zip(*known, strict=True)
        marker = MARKERS[place] if len(known) <= MARKED_EPOCHS else ""
        axes.plot(epochs, values, "-", marker=marker, markersize=4, color=SERIES[place], label=label)


def _mark_kept(axes: Axes, record: Hardening) -> None:
    from matplotlib.ticker import MaxNLocator

    last = record.log.epochs[-1].epoch
    axes.set_xlim(-0.04 * last, 1.04 * last)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if record.log.kept_epoch is not None:
        axes.axvline(record.log.kept_epoch, color=GOOD, linestyle=":", linewidth=1.6, label="kept epoch")


def _describe_curves(record: Hardening) -> str:
    kept = record.log.kept_epoch
    marked = "No epoch was kept." if kept is None else f"The dotted line marks epoch {kept:,}, whose weights were kept."
    return (
        f"Above the mean loss of each epoch, below the {record.before.accuracy_name} on the validation images, clean "
        f"and under PGD, and on the training images as they were attacked. {marked}"
    )
