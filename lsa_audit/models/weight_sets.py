"""The sets of weights in what a checkpoint holds, and which of them is loaded into a network."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError, UsageError
from .checkpoint import listed

EMA = re.compile(r"(?:.*[._-])?ema(?:[._\-\[].*)?", re.IGNORECASE)
TIMM_KEYS = ("state_dict_ema", "model_ema")
"""Averaged weights, in the order in which timm takes them."""

COUNTER = "num_batches_tracked"
DERIVED = re.compile(
    rf"(.*\.)?({COUNTER}|n_averaged|total_ops|total_params|relative_position_index|relative_coords_table|attn_mask"
    r"|position_ids)|(\w+\.)?(initted|step)"
)
"""Left out where the network has no place for it: counters, and tables that a network computes itself."""
BESIDE = re.compile(r"\w*(criterion|loss|metric|accuracy|_acc)\w*\..+", re.IGNORECASE)
"""Of the training, beside the network: class weights of a loss, states of a metric."""

DEEPEST = 4
MOST_SETS = 10_000
WRAPPED = ("module", "_orig_mod")
"""What DataParallel and torch.compile put before every name."""
TOP = "."
"""The name of a set that is the file itself."""


@dataclass(frozen=True)
class StateSet:
    """A mapping in a checkpoint that holds tensors by name.

    Attributes:
        label: where it stands, e.g. `state_dict_ema` or `checkpoint.model`; empty for the file itself.
        entries: what it holds, under the file's own names.
    """

    label: str
    entries: Mapping[str, Any]


@dataclass(frozen=True)
class Fit:
    """Weights in a file that fit a network.

    Attributes:
        found: where they stand.
        prefix: that all their names carry and the network's do not.
        names: name in the network -> name in the file; tied weights may share one.
        inside, outside: names in the file with and without the prefix that the network has no place for.
        twins: other sets with the same values.
    """

    found: StateSet
    prefix: str
    names: Mapping[str, str]
    inside: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    twins: tuple[Fit, ...] = ()

    @property
    def label(self) -> str:
        """How the weights are named, e.g. `state_dict.model`; `.` for the file itself. Wrappers do not count."""
        prefix = [part for part in self.prefix.split(".") if part not in WRAPPED]
        return ".".join(filter(None, (self.found.label, *prefix))) or TOP

    @property
    def averaged(self) -> bool:
        """Whether they are named as an exponential moving average."""
        return EMA.fullmatch(self.label) is not None

    @property
    def state(self) -> dict[str, Any]:
        """The tensors of the file by the network's names."""
        return {own: self.found.entries[name] for own, name in self.names.items()}


def sets_in(payload: Any) -> list[StateSet]:
    """All mappings with tensors in a payload, outer ones first. Cost: looks at up to MOST_SETS containers."""
    found: list[StateSet] = []
    queue: list[tuple[str, Any, int]] = [("", payload, 0)]
    for label, value, depth in queue:
        if isinstance(value, nn.Module):
            value = value.state_dict()
        children: Iterator[tuple[str, Any]]
        if isinstance(value, Mapping):
            tensors = {key: entry for key, entry in value.items() if isinstance(key, str)}
            if any(isinstance(entry, Tensor) for entry in tensors.values()):
                found.append(StateSet(label, tensors))
            children = ((f"{label}.{key}" if label else str(key), entry) for key, entry in value.items())
        elif isinstance(value, list | tuple):
            children = ((f"{label}[{index}]", entry) for index, entry in enumerate(value))
        else:
            continue
        if depth < DEEPEST and len(queue) < MOST_SETS:
            inner = (Mapping, list, tuple, nn.Module)
            queue += [(name, entry, depth + 1) for name, entry in children if isinstance(entry, inner)]
    return found


def fits_in(payload: Any, expected: Mapping[str, Any]) -> list[Fit]:
    """Every set of weights in a payload that has all names of a network, in the right sizes, whatever else it holds.

    Args:
        payload: what the file holds.
        expected: the network's state, name -> tensor.
    """
    return [fit for found in sets_in(payload) for fit in _fits(found, expected)]


