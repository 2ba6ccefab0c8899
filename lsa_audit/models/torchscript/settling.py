"""What only a run of a TorchScript file can tell: in which type it computes, which batches it takes, and whether it
draws random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ModelError
from ..base import Model, Reference
from ..outputs import named, rows
from ..parity import PARITY_TOLERANCE, RANDOM_HINT, random_file, relative_difference, tolerance_of
from ..static_batch import filled_groups
from .classifier import Classifier
from .opening import has_branches
from .roles import nodes_of
from .tree import walk

TRIED = (1, 2, 3)
USUAL = (4, 8, 16, 32, 64, 128, 256)
LARGEST = 1024
MOST_NUMBERS = 32
DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "native_dropout")
DROPS = "dropout is switched on in it, as it was traced in training mode"


def weight_types(script: Any, functions: Sequence[Any]) -> tuple[str, ...]:
    """The float types of the weights, sorted: of parameters, and in frozen files of the constants that are matrices."""
    parameters: Any = torch._C.ParameterDict
    tensors = [tensor for _, module in walk(script) for _, tensor in parameters(module).items()]
    if not tensors:
        tensors = [value for value in _constants(functions) if isinstance(value, Tensor) and value.dim() > 1]
    kinds = {tensor.dtype for tensor in tensors if isinstance(tensor, Tensor) and tensor.is_floating_point()}
    return tuple(sorted(str(kind).removeprefix("torch.") for kind in kinds))


def reference(script: Any, dtype: torch.dtype = torch.float32, size: int | None = None) -> Reference:
    """The file's own program in TorchScript, on images in float32 and in batches of any size.

    Args:
        dtype: of the images that it takes.
        size: the only batch size that it takes.
    """
    forward = script._get_method("forward")

    def run(images: Tensor) -> Tensor | dict[str, Tensor]:
        taken = images.cpu().to(dtype)
        groups = [taken] if size is None else filled_groups(taken, size)
        found = [named(forward(group)) for group in groups]
        joined = {
            name: torch.cat([part[name] for part in found])[: len(images)] if size else value
            for name, value in found[0].items()
        }
        returned = {name: _floats(value).to(images.device) for name, value in joined.items()}
        return returned.get("", returned)

    return run


def _floats(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def settled(model: Model, images: Tensor, script: Any, functions: Sequence[Any], types: Sequence[str]) -> Model:
    """The model with the batch size that its file is made for, and what it is compared with.

    Args:
        images: pixels, [N >= 1, ...].
        types: float types of the weights.

    Raises:
        ModelError: the file's own program gives other logits when it is run again.

    Cost: six forwards on up to three images; for a single batch size some more, most of which fail early.
    """
    with torch.no_grad():
        taken = model.module.prepare(images.cpu().to(model.module.mean.device)).cpu()
        kinds = [torch.float32, *(getattr(torch, kind) for kind in types if kind != "float32")]
        home = model.module.mean.device
        rebuilt = _works(lambda some: model.module.network(some.to(home)), taken)
        runs = {kind: _both(rebuilt, _works(reference(script, kind), taken)) for kind in kinds}
        dtype = next((kind for kind in kinds if any(map(runs[kind], TRIED))), None)
        if dtype is None:
            dtype = next((kind for kind in kinds if any(map(runs[kind], _further(functions)))), None)
        if dtype is None:
            # Whatever is wrong is said of the network's own run.
            return replace(model, reference=reference(script, kinds[-1]), tolerance=tolerance_of(types))
        size = _batch_size(runs[dtype], functions)
        own = reference(script, dtype, size)
        _check_repeats(model.name, own, taken, functions)
    conversion = model.conversion
    if conversion is not None:
        kind = " and ".join(types)
        rounds = tolerance_of(types) > PARITY_TOLERANCE
        detail = f"the file computes in {kind}, the audit in float32: up to {tolerance_of(types):.0e}" if rounds else ""
        conversion = conversion.model_copy(update={"static_batch": size, "parity_detail": detail})
    notes = model.notes
    if size is not None:
        notes = (*notes, _with_any_batch(model.module.network, taken, size, functions))
    return replace(model, reference=own, tolerance=tolerance_of(types), conversion=conversion, notes=notes)


def _with_any_batch(network: nn.Module, taken: Tensor, size: int, functions: Sequence[Any]) -> str:
    """Make the network take any batch; returns how, in a sentence."""
    assert isinstance(network, Classifier)  # noqa: S101 - narrows for mypy; made by this loader
    home = next((parameter.device for parameter in network.parameters()), taken.device)
    with torch.no_grad():
        straight = not any(has_branches(list(nodes_of(function.graph))) for function in functions)
        if straight and network.open_batch(taken.to(home), size):
            return f"batches of {size} are built into it; they were opened, with the same logits"
        network.take(taken.to(home), size)
    return f"batches of {size} are built into it, so that it runs on groups of {size}"


def _works(program: Reference, images: Tensor) -> Callable[[int], bool]:
    """Whether a program gives a row of logits for each image of a batch of that size."""

    def works(size: int) -> bool:
        batch = images[torch.arange(size) % len(images)]
        try:
            returned = named(program(batch)).values()
        except Exception:  # noqa: BLE001 - what a program says to a batch that it does not take
            return False
        return any(value.dim() > 0 and len(value) == size for value in returned)

    return works


def _both(first: Callable[[int], bool], second: Callable[[int], bool]) -> Callable[[int], bool]:
    """The second one is only asked where the first says yes: a file's own program may crash where its copy raises."""
    return lambda size: first(size) and second(size)


