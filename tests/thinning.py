"""Large grids of parameters: every value in the default run, every combination among the slow tests."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest


def thin(rows: Iterable[tuple[Any, ...]], together: int = 1) -> list[Any]:
    """Rows of a grid, in their order; a row without a value that no earlier choice has is marked slow.

    Args:
        rows: as `pytest.mark.parametrize` takes them, e.g. the product of several lists.
        together: so many first columns count as one value, e.g. an attack with its norm.
    """
    rows = list(rows)
    chosen, seen = set(), set()
    # Mixed, so that the values of one column meet different values of the others.
    for place in random.Random(0).sample(range(len(rows)), len(rows)):  # noqa: S311
        row = rows[place]
        values = {(0, repr(row[:together])), *((column, repr(row[column])) for column in range(together, len(row)))}
        if not values <= seen:
            chosen.add(place)
            seen |= values
    return [row if place in chosen else pytest.param(*row, marks=pytest.mark.slow) for place, row in enumerate(rows)]
