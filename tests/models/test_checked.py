"""The replacements give what torch's own operations give, and raise where those would leave their operands."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lsa_audit.models.allowed import ATEN
from lsa_audit.models.checked import CHECKED

aten = torch.ops.aten
GENERATOR = torch.Generator().manual_seed(0)


def draw(*sizes):
    return torch.rand(*sizes, generator=GENERATOR)


CHANNELS = [draw(4) for _ in range(4)]
HEADS = [draw(2, 2, 5, 3) for _ in range(3)]
VALID = [
    ("_weight_norm.default", (draw(4, 3, 2), draw(4, 1, 1), 0)),
    ("_weight_norm.default", (draw(4, 3), draw(1, 3), 1)),
    ("_weight_norm_interface.default", (draw(4, 3), draw(4, 1), 0)),
    ("native_batch_norm.default", (draw(2, 4, 3, 3), *CHANNELS, False, 0.1, 1e-3)),
    ("_native_batch_norm_legit.default", (draw(2, 4, 3, 3), *CHANNELS, False, 0.1, 1e-3)),
    ("_native_batch_norm_legit_no_training.default", (draw(2, 4, 3, 3), *CHANNELS, 0.1, 1e-3)),
    ("_native_batch_norm_legit.no_stats", (draw(2, 4, 3, 3), *CHANNELS[:2], True, 0.1, 1e-3)),
    ("scaled_dot_product_attention.default", tuple(HEADS)),
    ("_scaled_dot_product_flash_attention_for_cpu.default", tuple(HEADS)),
]


def own(name):
    base, overload = name.split(".")
    return getattr(getattr(aten, base), overload)


def by_name(name, values):
    """The arguments as the loaders give them."""
    return {argument.name: value for argument, value in zip(own(name)._schema.arguments, values, strict=False)}


def first(result):
    return result[0] if isinstance(result, tuple) else result


@pytest.mark.parametrize(("name", "values"), VALID, ids=[name for name, _ in VALID])
def test_it_is_the_same_operation(name, values):
    expected, found = own(name)(*values), CHECKED[name](**by_name(name, values))
    assert torch.allclose(first(found), first(expected), rtol=1e-5, atol=1e-6)
    if isinstance(expected, tuple) and len(own(name)._schema.returns) < 4:
        assert len(found) == len(expected)


def test_every_replacement_is_tried_here():
    assert {name for name, _ in VALID} | {"lstm.input"} == set(CHECKED)
    assert {name.split(".")[0] for name in CHECKED} <= ATEN


@pytest.mark.parametrize(("layers", "both", "first_dim", "bias"), [(1, False, True, True), (2, True, False, False)])
def test_lstm(layers, both, first_dim, bias):
    lstm = nn.LSTM(4, 3, layers, bias=bias, batch_first=first_dim, bidirectional=both)
    images = draw(2, 5, 4) if first_dim else draw(5, 2, 4)
    states = [draw(layers * (2 if both else 1), 2, 3) for _ in range(2)]
    expected = lstm(images, tuple(states))
    settings = (bias, layers, 0.0, False, both, first_dim)
    found = CHECKED["lstm.input"](images, states, lstm._flat_weights, *settings)
    assert torch.allclose(found[0], expected[0], atol=1e-6)


ONE = draw(1)
LSTM = [draw(12, 4), draw(12, 3), draw(12), draw(12)]
LSTM_SETTINGS = (True, 1, 0.0, False, False, True)
WRONG = [
    ("_weight_norm.default", (draw(4, 3), draw(7, 1), 0)),
    ("_weight_norm.default", (draw(4, 3), draw(1, 1), 0)),
    ("_weight_norm.default", (draw(4, 3), draw(1), 0)),
    ("_weight_norm_interface.default", (draw(4, 3), draw(1, 1), 0)),
    ("native_batch_norm.default", (draw(2, 4, 3, 3), *[ONE] * 4, False, 0.1, 1e-3)),
    ("_native_batch_norm_legit.default", (draw(2, 4, 3, 3), *[ONE] * 4, True, 0.1, 1e-3)),
    ("_native_batch_norm_legit_no_training.default", (draw(2, 4, 3, 3), *CHANNELS[:3], ONE, 0.1, 1e-3)),
    ("scaled_dot_product_attention.default", (draw(1, 2, 5, 3), draw(1, 2, 99, 3), draw(1, 2, 2, 3))),
    ("_scaled_dot_product_flash_attention_for_cpu.default", (draw(1, 2, 5, 3), draw(1, 2, 99, 3), draw(1, 2, 2, 3))),
    ("lstm.input", (draw(2, 5, 4), [draw(1, 3, 3)] * 2, LSTM, *LSTM_SETTINGS)),
    ("lstm.input", (draw(2, 5, 4), [draw(1, 1, 3)] * 2, LSTM, *LSTM_SETTINGS)),
    ("lstm.input", (draw(2, 5, 4), [draw(9, 2, 3)] * 2, LSTM, *LSTM_SETTINGS)),
    ("lstm.input", (draw(2, 5, 4), [draw(1, 2, 99)] * 2, LSTM, *LSTM_SETTINGS)),
    ("lstm.input", (draw(2, 5, 9), [draw(1, 2, 3)] * 2, LSTM, *LSTM_SETTINGS)),
    ("lstm.input", (draw(2, 5, 4), [draw(1, 2, 3)] * 2, [LSTM[0], LSTM[1], ONE, ONE], *LSTM_SETTINGS)),
]


@pytest.mark.parametrize(("name", "values"), WRONG)
def test_sizes_that_disagree_are_refused(name, values):
    with pytest.raises((ValueError, RuntimeError)):
        CHECKED[name](**by_name(name, values))
