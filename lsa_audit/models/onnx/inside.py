"""Compares the values inside a conversion, node by node, with those that onnxruntime computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError
from ..parity import PARITY_TOLERANCE
from .reading import OnnxFile
from .runtime import HALF_TOLERANCE, RuntimeProgram
from .steps import Network

LARGEST_VALUES = 2**27
"""Of all values inside together, as float32: 512 MB."""


@dataclass(frozen=True)
class Inside:
    """What was seen.

    Attributes:
        compared: how many values; 0 where there was no comparison.
        difference: the largest, relative to the largest entry of its value.
        wrong: the node of the first value that differs by more than rounding; empty for none.
        detail: in words.
    """

    compared: int
    difference: float
    wrong: str
    detail: str


def compare_inside(network: Network, source: OnnxFile, images: Tensor, *, rounds: bool) -> Inside:
    """Every float value that a step of the network makes, against the tensor of that name in the file.

    Args:
        images: [N, ...] as the file takes them, N its batch size where it has one.
        rounds: whether the file rounds to 8 bits, where one rounding the other way moves all that follows.

    Cost: one forward of the network and one of the file, with all values held.
    """
    if rounds:
        return Inside(0, 0.0, "", "values inside were not compared, as the file rounds them")
    values, names = _values(network, images)
    if sum(value.numel() for value in values.values()) > LARGEST_VALUES:
        return Inside(0, 0.0, "", "values inside were not compared, as there are too many")
    try:
        expected = RuntimeProgram(source, extra=[*values], exact=True)(images)
    except (ModelError, RuntimeError):
        return Inside(0, 0.0, "", "values inside were not compared, as onnxruntime does not give them")
    tolerance = HALF_TOLERANCE if source.half else PARITY_TOLERANCE
    apart = {name: _difference(value, expected[name]) for name, value in values.items() if name in expected}
    wrong = next((names[name] for name, difference in apart.items() if not difference <= tolerance), "")
    worst = max(apart.values(), default=0.0)
    return Inside(len(apart), worst, wrong, f"{len(apart)} values inside differ by at most {worst:.1e}")


def _values(network: Network, images: Tensor) -> tuple[dict[str, Tensor], dict[str, str]]:
    """By the file's name of the value: what the network computes, and the node that makes it."""
    found: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    values: dict[str, Any] = {network.input_name: images.double() if network.in_double else images}
    with torch.no_grad():
        for call in network.plan:
            network.run(call, values, images.device)
            for name in call.outputs:
                value = values.get(name)
                if name and isinstance(value, Tensor) and value.is_floating_point() and value.numel():
                    found[name], names[name] = value.detach().float(), network.layer_names[f"steps.{call.step}"]
            for name in call.finished:
                values.pop(name, None)
    return found, names


def _difference(value: Tensor, expected: Tensor) -> float:
    """Relative to the largest entry; infinities must be at the same places."""
    if value.numel() != expected.numel():
        return float("inf")
    value, expected = value.reshape(-1).double(), expected.reshape(-1).double()
    finite = torch.isfinite(expected)
    if not torch.equal(finite, torch.isfinite(value)):
        return float("inf")
    if not finite.any():
        return 0.0
    scale = float(expected[finite].abs().max())
    apart = float((value[finite] - expected[finite]).abs().max())
    return apart / scale if scale else apart
