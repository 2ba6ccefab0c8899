from __future__ import annotations

from typing import Any

import pytest
from onnx import ModelProto, TensorProto, helper

from lsa_audit.models.protobuf import has_more_parts

from .onnx.model_files import cnn


def parts(message: Any) -> int:
    """The slow obvious count: every message, text and block of data that is set, by the library's own objects."""
    count = 0
    for field, value in message.ListFields():
        entries = value if field.is_repeated else [value]
        if field.type == field.TYPE_MESSAGE:
            count += len(entries) + sum(map(parts, entries))
        elif field.type in (field.TYPE_STRING, field.TYPE_BYTES):
            count += len(entries)
        elif field.is_packed:
            count += 1
    return count


def nested() -> ModelProto:
    """Graphs inside attributes, functions, types and metadata."""
    proto = cnn()
    inner = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "inner", [], [])
    proto.graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner))
    opsets = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("local", "f", ["a"], ["b"], [inner.node[0]], opsets))
    helper.set_model_props(proto, {"key": "value"})
    proto.graph.value_info.append(helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, (1, "n")))
    return proto


@pytest.mark.parametrize("make", [cnn, nested])
def test_parts_are_counted_as_the_library_finds_them(make: Any) -> None:
    proto = make()
    content = proto.SerializeToString()
    assert not has_more_parts(content, ModelProto.DESCRIPTOR, parts(proto))
    assert has_more_parts(content, ModelProto.DESCRIPTOR, parts(proto) - 1)


def test_many_empty_messages_are_found_early() -> None:
    content = b"\x08\x08\x3a\x80\x89\x7a" + b"\x0a\x00" * 1_000_000
    assert has_more_parts(content, ModelProto.DESCRIPTOR, 100_000)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x3a", b"\x3a\xff\xff\xff\xff\x7f", b"\xff" * 99, bytes(99), b"\x3b" * 99, b"\x0a\x00" * 9],
    ids=["nothing", "tag only", "beyond the end", "endless number", "zeros", "groups", "unknown"],
)
def test_damage_ends_the_count(content: bytes) -> None:
    assert not has_more_parts(content, ModelProto.DESCRIPTOR, 100)
