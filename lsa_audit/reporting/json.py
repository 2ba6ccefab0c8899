"""The record as JSON, and back: `record.json` is the record and nothing else."""

from __future__ import annotations

import json

from pydantic import ValidationError

from ..errors import UsageError
from ..page.text import name
from ..records import SCHEMA_VERSION, AuditRecord
from ..records.upgrading import STEPS, upgraded
from .shown import Shown

NO_NEURONS = '\n  "neurons": []'
WRITTEN_BY = "it must be a record.json that lsa-audit wrote"


def render(shown: Shown) -> str:
    """The record as indented JSON with a final newline, the neurons of a layer on one line.

    What is not finite becomes null.
    """
    record = shown.record
    content = record.model_copy(update={"neurons": ()}).model_dump_json(indent=2)
    if record.neurons:
        # Only a field of the record itself stands behind two spaces, and no text holds a line break.
        before, found, after = content.partition(NO_NEURONS)
        tables = ",\n    ".join(table.model_dump_json() for table in record.neurons)
        content = f"{before}{found.removesuffix(']')}\n    {tables}\n  ]{after}"
    return content + "\n"


def read(content: str | bytes) -> AuditRecord:
    """The record from the text of a `record.json`; one of an earlier schema version becomes one of this.

    Raises:
        UsageError: not JSON, not a record, or a record of a schema version that is not known.
    """
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        raise UsageError("the record is not valid JSON", WRITTEN_BY) from None
    if not isinstance(fields, dict) or "schema_version" not in fields:
        raise UsageError("the record has no schema_version", WRITTEN_BY)
    version = fields["schema_version"]
    if type(version) is not int or version not in (*STEPS, SCHEMA_VERSION):
        shown = name(str(version), limit=40)
        hint = "read it with the lsa-audit that wrote it, or scan again"
        raise UsageError(f"the record has schema_version {shown}, this lsa-audit reads up to {SCHEMA_VERSION}", hint)
    try:
        if version != SCHEMA_VERSION:
            content = json.dumps(upgraded(fields))
        # A record of a large network fills memory once, not twice.
        del fields
        return AuditRecord.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = name(".".join(str(part) for part in first["loc"]) or "the top")
        raise UsageError(f"the record is malformed at {place}: {first['msg']}", WRITTEN_BY) from None
    except (LookupError, TypeError):
        raise UsageError(f"the record is malformed for schema_version {version}", WRITTEN_BY) from None
