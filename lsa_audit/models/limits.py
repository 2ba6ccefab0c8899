"""How much a model file may claim before it is refused unread."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True)
class Limits:
    """Settings with sane defaults; a file above one of them is refused with an UnsafeError.

    Attributes:
        total_bytes: of the file, of all its members unpacked together, and of all tensors that it declares.
        member_bytes: of one member of an archive, unpacked.
        members: of an archive.
        compression_ratio: unpacked over packed size of one member.
    """

    total_bytes: int = 4 * GIB
    member_bytes: int = 4 * GIB
    members: int = 100_000
    compression_ratio: float = 200.0
