"""What has changed in a network since its file was read, and how that goes into the tensors of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ...errors import ModelError

FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
NAME_HINT = "give the network by its name, or with --arch and a checkpoint"


@dataclass(frozen=True)
class Edit:
    """The state of a network by name, as its file gives it and as it is now.

    Attributes:
        file: its name, for messages.
        before, after: tensors on the CPU; `after` has every name of `before`.
        parameters: names of those that are parameters, in the network's order, each once.
    """

    file: str
    before: Mapping[str, Tensor]
    after: Mapping[str, Tensor]
    parameters: tuple[str, ...] = ()

    @cached_property
    def changed(self) -> tuple[str, ...]:
        """Names of the tensors that differ."""
        return tuple(name for name, value in self.before.items() if not _same(value, self.after[name]))


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """The network's parameters and persistent buffers by name, on the CPU."""
    return {name: value.cpu() for name, value in network.state_dict().items() if isinstance(value, Tensor)}


def write(edit: Edit, stored: Mapping[str, Tensor]) -> None:
    """Put the changes into the tensors of the file.

    Args:
        stored: where each tensor of the network lies in the file: tensors of the file's own types, which share memory
            as they share bytes in the file. What has no place there is left out.

    Raises:
        ModelError: a changed tensor has no place in the file, or the file cannot hold its new values.

    Cost: one pass over the tensors.
    """
    for name in edit.changed:
        target = stored.get(name)
        if target is None or target.shape != edit.before[name].shape or not agree(target, edit.before[name]):
            what = f"{edit.file} does not hold {name} as a tensor of its own, so the change cannot be written"
            raise ModelError(what, NAME_HINT)
    for name in edit.changed:
        _store(edit.file, name, stored[name], edit.after[name])
    for name, target in stored.items():
        if name in edit.after and not agree(target, edit.after[name]):
            what = f"{edit.file} keeps {name} in the same bytes as another weight, and only one of them has changed"
            raise ModelError(what, NAME_HINT)


def agree(stored: Tensor, value: Tensor) -> bool:
    """Whether two tensors are the same but for the type of the one or the other."""
    return torch.equal(stored, value.to(stored.dtype)) or torch.equal(stored.to(value.dtype), value)


def _same(before: Tensor, after: Tensor) -> bool:
    """A network that was read in half or double precision may be computed with in float32."""
    return torch.equal(before.to(after.dtype), after)


def _store(file: str, name: str, target: Tensor, value: Tensor) -> None:
    kind = str(target.dtype).removeprefix("torch.")
    if target.dtype not in FLOATS and target.dtype != value.dtype:
        raise ModelError(f"{file} holds {name} as {kind}, which cannot take the change", "give the model in float32")
    if any(step == 0 and size > 1 for step, size in zip(target.stride(), target.shape, strict=True)):
        raise ModelError(f"{file} holds elements of {name} once for several places of it", NAME_HINT)
    with torch.no_grad():
        target.copy_(value)
    if target.dtype in FLOATS and not torch.isfinite(target).all():
        raise ModelError(f"{file} holds {name} as {kind}, for which the new values are too large", NAME_HINT)
