"""The layer table of a network that only its own runtime can run, and reading its values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
import torch
from torch import Tensor

from lsa_audit.graph import taps
from lsa_audit.graph.walker import walk
from lsa_audit.models.base import Intermediate, Model, Opaque, PixelModel, Preprocessing
from lsa_audit.records import Conversion

CONVERSION = Conversion(file="net.onnx", sha256="0" * 64, format="ONNX", opaque=("ai.onnx::NonZero",))


class Runtime(Opaque):
    """conv -> transpose -> relu -> rounding -> add -> pool -> matmul, on [N, 1, 8, 8], computed without gradients."""

    because = ("ai.onnx::NonZero",)
    input_name = "images"
    parameter_count = 36 + 12 + 5
    weights_sha256 = "1" * 64
    layout = (
        ("Conv", "c", ("images",), 36),
        ("Transpose", "t", ("c",), 0),
        ("Relu", "r", ("t",), 5),
        ("QLinearConv", "q", ("r",), 0),
        ("Add", "shifted", ("r",), 0),
        ("Add", "a", ("r", "t"), 0),
        ("Relu", "coupled", ("a",), 0),
        ("GlobalAveragePool", "p", ("a",), 0),
        ("MatMul", "product", ("p", "p"), 0),
        ("MatMul", "logits", ("p",), 12),
    )

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.kernel = torch.rand((4, 1, 3, 3), generator=generator) - 0.5
        self.weight = torch.rand((4, 3), generator=generator) - 0.5
        self.asked: list[tuple[str, ...]] = []

    def intermediates(self) -> tuple[Intermediate, ...]:
        return tuple(Intermediate(f"/{value}", kind, value, *rest) for kind, value, *rest in self.layout)

    def values(self, images: Tensor) -> dict[str, Tensor]:
        found = {"c": torch.nn.functional.conv2d(images, self.kernel)}
        found["t"] = found["c"].transpose(0, 1)
        found["r"] = found["t"].relu()
        found["q"] = (found["r"] * 100).to(torch.int8)
        found["shifted"] = found["r"] + 1
        found["a"] = found["r"] + found["t"]
        found["coupled"] = found["a"] - found["a"].mean(1, keepdim=True)
        found["p"] = found["a"].mean((2, 3)).T
        found["product"] = found["p"] @ found["p"].T
        found["logits"] = found["p"] @ self.weight
        return found

    def run_with(self, images: Tensor, values: Iterable[str]) -> tuple[Tensor, dict[str, Tensor]]:
        names = tuple(values)
        self.asked.append(names)
        found = self.values(images.detach())
        return found["logits"], {name: found[name] for name in names}

    def forward(self, images: Tensor) -> Tensor:
        return self.run_with(images, ())[0]


@pytest.fixture
def model() -> Model:
    preprocessing = Preprocessing(mean=(0.5,), std=(0.25,))
    module = PixelModel(Runtime(), preprocessing).eval()
    return Model("net", "onnx", "graph", "in the file", module, preprocessing, conversion=CONVERSION)


def images(count: int = 3) -> Tensor:
    return torch.rand((count, 1, 8, 8), generator=torch.Generator().manual_seed(1))


def names(layers: Sequence[taps.Layer]) -> list[str]:
    return [layer.info.name for layer in layers]


def test_layers_are_the_operations_of_a_kind_verified_on_values(model):
    graph = walk(model, images())
    assert [(layer.info.name, layer.info.kind, layer.info.op) for layer in graph.layers] == [
        ("/c", "learnable", "Conv"),
        ("/r", "activation", "Relu"),
        ("/a", "add", "Add"),
        ("/p", "pool", "GlobalAveragePool"),
        ("/logits", "learnable", "MatMul"),
    ]
    first, relu, _, pool, last = (layer.info for layer in graph.layers)
    assert (first.input_shape, first.output_shape, first.parameters) == ((1, 8, 8), (4, 6, 6), 36)
    assert (relu.input_shape, relu.output_shape) == ((4, 6, 6), (4, 6, 6))
    assert (pool.output_shape, last.output_shape, last.parameters) == ((4,), (3,), 12)
    assert [layer.batch_dim for layer in graph.layers] == [0, 1, 1, 0, 0]
    assert {(layer.neurons, layer.neuron_dim, layer.flops) for layer in graph.info.layers} == {(None, None, 0)}
    assert (graph.info.walker, graph.info.parity, graph.info.batch_independent) == ("runtime", 0.0, True)


def test_what_cannot_be_measured_is_listed_with_the_operation(model):
    graph = walk(model, images())
    found = {entry.what: (entry.reason, entry.detail) for entry in graph.info.skipped}
    assert found["gradients"][0] == "no-gradients"
    assert "ai.onnx::NonZero" in found["gradients"][1]
    assert found["neurons"][0] == "runtime-only"
    assert found["layer /q"][0] == "integer-valued"
    assert found["layer /coupled"][0] == "batch-dimension-unknown"


def test_parameters_of_layers_and_the_rest_are_the_models(model):
    graph = walk(model, images())
    assert sum(layer.info.parameters for layer in graph.layers) + graph.unassigned_parameters == 53
    # the 5 of /r are in a layer, since no weight is asked what it is for
    assert graph.unassigned_parameters == 0
    model.module.network.parameter_count = 60
    graph = walk(model, images())
    assert graph.unassigned_parameters == 7
    assert "7 parameters" in next(e.detail for e in graph.info.skipped if e.reason == "parameter-outside-layers")


def test_values_are_read_as_the_runtime_gives_them(model):
    graph = walk(model, images())
    read = {}
    visitors = {name: lambda value, name=name: read.update({name: value}) for name in ("/r", "/logits")}
    logits = taps.run(graph, images(5), visitors)
    expected = model.module.network.values((images(5) - 0.5) / 0.25)
    assert torch.equal(logits, expected["logits"])
    assert torch.equal(read["/r"], expected["r"])
    relu = next(layer for layer in graph.layers if layer.info.name == "/r")
    assert torch.equal(taps.per_image(relu, read["/r"], 5), expected["r"].transpose(0, 1).flatten(1))


def test_only_what_is_asked_for_is_run(model):
    graph = walk(model, images())
    model.module.network.asked.clear()
    taps.run(graph, images(), {"/a": lambda value: None})
    assert model.module.network.asked == [("a",)]


def test_a_replacement_is_refused(model):
    graph = walk(model, images())
    with pytest.raises(ValueError, match="can be read but not replaced"):
        taps.run(graph, images(), {"/r": lambda value: value * 0})


def test_a_single_logit_gets_its_second_class(model):
    model.module.network.weight = model.module.network.weight[:, :1]
    model.module.binary = True
    graph = walk(model, images())
    logits = taps.run(graph, images(), {"/r": lambda value: None})
    assert logits.shape == (3, 2)
    assert torch.equal(logits, model.module(images()))


def test_images_that_influence_each_other_show(model):
    network = model.module.network
    values = network.values

    def coupled(batch: Tensor) -> dict[str, Tensor]:
        found = values(batch)
        return {**found, "logits": found["logits"] - found["logits"].mean(0)}

    network.values = coupled
    assert walk(model, images()).info.batch_independent is False
