"""Resize and Upsample: each axis by itself, as one product with a matrix of weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from .base import Node, Operation

Floats = NDArray[numpy.float64]

COORDINATES: Mapping[str, Callable[[Floats, float, int, int], Floats]] = {
    "asymmetric": lambda place, scale, _before, _after: place / scale,
    "half_pixel": lambda place, scale, _before, _after: (place + 0.5) / scale - 0.5,
    "half_pixel_symmetric": lambda place, scale, before, after: (
        before / 2 * (1 - after / (scale * before)) + (place + 0.5) / scale - 0.5
    ),
    "pytorch_half_pixel": lambda place, scale, _, after: (place + 0.5) / scale - 0.5 if after > 1 else place * 0.0,
    "align_corners": lambda place, _, before, after: place * ((before - 1) / (after - 1)) if after > 1 else place * 0.0,
    "tf_half_pixel_for_nn": lambda place, scale, _before, _after: (place + 0.5) / scale,
}
"""Place in the output -> place in the input, for a scale and the sizes before and after."""

ROUNDING: Mapping[str, Callable[[Floats], Floats]] = {
    "round_prefer_floor": lambda place: numpy.ceil(place - 0.5),
    "round_prefer_ceil": lambda place: numpy.floor(place + 0.5),
    "floor": numpy.floor,
    "ceil": numpy.ceil,
}


def resize(
    node: Node,
    values: Tensor,
    region: object = None,
    scales: list[float] | None = None,
    sizes: list[int] | None = None,
) -> Tensor:
    """Resize by scales or to sizes."""
    axes = node.integers("axes") or list(range(values.dim()))
    if node.opset < 11:
        scales = region if isinstance(region, list) else None
    for axis, wanted in zip(axes, sizes or scales or [], strict=True):
        before = values.shape[axis]
        if sizes and wanted != before:
            values = _along(node, values, axis, int(wanted), wanted / before)
        elif not sizes and wanted != 1:
            after = math.floor(numpy.float32(before) * numpy.float32(wanted))
            values = _along(node, values, axis, after, wanted)
    return values


def upsample(node: Node, values: Tensor, scales: list[float] | None = None) -> Tensor:
    """Upsample, the forerunner of Resize: asymmetric, and floor for nearest."""
    settings = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    as_resize = Node(node.name, "Resize", 11, {**settings, "mode": node.text("mode", "nearest")})
    return resize(as_resize, values, None, scales or list(node.attributes.get("scales", [])))


def _along(node: Node, values: Tensor, axis: int, after: int, scale: float) -> Tensor:
    before = values.shape[axis]
    default = "asymmetric" if node.opset < 11 else "half_pixel"
    transform = COORDINATES[node.text("coordinate_transformation_mode", default)]
    # in float32 as the runtimes do: in float64 a place that lies half-way would round to its other neighbour
    places = transform(numpy.arange(after, dtype=numpy.float32), float(numpy.float32(scale)), before, after)
    if node.text("mode", "nearest") == "nearest":
        rounding = ROUNDING[node.text("nearest_mode", "floor" if node.opset < 11 else "round_prefer_floor")]
        chosen = numpy.clip(rounding(places), 0, before - 1).astype(int)
        return values.index_select(axis, torch.tensor(chosen.tolist(), device=values.device))
    weights = torch.tensor(_weights(node, places, before, scale).tolist(), dtype=values.dtype, device=values.device)
    return (values.movedim(axis, -1) @ weights.t()).movedim(-1, axis)


def _weights(node: Node, places: Floats, before: int, scale: float) -> Floats:
    """Matrix [after, before]: how much each input value counts in each output value."""
    cubic = node.text("mode", "nearest") == "cubic"
    wider = max(1.0, 1 / scale) if node.integer("antialias", 0) else 1.0
    reach = math.ceil((2 if cubic else 1) * wider)
    offsets = numpy.arange(-reach, reach + 1)
    neighbours = numpy.floor(places)[:, None].astype(int) + offsets
    distances = numpy.abs(places[:, None] - neighbours) / wider
    shares = _cubic(distances, node.number("cubic_coeff_a", -0.75)) if cubic else numpy.maximum(1 - distances, 0)
    outside = (neighbours < 0) | (neighbours >= before)
    if node.integer("exclude_outside", 0):
        shares = numpy.where(outside, 0, shares)
    shares = shares / shares.sum(1, keepdims=True)
    matrix = numpy.zeros((len(places), before))
    rows = numpy.broadcast_to(numpy.arange(len(places))[:, None], neighbours.shape)
    numpy.add.at(matrix, (rows, numpy.clip(neighbours, 0, before - 1)), shares)
    return matrix


def _cubic(distance: Floats, a: float) -> Floats:
    """Keys' cubic convolution kernel."""
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    return numpy.where(distance <= 1, near, numpy.where(distance < 2, far, 0.0))


def _unusual(node: Node) -> str:
    known: Sequence[tuple[str, str, Sequence[str]]] = (
        ("mode", "nearest", ("nearest", "linear", "cubic")),
        ("coordinate_transformation_mode", "half_pixel", tuple(COORDINATES)),
        ("keep_aspect_ratio_policy", "stretch", ("stretch",)),
    )
    for key, default, values in known:
        if node.text(key, default) not in values:
            return f"{key} {node.text(key, default)}"
    return ""


RESIZING: Mapping[str, Operation] = {
    "Resize": Operation(resize, numbers=frozenset({1, 2, 3}), refuses=_unusual),
    "Upsample": Operation(upsample, numbers=frozenset({1})),
}
