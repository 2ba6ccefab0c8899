"""Opens zip archives that may be hostile: everything about them is verified before a byte is unpacked."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from ..errors import ModelError, UnsafeError
from ..settings.limits import Limits

DAMAGED_HINT = "copy or download it again"
UNSAFE_HINT = "do not use it unless you know who made it"
LIMIT_HINT = "raise the limits in the profile if you trust it"

LOCAL_HEADER = struct.Struct("<4s5H3L2H")
END_RECORD = struct.Struct("<4s4H2LH")
END_LOCATOR_64 = struct.Struct("<4sLQL")
END_RECORD_64 = struct.Struct("<4sQ2H2L4Q")
HAS_DESCRIPTOR, UTF8_NAME, ENCRYPTED = 0x8, 0x800, 0x2041
ZIP64 = 0xFFFFFFFF
DIRECTORY_BYTES_PER_MEMBER = 256

# torch looks members up without regard to case: one in capitals would be read by torch and overlooked by a check.
TORCH_PARTS = {"code", "data", "constants", "models", "py", "pkl", "json", "pt"}


@dataclass(frozen=True)
class MemberRange:
    """Where the bytes of a member lie: offset in the file, packed length, and whether they are deflated."""

    offset: int
    length: int
    deflated: bool


@dataclass(frozen=True)
class Archive:
    """A zip archive that has passed `check`.

    Attributes:
        path: of the file.
        names: of its members in the order of the central directory, as in the file (folders left out).
        root: the single top folder that torch writes, e.g. `archive`; empty where members lie outside of one.
        sizes: unpacked bytes of each member, by its name relative to `root`.
        places: of each member in the file, by its name relative to `root`.
    """

    path: Path
    names: tuple[str, ...]
    root: str
    sizes: Mapping[str, int]
    places: Mapping[str, MemberRange]

    def read(self, name: str, at_most: int) -> bytes:
        """One member unpacked; `name` is relative to `root`. Checksums are not looked at: torch may write none.

        Raises:
            UnsafeError: there is no such member, it is larger than `at_most` bytes, or its data are damaged.
        """
        if name not in self.sizes:
            raise UnsafeError(f"{self.path.name} lacks the member {name}", DAMAGED_HINT)
        size, place = self.sizes[name], self.places[name]
        if size > at_most:
            raise UnsafeError(f"{self.path.name}: {name} claims {size} bytes, {at_most} are allowed", LIMIT_HINT)
        with opened(self.path) as file:
            file.seek(place.offset)
            content = file.read(place.length)
        if place.deflated:
            try:
                content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1)
            except zlib.error:
                content = b""
        if len(content) != size:
            raise UnsafeError(f"{self.path.name}: {name} does not unpack to the stated {size} bytes", DAMAGED_HINT)
        return content


def check(path: Path, limits: Limits) -> Archive:
    """Verify a zip archive as a whole, without unpacking anything.

    Only what every reader understands alike is let through: one central directory at the end, nothing before the
    first member or after the last record, local headers that agree with the directory, members stored or deflated,
    names that differ by more than case.

    Raises:
        ModelError: not a regular file, or unreadable.
        UnsafeError: malformed, truncated, encrypted, or above a limit.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limits.total_bytes:
            raise _above(path, f"{size} bytes, {limits.total_bytes} are allowed")
        start, end, count = _directory(file, path, size)
        if count > limits.members or end - start > limits.members * DIRECTORY_BYTES_PER_MEMBER:
            raise _above(path, f"more than {limits.members} members")
        try:
            with zipfile.ZipFile(file) as archive:
                members, begun = archive.infolist(), archive.start_dir
        except Exception as error:
            raise _damaged(path, "the list of its members cannot be read") from error
        if begun != start or len(members) != count:
            raise _damaged(path, "its parts contradict each other")
        _check_sizes(path, members, limits)
        _check_names(path, members)
        places = _places(file, path, members, start)
    files = {info.filename: info.file_size for info in members if not info.is_dir()}
    tops = {name.partition("/")[0] if "/" in name else "" for name in files}
    root = tops.pop() if len(tops) == 1 else ""
    skipped = len(root) + 1 if root else 0
    sizes = {name[skipped:]: size for name, size in files.items()}
    disguised = next(filter(_disguised, sizes), None)
    if disguised is not None:
        raise UnsafeError(f"{path.name}: torch would read {disguised} in spite of its capitals", UNSAFE_HINT)
    return Archive(path, tuple(files), root, sizes, {name[skipped:]: places[name] for name in files})


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A regular file, open for reading; a pipe, a socket or a device is never opened, so nothing can block.

    Raises:
        ModelError: missing, unreadable, or not a regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ModelError(f"{path} is a folder", "give the model file inside it")
        if not stat.S_ISREG(mode):
            raise ModelError(f"{path} is {_special(mode)}, not a file", "give a regular file")
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist", "check the path") from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    with os.fdopen(descriptor, "rb") as file:
        try:
            yield file
        except OSError as error:
            raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError | ValueError) -> ModelError:
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return ModelError(f"{path} cannot be read: {reason}", "check its permissions")


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits.

    Raises:
        ModelError: as `opened`.
    """
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _directory(file: BufferedReader, path: Path, size: int) -> tuple[int, int, int]:
    """Start and end of the central directory in the file and the number of its entries, from the end records."""
    at = size - END_RECORD.size
    fields = _unpack(file, END_RECORD, at)
    if fields is None or fields[0] != b"PK\x05\x06" or fields[-1] != 0:
        raise _damaged(path, "its end is missing or is not that of an archive")
    _, disk, first_disk, here, count, length, offset, _ = fields
    locator = _unpack(file, END_LOCATOR_64, at - END_LOCATOR_64.size)
    if locator is not None and locator[0] == b"PK\x06\x07":
        at = locator[2]
        record = _unpack(file, END_RECORD_64, at)
        if record is None or record[0] != b"PK\x06\x06":
            raise _damaged(path, "its end records contradict each other")
        narrow = (here, count, length, offset)
        here, count, length, offset = record[6:]
        if any(small not in (wide, 0xFFFF, 0xFFFFFFFF) for small, wide in zip(narrow, record[6:], strict=True)):
            raise _damaged(path, "its end records contradict each other")
    if disk or first_disk or here != count or offset + length != at:
        raise _damaged(path, "its end records contradict each other")
    return offset, at, count


def _check_sizes(path: Path, members: list[zipfile.ZipInfo], limits: Limits) -> None:
    total = sum(info.file_size for info in members)
    if total > limits.total_bytes:
        raise _above(path, f"{total} bytes unpacked, {limits.total_bytes} are allowed")
    for info in members:
        if info.file_size > limits.member_bytes:
            raise _above(path, f"{info.file_size} bytes in {info.filename}, {limits.member_bytes} are allowed")
        if info.file_size > limits.compression_ratio * max(info.compress_size, 1):
            raise _above(path, f"{info.filename} unpacks to more than {limits.compression_ratio:g} times its size")


def _check_names(path: Path, members: list[zipfile.ZipInfo]) -> None:
    seen = set()
    for info in members:
        name = info.orig_filename
        if name != info.filename:
            raise _damaged(path, f"{name!r} has a second name")
        parts = name.removesuffix("/").split("/")
        if any(part in ("", ".", "..") for part in parts) or "\\" in name or ":" in parts[0] or not name.isprintable():
            raise UnsafeError(f"{path.name}: the member name {name!r} leads out of the archive", UNSAFE_HINT)
        # torch looks names up without regard to case.
        if name.casefold() in seen:
            raise UnsafeError(f"{path.name} holds two members named {name}", UNSAFE_HINT)
        seen.add(name.casefold())
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UnsafeError(f"{path.name}: the member {name} is {_special(kind)}", UNSAFE_HINT)


def _disguised(name: str) -> bool:
    folder, suffix = name.partition("/")[0], name.rpartition(".")[2]
    return any(part != part.lower() and part.lower() in TORCH_PARTS for part in (folder, suffix))


def _places(file: BufferedReader, path: Path, members: list[zipfile.ZipInfo], end: int) -> dict[str, MemberRange]:
    """Where each member lies, once local headers agree with the directory and no two members share bytes."""
    places = {}
    ordered = sorted(members, key=lambda info: info.header_offset)
    if not ordered:
        raise _damaged(path, "it has no members")
    if ordered[0].header_offset != 0:
        raise _damaged(path, "something stands before its first member")
    for info, limit in zip(ordered, [*(info.header_offset for info in ordered[1:]), end], strict=True):
        place = places[info.filename] = _place(file, path, info)
        if place.offset + place.length > limit:
            raise _damaged(path, f"{info.filename} overlaps what follows it")
    return places


def _place(file: BufferedReader, path: Path, info: zipfile.ZipInfo) -> MemberRange:
    if info.flag_bits & ENCRYPTED:
        raise UnsafeError(f"{path.name}: the member {info.filename} is encrypted", "save it without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnsafeError(f"{path.name}: {info.filename} is packed in a way that torch cannot read", "pack it anew")
    header = _unpack(file, LOCAL_HEADER, info.header_offset)
    if header is None or header[0] != b"PK\x03\x04":
        raise _damaged(path, f"{info.filename} is not where it should be")
    _, _, flags, method, _, _, _, packed, unpacked, name_length, extra_length = header
    name = file.read(name_length).decode("utf-8" if flags & UTF8_NAME else "cp437", "replace")
    same = (name, flags, method) == (info.orig_filename, info.flag_bits, info.compress_type)
    # With a descriptor behind the data the local header may leave the sizes out.
    stated = flags & HAS_DESCRIPTOR or (packed in (info.compress_size, ZIP64) and unpacked in (info.file_size, ZIP64))
    deflated = method == zipfile.ZIP_DEFLATED
    if not same or not stated or not (deflated or info.compress_size == info.file_size):
        raise _damaged(path, f"{info.filename} is described in two ways")
    offset = info.header_offset + LOCAL_HEADER.size + name_length + extra_length
    return MemberRange(offset, info.compress_size, deflated)


def _unpack(file: BufferedReader, form: struct.Struct, offset: int) -> tuple[Any, ...] | None:
    if not 0 <= offset <= os.fstat(file.fileno()).st_size - form.size:
        return None
    file.seek(offset)
    return form.unpack(file.read(form.size))


def _special(mode: int) -> str:
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _damaged(path: Path, why: str) -> UnsafeError:
    return UnsafeError(f"{path.name} is a truncated or malformed archive: {why}", DAMAGED_HINT)


def _above(path: Path, what: str) -> UnsafeError:
    return UnsafeError(f"{path.name} is above the limits: {what}", LIMIT_HINT)
