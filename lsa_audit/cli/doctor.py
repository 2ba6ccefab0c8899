"""`lsa-audit doctor`: what works here, and what is missing."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from typing import Annotated

import typer

from ..errors import ExitCode

STYLES = {"ok": "", "note": "dim", "problem": "bold red"}


def command(json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> int:
    """Look at packages, devices, runtimes and cache folders; exit code 2 when something must be mended."""
    from rich.text import Text

    from ..device.doctor import examine
    from .console import Console

    checks = examine()
    if json:
        typer.echo(json_module.dumps([asdict(check) for check in checks], indent=2))
    else:
        console, width = Console(), max(len(check.name) for check in checks)
        for section in dict.fromkeys(check.section for check in checks):
            console.print(Text(section, style="bold"))
            for check in checks:
                if check.section == section:
                    line = f"  {check.name.ljust(width)}  {check.value}"
                    hint = f"; {check.hint}" if check.hint else ""
                    console.print(Text(line + hint, style=STYLES[check.state]), soft_wrap=True)
    return ExitCode.USAGE if any(check.state == "problem" for check in checks) else ExitCode.OK
