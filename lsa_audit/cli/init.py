"""`lsa-audit init`: a commented profile to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import OutputError, UsageError


def command(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")] = Path("lsa-audit.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> int:
    """Write a profile with every setting, its default and what it means."""
    from ..settings.profile import presets
    from ..writing import write_whole

    if path.exists() and not force:
        raise UsageError(f"{path} exists", "name another file, or replace it with --force")
    if not path.parent.is_dir():
        raise OutputError(f"folder {path.parent} does not exist", "make it first")
    write_whole(path, presets()["standard"].read_bytes())
    typer.echo(f"wrote {path}; use it with: lsa-audit scan MODEL --profile {path}", err=True)
    return 0
