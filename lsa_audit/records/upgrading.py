"""Records of earlier schema versions as records of this one, one pure step a version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Fields = dict[str, Any]


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


STEPS: dict[int, Callable[[Fields], Fields]] = {1: _without_neuron_tables, 2: _with_room_for_a_gallery}
"""What turns a record of a version into one of the next."""


def upgraded(fields: Fields) -> Fields:
    """The fields of a record of a version of `STEPS`, as a scan of today would write them.

    Raises:
        LookupError, TypeError: a record that is malformed where a step looks.
    """
    while step := STEPS.get(fields["schema_version"]):
        fields = step(fields)
    return fields
