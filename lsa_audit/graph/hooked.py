"""The layer table of a model that cannot be exported: its modules, in the order in which they ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..models.parity import relative_difference
from ..records import GraphInfo, LayerInfo, LayerKind, Skipped
from .base import Graph, Layer, Layout
from .batch_layout import IN_TRIPLE, find_layout, pair_and_triple, per_image_shape, same
from .exported import unknown_layout
from .hooks import first_tensor, hooked, run_hooked, site_of
from .modules import is_block, module_flops, module_kind, neuron_dim
from .naming import unique
from .ownership import unused
from .structure import NETWORK, Shape


@dataclass
class _Event:
    """One call of a module that is a layer; `arrived`: shape of its operand, `value`: its output, on two images."""

    path: str
    site: str
    module: nn.Module
    kind: LayerKind
    arrived: Shape
    value: Tensor
    dim: int | None


def describe_hooked(module: nn.Module, images: Tensor, reasons: Sequence[Skipped]) -> Graph:
    """The modules of a PixelModel that ran, each verified on real values.

    Residual additions, functional activations and products outside modules are invisible. FLOPs cover convolution and
    linear modules. Neurons are dropped at the layer's own output, since nobody can tell who else reads it.

    Args:
        images: [3, ...], three different images.
        reasons: why the graph is not used, for the record.

    Cost: two forwards on two and one on three images; the outputs on two images are held until compared.
    """
    pair, triple = pair_and_triple(images)
    recorder = _Recorder(module)
    two = recorder.run(pair)
    three, layouts, shapes = _verify(module, triple, recorder.events)
    counts, homeless = _parameter_counts(module, recorder)
    skipped, unassigned = [*reasons, *unused(homeless)], sum(count for _, count, _ in homeless)
    taken: set[str] = set()
    layers = []
    for event, parameters in zip(recorder.events, counts, strict=True):
        name = unique(event.path or type(event.module).__name__.lower(), taken)
        if event.site not in layouts:
            skipped.append(unknown_layout(name, parameters))
            unassigned += parameters
            continue
        layout = layouts[event.site]
        info = _info(event, name, parameters, shapes[event.site], layout)
        layers.append(Layer(info, event.site, event.site, name, layout.batch_dim, layout.batch_outer))
    with torch.no_grad():
        parity = relative_difference(run_hooked(module, pair, {}), two)
    graph_info = GraphInfo(
        walker="hooks",
        parity=parity,
        batch_independent=same(two, three[IN_TRIPLE]),
        layers=tuple(layer.info for layer in layers),
        skipped=tuple(skipped),
    )
    return Graph(graph_info, tuple(layers), module, unassigned)


class _Recorder:
    """One run that notes every call of a layer. Operands are kept meanwhile, so that they are known by identity."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._network = module.get_submodule(NETWORK)
        self._counts: dict[str, int] = {}
        self._dims: dict[int, tuple[Tensor, int | None]] = {}
        self.events: list[_Event] = []
        self.called: set[str] = set()

    def run(self, images: Tensor) -> Tensor:
        """The logits."""
        with torch.no_grad(), hooked(self._module, None, self._on_exit):
            logits: Tensor = self._module(images)
        self._dims.clear()
        return logits

    def _on_exit(self, path: str, operand: Tensor | None, output: Any) -> None:
        self.called.add(path)
        count = self._counts.get(path, 0)
        self._counts[path] = count + 1
        value = first_tensor(output)
        if value is None or operand is None or not value.is_floating_point():
            return
        child = self._network.get_submodule(path)
        known = self._dims.get(id(operand), (operand, None))[1]
        dim = neuron_dim(child, None if known is None else (operand, known), value)
        kind = module_kind(child)
        if any(True for _ in child.children()) and kind is None:
            inside = [event.kind for event in self.events if event.path.startswith(f"{path}.")]
            dim = self._dims.get(id(value), (value, None))[1]
            kind = "block" if is_block(self._network, path, inside) else None
        self._dims[id(value)] = (value, dim)
        if kind is not None:
            arrived, held = tuple(operand.shape), value.detach().clone()
            self.events.append(_Event(path, site_of(path, count), child, kind, arrived, held, dim))


def _verify(
    module: nn.Module, images: Tensor, events: Sequence[_Event]
) -> tuple[Tensor, dict[str, Layout], dict[str, Shape]]:
    """Run on three images: the logits, and by site the layout and the shape of one image's part."""
    layouts: dict[str, Layout] = {}
    shapes: dict[str, Shape] = {}

    def visitor(event: _Event) -> Any:
        def visit(value: Tensor) -> None:
            layout = find_layout(event.value, value)
            shape = per_image_shape(tuple(event.value.shape), tuple(value.shape))
            if layout is not None and shape is not None:
                layouts[event.site], shapes[event.site] = layout, shape

        return visit

    with torch.no_grad():
        logits = run_hooked(module, images, {event.site: visitor(event) for event in events})
    return logits, layouts, shapes


def _info(event: _Event, name: str, parameters: int, shape: Shape, layout: Layout) -> LayerInfo:
    dim = None if event.dim == layout.batch_dim else event.dim
    shares = [size // 2 for place, size in enumerate(event.arrived) if place == layout.batch_dim]
    plain = shares == [1]
    return LayerInfo(
        name=name,
        kind=event.kind,
        op=type(event.module).__name__,
        input_shape=event.arrived[: layout.batch_dim] + event.arrived[layout.batch_dim + 1 :] if plain else None,
        output_shape=shape,
        neurons=None if dim is None else event.value.shape[dim],
        neuron_dim=dim,
        parameters=parameters,
        flops=module_flops(event.module, event.arrived, event.value.shape) // 2,
    )


def _parameter_counts(module: nn.Module, recorder: _Recorder) -> tuple[list[int], list[tuple[str, int, str]]]:
    """Parameters of each event, and those without one.

    A parameter belongs to the first layer whose module holds it; one that a larger module holds itself belongs to the
    first layer that ran inside that module, if it was called.
    """
    units = [(index, event) for index, event in enumerate(recorder.events) if module_kind(event.module) is not None]
    owners = {id(parameter): index for index, event in reversed(units) for parameter in event.module.parameters()}
    counts, homeless = [0] * len(recorder.events), []
    for name, parameter in module.named_parameters():
        name = name.removeprefix(f"{NETWORK}.")
        path = name.rpartition(".")[0]
        owner = owners.get(id(parameter))
        if owner is None and path in recorder.called:
            prefix = f"{path}." if path else ""
            owner = next((index for index, event in units if event.path.startswith(prefix)), None)
        if owner is None:
            homeless.append((name, parameter.numel(), "its module is not called"))
        else:
            counts[owner] += parameter.numel()
    return counts, homeless
