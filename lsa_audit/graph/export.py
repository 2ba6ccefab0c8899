"""A PixelModel as one functional graph of aten calls with a dynamic batch."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from ..models.quiet import quiet
from ..models.state import restored
from .batching import is_static, make_dynamic, traced_batch
from .fixups import repair
from .isolation import without_caches, without_fast_path
from .replay import answers, mark_specialized, replayed
from .structure import operation


def export(module: nn.Module, images: Tensor) -> fx.GraphModule:
    """The functional graph of an eval-mode module; parameters and buffers are the module's own tensors.

    A module that branches on values is exported along the branches of the sample; `is_specialized` tells.

    Args:
        images: [N >= 3, ...], the sample that is traced.

    Raises:
        Exception: whatever `torch.export` or the module's forward raises.

    Cost: one trace without arithmetic; more where the forward fixes the batch size or asks for values, or where the
    module had cached what it makes of its parameters.
    """
    graph_module = _trace(module, images)
    idle = _idle_parameters(module, graph_module)
    if idle:
        try:
            with restored(module), without_caches(module):
                again = _trace(module, images)
        except Exception:  # noqa: BLE001 - a network that cannot live without its caches keeps its first graph
            return graph_module
        if _idle_parameters(module, again) < idle:
            return again
    return graph_module


def _trace(module: nn.Module, images: Tensor) -> fx.GraphModule:
    with restored(module), quiet(), without_fast_path():
        graph_module = _functional(module, images)
        if is_static(graph_module):
            graph_module = _functional(module, traced_batch(images))
            make_dynamic(graph_module)
        return graph_module


def _functional(module: nn.Module, images: Tensor) -> fx.GraphModule:
    try:
        return _exported(module, images)
    except Exception:
        given = answers(module, images)
        if not given:
            raise
    with replayed(given):
        graph_module = _exported(module, images)
    mark_specialized(graph_module)
    return graph_module


def _exported(module: nn.Module, images: Tensor) -> fx.GraphModule:
    dynamic = ({0: torch.export.Dim.AUTO},)
    program = torch.export.export(module, (images,), dynamic_shapes=dynamic, strict=False)
    exported = program.run_decompositions({}).module(check_guards=False)
    if not isinstance(exported, fx.GraphModule):
        raise TypeError(f"torch.export returned a {type(exported).__name__}")
    return repair(exported)


def _idle_parameters(module: nn.Module, graph_module: fx.GraphModule) -> int:
    """How many parameters nothing in the graph reads."""
    used = {id(graph_module.get_parameter(name)) for name in parameters_read(graph_module)}
    return sum(id(parameter) not in used for parameter in module.parameters())


def parameters_read(graph_module: fx.GraphModule) -> list[str]:
    """Names of the parameters that the graph reads."""
    names = {name for name, _ in graph_module.named_parameters(remove_duplicate=False)}
    return [
        str(node.target)
        for node in graph_module.graph.nodes
        if node.op == "get_attr" and node.target in names and not operation(node)
    ]
