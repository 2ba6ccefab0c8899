"""Averaged weights that a checkpoint holds as a list without names, in the order of the network's parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import UsageError
from . import weight_sets
from .checkpoint import listed
from .weight_sets import COUNTER, DEEPEST, EMA, MOST_SETS, Fit, StateSet

SHADOW, COLLECTED = "shadow_params", "collected_params"
"""What `torch_ema` calls the average, and the weights that it has put aside."""


@dataclass(frozen=True)
class Average:
    """A list of tensors that is named as an average.

    Attributes:
        label: where it stands, e.g. `ema.shadow_params`.
    """

    label: str
    tensors: tuple[Tensor, ...]


def averages_in(payload: Any, expected: Mapping[str, Any]) -> list[Average]:
    """All lists of tensors in a payload that are named as an average and hold about as much as a network's state.

    Cost: looks at up to MOST_SETS containers.
    """
    least = sum(value.numel() for value in expected.values() if isinstance(value, Tensor)) / 2
    found: list[Average] = []
    queue: list[tuple[str, Any, int]] = [("", payload, 0)]
    for label, value, depth in queue:
        if isinstance(value, Mapping):
            if depth < DEEPEST and len(queue) < MOST_SETS:
                queue += [(f"{label}.{key}" if label else str(key), entry, depth + 1) for key, entry in value.items()]
        elif isinstance(value, list | tuple) and value and all(isinstance(entry, Tensor) for entry in value):
            last = label.rpartition(".")[2]
            if sum(entry.numel() for entry in value) < least:
                continue
            if last == SHADOW or (EMA.fullmatch(label) and last != COLLECTED):
                found.append(Average(label, tuple(value)))
    return found


def choose(
    averages: Sequence[Average],
    everything: Sequence[Fit],
    expected: Mapping[str, Any],
    parameters: Sequence[str],
    wanted: str | None,
    file: str,
) -> Fit | None:
    """The list that is to be loaded, as weights with names; None where named weights are.

    A list is taken where `wanted` asks for it, or for EMA of which no weights have names, and where nothing else fits.
    What is no parameter comes from the named weights beside it, as with `torch_ema`, which averages parameters alone.

    Args:
        everything: as `weight_sets.fits_in` found it for this network.
        expected: the network's state, name -> tensor.
        parameters: names of the network's parameters in its own order, each once.
        wanted, file: as for `weight_sets.choose`.

    Raises:
        UsageError: the list that is asked for does not fit, or there are several.
    """
    named = [fit for fit in everything if not fit.inside and not fit.outside]
    called = [one for one in averages if wanted and (one.label == wanted or one.label.endswith(f".{wanted}"))]
    asked = called or (averages if wanted == "ema" and not any(fit.averaged for fit in named) else [])
    looked = asked or (averages if wanted is None and not named else [])
    if not looked:
        return None
    raw = [fit for fit in named if not fit.averaged]
    base = weight_sets.choose(raw, expected, "raw", file) if raw else None
    fits = [fit for one in looked if (fit := _fit(one, expected, parameters, base)) is not None]
    if len(fits) > 1:
        raise UsageError(
            f"{file} holds {len(fits)} averages: {listed([fit.label for fit in fits])}",
            "choose one with --weights NAME",
        )
    if asked and not fits:
        what = f"{file} holds averaged weights without names ({asked[0].label}) that {_misfit(asked[0], parameters)}"
        raise UsageError(what, "leave out --weights, or save the average as a state dict")
    return fits[0] if fits else None


def notes(
    averages: Sequence[Average],
    chosen: Fit | None,
    everything: Sequence[Fit],
    expected: Mapping[str, Any],
    parameters: Sequence[str],
) -> Iterator[str]:
    """What was done with each list; a sentence each."""
    alone = len(averages) == 1 and not any(fit.averaged for fit in everything)
    for one in averages:
        if chosen is not None and chosen.found.label == one.label:
            yield f"{one.label} has no names: its {len(one.tensors)} tensors were taken in the order of the parameters"
        elif _ordered(one, expected, parameters):
            asked = f"--weights {'ema' if alone else ascii(one.label)[1:-1]} takes them"
            yield f"the file also holds averaged weights without names ({one.label}); {asked}"
        else:
            yield f"averaged weights without names ({one.label}) were not used: they {_misfit(one, parameters)}"


def _misfit(one: Average, parameters: Sequence[str]) -> str:
    if len(one.tensors) == len(parameters):
        return "differ from the parameters in a size, or lack what is no parameter"
    return f"are {len(one.tensors)} tensors for {len(parameters)} parameters"


def _fit(one: Average, expected: Mapping[str, Any], parameters: Sequence[str], base: Fit | None) -> Fit | None:
    """The list under the network's names, completed from the named weights."""
    entries = _ordered(one, expected, parameters)
    if entries is None:
        return None
    beside = base.state if base is not None else {}
    for group in weight_sets.tied(expected):
        held = next((entries[own] for own in group if own in entries), None)
        entries |= {own: held for own in group if held is not None}
    entries = {**{own: value for own, value in beside.items() if own not in entries}, **entries}
    entries |= {own: value for own, value in expected.items() if own not in entries and own.endswith(COUNTER)}
    if any(own not in entries for own in expected):
        return None
    return Fit(StateSet(one.label, entries), "", {own: own for own in expected})


def _ordered(one: Average, expected: Mapping[str, Any], parameters: Sequence[str]) -> dict[str, Any] | None:
    """The tensors by the names of the parameters, or of the whole state, if all sizes agree in order."""
    tensors = [own for own, value in expected.items() if isinstance(value, Tensor)]
    uncounted = [own for own in tensors if not own.endswith(COUNTER)]
    for names in (list(parameters), tensors, uncounted):
        sizes = [expected[own].shape for own in names if own in expected]
        if sizes == [tensor.shape for tensor in one.tensors] and len(sizes) == len(names):
            return dict(zip(names, one.tensors, strict=True))
    return None
