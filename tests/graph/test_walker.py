"""The whole walk, over small networks that carry their expected tables."""

from __future__ import annotations

import logging
import random
import warnings

import numpy
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lsa_audit.errors import ModelError
from lsa_audit.graph import walker
from lsa_audit.graph.base import Graph
from lsa_audit.graph.export import export
from lsa_audit.graph.walker import walk

from .networks import (
    EXPORTED,
    BatchCoupled,
    Caching,
    Case,
    DataDependent,
    Mlp,
    Residual,
    SequenceFirst,
    Transformer,
    Windows,
    images_for,
    model_of,
    randomise,
)


@pytest.fixture(autouse=True)
def _traced_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as tests/exports.py has it: here the trace itself is looked at."""
    monkeypatch.setattr(walker, "export", export)


def walked(network: nn.Module) -> Graph:
    return walk(model_of(randomise(network)), images_for(network))


def rows(graph: Graph) -> list[tuple[object, ...]]:
    infos = [layer.info for layer in graph.layers]
    assert tuple(infos) == graph.info.layers
    return [(info.name, info.kind, info.parameters, info.output_shape, info.neurons) for info in infos]


def measured_flops(network: nn.Module) -> int:
    """Per image, without what is spent once for each batch."""
    totals = []
    for count in (2, 3):
        plain = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), plain:
            network(images_for(network, count))
        totals.append(counter.get_total_flops())
    return totals[1] - totals[0]


@pytest.mark.slow_except("Windows", "Caching")
@pytest.mark.parametrize("case", EXPORTED, ids=lambda case: case.name)
def test_a_network_gives_its_table(case: Case):
    network = randomise(case.network())
    graph = walk(model_of(network), images_for(network))
    assert graph.info.walker == "export"
    assert graph.info.parity < 1e-6
    assert graph.info.batch_independent is True
    assert rows(graph) == list(network.table)
    unused = getattr(network, "unused", 0)
    assert graph.unassigned_parameters == unused
    assert sum(layer.info.parameters for layer in graph.layers) + unused == sum(
        parameter.numel() for parameter in network.parameters()
    )
    assert [entry.reason for entry in graph.info.skipped] == ["parameter-unused"] * bool(unused)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        assert sum(layer.info.flops for layer in graph.layers) == measured_flops(network)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.slow
def test_neurons_are_dropped_behind_the_batch_norm_that_alone_follows():
    layers = {layer.info.name: layer for layer in walked(Residual()).layers}
    first = layers["layers.0.conv1"]
    assert first.drop_site == layers["layers.0.bn1"].site != first.site
    assert first.drop_label == "layers.0.bn1 (the batch norm after layers.0.conv1)"
    other = layers["layers.0.conv2"]
    assert (other.drop_site, other.drop_label) == (other.site, "layers.0.conv2")
    assert walked(Mlp()).layers[0].drop_label == "1 (the batch norm after 0)"


@pytest.mark.slow
def test_where_the_images_lie_is_found():
    windows = {layer.info.name: layer for layer in walked(Windows()).layers}
    assert (windows["inner"].batch_dim, windows["inner"].batch_outer) == (0, 1)
    assert windows["inner"].info.input_shape == (4, 9, 3)
    sequence = {layer.info.name: layer for layer in walked(SequenceFirst()).layers}
    assert (sequence["embed"].batch_dim, sequence["embed"].info.neuron_dim) == (1, 2)
    assert (sequence["attention.out_proj"].batch_dim, sequence["attention.out_proj"].batch_outer) == (0, 16)
    assert (sequence["head"].batch_dim, sequence["head"].batch_outer) == (0, 1)


@pytest.mark.slow
def test_images_that_repeat_themselves_still_tell_where_they_lie():
    network = randomise(SequenceFirst())
    images = images_for(network, 1).expand(3, -1, -1, -1)
    graph = walk(model_of(network), images)
    assert rows(graph) == list(network.table)


def test_layers_behind_a_batch_coupling_are_not_measurable():
    graph = walked(BatchCoupled())
    assert graph.info.batch_independent is False
    assert [layer.info.name for layer in graph.layers] == ["first"]
    (skipped,) = graph.info.skipped
    assert (skipped.what, skipped.reason) == ("layer second", "batch-dimension-unknown")
    assert graph.unassigned_parameters == 15


def test_control_flow_on_values_falls_back_to_hooks():
    network = randomise(DataDependent())
    graph = walk(model_of(network), images_for(network))
    assert graph.info.walker == "hooks"
    assert graph.info.parity == 0
    assert rows(graph) == list(network.table)
    assert graph.unassigned_parameters == network.unused
    reasons = {entry.reason: entry for entry in graph.info.skipped}
    assert set(reasons) == {"module-hooks", "parameter-unused"}
    assert "\n" not in reasons["module-hooks"].detail


def test_a_graph_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch):
    network = randomise(Mlp())
    other = randomise(Mlp(), seed=1)
    monkeypatch.setattr(walker, "export", lambda module, images: export(model_of(other).module, images))
    graph = walk(model_of(network), images_for(network))
    assert graph.info.walker == "hooks"
    assert [entry.reason for entry in graph.info.skipped][:2] == ["export-parity", "module-hooks"]


@pytest.mark.slow
def test_the_graph_holds_the_models_own_parameters():
    network = randomise(Transformer())
    graph = walk(model_of(network), images_for(network))
    own = {id(parameter) for parameter in network.parameters()}
    assert {id(parameter) for parameter in graph.module.parameters()} == own


@pytest.mark.slow
def test_a_cached_table_belongs_to_its_parameter_and_the_cache_is_left_alone():
    network = randomise(Caching())
    with torch.no_grad():
        network(images_for(network))
    cached = network.cache["cpu"]
    graph = walk(model_of(network), images_for(network))
    assert rows(graph) == list(network.table)
    assert network.cache == {"cpu": cached}
    fresh = randomise(Caching())
    walk(model_of(fresh), images_for(fresh))
    assert fresh.cache == {}


class Raising(nn.Module):
    shape = (4,)

    def __init__(self, allowed: int) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.allowed = allowed

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if float(self.calls.numpy()) > self.allowed:
            raise ArithmeticError("one call too many")
        return self.fc(x)


def state(network: nn.Module) -> list[object]:
    return [
        [(name, module.training, dict(module._forward_hooks)) for name, module in network.named_modules()],
        [(id(entry), entry.requires_grad, entry.grad, entry.tolist()) for entry in network.parameters()],
        [(id(entry), entry.tolist()) for entry in network.buffers()],
        [sorted(vars(module)) for module in network.modules()],
        (random.getstate(), torch.get_rng_state().tolist(), numpy.random.get_state()[1].tolist()),
        torch.backends.mha.get_fastpath_enabled(),
        torch.is_grad_enabled(),
    ]


@pytest.mark.slow_except("DataDependent")
@pytest.mark.parametrize(
    "network", [Residual(), DataDependent(), BatchCoupled(), SequenceFirst()], ids=lambda n: type(n).__name__
)
def test_a_walk_leaves_no_trace(network: nn.Module, caplog: pytest.LogCaptureFixture, capfd):
    network.train()
    model = model_of(network)
    model.module.train()
    before = state(network)
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.WARNING):
        warnings.simplefilter("always")
        walk(model, images_for(network))
    assert state(network) == before
    assert caught == []
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("allowed", [0, 1, 2, 3, 4])
def test_a_model_that_raises_raises_through_and_leaves_no_trace(allowed: int):
    network = Raising(allowed).train()
    model = model_of(network)
    before = state(network)
    with pytest.raises(ArithmeticError, match="too many"):
        walk(model, images_for(network))
    assert state(network) == before


def test_two_images_are_too_few():
    network = Mlp()
    with pytest.raises(ValueError, match="three images"):
        walk(model_of(network), images_for(network, 2))


class Widening(nn.Module):
    """Another number of logits for each batch size but multiples of three."""

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return torch.cat([flat, flat.new_zeros(len(flat), len(flat) % 3)], 1)


def test_a_number_of_logits_that_hangs_on_the_batch_is_refused():
    told = "changes with the batch: 16 for 6 images and 16 for 3 images and 18 for 2 images"
    with pytest.raises(ModelError, match=told):
        walk(model_of(Widening()), torch.rand(6, 1, 4, 4))
