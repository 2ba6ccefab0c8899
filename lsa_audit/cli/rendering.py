"""`--output FORMAT=FILE`: which reports go where, settled before the work, written after it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import UsageError
from ..writing import STDOUT as STDOUT_DESCRIPTOR
from ..writing import descriptor_of, write_whole

if TYPE_CHECKING:
    from ..reporting.shown import Shown

STDOUT = "-"
EXAMPLE = "e.g. --output sarif=report.sarif; - is the standard output"


@dataclass(frozen=True)
class Output:
    """One report; `path` None: to the standard output."""

    format: str
    path: Path | None


def parse(texts: Sequence[str]) -> tuple[Output, ...]:
    """What `FORMAT=FILE` texts ask for.

    Raises:
        UsageError: one of them is none, names an unknown format, no place for a file or the record of a run, or two
            have the same place.
    """
    outputs = tuple(_output(text) for text in texts)
    taken: set[Path | None] = set()
    for output in outputs:
        place = None if output.path is None else _place(output.path)
        if place is not None:
            refuse_run(place, output.format)
        if place in taken:
            name = "the standard output" if output.path is None else output.path
            raise UsageError(f"two reports go to {name}", "give each a file of its own")
        taken.add(place)
    return outputs


def write(outputs: Sequence[Output], shown: Shown) -> None:
    """Render all, then write: files whole, and the one for the standard output last.

    Raises:
        OutputError: a file cannot be written.
    """
    from ..reporting import FORMATS

    rendered = [(output.path, FORMATS[output.format][1](shown).encode()) for output in outputs]
    for path, content in sorted(rendered, key=lambda entry: entry[0] is None):
        if path is None:
            typer.echo(content, nl=False)
        else:
            write_whole(path, content)


def refuse_run(place: Path, format_name: str) -> None:
    """A report over the record of a run, or over its arrays, would leave nothing that can be read again.

    Args:
        place: links followed.
        format_name: `json` for what is itself a record.

    Raises:
        UsageError: that is what stands there.
    """
    from ..runs.reading import EVIDENCE_NAME, RECORD_NAME

    partner = {RECORD_NAME: EVIDENCE_NAME, EVIDENCE_NAME: RECORD_NAME}.get(place.name)
    if partner is None or not os.path.lexists(place):
        return
    # A record by itself is what `--output json=record.json` writes, again and again.
    if os.path.lexists(place.with_name(partner)) or (place.name == RECORD_NAME and format_name != "json"):
        what = f"{place.name} in {place.parent} is part of a run, and a report would replace it"
        raise UsageError(what, "give the report another name")


def _output(text: str) -> Output:
    name, equals, place = text.partition("=")
    if not equals or not place:
        raise UsageError(f"--output {text} is not FORMAT=FILE", EXAMPLE)
    _check_format(name)
    return Output(name, None if place == STDOUT or _is_stdout(Path(place)) else Path(place))


def _is_stdout(path: Path) -> bool:
    """Whether this is another name of the standard output, such as /dev/stdout."""
    try:
        return descriptor_of(path) == STDOUT_DESCRIPTOR
    except (OSError, ValueError):
        return False


def _check_format(name: str) -> None:
    from ..reporting import FORMATS

    if name not in FORMATS:
        near = get_close_matches(name, FORMATS, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"there is no report format {name!r}", f"{meant}there are {', '.join(FORMATS)}")


def _place(path: Path) -> Path:
    """Where a file really goes, links followed."""
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder", "name a file in it")
        if not path.parent.is_dir():
            raise UsageError(f"there is no folder {path.parent} for {path.name}", "make it first, or name another file")
        return path.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{path} is no place for a report: {error}", "name another file") from None
