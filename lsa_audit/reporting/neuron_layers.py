"""Which layers' neurons a report shows, in which order, and which of their figures are estimates."""

from __future__ import annotations

from collections.abc import Iterable

from ..page import text
from ..records import AuditRecord, DropEffect, NeuronClass, NeuronColumns, NeuronTable

CLASSES: tuple[NeuronClass, ...] = ("fragile", "robust", "null")
MARK = "\N{ALMOST EQUAL TO}"


def by_depth(record: AuditRecord, tables: Iterable[NeuronTable] | None = None) -> tuple[NeuronTable, ...]:
    """The tables (all, or those given) in the order of execution."""
    depth = {layer.name: place for place, layer in enumerate(record.graph.layers)}
    chosen = record.neurons if tables is None else tables
    return tuple(sorted(chosen, key=lambda table: depth.get(table.layer, len(depth))))


def most_fragile(record: AuditRecord) -> tuple[NeuronTable, ...]:
    """Every table, that with the most fragile neurons on clean images first, else in the order of execution."""
    return tuple(sorted(by_depth(record), key=lambda table: -count(table, "fragile")))


def count(table: NeuronTable, kind: NeuronClass) -> int:
    """How many of the layer's neurons are of a class on clean images."""
    return table.neurons.clean.neuron_class.count(kind)


def by_drop(neurons: NeuronColumns) -> list[int]:
    """The places of the neurons, that with the largest drop of accuracy on clean images first."""
    drops, indices = neurons.clean.accuracy_drop, neurons.neuron_index
    return sorted(range(len(neurons)), key=lambda place: (-drops[place], indices[place]))


def is_estimated(effect: DropEffect, table: NeuronTable) -> bool:
    """Whether the neuron was not dropped on all images, so that its figures rest on estimates in part or in whole."""
    return effect.measured < table.samples


def any_estimated(table: NeuronTable, adversarial: bool = False) -> bool:
    """Whether that is so for a neuron of the layer, on clean or on adversarial images."""
    effects = table.neurons.adversarial if adversarial else table.neurons.clean
    return any(measured < table.samples for measured in effects.measured)


def marked(shown: str, estimated: bool) -> str:
    """A figure with the mark of an estimate, where there is a figure and it is one."""
    return f"{MARK} {shown}" if estimated and shown != text.DASH else shown