def _batch_size(works: Callable[[int], bool], functions: Sequence[Any]) -> int | None:
    """The only batch size that a program takes; None where it takes several, or none that was tried."""
    fitting = [size for size in TRIED if works(size)]
    if len(fitting) > 1:
        return None
    return fitting[0] if fitting else next(filter(works, _further(functions)), None)


def _further(functions: Sequence[Any]) -> Iterator[int]:
    """Batch sizes to try: numbers that the program holds, smallest first, then usual ones."""
    numbers = {entry for value in _constants(functions) for entry in (value if isinstance(value, list) else [value])}
    whole = {number for number in numbers if type(number) is int and TRIED[-1] < number <= LARGEST}
    yield from sorted(whole | set(USUAL))[: MOST_NUMBERS + len(USUAL)]


def _constants(functions: Sequence[Any]) -> Iterator[Any]:
    for function in functions:
        for node in nodes_of(function.graph):
            if node.kind() == "prim::Constant" and node.outputsSize() == 1:
                yield _value(node)


def _value(node: Any) -> Any:
    value = node.output().toIValue()
    if isinstance(value, Tensor) and value.dim() == 0 and not value.is_floating_point() and not value.is_complex():
        return int(value)
    return value


def _check_repeats(name: str, program: Reference, images: Tensor, functions: Sequence[Any]) -> None:
    """A file that is random cannot be compared, and its verdicts change from run to run.

    Raises:
        ModelError: two runs on the same images differ.
    """
    difference = relative_difference(rows(program(images)), rows(program(images)))
    if difference <= PARITY_TOLERANCE:
        return
    drops = any(
        node.kind().removeprefix("aten::") in DROPOUTS and _trains(node)
        for function in functions
        for node in nodes_of(function.graph)
    )
    hint = "call model.eval() and trace it again" if drops else RANDOM_HINT
    raise ModelError(random_file(name, difference, DROPS if drops else ""), hint)


def trains_batch_norms(functions: Sequence[Any]) -> bool:
    """Whether a batch norm was traced in training mode: an image's logits then depend on its batch mates."""
    nodes = (node for function in functions for node in nodes_of(function.graph))
    return any(node.kind() == "aten::batch_norm" and _trains(node, 5) for node in nodes)


def _trains(node: Any, place: int = 2) -> bool:
    flag = list(node.inputs())[place].toIValue() if node.inputsSize() > place else None
    return flag is True
