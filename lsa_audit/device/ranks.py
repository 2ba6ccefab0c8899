"""Several processes on one job, as torchrun starts them; nothing changes for one process alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import UsageError

T = TypeVar("T")

NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
NEEDED = (*NUMBERS, "MASTER_ADDR", "MASTER_PORT")
HINT = "start with `torchrun --nproc-per-node N -m lsa_audit ...`, or unset these variables"
TIMEOUT = timedelta(hours=12)
"""One process may write or audit for long while the others wait for it."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a job, seen from one of them.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
        local: number of this process on its machine, from 0.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0

    def device_of(self, device: torch.device) -> torch.device:
        """The device of this process: with several, each has a GPU of its own."""
        return torch.device("cuda", self.local) if self.size > 1 and device.type == "cuda" else device

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, the same bits in each; all must call it, with tensors of one shape and type.

        With several processes that is a new tensor without a gradient, with one the same tensor.
        """
        if self.size == 1:
            return tensor
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over all processes of a floating-point tensor, as `sum`."""
        return tensor if self.size == 1 else self.sum(tensor).div_(self.size)

    def share(self, value: T) -> T:
        """The first process's value, which can be pickled, in every process; all must call it."""
        if self.size == 1:
            return value
        holder = [value]
        dist.broadcast_object_list(holder, src=0)
        return holder[0]


@contextmanager
def ranks(device: torch.device) -> Iterator[Ranks]:
    """This process among those that torchrun started, joined for as long as the context is open.

    Args:
        device: the kind that all of them work on; `Ranks.device_of` tells this one's own.

    Raises:
        UsageError: torchrun's variables are incomplete or wrong, there are too few GPUs, or the others are not there.
    """
    mine = _from_environment()
    if mine.size == 1:
        yield mine
        return
    _join(mine, device)
    try:
        yield mine
    finally:
        dist.destroy_process_group()


def _from_environment() -> Ranks:
    if not any(name in os.environ for name in NUMBERS):
        return Ranks()
    missing = [name for name in NEEDED if name not in os.environ]
    if missing:
        raise UsageError(f"torchrun's environment is incomplete: {', '.join(missing)} not set", HINT)
    texts = {name: os.environ[name] for name in NUMBERS}
    numbers = [int(text) if text.isdecimal() else -1 for text in texts.values()]
    rank, size, local = numbers
    if min(numbers) < 0 or not local <= rank < size:
        shown = ", ".join(f"{name}={text}" for name, text in texts.items())
        raise UsageError(f"torchrun's environment makes no sense: {shown}", HINT)
    return Ranks(rank, size, local)


def _join(mine: Ranks, device: torch.device) -> None:
    if device.type not in ("cpu", "cuda"):
        raise UsageError(
            f"{mine.size} processes cannot share {device.type}", "use --device cpu or cuda, or one process"
        )
    if device.type == "cuda":
        present = torch.cuda.device_count()
        if mine.local >= present:
            what = f"process {mine.local} of this machine has no GPU of its own: there are {present}"
            raise UsageError(what, "start at most one process a GPU with --nproc-per-node")
        torch.cuda.set_device(mine.local)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"process {mine.rank} of {mine.size} could not join the others: {reason}", HINT) from error
