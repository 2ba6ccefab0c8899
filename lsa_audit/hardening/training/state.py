"""What of a model training changes: which parameters take gradients, and the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn

from ...errors import ModelError
from ...graph.base import Graph
from ...graph.export import parameters_read
from ...graph.structure import NETWORK
from ...models.base import Model


@contextmanager
def trainable(model: Model, graph: Graph, *, channels_last: bool = False) -> Iterator[None]:
    """The parameters that the logits depend on take gradients, the others do not, whatever the caller's mode is.

    Inside, the module is in eval mode. On leaving, `requires_grad` and `grad` of every parameter, the training flags
    and torch's generators are as before.

    Args:
        channels_last: whether the weights of convolutions lie in memory with their channels last, inside.

    Raises:
        ModelError: there are none.
    """
    module = model.module
    before = [(parameter, parameter.requires_grad, parameter.grad) for parameter in module.parameters()]
    flags = [(child, child.training) for child in module.modules()]
    names = [f"{NETWORK}.{name}" for name in graph.idle]
    used = {id(parameter) for parameter, _, _ in before} - {id(module.get_parameter(name)) for name in names}
    if isinstance(graph.module, fx.GraphModule):
        used = {id(graph.module.get_parameter(name)) for name in parameters_read(graph.module)}
    chosen = {id(entry) for entry, _, _ in before if entry.is_floating_point() and id(entry) in used}
    if not chosen:
        what = f"{model.name} has no trainable parameters: its weights are constants of a frozen graph"
        if graph.idle:
            what = f"{model.name} has no trainable parameters: its own forward gives none of them a gradient"
            raise ModelError(what, "take no_grad out of its forward")
        raise ModelError(what, "export it again without freezing, or give the network by its name")
    gpus = {parameter.device.index for parameter, _, _ in before if parameter.is_cuda}
    try:
        for parameter, _, _ in before:
            parameter.requires_grad_(id(parameter) in chosen)
            parameter.grad = None
        module.eval()
        if channels_last:
            module.to(memory_format=torch.channels_last)
        with torch.random.fork_rng(gpus), torch.enable_grad():
            yield
    finally:
        if channels_last:
            module.to(memory_format=torch.contiguous_format)
        for parameter, requires_grad, gradient in before:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient
        for child, training in flags:
            child.training = training


def copy_of(module: nn.Module) -> dict[str, Tensor]:
    """The module's parameters and persistent buffers, in memory of their own on the CPU.

    What a state holds beside tensors (the packed weights of a quantised module) is no training's to change.
    """
    state = module.state_dict()
    return {name: value.detach().cpu().clone() for name, value in state.items() if isinstance(value, Tensor)}


def put(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Write such a copy, or a part of one, into the module's own tensors, which a walked graph shares."""
    own = module.state_dict()
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(value)
