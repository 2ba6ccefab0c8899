"""Loads TorchScript files: traced, scripted or frozen, with control flow, as ordinary modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...errors import ModelError
from ...records import Conversion, ModelSource
from .. import archives
from ..assembly import Built, assemble
from ..base import Model
from ..request import ModelRequest
from .classifier import Classifier
from .compiler import Library, compile_all
from .inspection import AGAIN_HINT, inspect, inspect_graphs
from .objects import Scripted
from .operations import ExecutionState
from .roles import nodes_of
from .settling import reference, settled, trains_batch_norms, weight_types
from .tree import module_types, rebuild, walk

SOURCE: ModelSource = "torchscript"


def load(request: ModelRequest) -> Model:
    """The network of a TorchScript file, its modules rebuilt under their own names.

    The file is inspected before torch reads it, and its graphs before anything of them runs.

    Raises:
        UsageError: a wrong mean, std or input size.
        ModelError: no such file, not one that this torch reads, or an operation that only TorchScript has.
        UnsafeError: malformed, above a limit, or code that is not on the allow-list and not trusted.

    Cost: reading the file; no forward.
    """
    path = Path(request.spec)
    program = _program(request)
    network = rebuild(program.script, program.library)
    notes = list(_notes(program.trained, trains_batch_norms(program.functions)))
    if program.library.place.widens:
        network.float()
        notes.append(f"the file computes in {' and '.join(program.types)}; it is audited in float32")
    built = Built(
        network=network,
        name=path.name,
        architecture=type(network).__name__,
        weights="in the file",
        notes=tuple(notes),
        conversion=Conversion(
            file=path.name,
            sha256=program.sha256,
            format=f"TorchScript, {_origin(program.functions, network)}",
            reference="the file's own program in TorchScript",
        ),
        reference=reference(program.script),
        finish=lambda model, images: settled(model, images, program.script, program.functions, program.types),
    )
    return assemble(request, SOURCE, built)


def as_stored(request: ModelRequest) -> Classifier:
    """The network of a file with its weights in the types that the file has for them; for looking, not for running.

    Raises: as `load`.
    """
    program = _program(request)
    return rebuild(program.script, program.library)


@dataclass(frozen=True)
class _Read:
    """A file once it was inspected.

    Attributes:
        script: its outermost module, in eval mode.
        functions: all functions and methods.
        library: the same, compiled.
        trained: whether it was saved in training mode.
        types: float types of its weights.
    """

    script: Any
    functions: list[Any]
    library: Library
    sha256: str
    trained: bool
    types: tuple[str, ...]


def _program(request: ModelRequest) -> _Read:
    path = Path(request.spec)
    archive = archives.check(path, request.limits)
    digest = archives.sha256(path)
    trusted = request.trusts(digest)
    inspect(archive, request.limits, trusted)
    functions, script = _read(path)
    if not trusted:
        inspect_graphs(path.name, functions)
    _check_forward(path.name, script)
    trained = _stop_training(script)
    types = weight_types(script, functions)
    library = Library(module_types(script), ExecutionState(widens=any(kind != "float32" for kind in types)))
    compile_all(library, functions)
    return _Read(script, functions, library, digest, trained, types)


def _read(path: Path) -> tuple[list[Any], Any]:
    """All functions and methods of the file, and its outermost module."""
    unit: Any = torch._C.CompilationUnit()
    read: Any = torch._C.import_ir_module
    try:
        # What torch.jit.load does, with a hold on the functions that the modules call.
        script = read(unit, str(path), torch.device("cpu"), {}, False)
    except (RuntimeError, UnicodeDecodeError) as error:
        # torch quotes the file's own code in its messages, which need not be text.
        reason = "its code is no text"
        if isinstance(error, RuntimeError):
            reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise ModelError(f"{path.name} cannot be read by PyTorch {torch.__version__}: {reason}", AGAIN_HINT) from error
    return unit.get_functions(), script


def _check_forward(name: str, script: Any) -> None:
    """Whether a forward takes images alone, and nothing stands around it.

    Raises:
        ModelError: neither can be run as a classifier.
    """
    if not script._has_method("forward"):
        raise ModelError(f"{name} has no forward", AGAIN_HINT)
    taken = script._get_method("forward").schema.arguments[1:]
    if not taken or any(not argument.has_default_value() for argument in taken[1:]):
        listed = ", ".join(argument.name for argument in taken)
        raise ModelError(f"{name} takes ({listed}), not images alone", "wrap it in a module that takes images only")
    if any(module._get_forward_hooks() or module._get_forward_pre_hooks() for _, module in walk(script)):
        raise ModelError(f"{name} carries forward hooks, which are not supported", "script the model without them")


def _stop_training(script: Any) -> bool:
    """Put every module into eval mode, the program that the network is compared with too; whether any was not."""
    training = [module for _, module in walk(script) if module.hasattr("training") and module.getattr("training")]
    for module in training:
        module.setattr("training", False)
    return bool(training)


def _notes(trained: bool, trains: bool) -> Iterator[str]:
    if trains:
        yield "batch norms were traced in training mode: an image's logits depend on the other images in its batch"
    elif trained:
        yield "the file was saved in training mode; it is audited in eval mode"


def _origin(functions: Sequence[Any], network: nn.Module) -> str:
    """How the file was made, as far as can be told."""
    if not any(isinstance(child, Scripted) for child in network.children()) and not network._parameters:
        return "frozen"
    plain = all(function.name.rstrip("0123456789") == "forward" for function in functions)
    branches = any(node.kind() in ("prim::If", "prim::Loop") for one in functions for node in nodes_of(one.graph))
    return "traced" if plain and not branches else "scripted"
