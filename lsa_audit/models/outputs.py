"""What a network returns, by name, and which of it holds the logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import ModelError, UsageError

ChosenBy = Literal["only", "name", "classes", "user"]

SHOWN = 6


@dataclass(frozen=True)
class OutputCandidate:
    """One output.

    Attributes:
        name: as the model calls it, or its index.
        shape: in words, for messages.
        classes: K where it can be scores [N, K] and K is known.
        able: whether it can be scores at all.
    """

    name: str
    shape: str
    classes: int | None = None
    able: bool = True


@dataclass(frozen=True)
class Choice:
    """The output that holds the logits, the names of the others, and how that was settled."""

    name: str = ""
    others: tuple[str, ...] = ()
    by: ChosenBy = "only"


ONLY = Choice()


class UndecidedError(UsageError):
    """Several outputs can hold the logits, and nothing tells which."""


def named(returned: Any) -> dict[str, Tensor]:
    """Every tensor in what a model returns, by its path: keys, fields and indices joined by dots; one alone as ''."""
    return dict(_named(returned, ""))


def _named(returned: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(returned, Tensor):
        yield path, returned
        return
    for name, entry in _entries(returned):
        yield from _named(entry, f"{path}.{name}" if path else name)


def _entries(returned: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(returned, Mapping):
        yield from ((str(key), entry) for key, entry in returned.items())
    elif isinstance(returned, tuple) and hasattr(returned, "_fields"):
        yield from zip(returned._fields, returned, strict=True)
    elif isinstance(returned, tuple | list):
        yield from ((str(index), entry) for index, entry in enumerate(returned))
    elif is_dataclass(returned) and not isinstance(returned, type):
        yield from ((entry.name, getattr(returned, entry.name)) for entry in fields(returned))
    elif isinstance(getattr(returned, "logits", None), Tensor):
        yield "logits", returned.logits


def plain(returned: Any) -> Tensor | dict[str, Tensor]:
    """One tensor as it is; several by name, as `named` has them."""
    tensors = named(returned)
    return tensors.get("", tensors)


def rows(returned: Any) -> Tensor:
    """Everything that a network returned, one row an image: [N, M] float32, for comparisons."""
    tensors = [value for value in named(returned).values() if value.dim() > 0]
    return torch.cat([value.reshape(value.shape[0], -1).float() for value in tensors], dim=1)


def pick(returned: Any, name: str, classes: int | None = None) -> Tensor | None:
    """The output of that name; where it is not there (a network that returns more in training), the one like it.

    Args:
        classes: columns of the output that is meant.
    """
    if isinstance(returned, Tensor):
        return returned
    tensors = named(returned)
    if name in tensors:
        return tensors[name]
    likely = [key for key in tensors if key.rpartition(".")[2] == "logits"]
    alike = [key for key, value in tensors.items() if classes is not None and value.shape[-1:] == (classes,)]
    return next((tensors[key] for key in (*likely, *alike)), None)


def columns(value: Tensor, count: int) -> int | None:
    """K of an output for `count` images that is [N, K] but for dimensions of one, or [N] for a single score."""
    if value.dim() == 0 or value.shape[0] != count or not value.numel():
        return None
    wide = [int(size) for size in value.shape[1:] if size != 1]
    return None if len(wide) > 1 else next(iter(wide), 1)


def candidates(returned: Any, count: int) -> list[OutputCandidate]:
    """What a network returned for `count` images, each output with whether it can hold scores."""
    found = []
    for name, value in named(returned).items():
        known = columns(value, count)
        shape = f"[{', '.join(['N' if index == 0 else str(size) for index, size in enumerate(value.shape)])}]"
        found.append(OutputCandidate(name, shape, known, known is not None and value.is_floating_point()))
    return found


def choose(listed: Sequence[OutputCandidate], wanted: str | None, classes: int | None, model: str) -> Choice:
    """The output that holds the logits.

    In this order: the one that the user names; the only one that can; the one called logits; the one with as many
    columns as the data has classes; the only one with logits in its name.

    Args:
        wanted: a name, or an index among all outputs, counted from 0.
        classes: of the data, or as the user says; None where that is not known.
        model: for messages.

    Raises:
        UndecidedError: several can.
        UsageError: no output goes by what is wanted.
        ModelError: none can.
    """
    if wanted is not None:
        return _wanted(listed, wanted, model)
    able = [entry for entry in listed if entry.able]
    if not able:
        what = f"{model} returns no scores [N, K]" + (f": {shown(listed)}" if listed else "")
        raise ModelError(what, "a classifier must return logits [N, K]")
    by: ChosenBy = "only"
    if len(able) > 1:
        for rule, fitting in _rules(able, classes):
            if len(fitting) == 1:
                able, by = fitting, rule
                break
        else:
            what = f"{model} returns {len(able)} outputs that can be logits: {shown(able)}"
            raise UndecidedError(what, "give --logits NAME or INDEX")
    return _chosen(able[0], listed, by)


def choose_or_wait(
    listed: Sequence[OutputCandidate], wanted: str | None, classes: int | None, model: str
) -> tuple[Choice, tuple[OutputCandidate, ...]]:
    """The same before the data are known: the first that can be, and all of them, where only the data can tell."""
    try:
        return choose(listed, wanted, classes, model), ()
    except UndecidedError:
        return Choice(next(entry.name for entry in listed if entry.able)), tuple(listed)


def _rules(able: Sequence[OutputCandidate], classes: int | None) -> Iterator[tuple[ChosenBy, list[OutputCandidate]]]:
    yield "name", [entry for entry in able if entry.name.rpartition(".")[2].lower() == "logits"]
    wanted = {classes, 1} if classes == 2 else {classes}
    yield "classes", [entry for entry in able if classes is not None and entry.classes in wanted]
    yield "name", [entry for entry in able if "logits" in entry.name.lower()]


def _wanted(listed: Sequence[OutputCandidate], wanted: str, model: str) -> Choice:
    by_name = [entry for entry in listed if entry.name == wanted]
    index = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < SHOWN else len(listed)
    found = by_name or list(listed[index : index + 1])
    if not found:
        raise UsageError(f"--logits {wanted}: {model} has no such output", f"it returns {shown(listed)}")
    if not found[0].able:
        raise UsageError(f"--logits {wanted}: {shown(found)} holds no scores [N, K]", f"it returns {shown(listed)}")
    return _chosen(found[0], listed, "user")


def _chosen(entry: OutputCandidate, listed: Sequence[OutputCandidate], by: ChosenBy) -> Choice:
    return Choice(entry.name, tuple(other.name for other in listed if other is not entry), by)


def shown(listed: Sequence[OutputCandidate]) -> str:
    """Names and shapes, for messages."""
    rest = len(listed) - SHOWN
    texts = [f"{entry.name or 'one tensor'} {entry.shape}".strip() for entry in listed[:SHOWN]]
    return ", ".join(texts) + (f" and {rest} more" if rest > 0 else "")
