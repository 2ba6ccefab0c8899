"""Records of earlier schema versions as records of this one, one pure step a version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .neurons import DropEffect

Fields = dict[str, Any]

NEURON = ("neuron_index", "targeting_score", "clean", "adversarial")


def _without_neuron_tables(fields: Fields) -> Fields:
    """1 to 2: the dropped neurons were not counted image by image, so that their tables cannot be told any more."""
    skipped = [
        {
            "what": f"neurons of {table['layer']}",
            "reason": "older-record",
            "detail": "the record has schema version 1, whose neuron tables lack the counts that are shown today; "
            "scan again to measure them",
        }
        for table in fields["neurons"]
    ]
    return fields | {"neurons": [], "skipped": [*fields["skipped"], *skipped], "schema_version": 2}


def _with_room_for_a_gallery(fields: Fields) -> Fields:
    """2 to 3: the gallery and the gates in the settings are new; without them nothing changes."""
    return fields | {"schema_version": 3}


def _with_columns(fields: Fields) -> Fields:
    """3 to 4: neurons are stored by field. Checks are new; a record of version 3 does not tell which of them ran."""
    tables = [table | {"neurons": _columns(table["neurons"])} for table in fields["neurons"]]
    return fields | {"neurons": tables, "checks": [], "schema_version": 4}


def _columns(neurons: list[Fields]) -> Fields:
    effects = tuple(DropEffect.model_fields)
    columns: Fields = {name: [_only(neuron, NEURON)[name] for neuron in neurons] for name in NEURON[:2]}
    for side in NEURON[2:]:
        columns[side] = {name: [_only(neuron[side], effects)[name] for neuron in neurons] for name in effects}
    return columns


def _only(fields: Fields, names: tuple[str, ...]) -> Fields:
    """The same fields.

    Raises:
        LookupError: others are there too.
    """
    if set(fields) - set(names):
        raise LookupError(names)
    return fields


STEPS: dict[int, Callable[[Fields], Fields]] = {
    1: _without_neuron_tables,
    2: _with_room_for_a_gallery,
    3: _with_columns,
}
"""What turns a record of a version into one of the next."""


def upgraded(fields: Fields) -> Fields:
    """The fields of a record of a version of `STEPS`, as a scan of today would write them.

    Raises:
        LookupError, TypeError: a record that is malformed where a step looks.
    """
    while step := STEPS.get(fields["schema_version"]):
        fields = step(fields)
    return fields
