"""Patterns that choose layers."""

from __future__ import annotations

import pytest

from lsa_audit.errors import UsageError
from lsa_audit.graph.base import Layer
from lsa_audit.graph.select import select
from lsa_audit.records import LayerInfo, LayerKind


def layer(name: str, kind: LayerKind) -> Layer:
    info = LayerInfo(
        name=name, kind=kind, op=kind, input_shape=None, output_shape=(1,), neurons=None, neuron_dim=None,
        parameters=0, flops=0,
    )  # fmt: skip
    return Layer(info, name, name, name, 0)


LAYERS = tuple(
    layer(name, kind)
    for name, kind in (
        ("stem", "learnable"),
        ("stem.bn", "norm"),
        ("act", "activation"),
        ("layer1.0.conv1", "learnable"),
        ("layer1.0", "block"),
    )
)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("learnable", ["stem", "layer1.0.conv1"]),
        ("activation", ["act"]),
        ("all", ["stem", "stem.bn", "act", "layer1.0.conv1", "layer1.0"]),
        ("layer1.*", ["layer1.0.conv1", "layer1.0"]),
        ("block, norm", ["stem.bn", "layer1.0"]),
        ("layer1.0.conv1,act", ["act", "layer1.0.conv1"]),
        ("stem", ["stem"]),
        ("stem,learn*", ["stem", "layer1.0.conv1"]),
    ],
)
def test_a_pattern_gives_layers_in_the_order_of_execution(pattern: str, names: list[str]):
    assert [chosen.info.name for chosen in select(LAYERS, pattern)] == names


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("layer1.0.conv2", "layer1.0.conv1"),
        ("learnabel", "learnable"),
        ("pool", "5, such as stem, stem.bn, act"),
        ("act,zzzz", "kinds are activation, block, learnable, norm"),
        ("Learnable", "learnable"),
    ],
)
def test_a_part_that_matches_nothing_shows_what_there_is(pattern: str, hint: str):
    with pytest.raises(UsageError, match=f"no layer matches '{pattern.split(',')[-1]}'") as caught:
        select(LAYERS, pattern)
    assert hint in caught.value.hint


@pytest.mark.parametrize("pattern", ["", " , "])
def test_an_empty_pattern_is_refused(pattern: str):
    with pytest.raises(UsageError, match="empty"):
        select(LAYERS, pattern)


def test_a_model_without_layers_says_so():
    with pytest.raises(UsageError, match="no layers that can be measured"):
        select((), "all")