def choose(everything: Sequence[Fit], expected: Mapping[str, Any], wanted: str | None, file: str) -> Fit | None:
    """Of the weights in a file those to load into a network; None where none fit.

    Averaged weights (EMA) are taken before others, as timm takes them. Sets with the same values count as one.

    Args:
        everything: as `fits_in` found it for this network.
        expected: the network's state, name -> tensor.
        wanted: `ema`, `raw`, or the name of a set; None: averaged ones where there are some.
        file: for the errors.

    Raises:
        UsageError: several sets fit and differ, or none of the wanted kind or name does.
        ModelError: tied weights of the network differ in the file.
    """
    fits = [fit for fit in everything if not fit.inside and not fit.outside]
    if wanted not in (None, "ema", "raw"):
        # Who names the weights means them alone, whatever else stands beside them.
        named = [fit for fit in everything if not fit.inside and _is_called(fit, str(wanted))]
        if not named and everything:
            raise UsageError(f"{file} holds no weights {str(wanted)!a} that fit", f"it holds {_labels(everything)}")
        fits = named
    if not fits:
        return None
    pool = _pool(fits, wanted, file)
    different = _different(pool)
    if len(different) > 1:
        first = [fit for key in TIMM_KEYS for fit in different if fit.label.partition(".")[0] == key]
        if wanted not in (None, "ema") or not first:
            what = f"{file} holds {len(different)} different sets of weights that fit: {_labels(different)}"
            raise UsageError(what, "choose one with --weights NAME")
        different = first
    chosen = different[0]
    _check_tied(chosen, expected, file)
    return chosen


def others(everything: Sequence[Fit], chosen: Fit) -> list[Fit]:
    """Other weights of the file that would fit and differ."""
    fits = [fit for fit in everything if not fit.inside]
    return [fit for fit in _different([chosen, *fits])[1:] if fit.label != chosen.label]


def labelled(fit: Fit, others: Sequence[Fit], file: str) -> str:
    """Where the weights came from, in words; which of several they are where the file has others."""
    if fit.averaged:
        return f"EMA weights ({fit.label}) of checkpoint {file}"
    return f"weights {fit.label} of checkpoint {file}" if others else f"checkpoint {file}"


def _pool(fits: Sequence[Fit], wanted: str | None, file: str) -> list[Fit]:
    averaged = [fit for fit in fits if fit.averaged]
    raw = [fit for fit in fits if not fit.averaged]
    if wanted == "ema" and not averaged:
        raise UsageError(f"{file} holds no EMA weights that fit", f"leave out --weights; it holds {_labels(fits)}")
    if wanted == "raw" and not raw:
        raise UsageError(f"{file} holds only EMA weights that fit", f"leave out --weights; it holds {_labels(fits)}")
    if wanted == "raw":
        return raw
    return averaged if averaged and wanted in (None, "ema") else list(fits)


def _is_called(fit: Fit, name: str) -> bool:
    return fit.label == name or fit.label.endswith(f".{name}")


def _labels(fits: Sequence[Fit]) -> str:
    return listed([f"{name!a}"[1:-1] for name in dict.fromkeys(fit.label for fit in fits)])


def _fits(found: StateSet, expected: Mapping[str, Any]) -> list[Fit]:
    """Every prefix under which all of the network's names stand in the set, with the right sizes."""
    for short in _forms(list(expected)):
        fits = [fit for prefix in _prefixes(found, short, expected) if (fit := _fit(found, prefix, short, expected))]
        if fits:
            explained = {name for fit in fits for name in fit.names.values()}
            return [_with_rest(fit, explained) for fit in fits]
    return []


def _forms(names: Sequence[str]) -> Iterator[dict[str, str]]:
    """The network's names by what may stand in a file: as they are, then without what a wrapper put before them all."""
    forms = {name: name for name in names}
    while forms:
        yield forms
        first = {name.partition(".")[0] for name in forms}
        if len(first) > 1 or any("." not in name for name in forms):
            return
        forms = {name.partition(".")[2]: own for name, own in forms.items()}


