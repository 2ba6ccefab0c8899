"""Nodes in the order of execution, whatever the order of the file."""

from __future__ import annotations

import random

import pytest
from onnx import GraphProto, helper

from lsa_audit.models.onnx.order import in_order, read_by

from .model_files import value


def graph_of(nodes) -> GraphProto:
    return helper.make_graph(nodes, "net", [value("v0", [1])], [value("v1", [1])])


@pytest.mark.parametrize("seed", range(5))
def test_every_node_comes_behind_those_that_it_reads(seed):
    chance = random.Random(seed)  # noqa: S311
    nodes = [
        helper.make_node("Sum", [f"v{chance.randrange(index)}" for _ in range(3)], [f"v{index}"], name=f"n{index}")
        for index in range(1, 40)
    ]
    shuffled = chance.sample(nodes, len(nodes))
    ordered = in_order(graph_of(shuffled))
    assert sorted(node.name for node in ordered) == sorted(node.name for node in nodes)
    known = {"v0"}
    for node in ordered:
        assert known.issuperset(node.input)
        known.update(node.output)


def test_a_sorted_graph_stays_as_it_is():
    nodes = [helper.make_node("Relu", ["v0"], [name]) for name in ("b", "a", "c")]
    assert [node.output[0] for node in in_order(graph_of(nodes))] == ["b", "a", "c"]


def test_what_a_branch_takes_from_around_it_counts_as_read():
    branch = helper.make_graph([helper.make_node("Relu", ["late"], ["o"])], "b", [], [value("o", [1])])
    chosen = helper.make_node("If", ["v0"], ["v1"], then_branch=branch, else_branch=branch)
    assert set(read_by(chosen)) == {"v0", "late"}
    late = helper.make_node("Relu", ["v0"], ["late"])
    assert [node.output[0] for node in in_order(graph_of([chosen, late]))] == ["late", "v1"]


def test_nodes_that_wait_for_each_other_are_left_out():
    nodes = [
        helper.make_node("Relu", ["v0"], ["a"]),
        helper.make_node("Add", ["a", "c"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Relu", ["c"], ["v1"]),
    ]
    assert [node.output[0] for node in in_order(graph_of(nodes))] == ["a"]
