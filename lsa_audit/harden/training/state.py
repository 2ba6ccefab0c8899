"""What of a model training changes: which parameters take gradients, and the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn

from ...errors import ModelError
from ...graph.base import Graph
from ...graph.export import parameters_read
from ...models.base import Model


@contextmanager
def trainable(model: Model, graph: Graph) -> Iterator[None]:
    """The parameters that the logits depend on take gradients, the others do not; as before on leaving.

    Raises:
        ModelError: there are none.
    """
    module = model.module
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    used = {id(parameter) for parameter, _ in flags}
    if isinstance(graph.module, fx.GraphModule):
        used = {id(graph.module.get_parameter(name)) for name in parameters_read(graph.module)}
    chosen = {id(entry) for entry, _ in flags if entry.is_floating_point() and id(entry) in used}
    if not chosen:
        what = f"{model.name} has no trainable parameters: its weights are constants of a frozen graph"
        raise ModelError(what, "export it again without freezing, or give the network by its name")
    try:
        for parameter, _ in flags:
            parameter.requires_grad_(id(parameter) in chosen)
        module.eval()
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
            parameter.grad = None
        module.eval()


def copy_of(module: nn.Module) -> dict[str, Tensor]:
    """The module's parameters and persistent buffers, in memory of their own on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


def put(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Write such a copy, or a part of one, into the module's own tensors, which a walked graph shares."""
    own = module.state_dict()
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(value)
