"""Opens the batch of a graph that was exported for one batch size.

Such a graph holds its batch size as a number wherever it reshapes. Which number means the batch is found by running it
twice in step: as it is on one group of images, and, opened so far, on two groups. Nothing of this is believed: the
caller compares the logits with those of the graph as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..static_batch import open_sizes
from .steps import Network, Read, StepCall

RESHAPES = {"Reshape": False, "Expand": True}
"""Operations that may hold the batch size, and whether they only repeat dimensions."""


def opened(network: Network, sides: Sequence[int], size: int) -> list[StepCall] | None:
    """The plan of the network with an open batch; None where that cannot be done.

    Args:
        sides: of one image.
        size: how many images the network takes.

    Cost: two forwards, on one group of images and on two.
    """
    images = torch.rand([2 * size, *sides], generator=torch.Generator().manual_seed(0))
    images = images.double() if network.in_double else images
    single: dict[str, Any] = {network.input_name: images[:size]}
    double: dict[str, Any] = {network.input_name: images}
    plan = []
    with torch.no_grad():
        for call in network.plan:
            try:
                network.run(call, single, images.device)
                changed = _opened(network, call, single, double, size)
                network.run(changed, double, images.device)
            except Exception:  # noqa: BLE001 - whatever a step says about sizes that do not fit
                return None
            plan.append(changed)
            for name in call.finished:
                single.pop(name, None)
                double.pop(name, None)
    return plan


def _opened(network: Network, call: StepCall, single: dict[str, Any], double: dict[str, Any], size: int) -> StepCall:
    kind = network.kind(call)
    if kind not in RESHAPES or len(call.operands) < 2 or not isinstance(call.operands[1], list):
        return call
    values, result = call.operands[0], single[call.outputs[0]]
    if not isinstance(values, Read) or not isinstance(single[values.name], Tensor):
        return call
    before, grown = single[values.name], double[values.name]
    if before.shape == grown.shape:
        return call
    sizes = open_sizes(before, grown, tuple(result.shape), size, expands=RESHAPES[kind])
    return call if sizes is None else replace(call, operands=(values, sizes, *call.operands[2:]))