def _prefixes(found: StateSet, short: Mapping[str, str], expected: Mapping[str, Any]) -> list[str]:
    """What stands before the network's longest name in the set."""
    shared = {name for group in tied(expected) for name in group}
    needed = [name for name, own in short.items() if _is_needed(own, expected)]
    anchors = [name for name in needed if short[name] not in shared] or needed
    if not anchors:
        return []
    anchor = max(anchors, key=len)
    return [name[: -len(anchor)] for name in found.entries if name.endswith(anchor)]


def _fit(found: StateSet, prefix: str, short: Mapping[str, str], expected: Mapping[str, Any]) -> Fit | None:
    names = {own: prefix + name for name, own in short.items() if prefix + name in found.entries}
    for group in tied(expected):
        stored = next((names[own] for own in group if own in names), None)
        if stored is not None:
            names |= {own: stored for own in group if own not in names}
    for own, value in expected.items():
        if not isinstance(value, Tensor):
            continue
        held = found.entries[names[own]] if own in names else None
        if isinstance(held, Tensor) and _same_size(held, value):
            continue
        if _is_needed(own, expected):
            return None
        names.pop(own, None)
    return Fit(found, prefix, names)


def _same_size(stored: Tensor, own: Tensor) -> bool:
    # torch before 0.4 had no numbers, only vectors of length 1.
    return stored.shape == own.shape or (own.dim() == 0 and tuple(stored.shape) == (1,))


def _is_needed(own: str, expected: Mapping[str, Any]) -> bool:
    """Old checkpoints lack batch norm's step counter; evaluation does not look at it."""
    return isinstance(expected[own], Tensor) and own.rpartition(".")[2] != COUNTER


def _with_rest(fit: Fit, explained: set[str]) -> Fit:
    used = set(fit.names.values())
    rest = [name for name in fit.found.entries if name not in used and not DERIVED.fullmatch(name)]
    inside = [name for name in rest if name.startswith(fit.prefix) and name not in explained]
    outside = [
        name
        for name in rest
        if not name.startswith(fit.prefix) and name not in explained and not BESIDE.fullmatch(name)
    ]
    # What is no tensor cannot be a weight: an epoch, a version.
    inside = [name for name in inside if isinstance(fit.found.entries[name], Tensor) or "." in name]
    return replace(fit, inside=tuple(inside), outside=tuple(outside))


def tied(expected: Mapping[str, Any]) -> list[list[str]]:
    """Names of the network that stand for one tensor."""
    places: dict[Any, list[str]] = defaultdict(list)
    for name, value in expected.items():
        if isinstance(value, Tensor) and value.numel() and value.device.type != "meta" and not value.is_sparse:
            places[value.data_ptr(), value.shape, value.stride(), value.dtype].append(name)
    return [group for group in places.values() if len(group) > 1]


def _check_tied(fit: Fit, expected: Mapping[str, Any], file: str) -> None:
    for group in tied(expected):
        held = [fit.found.entries[fit.names[own]] for own in group if own in fit.names]
        if any(not _equal(held[0], other) for other in held[1:]):
            what = f"{file} holds different weights for {' and '.join(group[:2])}, which are one in the network"
            raise ModelError(what, "check the architecture")


def _different(fits: Sequence[Fit]) -> list[Fit]:
    """The sets that differ in a value; each knows its twins."""
    kept: list[Fit] = []
    for fit in fits:
        place = next((index for index, other in enumerate(kept) if _same_values(fit, other)), None)
        if place is None:
            kept.append(fit)
        else:
            kept[place] = replace(kept[place], twins=(*kept[place].twins, fit))
    return kept


def _same_values(first: Fit, second: Fit) -> bool:
    names = first.names.keys() & second.names.keys()
    return all(
        _equal(first.found.entries[first.names[own]], second.found.entries[second.names[own]])
        for own in names
        if own.rpartition(".")[2] != COUNTER
    )


def _equal(first: Any, second: Any) -> bool:
    if first is second:
        return True
    if not isinstance(first, Tensor) or not isinstance(second, Tensor) or first.dtype != second.dtype:
        return False
    same_place = first.device.type != "meta" and first.data_ptr() == second.data_ptr()
    if same_place and first.shape == second.shape and first.stride() == second.stride():
        return True
    try:
        return torch.equal(first, second)
    except RuntimeError:  # of a kind that cannot be compared: sparse, quantised, without values
        return False
