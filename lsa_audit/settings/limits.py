"""How much a model file may claim before it is refused unread."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

GIB = 2**30

Count = Annotated[int, Field(ge=1)]


class Limits(BaseModel):
    """Settings with sane defaults; a file above one of them is refused with an UnsafeError.

    Attributes:
        total_bytes: of the file, of all its members unpacked together, and of all tensors that it declares.
        member_bytes: of one member of an archive, unpacked.
        members: of an archive.
        compression_ratio: unpacked over packed size of one member.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    total_bytes: Count = 4 * GIB
    member_bytes: Count = 4 * GIB
    members: Count = 100_000
    compression_ratio: float = Field(default=200.0, ge=1, allow_inf_nan=False)
