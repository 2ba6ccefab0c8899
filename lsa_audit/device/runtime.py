"""Where and how the numbers are computed: device, threads, float32, deterministic kernels. Restored afterwards."""

from __future__ import annotations

import math
import os
import platform
import resource
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from typing import cast

import torch
import torch.utils.deterministic
from torch import Tensor, nn

from ..errors import UsageError
from ..records import Environment

REPORTED_PACKAGES = ("torch", "torchvision", "timm", "onnx", "numpy", "scipy")
SMALLEST_BATCH, LARGEST_BATCH, LARGEST_ON_CUDA = 8, 100, 1024
CACHED_PIXELS = 16 * 3 * 224 * 224
CLEARLY_FASTER = 0.67
"""One thread is chosen over all of them only when it needs less than this share of their time: a machine that is free
must always get the same choice, or the same seed would not give the same bits."""


@dataclass(frozen=True)
class Runtime:
    """The device, the warnings about kernels that are not deterministic, as they come in, and notes for the report."""

    device: torch.device
    caught: list[warnings.WarningMessage]
    notes: list[str] = field(default_factory=list)

    def environment(self, precision: str = "float32") -> Environment:
        """What the record says of it; call it inside `runtime`, after the work.

        Args:
            precision: of the attacks' queries.
        """
        versions = {name: _version(name) for name in REPORTED_PACKAGES}
        notes = [*self.notes, *(str(warning.message).split(".")[0].strip() for warning in self.caught)]
        return Environment(
            python=platform.python_version(),
            platform=f"{platform.system()} {platform.machine()}",
            device=_device_name(self.device),
            threads=torch.get_num_threads(),
            precision="float32, TF32 off"
            if precision == "float32"
            else f"attack queries {precision}, verdicts float32, TF32 off",
            deterministic=torch.are_deterministic_algorithms_enabled(),
            packages={name: version for name, version in versions.items() if version},
            notes=tuple(dict.fromkeys(notes)),
        )


@contextmanager
def runtime(device: str, threads: int | None) -> Iterator[Runtime]:
    """Deterministic float32 on the device that was asked for; torch's global settings are as before on leaving.

    Args:
        device: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda` or `mps`.
        threads: CPU threads; None keeps torch's own number until `choose_threads` is called.

    Raises:
        UsageError: the device is not there.
    """
    chosen = _resolve(device)
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
    )
    if chosen.type == "cuda":
        # cuBLAS is deterministic only with a fixed workspace, and reads this when its first handle is made.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if threads is not None:
        torch.set_num_threads(threads)
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("ignore")
        warnings.filterwarnings("always", message=".*deterministic.*")
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            # Filling memory that every kernel overwrites anyway would only cost time.
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            torch.backends.cudnn.benchmark = False
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
            yield Runtime(chosen, caught)
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1], warn_only=before[2])
            torch.backends.cudnn.benchmark = before[3]
            torch.backends.cudnn.allow_tf32 = before[4]
            torch.backends.cuda.matmul.allow_tf32 = before[5]
            torch.utils.deterministic.fill_uninitialized_memory = before[6]  # type: ignore[attr-defined]


@contextmanager
def kernels(*, deterministic: bool) -> Iterator[None]:
    """Whether torch keeps to deterministic kernels for a while; as before after it, also after an exception."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def compiled_or_none(module: nn.Module, images: Tensor, place: Runtime) -> nn.Module | None:
    """The module compiled by torch for batches of any size; None, with a note for the report, where that fails.

    Args:
        images: two images [2, ...] to try it with, forward and backward.
    """
    try:
        compiled = torch.compile(module, dynamic=True)
        with torch.enable_grad():
            leaf = images.to(place.device).requires_grad_(True)
            torch.autograd.grad(compiled(leaf).sum(), leaf, allow_unused=True)
    except Exception as error:  # noqa: BLE001 - a compiler fails in whatever way its back end does
        place.notes.append(f"torch.compile failed ({type(error).__name__}); the attacks ran without it")
        return None
    place.notes.append("attacks ran on the module compiled by torch.compile")
    return cast(nn.Module, compiled)


def default_batch_size(input_shape: Sequence[int], device: torch.device) -> int:
    """100 images; on a CPU fewer of large images (16 of 3 x 224 x 224), whose activations would not stay in its cache.

    It depends on nothing else, so that the same scan always gets the same batches and the same bits.
    """
    if device.type != "cpu":
        return LARGEST_BATCH
    return max(SMALLEST_BATCH, min(LARGEST_BATCH, CACHED_PIXELS // math.prod(input_shape)))


def batch_size_on(device: torch.device, module: nn.Module, images: Tensor) -> int:
    """How many images go into one forward: on CUDA as many as half of the free memory holds, up to 1,024.

    Args:
        module: on the device.
        images: a few [n, ...]; a forward and a backward of them tell what an image takes.

    Cost: on CUDA one forward and one backward of the images, elsewhere nothing.
    """
    if device.type != "cuda":
        return default_batch_size(tuple(images.shape[1:]), device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    with torch.enable_grad():
        leaf = images.to(device).requires_grad_(True)
        logits = module(leaf)
        if logits.requires_grad:
            torch.autograd.grad(logits.sum(), leaf)
    taken = (torch.cuda.max_memory_allocated(device) - before) / len(images)
    free, _ = torch.cuda.mem_get_info(device)
    return batch_size_within(free, taken)


def batch_size_within(free_bytes: int, bytes_an_image: float) -> int:
    """The largest power of two up to 1,024 that takes at most half of the free memory, at least 8.

    >>> batch_size_within(8 * 2**30, 20 * 2**20)
    128
    """
    fitting = free_bytes / 2 / max(bytes_an_image, 1.0)
    power = int(math.log2(max(1.0, min(fitting, LARGEST_ON_CUDA))))
    return max(SMALLEST_BATCH, 1 << power)


def choose_threads(workload: Callable[[], object]) -> int:
    """Use one thread instead of all where a short trial shows that all of them are clearly slower (a busy machine).

    Args:
        workload: a fraction of a second of the real work, without side effects.

    Returns:
        The number of threads now in force.
    """
    every = torch.get_num_threads()
    if every == 1:
        return 1
    workload()
    together = min(_seconds(workload), _seconds(workload))
    torch.set_num_threads(1)
    alone = min(_seconds(workload), _seconds(workload))
    if alone >= CLEARLY_FASTER * together:
        torch.set_num_threads(every)
    return torch.get_num_threads()


def _seconds(workload: Callable[[], object]) -> float:
    start = time.perf_counter()
    workload()
    return time.perf_counter() - start


def _resolve(device: str) -> torch.device:
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if present[name]))
    if not present.get(device, False):
        there = ", ".join(name for name, is_there in present.items() if is_there)
        raise UsageError(f"device {device} is not available on this machine", f"there is {there}; use --device auto")
    return torch.device(device)


def _device_name(device: torch.device) -> str:
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def peak_memory(device: torch.device) -> int:
    """The most bytes held so far: of the GPU by torch, or by the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
