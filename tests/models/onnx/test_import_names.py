"""What the nodes of a graph are called."""

from __future__ import annotations

import pytest

from lsa_audit.models.onnx.import_names import SCOPES, module_of, named
from lsa_audit.models.onnx.import_nodes import Raw

from .building import node


def raw(name: str, op_type: str, module: str = "", weight: str = "") -> Raw:
    return Raw(0, name, op_type, ("x", weight) if weight else ("x",), ("y",), {}, module)


def names(*nodes: Raw) -> list[str]:
    return [one.name for one in named(nodes)]


def test_a_name_in_the_file_is_kept():
    assert names(raw("/conv1/Conv", "Conv", "stem", "stem.weight"), raw("Relu_7", "Relu", "act")) == [
        "/conv1/Conv",
        "Relu_7",
    ]


def test_a_number_of_the_exporter_becomes_the_module():
    found = names(
        raw("node_conv2d", "Conv", "layer1.bn1", "layer1.conv1.weight"),
        raw("node_relu", "Relu", "layer1.act"),
        raw("node_add_3", "Add", "layer1"),
        raw("node_mul_3", "Mul", "layer1"),
        raw("n0_19", "Add", "layer1"),
        raw("node_linear", "Gemm", "", "fc.weight"),
    )
    assert found == ["layer1.conv1", "layer1.act", "layer1/Add", "layer1/Mul", "layer1/Add_2", "fc"]


def test_a_number_without_a_module_stays():
    assert names(raw("node_relu_4", "Relu")) == ["node_relu_4"]


def test_no_name_is_given_twice():
    assert names(*[raw("same", "Relu")] * 3, raw("same_2", "Relu")) == ["same", "same_2", "same_3", "same_2_2"]


@pytest.mark.parametrize(
    ("noted", "module"),
    [
        ("['', 'layer1', 'layer1.conv1', 'conv2d_3']", "layer1.conv1"),
        ("['', 'add_3']", ""),
        ("[]", ""),
        ("['one']", ""),
        ("['', '_empty_nn_module_stack_from_metadata_hook', 'sym_size_3']", ""),
        ("(" * 1000, ""),
    ],
)
def test_the_module_that_the_exporter_noted(noted, module):
    made = node("Relu", ["x"], ["y"])
    made.metadata_props.add(key=SCOPES, value=noted)
    assert module_of(made) == module


def test_no_note_is_no_module():
    assert module_of(node("Relu", ["x"], ["y"])) == ""
