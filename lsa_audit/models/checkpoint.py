"""Reads checkpoints that may be hostile or broken."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from ..errors import ModelError, UnsafeError
from ..settings.limits import Limits
from . import sharded
from .archives import LIMIT_HINT, opened, sha256
from .declared import check_declared
from .files import NAMES, sniff
from .pickles import scan

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "params")
PREFIXES = ("module.", "_orig_mod.")
DEEPEST = 16
"""Wrappers in each other; a mapping may even hold itself."""

TRAINING = ("optimizer", "lr_scheduler", "scheduler", "scaler", "epoch", "step", "iter", "global_step")
SHOWN = 4
STATE_DICT_HINT = "save the weights with torch.save(model.state_dict(), ...) or as safetensors"
TRUST_HINT = f"{STATE_DICT_HINT}, or run its code with --allow-code"


def load_state_dict(
    path: Path, limits: Limits | None = None, trusts: Callable[[str], bool] | None = None
) -> tuple[dict[str, Tensor], str]:
    """The weights of a checkpoint file and the file's SHA-256, for whoever has no network yet.

    Wrappers such as `state_dict` and prefixes such as `module.` that all names carry are taken off.

    Args, Raises: as `read_payload`; ModelError too where the file holds no state dict.
    """
    payload, digest = read_payload(path, limits, trusts)
    return unprefixed(tensors_in(payload, path)), digest


def read_payload(
    path: Path, limits: Limits | None = None, trusts: Callable[[str], bool] | None = None
) -> tuple[Any, str]:
    """What a checkpoint file holds, and the file's SHA-256.

    safetensors files are read by safetensors, everything else by torch's restricted unpickler (zip and legacy files),
    so no code of the file runs; before that, what the file declares is held against what it has.

    Args:
        limits: on sizes; None: the defaults.
        trusts: whether code of the file with this SHA-256 may run; None: no.

    Raises:
        UnsafeError: a pickle that calls for code and is not trusted, a malformed archive, false or too large sizes.
        ModelError: missing, empty, truncated, or no checkpoint.
    """
    limits = limits or Limits()
    kind = sniff(path, limits)
    if kind not in ("checkpoint", "safetensors", "sharded"):
        raise ModelError(f"checkpoint {path} is {NAMES[kind]}, not a state dict", STATE_DICT_HINT)
    if kind == "sharded":
        return sharded.read(path, limits, lambda shard: tensors_in(read_payload(shard, limits, trusts)[0], shard))
    digest = sha256(path)
    if kind == "safetensors":
        return _read_safetensors(path, limits), digest
    return unpickle(path, limits, trusts is not None and trusts(digest)), digest


def tensors_in(payload: Any, path: Path) -> dict[str, Tensor]:
    """The state dict inside what a checkpoint holds, under the file's own names; the tensors are those of the payload.

    Raises:
        ModelError: there is none.
    """
    return _unwrapped(payload.state_dict() if isinstance(payload, nn.Module) else payload, path)


def unpickle(path: Path, limits: Limits, trusted: bool) -> Any:
    """What a torch checkpoint holds; only for a trusted one may that be more than tensors and plain values.

    Raises:
        UnsafeError, ModelError: as `load_state_dict`.
    """
    contents = scan(path, limits)
    needed = contents.foreign
    if needed and not trusted:
        raise UnsafeError(f"{path} was not loaded: it calls for code ({listed(needed)})", TRUST_HINT)
    if contents.damage and not trusted:
        raise ModelError(f"{path} is truncated, or not a torch checkpoint", "copy or download it again")
    check_declared(contents, path, limits)
    # torch takes whatever a path ending in .safetensors holds for safetensors; an open file has no name to go by.
    with opened(path) as file, warnings.catch_warnings(), torch.serialization.safe_globals(_plain_globals()):
        warnings.simplefilter("ignore")
        try:
            return torch.load(file, map_location="cpu", weights_only=not needed)
        except Exception as error:  # the formats of ten years each fail in their own way
            if needed and isinstance(error, ImportError | AttributeError):
                what, hint = f"needs code that is not here: {error}", "make it importable, or save the state_dict()"
            else:
                what, hint = "is truncated, or not a torch checkpoint", "copy or download it again"
            raise ModelError(f"{path} {what}", hint) from error


def _read_safetensors(path: Path, limits: Limits) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.stat().st_size > limits.total_bytes:
        raise UnsafeError(f"{path} is above the limits: more than {limits.total_bytes} bytes", LIMIT_HINT)
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        what = f"{path} is truncated, or not a safetensors file ({error})"
        raise ModelError(what, "copy or download it again") from error


def _plain_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What training scripts leave beside the weights and holds plain values only: NumPy scalars, parsed options."""
    scalar: Any = numpy.float64(0).__reduce__()[0]
    kinds = {type(numpy.dtype(code)) for code in ("?", *numpy.typecodes["AllInteger"], *numpy.typecodes["Float"])}
    return [
        argparse.Namespace,
        numpy.dtype,
        *kinds,
        (scalar, "numpy._core.multiarray.scalar"),
        (scalar, "numpy.core.multiarray.scalar"),
    ]


def _unwrapped(payload: Any, path: Path) -> dict[str, Tensor]:
    for _ in range(DEEPEST):
        if not isinstance(payload, Mapping):
            break
        inner = next((payload[key] for key in WRAPPERS if isinstance(payload.get(key), Mapping)), None)
        if inner is None:
            break
        payload = inner
    if not isinstance(payload, Mapping):
        raise ModelError(f"checkpoint {path} holds a {type(payload).__name__}, not a state dict", STATE_DICT_HINT)
    if not payload:
        raise ModelError(f"checkpoint {path} holds no weights", STATE_DICT_HINT)
    if "param_groups" in payload or all(str(key).startswith(TRAINING) for key in payload):
        raise ModelError(f"checkpoint {path} holds the state of an optimizer and no weights", STATE_DICT_HINT)
    others = [str(key) for key, value in payload.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if others:
        raise ModelError(f"checkpoint {path} is not a state dict: no tensor under {listed(others)}", STATE_DICT_HINT)
    return dict(payload)


def unprefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return dict(zip(stripped(list(state)), state.values(), strict=True))


def stripped(names: Sequence[str]) -> list[str]:
    """The names without the wrappers' prefixes that every one of them carries."""
    names = list(names)
    while names and (prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in names)), None)):
        names = [name.removeprefix(prefix) for name in names]
    return names


def listed(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
