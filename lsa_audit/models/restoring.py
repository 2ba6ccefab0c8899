"""Puts the weights of a checkpoint into a network, whole or not at all, and says what was taken off or left out."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError, UsageError
from ..settings.limits import Limits
from . import unnamed, weight_sets
from .checkpoint import listed, read_payload, stripped, tensors_in, unprefixed

QUANTISED_HINT = "load the float weights, or export the quantised model to ONNX"
PROBED = 4
ARCHITECTURE_HINT = "check the architecture and --model-arg"
CLASSES = ("num_classes", "n_classes", "nb_classes", "nclasses", "classes", "num_class", "class_num", "num_labels")
"""How code calls the argument for the number of classes."""


@dataclass(frozen=True)
class Restored:
    """What was put into a network.

    Attributes:
        weights: where it came from, in words.
        sha256: of the file, or over those of its parts.
        notes: what was taken off, left out or converted; a sentence each.
    """

    weights: str
    sha256: str
    notes: tuple[str, ...] = ()


def restore(
    network: nn.Module,
    path: Path,
    limits: Limits | None = None,
    trusts: Callable[[str], bool] | None = None,
    wanted: str | None = None,
    arguments: Collection[str] = (),
) -> Restored:
    """Load a checkpoint file into the network.

    Args:
        limits, trusts: as `read_payload`.
        wanted: of several sets of weights: `ema`, `raw` or a name; None: averaged ones (EMA) where there are some.
        arguments: that the network is built with, for the advice.

    Raises:
        UsageError: several sets of weights fit, or the wanted one is not there.
        UnsafeError, ModelError: as `read_payload` and `apply`.
    """
    payload, digest = read_payload(path, limits, trusts)
    # A wrapper's prefix (DataParallel, torch.compile) may stand in the network and not in the file.
    expected = dict(network.state_dict())
    parameters = [name for name, _ in network.named_parameters()]
    averages = unnamed.averages_in(payload, expected)
    everything = weight_sets.fits_in(payload, expected)
    listed_fit = unnamed.choose(averages, everything, expected, parameters, wanted, path.name)
    chosen = listed_fit or weight_sets.choose(everything, expected, wanted, path.name)
    said = tuple(unnamed.notes(averages, chosen, everything, expected, parameters))
    if chosen is None:
        _load_nearest(network, payload, path, arguments)
        if wanted in (None, "raw"):
            return Restored(f"checkpoint {path.name}", digest, said)
        raise UsageError(f"{path.name} holds no weights {wanted!a} that fit", "leave out --weights")
    _check_types(chosen, expected, path)
    apply(network, chosen.state, str(path))
    others = weight_sets.others(everything, chosen)
    label = weight_sets.labelled(chosen, others, path.name)
    if listed_fit is not None:
        label = f"EMA weights ({chosen.label}) of checkpoint {path.name}"
    return Restored(label, digest, (*said, *_notes(chosen, others, expected)))


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
    full_names = dict(zip(stripped(list(own)), own, strict=True))
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
        raise ModelError(what, ARCHITECTURE_HINT) from error


def _load_nearest(network: nn.Module, payload: Any, path: Path, arguments: Collection[str]) -> None:
    """For what does not fit by its names: some networks rename what they load. Else the error says what differs."""
    found = _nearest(payload, network.state_dict())
    if found is None or not any("." in name for name in found[0].entries):
        state = unprefixed(tensors_in(payload, path))
    else:
        _check_quantised(found[0].entries, path)
        held = {name: value for name, value in found[0].entries.items() if isinstance(value, Tensor)}
        state = {name.removeprefix(found[1]): value for name, value in held.items()} if found[1] else unprefixed(held)
    try:
        apply(network, state, str(path))
    except ModelError as error:
        said = said_architecture(payload)
        hint = _head_hint(network.state_dict(), state, arguments)
        hint = hint or (f"the file says that it is for {said!a}" if said else error.hint)
        # Where there is nothing to pass, that is no advice.
        raise ModelError(error.what, hint if arguments else hint.removesuffix(" and --model-arg")) from error


def _nearest(payload: Any, expected: Mapping[str, Any]) -> tuple[weight_sets.StateSet, str] | None:
    """The set, and the prefix of its names, under which most of the network's names stand; None without a set."""
    sets = weight_sets.sets_in(payload)
    if not sets:
        return None
    alike = [_overlap(found, expected) for found in sets]

    def rank(place: int) -> tuple[int, int, int]:
        # Where nothing is alike, the most tensors are most likely what was meant.
        return alike[place][0], 0 if alike[place][0] else len(sets[place].entries), -place

    best = max(range(len(sets)), key=rank)
    return sets[best], alike[best][1]


