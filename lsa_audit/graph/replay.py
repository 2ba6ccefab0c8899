"""Lets a network with branches on values be exported, along the branches that its sample takes.

Export runs on tensors without values, so `if scores.max() > 0:` has no answer there. The answers of a real run are
given again, in the same order: the graph that results is right for all images that take the same branches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

QUESTIONS: frozenset[Callable[..., Any]] = frozenset(
    {
        Tensor.__bool__,
        Tensor.__int__,
        Tensor.__float__,
        Tensor.__index__,
        Tensor.item,
        Tensor.tolist,
        Tensor.is_nonzero,
        Tensor.equal,
        Tensor.allclose,
        torch.is_nonzero,
        torch.equal,
        torch.allclose,
    }
)
"""What turns the values of tensors into Python's own."""


SPECIALIZED = "specialized"


def is_specialized(graph_module: fx.GraphModule) -> bool:
    """Whether the graph follows the branches that a sample took."""
    return bool(graph_module.meta.get(SPECIALIZED, False))


def mark_specialized(graph_module: fx.GraphModule) -> None:
    """Note that the graph follows the branches that a sample took."""
    graph_module.meta[SPECIALIZED] = True


def answers(module: nn.Module, images: Tensor) -> list[Any]:
    """What one forward on images [N, ...] asks of the values of its tensors, answered, in order. Cost: that forward."""
    recorder = _Recorder()
    with torch.no_grad(), recorder:
        module(images)
    return recorder.answers


@contextmanager
def replayed(given: list[Any]) -> Iterator[None]:
    """Inside, the same questions get the same answers, from the first again after the last: export runs repeatedly."""
    with _Replayer(given):
        yield


class _Recorder(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in QUESTIONS:
            self.answers.append(result)
        return result


class _Replayer(TorchFunctionMode):
    def __init__(self, given: list[Any]) -> None:
        super().__init__()
        self.given = cycle(given)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return next(self.given) if func in QUESTIONS else func(*args, **(kwargs or {}))
