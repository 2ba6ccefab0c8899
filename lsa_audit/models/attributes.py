"""What a module keeps outside its parameters: plain attributes, what they hold, and which tensor is which buffer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

CONTAINERS = (dict, list, set)
DEEPEST = 6


@contextmanager
def restored(module: nn.Module, *, but: tuple[type[nn.Module], ...] = ()) -> Iterator[None]:
    """Every attribute of every submodule comes out as it went in, containers with their former content.

    That covers buffers and parameters that a forward puts others in the place of, tensors that it caches or changes in
    place, counters, and lists that it appends to. The values of buffers are not held.

    Args:
        but: classes whose own attributes are left alone.

    Cost: a copy of the tensors that are attributes and no buffers.
    """
    children = [child for child in module.modules() if not isinstance(child, but)]
    own = {id(tensor) for child in children for tensor in (*child.parameters(False), *child.buffers(False))}
    attributes = [(vars(child), dict(vars(child))) for child in children]
    containers: dict[int, tuple[Any, Any]] = {}
    tensors: dict[int, tuple[Tensor, int, Tensor]] = {}
    for _, before in attributes:
        for value in before.values():
            _hold(value, own, containers, tensors, DEEPEST)
    try:
        yield
    finally:
        for live, before in attributes:
            for name in [name for name in live if name not in before]:
                del live[name]
            live.update({name: value for name, value in before.items() if live.get(name) is not value or value is None})
        for container, content in containers.values():
            container.clear()
            container.update(content) if isinstance(container, dict | set) else container.extend(content)
        with torch.no_grad():
            for tensor, version, value in tensors.values():
                if tensor._version != version:
                    tensor.copy_(value)


def _hold(
    value: Any,
    own: set[int],
    containers: dict[int, tuple[Any, Any]],
    tensors: dict[int, tuple[Tensor, int, Tensor]],
    depth: int,
) -> None:
    """Keep what a container or a tensor holds, and what is inside."""
    if isinstance(value, Tensor) and id(value) not in own and not value.is_inference():
        tensors.setdefault(id(value), (value, value._version, value.detach().clone()))
    elif isinstance(value, CONTAINERS) and id(value) not in containers and depth:
        containers[id(value)] = (value, value.copy())
        for inner in value.values() if isinstance(value, dict) else value:
            _hold(inner, own, containers, tensors, depth - 1)
    elif isinstance(value, tuple) and depth:
        for inner in value:
            _hold(inner, own, containers, tensors, depth - 1)


def copied(value: Any, depth: int = DEEPEST) -> Any:
    """A copy of tensors and plain containers, in memory of its own; anything else as it is."""
    if isinstance(value, Tensor):
        return value.clone()
    if type(value) in (list, tuple, set) and depth:
        return type(value)(copied(inner, depth - 1) for inner in value)
    if type(value) is dict and depth:
        return {name: copied(inner, depth - 1) for name, inner in value.items()}
    return value


def equal(one: Any, other: Any, depth: int = DEEPEST) -> bool:
    """Whether two values are the same, tensors by what they hold."""
    if one is other:
        return True
    if type(one) is not type(other) or not depth:
        return False
    if isinstance(one, Tensor):
        same = one.shape == other.shape and one.dtype == other.dtype and one.device == other.device
        return same and bool(torch.equal(one, other) or torch.equal(one.nan_to_num(), other.nan_to_num()))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name], depth - 1) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other, [depth - 1] * len(one)))
    return isinstance(one, bool | int | float | complex | str | bytes | set) and bool(one == other)