def _overlap(found: weight_sets.StateSet, expected: Mapping[str, Any]) -> tuple[int, str]:
    """How many of the network's names stand in the set under one prefix, and under which."""
    tails: dict[str, list[str]] = defaultdict(list)
    for name in found.entries:
        tails[".".join(name.split(".")[-2:])].append(name)
    prefixes = {""}
    for own in list(expected)[:PROBED]:
        tail = ".".join(own.split(".")[-2:])
        prefixes |= {name[: -len(own)] for name in tails.get(tail, ()) if name.endswith(own)}
    counts = {prefix: sum(prefix + own in found.entries for own in expected) for prefix in prefixes}
    best = max(counts, key=lambda prefix: (counts[prefix], -len(prefix)))
    return counts[best], best


def said_architecture(payload: Any) -> str | None:
    """The architecture that a training script has noted beside the weights, as text of a stranger."""
    if not isinstance(payload, Mapping):
        return None
    options = payload.get("args")
    options = vars(options) if isinstance(options, argparse.Namespace) else options
    noted = [payload.get("arch"), payload.get("architecture")]
    noted += [options.get("model"), options.get("arch")] if isinstance(options, Mapping) else []
    return next((text[:60] for text in noted if isinstance(text, str) and text), None)


def _head_hint(expected: Mapping[str, Any], state: Mapping[str, Tensor], arguments: Collection[str]) -> str:
    """What to do where only the number of classes differs."""
    own = dict(zip(stripped(list(expected)), expected.values(), strict=True))
    apart = [
        name
        for name, value in own.items()
        if name in state and isinstance(value, Tensor) and state[name].shape != value.shape
    ]
    if not apart or len(apart) > 2 or set(state) != set(own):
        return ""
    sizes = {(state[name].shape[:1], own[name].shape[:1]) for name in apart}
    tails = {(state[name].shape[1:], own[name].shape[1:]) for name in apart}
    if len(sizes) != 1 or any(stored != there for stored, there in tails):
        return ""
    ((stored, _),) = sizes
    if not stored:
        return ""
    name = next((name for name in CLASSES if name in arguments), None)
    advice = f"give --model-arg {name}={stored[0]}" if name else "build the network with as many"
    return f"the file has {stored[0]} classes: {advice}"


def _check_types(chosen: weight_sets.Fit, expected: Mapping[str, Any], path: Path) -> None:
    """Numbers that are no floats would be copied into the network's floats as they are.

    Raises:
        ModelError: there are some.
    """
    _check_quantised(chosen.state, path)
    for own, value in chosen.state.items():
        target = expected[own]
        if isinstance(value, Tensor) and target.is_floating_point() and not value.is_floating_point():
            what = f"{path.name} holds {own} as {_type(value)}, and the network computes in {_type(target)}"
            raise ModelError(what, QUANTISED_HINT)


def _check_quantised(entries: Mapping[str, Any], path: Path) -> None:
    name = next((name for name, value in entries.items() if isinstance(value, Tensor) and value.is_quantized), None)
    name = name or next((name for name in entries if "_packed_params" in name), None)
    if name is not None:
        raise ModelError(f"{path.name} holds quantised weights ({name})", QUANTISED_HINT)


def _notes(chosen: weight_sets.Fit, others: Sequence[weight_sets.Fit], expected: Mapping[str, Any]) -> Iterator[str]:
    if others:
        names = listed([other.label for other in others])
        yield f"the file also holds other weights that fit ({names}); --weights chooses"
    if chosen.prefix:
        yield f"the prefix {chosen.prefix!a} was taken off the names in the checkpoint"
    used = set(chosen.names.values())
    beside = [other for other in others if other.found.label == chosen.found.label]
    rest = {name for other in beside for name in other.names.values()}
    left = [
        name
        for name in chosen.found.entries
        if name not in used | rest and name.rpartition(".")[2] != weight_sets.COUNTER
    ]
    if left:
        yield f"left out, as no part of the network: {listed(left)}"
    kinds = {
        (_type(value), _type(expected[own]))
        for own, value in chosen.state.items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != expected[own].dtype
    }
    for stored, used_type in sorted(kinds):
        yield f"weights stored as {stored} are computed with in {used_type}"


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


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
    return "; ".join(f"{len(names)} {what} ({listed(names)})" for what, names in found if names)
