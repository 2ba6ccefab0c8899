"""`lsa-audit schema`: the JSON Schema of each file that is written for others to read, and of profiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from . import completion
from .topics import SCHEMAS

if TYPE_CHECKING:
    from pydantic import BaseModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def command(
    kind: Annotated[
        str, typer.Argument(metavar="|".join(SCHEMAS), help="Of which file.", autocompletion=completion.schemas)
    ] = "record",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write; default: stdout.")] = None,
) -> int:
    """Print the JSON Schema (draft 2020-12) of record.json, gate.json, baseline.json or another file."""
    from ..writing import write_whole

    if kind not in SCHEMAS:
        raise UsageError(f"there is no schema of {kind!r}", f"there is {', '.join(SCHEMAS)}")
    text = json.dumps(schema(kind), indent=2) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_whole(out, text.encode())
    return 0


def schema(kind: str) -> dict[str, Any]:
    """The schema of a key of `SCHEMAS`."""
    from .. import __version__

    content = _model(kind).model_json_schema()
    for part in (content, *content["$defs"].values()):
        _state_version(part)
    return {
        "$schema": DIALECT,
        "$comment": f"written by lsa-audit {__version__}",
        **content,
        "title": f"lsa-audit: {SCHEMAS[kind]}",
    }


def _model(kind: str) -> type[BaseModel]:
    from ..records import AuditRecord
    from ..records.diff import RunDiff
    from ..records.gating import Gating
    from ..records.hardening import Hardening
    from ..records.repair import Repair
    from ..records.snapshot import Baseline
    from .profile_schema import WrittenProfile

    models: dict[str, type[BaseModel]] = {
        "record": AuditRecord,
        "gate": Gating,
        "baseline": Baseline,
        "diff": RunDiff,
        "hardening": Hardening,
        "repair": Repair,
        "profile": WrittenProfile,
    }
    return models[kind]


def _state_version(part: dict[str, Any]) -> None:
    """A file states its version, and its schema is that of no other."""
    for name, field in part.get("properties", {}).items():
        if name.endswith("_version") and field["type"] == "integer":
            field["const"] = field["default"]
            part["required"] = [name, *part["required"]]
