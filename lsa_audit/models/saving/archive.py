"""Writes a zip archive again with other contents in some of its members."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

from ...settings.limits import Limits
from ..archives import Archive

ALIGNMENT = 64
"""Of the members, as torch aligns them, so that they can be mapped into memory."""

LOCAL_HEADER_BYTES = 30
PADDING = b"FB"
"""Mark of an extra field that stands for nothing but its length."""

EXTRA_HEADER_BYTES = 4
OLDEST = (1980, 1, 1, 0, 0, 0)


def rewritten(
    archive: Archive, contents: Mapping[str, bytes | bytearray], limits: Limits, stored: bool = False
) -> bytes:
    """The archive with the given contents in the place of those of the members; everything else as it was.

    Args:
        contents: by the name of the member relative to the archive's root.
        stored: whether to deflate no member.

    Raises:
        UnsafeError: a member that does not unpack to its stated size.
    """
    skipped = len(archive.root) + 1 if archive.root else 0
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for full_name in archive.names:
            name = full_name[skipped:]
            info = zipfile.ZipInfo(full_name, OLDEST)
            if archive.places[name].deflated and not stored:
                info.compress_type = zipfile.ZIP_DEFLATED
            start = buffer.tell() + LOCAL_HEADER_BYTES + len(full_name.encode()) + EXTRA_HEADER_BYTES
            padding = -start % ALIGNMENT
            info.extra = PADDING + padding.to_bytes(2, "little") + bytes(padding)
            content = contents.get(name)
            target.writestr(info, archive.read(name, limits.member_bytes) if content is None else content)
    return buffer.getvalue()
