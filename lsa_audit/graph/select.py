"""Which layers were asked for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from ..errors import UsageError
from .base import Layer

SHOWN = 3


def select(layers: Sequence[Layer], pattern: str) -> tuple[Layer, ...]:
    """The layers that a pattern names, in the order of execution.

    Args:
        pattern: `learnable`, `activation`, `all`, or globs on names or kinds, separated by commas; each must match.

    Raises:
        UsageError: the model has no layers, or a part of the pattern matches none.
    """
    parts = [part.strip() for part in pattern.split(",") if part.strip()]
    if not parts:
        raise UsageError("the layer pattern is empty", "give learnable, activation, all, or names such as 'layer1.*'")
    chosen: set[str] = set()
    for part in parts:
        matched = {layer.info.name for layer in layers if _matches(layer, part)}
        if not matched:
            raise _no_match(layers, part)
        chosen |= matched
    return tuple(layer for layer in layers if layer.info.name in chosen)


def _matches(layer: Layer, part: str) -> bool:
    return part == "all" or fnmatchcase(layer.info.name, part) or fnmatchcase(layer.info.kind, part)


def _no_match(layers: Sequence[Layer], part: str) -> UsageError:
    names = [layer.info.name for layer in layers]
    if not names:
        return UsageError(
            f"layers {part!r}: the model has no layers that can be measured", "see `lsa-audit layers MODEL`"
        )
    kinds = sorted({layer.info.kind for layer in layers})
    nearest = difflib.get_close_matches(part, [*names, *kinds], n=SHOWN, cutoff=0.5)
    similar = f"the nearest are {', '.join(nearest)}" if nearest else f"kinds are {', '.join(kinds)}"
    return UsageError(
        f"no layer matches {part!r}", f"{similar}; the model has {len(names)}, such as {', '.join(names[:SHOWN])}"
    )
