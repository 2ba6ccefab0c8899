"""Makers of zip archives that lie: each writes one file and returns its path."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

DIRECTORY_ENTRY, END_RECORD = b"PK\x01\x02", b"PK\x05\x06"
ENTRY = struct.Struct("<4s6H3L5H2L")


def write(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """A sound archive with these members."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return path


def checkpoint_members(root: str = "archive") -> dict[str, bytes]:
    """The members of an honest checkpoint of one tensor [2, 3]."""
    stream = io.BytesIO()
    torch.save({"weight": torch.arange(6.0).view(2, 3)}, stream)
    with zipfile.ZipFile(stream) as archive:
        return {f"{root}/{name.partition('/')[2]}": archive.read(name) for name in archive.namelist()}


def honest(folder: Path) -> Path:
    return write(folder / "model.pth", checkpoint_members())


def truncated(folder: Path) -> Path:
    path = honest(folder)
    path.write_bytes(path.read_bytes()[:-40])
    return path


def comment(folder: Path) -> Path:
    """Readers disagree on which end record counts when a comment holds a second one."""
    path = honest(folder)
    content = bytearray(path.read_bytes())
    content[-2:] = struct.pack("<H", 22)
    path.write_bytes(bytes(content) + bytes(content[-22:]))
    return path


def prefixed(folder: Path) -> Path:
    path = honest(folder)
    path.write_bytes(b"PK\x03\x04" + b"#" * 26 + path.read_bytes())
    return path


def named(name: str) -> Callable[[Path], Path]:
    """One more member of this name."""

    def make(folder: Path) -> Path:
        # zipfile itself changes some names and warns of repeated ones.
        plain = "#" * len(name)
        path = write(folder / "model.pth", checkpoint_members() | {plain: b"x"})
        path.write_bytes(path.read_bytes().replace(plain.encode(), name.encode()))
        return path

    return make


duplicate = named("archive/data.pkl")
same_but_for_case = named("archive/DATA.pkl")


def encrypted(folder: Path) -> Path:
    return _patched(honest(folder), lambda entry: entry[:8] + struct.pack("<H", entry[8] | 1) + entry[10:])


def symlink(folder: Path) -> Path:
    path = folder / "model.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in checkpoint_members().items():
            archive.writestr(name, content)
        info = zipfile.ZipInfo("archive/link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return path


def ratio_bomb(folder: Path) -> Path:
    members = checkpoint_members() | {"archive/data/1": bytes(64 * 2**20)}
    return write(folder / "model.pth", members, zipfile.ZIP_DEFLATED)


def claimed_size(size: int) -> Callable[[Path], Path]:
    """The first member claims to be this large, in the directory and in its own header."""

    def make(folder: Path) -> Path:
        path = honest(folder)
        _patched(path, lambda entry: entry[:24] + struct.pack("<L", size) + entry[28:])
        content = bytearray(path.read_bytes())
        content[22:26] = struct.pack("<L", size)
        path.write_bytes(content)
        return path

    return make


def second_description(folder: Path) -> Path:
    """The local header of the first member has another name than the directory."""
    path = honest(folder)
    content = bytearray(path.read_bytes())
    content[30:37] = b"ARCHIVE"
    path.write_bytes(content)
    return path


def overlapping(folder: Path) -> Path:
    """The second member is said to lie where the first one lies."""
    path = write(folder / "model.pth", {"archive/aaaa": b"x" * 100, "archive/bbbb": b"x" * 100})
    content = bytearray(path.read_bytes())
    second = content.rindex(DIRECTORY_ENTRY)
    content[second + 42 : second + 46] = struct.pack("<L", 0)
    content[second + 46 : second + 58] = b"archive/aaaa"
    path.write_bytes(content)
    return path


def swallowing(folder: Path) -> Path:
    """The first member is said to reach over the second."""
    path = write(folder / "model.pth", {"archive/aaaa": b"x" * 100, "archive/bbbb": b"x" * 100})
    for start in (path.read_bytes().index(DIRECTORY_ENTRY) + 20, 18):
        content = bytearray(path.read_bytes())
        content[start : start + 8] = struct.pack("<LL", 200, 200)
        path.write_bytes(content)
    return path


def many_members(folder: Path) -> Path:
    """100,001 empty members; written by hand, as zipfile takes its time."""
    local, central = [], []
    offset = 0
    for index in range(100_001):
        name = b"archive/%d" % index
        central.append(ENTRY.pack(DIRECTORY_ENTRY, *(0,) * 9, len(name), *(0,) * 5, offset) + name)
        local.append(b"PK\x03\x04" + bytes(22) + struct.pack("<HH", len(name), 0) + name)
        offset += len(local[-1])
    directory = b"".join(central)
    numbers = (b"PK\x06\x06", 44, 45, 45, 0, 0, len(local), len(local), len(directory), offset)
    wide = struct.pack("<4sQ2H2L4Q", *numbers) + struct.pack("<4sLQL", b"PK\x06\x07", 0, offset + len(directory), 1)
    narrow = struct.pack("<4s4H2LH", END_RECORD, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path = folder / "model.pth"
    path.write_bytes(b"".join(local) + directory + wide + narrow)
    return path


def claimed_members(folder: Path) -> Path:
    """The end record counts one member more than there are."""
    path = honest(folder)
    content = bytearray(path.read_bytes())
    count = struct.unpack_from("<H", content, len(content) - 14)[0] + 1
    struct.pack_into("<HH", content, len(content) - 14, count, count)
    path.write_bytes(content)
    return path


def far_end_record(folder: Path) -> Path:
    """The wide end record is said to lie where no file reaches."""
    path = honest(folder)
    content = path.read_bytes()
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 2**64 - 1, 1)
    path.write_bytes(content[:-22] + locator + content[-22:])
    return path


def bzip2(folder: Path) -> Path:
    return write(folder / "model.pth", checkpoint_members(), zipfile.ZIP_BZIP2)


def empty(folder: Path) -> Path:
    return write(folder / "model.pth", {})


def without_pickle(folder: Path) -> Path:
    members = checkpoint_members()
    del members["archive/data.pkl"]
    return write(folder / "model.pth", members)


def _patched(path: Path, change: Callable[[bytes], bytes]) -> Path:
    """Change the first entry of the central directory, without its name."""
    content = path.read_bytes()
    start = content.index(DIRECTORY_ENTRY)
    path.write_bytes(content[:start] + change(content[start : start + 46]) + content[start + 46 :])
    return path
