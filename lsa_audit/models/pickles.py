"""Reads which Python objects a pickle would call for, without running any of it."""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterator
from pathlib import Path

import torch

# What checkpoint.py lets through in an ordinary state dict; everything else is worth naming to the reader.
HARMLESS = re.compile(
    r"collections\.OrderedDict|torch\._utils\._rebuild_\w+|torch\.(\w+Storage|Size)|torch\.nn\.parameter\.Parameter"
    r"|numpy\.dtype|numpy\._?core\.multiarray\.scalar|_codecs\.encode|argparse\.Namespace"
)


def foreign_globals(path: Path) -> list[str]:
    """Dotted names that the file's pickles import and a state dict has no need of, sorted; empty if none could be read.

    This only words an error message. What may be loaded is decided by torch's own restricted unpickler.
    """
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except Exception:  # noqa: BLE001 - not a zip checkpoint, or malformed in any of many ways: read it as plain pickles
        return sorted({name for name in _scan(path) if not HARMLESS.fullmatch(name)})


def _scan(path: Path) -> Iterator[str]:
    """Names in the file's consecutive pickles (a legacy checkpoint holds several), up to the first byte of raw data."""
    strings: list[str] = []
    with path.open("rb") as file:
        try:
            while True:
                for opcode, argument, _ in pickletools.genops(file):
                    if opcode.name == "GLOBAL" and isinstance(argument, str):
                        yield argument.replace(" ", ".")
                    elif opcode.name == "STACK_GLOBAL":
                        yield ".".join(strings[-2:])
                    elif isinstance(argument, str):
                        strings.append(argument)
        except Exception:  # noqa: BLE001 - the end of the pickles, or bytes that are none: what was read so far stands
            return
