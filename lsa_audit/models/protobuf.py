"""Walks the bytes of a protobuf before the protobuf library makes objects of them.

An empty message takes two bytes in a file and a hundred times as much in memory.
"""

from __future__ import annotations

from functools import cache
from typing import Any

LENGTH_DELIMITED, LONGEST_VARINT = 2, 10
FIXED_BYTES = {1: 8, 5: 4}


def has_more_parts(content: bytes, message: Any, limit: int) -> bool:
    """Whether a file holds more than so many messages, texts and blocks of data. Damage ends the count.

    Args:
        message: what the file is, as the library describes it, e.g. `onnx.ModelProto.DESCRIPTOR`.

    Cost: about a microsecond a part, up to the limit.
    """
    parts = 0
    pending = [(0, len(content), _messages(message))]
    while pending:
        at, end, fields = pending.pop()
        while at < end:
            tag, at = _varint(content, at)
            field, wire = divmod(tag, 8)
            if wire == LENGTH_DELIMITED:
                length, at = _varint(content, at)
                parts += 1
                if parts > limit:
                    return True
                if field in fields and length:
                    pending.append((at, min(at + length, end), _messages(fields[field])))
                at += length
            elif wire == 0:
                _, at = _varint(content, at)
            else:
                at += FIXED_BYTES.get(wire, 0)
    return False


@cache
def _messages(message: Any) -> dict[int, Any]:
    """The fields that hold messages, by their numbers."""
    return {field.number: field.message_type for field in message.fields if field.message_type is not None}


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """The variable-length number at a place, and the place behind it; the end of everything where there is none."""
    value = 0
    for index, byte in enumerate(content[at : at + LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    return value, len(content)
