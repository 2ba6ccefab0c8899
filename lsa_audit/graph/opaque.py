"""The layer table of a network that only its own runtime can run: operations of its file whose values are floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..models.base import Intermediate, Opaque, PixelModel
from ..models.parity import relative_difference
from ..records import GraphInfo, LayerInfo, LayerKind, Skipped
from .base import Graph, Layer
from .batch_layout import IN_TRIPLE, find_layout, pair_and_triple, per_image_shape, same
from .exported import unknown_layout
from .naming import unique
from .taps import Visitor, run_opaque

KINDS: dict[str, LayerKind] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "FusedConv", "Gemm", "FusedGemm", "FusedMatMul"), "learnable"),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"), "learnable"),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "learnable"),
    **dict.fromkeys(("BatchNormalization", "LayerNormalization", "InstanceNormalization"), "norm"),
    **dict.fromkeys(("GroupNormalization", "RMSNormalization", "LRN", "SkipLayerNormalization"), "norm"),
    **dict.fromkeys(("Attention", "MultiHeadAttention", "GroupQueryAttention"), "attention"),
    **dict.fromkeys(("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "ThresholdedRelu"), "activation"),
    **dict.fromkeys(("Gelu", "FastGelu", "QuickGelu", "BiasGelu", "HardSigmoid", "HardSwish"), "activation"),
    **dict.fromkeys(("Sigmoid", "Softmax", "LogSoftmax", "Softplus", "Softsign", "Mish", "Swish"), "activation"),
    **dict.fromkeys(("Tanh", "Clip"), "activation"),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"), "pool"),
}


@dataclass(frozen=True)
class _Runs:
    """Values on two and on three images, by the name of the value, and the logits of both."""

    pair: Mapping[str, Tensor]
    triple: Mapping[str, Tensor]
    logits: tuple[Tensor, Tensor]


def describe_opaque(module: PixelModel, network: Opaque, images: Tensor) -> Graph:
    """The layers of an opaque network, each verified on real values; a layer is read where its operation puts out.

    Neurons and FLOPs stay unknown: what an operation does with its weights is known to the runtime alone.

    Args:
        network: of the module.
        images: [3, ...], three different images.

    Cost: one forward on two and one on three images with all layers' values held, and one on three without.
    """
    found = [(entry, kind) for entry in network.intermediates() if (kind := _kind(entry)) is not None]
    runs = _run(module, network, images, found)
    taken: set[str] = set()
    layers, skipped = [], _unseen(network)
    for entry, kind in found:
        name = unique(entry.name, taken)
        layer = _layer(entry, kind, name, runs)
        if layer is None:
            floats = runs.pair[entry.value].is_floating_point()
            skipped.append(unknown_layout(name, entry.parameters) if floats else _integer(name))
        else:
            layers.append(layer)
    unassigned = network.parameter_count - sum(layer.info.parameters for layer in layers)
    if unassigned:
        detail = f"no layer that could be measured reads {unassigned} parameters"
        skipped.append(Skipped(what="parameters", reason="parameter-outside-layers", detail=detail))
    _, triple = pair_and_triple(images)
    info = GraphInfo(
        walker="runtime",
        parity=relative_difference(runs.logits[1], module(triple)),
        batch_independent=same(runs.logits[0], runs.logits[1][IN_TRIPLE]),
        layers=tuple(layer.info for layer in layers),
        skipped=tuple(skipped),
    )
    return Graph(info, tuple(layers), module, unassigned)


def _kind(entry: Intermediate) -> LayerKind | None:
    if entry.operation in ("Add", "Sum"):
        return "add" if len(entry.operands) > 1 else None
    if entry.operation == "MatMul":
        return "learnable" if entry.parameters and len(entry.operands) == 1 else None
    return KINDS.get(entry.operation)


def _run(module: PixelModel, network: Opaque, images: Tensor, found: Sequence[tuple[Intermediate, LayerKind]]) -> _Runs:
    pair, triple = pair_and_triple(images)
    kept: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})

    def keep(name: str, values: dict[str, Tensor]) -> Visitor:
        def visit(value: Tensor) -> None:
            values[name] = value

        return visit

    there = {entry.value for entry in network.intermediates()}
    wanted = {name for entry, _ in found for name in (entry.value, *entry.operands[:1]) if name in there}
    logits = [
        run_opaque(module, network, batch, {name: keep(name, values) for name in sorted(wanted)})
        for batch, values in zip((pair, triple), kept, strict=True)
    ]
    for batch, values in zip((pair, triple), kept, strict=True):
        values[network.input_name] = module.prepare(batch)
    return _Runs(*kept, (logits[0], logits[1]))


def _layer(entry: Intermediate, kind: LayerKind, name: str, runs: _Runs) -> Layer | None:
    """None where the value is not made of floats, or cannot be split into images."""
    pair, triple = runs.pair[entry.value], runs.triple[entry.value]
    shape = per_image_shape(tuple(pair.shape), tuple(triple.shape))
    layout = find_layout(pair, triple) if pair.is_floating_point() else None
    if shape is None or layout is None:
        return None
    info = LayerInfo(
        name=name,
        kind=kind,
        op=entry.operation,
        input_shape=_entry_shape(entry, runs),
        output_shape=shape,
        neurons=None,
        neuron_dim=None,
        parameters=entry.parameters,
        flops=0,
    )
    return Layer(info, entry.value, entry.value, name, layout.batch_dim, layout.batch_outer)


def _entry_shape(entry: Intermediate, runs: _Runs) -> tuple[int, ...] | None:
    first = entry.operands[0]
    if first not in runs.pair:
        return None
    return per_image_shape(tuple(runs.pair[first].shape), tuple(runs.triple[first].shape))


def _unseen(network: Opaque) -> list[Skipped]:
    why = f"the model runs inside its own runtime because of {', '.join(network.because)}"
    return [
        Skipped(what="gradients", reason="no-gradients", detail=f"{why}, which gives none"),
        Skipped(what="neurons", reason="runtime-only", detail=f"{why}, which does not let them be dropped"),
    ]


def _integer(name: str) -> Skipped:
    return Skipped(what=f"layer {name}", reason="integer-valued", detail="its value is not made of floats")
