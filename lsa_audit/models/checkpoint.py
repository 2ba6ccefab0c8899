"""Reads state dicts from files that may be hostile or broken, and puts them into networks whole or not at all."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from ..errors import ModelError, UnsafeError
from .pickles import foreign_globals

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "params")
PREFIXES = ("module.", "_orig_mod.")
SHOWN = 4
STATE_DICT_HINT = "save the weights with torch.save(model.state_dict(), ...) or as safetensors"


def load_state_dict(path: Path) -> tuple[dict[str, Tensor], str]:
    """The weights of a checkpoint file and the file's SHA-256.

    `.safetensors` files are read by safetensors, everything else by torch's restricted unpickler (zip and legacy
    files), so no code of the file runs. Wrappers such as `state_dict` and prefixes such as `module.` that all names
    carry are taken off.

    Raises:
        UnsafeError: a pickle that needs more than tensors and plain values.
        ModelError: missing, empty, truncated, or not a state dict.
    """
    head = _head(path)
    if path.suffix == ".safetensors":
        payload: Any = _read_safetensors(path, head)
    else:
        payload = _read_pickle(path, head)
    state = _unprefixed(_unwrapped(payload, path))
    with path.open("rb") as file:
        return state, hashlib.file_digest(file, "sha256").hexdigest()


def apply(network: nn.Module, state: Mapping[str, Tensor], label: str) -> None:
    """Load the state into the network strictly; after an error the network is as it was.

    Cost: one copy of the network's weights.

    Args:
        label: the file, for the error.

    Raises:
        ModelError: names or sizes differ; the first few of each kind are listed.
    """
    own = network.state_dict()
    backup = {name: value.detach().clone() for name, value in own.items() if isinstance(value, Tensor)}
    # The network may carry a wrapper's prefix itself (DataParallel, torch.compile), whether or not the file does.
    full_names = dict(zip(_stripped(list(own)), own, strict=True))
    try:
        network.load_state_dict({full_names.get(name, name): value for name, value in state.items()}, strict=True)
    except Exception as error:
        with torch.no_grad():
            for name, value in network.state_dict().items():
                if name in backup:
                    value.copy_(backup[name])
        expected = {short: own[name] for short, name in full_names.items()}
        reason = _mismatch(expected, state) or str(error).strip().splitlines()[-1]
        what = f"{label} does not fit {type(network).__name__}: {reason}"
        raise ModelError(what, "check the architecture and --model-arg") from error


def restore(network: nn.Module, path: Path) -> tuple[str, str]:
    """Load a checkpoint file into the network.

    Returns:
        Where the weights came from, in words, and the SHA-256 of the file.

    Raises:
        UnsafeError, ModelError: as `load_state_dict` and `apply`.
    """
    state, digest = load_state_dict(path)
    apply(network, state, str(path))
    return f"checkpoint {path.name}", digest


def _head(path: Path) -> bytes:
    """The first bytes of the file, once it is known to be one."""
    if path.is_dir():
        raise ModelError(f"checkpoint {path} is a folder", "give the file inside it that holds the weights")
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except FileNotFoundError:
        raise ModelError(f"checkpoint {path} does not exist", "check the path") from None
    except OSError as error:
        raise ModelError(f"checkpoint {path} cannot be read: {error.strerror}", "check its permissions") from None
    if not head:
        raise ModelError(f"checkpoint {path} is empty", "copy or download it again")
    if head.startswith(b"version https://git-lfs"):
        raise ModelError(f"checkpoint {path} is a git-lfs pointer, not the weights", "run: git lfs pull")
    if head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ModelError(f"checkpoint {path} is a web page, not weights", "download the file itself")
    return head


def _read_safetensors(path: Path, head: bytes) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if head.startswith((b"PK\x03\x04", b"\x80")):
        raise ModelError(f"checkpoint {path} is a torch pickle named .safetensors", "rename it to .pt")
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        what = f"checkpoint {path} is truncated, or not a safetensors file ({error})"
        raise ModelError(what, "copy or download it again") from error


def _read_pickle(path: Path, head: bytes) -> Any:
    if head[8:10] == b'{"':
        raise ModelError(f"checkpoint {path} is a safetensors file", "rename it to end in .safetensors")
    with warnings.catch_warnings(), torch.serialization.safe_globals(_plain_globals()):
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            needed = foreign_globals(path)
            if needed:
                what = f"checkpoint {path} was not loaded: it calls for code ({_listed(needed)})"
                raise UnsafeError(what, STATE_DICT_HINT) from error
            raise ModelError(f"checkpoint {path} is not a torch checkpoint, or damaged", STATE_DICT_HINT) from error
        except Exception as error:
            if "TorchScript" in str(error):
                what = f"checkpoint {path} is a TorchScript archive, not a state dict"
                raise ModelError(what, STATE_DICT_HINT) from error
            what = f"checkpoint {path} is truncated, or not a torch checkpoint"
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
    while isinstance(payload, Mapping):
        inner = next((payload[key] for key in WRAPPERS if isinstance(payload.get(key), Mapping)), None)
        if inner is None:
            break
        payload = inner
    if not isinstance(payload, Mapping):
        raise ModelError(f"checkpoint {path} holds a {type(payload).__name__}, not a state dict", STATE_DICT_HINT)
    if not payload:
        raise ModelError(f"checkpoint {path} holds no weights", STATE_DICT_HINT)
    others = [str(key) for key, value in payload.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if others:
        raise ModelError(f"checkpoint {path} is not a state dict: no tensor under {_listed(others)}", STATE_DICT_HINT)
    return dict(payload)


def _unprefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return dict(zip(_stripped(list(state)), state.values(), strict=True))


def _stripped(names: Sequence[str]) -> list[str]:
    """The names without the wrappers' prefixes that every one of them carries."""
    names = list(names)
    while names and (prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in names)), None)):
        names = [name.removeprefix(prefix) for name in names]
    return names


def _mismatch(expected: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """What keeps the state from fitting, in one line; empty when names and sizes agree."""
    # Old checkpoints lack batch norm's step counter; torch fills it in, so it is never the reason.
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in expected]
    sizes = [
        f"{name} {tuple(state[name].shape)} for {tuple(value.shape)}"
        for name, value in expected.items()
        if name in state and isinstance(value, Tensor) and value.shape != state[name].shape
    ]
    found = (("missing", missing), ("unexpected", unexpected), ("wrong size", sizes))
    return "; ".join(f"{len(names)} {what} ({_listed(names)})" for what, names in found if names)


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
