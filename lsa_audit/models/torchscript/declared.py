"""What the pickles of a TorchScript file call for and declare, read without running any of it.

Torch believes what they say about the size of a tensor, so a false one reads or writes beyond its memory.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace

from ...errors import UnsafeError
from ...settings.limits import Limits
from ..archives import DAMAGED_HINT, UNSAFE_HINT, Archive
from ..declared import check_declared
from ..pickles import PICKLE_BYTES, Contents, read_pickle

PICKLES = ("data.pkl", "constants.pkl")
ALLOWED = re.compile(
    r"__torch__(?!\.torch\.classes\.)\..+|collections\.OrderedDict|torch\.(\w+Storage|device)|builtins\.complex"
    r"|torch\._utils\._rebuild_tensor(_v2)?|torch\.jit\._pickle\.(build_\w+list|restore_type_tag)"
)
"""Classes of the file itself, tensors and plain values; not the classes of `torch.classes`, which are native code."""

MAX_CONTAINERS = 50_000
"""Torch takes apart what it has read by recursion, and a chain of some hundred thousand lists overruns its stack."""


def check_pickles(archive: Archive, limits: Limits) -> list[str]:
    """Verify that every tensor lies within the file and the limits.

    Returns:
        What the pickles need that is not on the allow-list, sorted.

    Raises:
        UnsafeError: a damaged pickle, or a size that the file does not back or that is above the limits.
    """
    needed: set[str] = set()
    for name in PICKLES:
        folder = name.removesuffix("pkl").replace(".", "/")
        storages = {
            f"data/{member.removeprefix(folder)}": size
            for member, size in archive.sizes.items()
            if member.startswith(folder)
        }
        contents = Contents(replace(archive, sizes=storages))
        read_pickle(io.BytesIO(archive.read(name, PICKLE_BYTES)), contents)
        if contents.damage:
            raise UnsafeError(f"{archive.path.name} is malformed: {name} cannot be read", DAMAGED_HINT)
        if contents.containers > MAX_CONTAINERS:
            raise UnsafeError(f"{archive.path.name} holds {contents.containers} lists in {name}", UNSAFE_HINT)
        check_declared(contents, archive.path, limits)
        needed |= {name for name in contents.names if not ALLOWED.fullmatch(name)}
    return sorted(needed)
