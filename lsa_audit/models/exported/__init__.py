"""Files of `torch.export.save` (.pt2), as ordinary networks.

`torch.export.load` is not used: it unpickles whatever it is given when its restricted way fails, evaluates the
expressions for sizes and runs the guards of the file as Python. The description of the program is plain JSON, and is
read here into operations of a literal list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ...errors import AuditError, ModelError, UnsafeError
from ...records import Conversion, ModelSource
from ..archives import Archive, check, sha256
from ..assembly import Built, assemble
from ..base import Model, Preprocessing, Undecided
from ..deciding import OutputOptions
from ..parity import TOLERANCES, tolerance_of
from ..request import ModelRequest
from .arguments import EXPORT_HINT
from .decoding import decode, in_evaluation
from .program import Program
from .tensors import DESCRIPTION_BYTES, read_tensors
from .verifying import verified_network
from .widening import other_types, widened

SOURCE: ModelSource = "exported"
COMPILED = ("data/aotinductor/", ".so", ".cubin", ".cpp", ".o")
COLOURS = (1, 3, 4)


def load(request: ModelRequest) -> Model:
    """The network of a .pt2 file.

    A program with an open batch is rebuilt as a tree of modules; one for a single batch size has its batch opened, and
    where that gives other logits it is run on groups of that size. The result is compared with the file's own
    operations at the batch size of the file.

    Raises:
        UnsafeError: the file calls for code, or is an oversized or malformed archive.
        ModelError: not a program from images to logits, or damaged.
        UsageError: a wrong mean, std or input size.

    Cost: three forwards on a few images; more for a single batch size.
    """
    path = Path(request.spec)
    archive = check(path, request.limits)
    digest = sha256(path)
    try:
        program, tensors = _read(archive, request, request.trusts(digest))
        return _model(request, path, digest, program, tensors)
    except AuditError as error:
        if path.name in error.what:
            raise
        raise type(error)(f"{path.name}: {error.what}", error.hint) from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        what = f"{path.name} describes no program that can be read ({type(error).__name__}: {str(error)[:80]!a})"
        raise ModelError(what, EXPORT_HINT) from error


def _read(archive: Archive, request: ModelRequest, trusted: bool) -> tuple[Program, dict[str, Tensor]]:
    """The program and its tensors, decoded but not run."""
    compiled = [name for name in archive.sizes if name.startswith(COMPILED[0]) or name.endswith(COMPILED[1:])]
    if compiled:
        what = f"it holds compiled code ({compiled[0]})"
        raise UnsafeError(what, "give the file that torch.export.save wrote, before it was compiled")
    member, model = program_member(archive)
    content = json.loads(archive.read(member, DESCRIPTION_BYTES))
    program = decode(content, trusted, request.logits, request.classes)
    tensors = read_tensors(archive, model, request.limits, trusted)
    missing = [name for name in program.tensors.values() if name not in tensors]
    if missing:
        raise ModelError(f"it lacks the values of {missing[0]!a}", "save the program with its weights")
    return program, tensors


def program_member(archive: Archive) -> tuple[str, str]:
    """The member that describes the program, and the program's name, empty in archives that torch up to 2.7 wrote.

    Raises:
        ModelError: there is none, or there are several.
    """
    members = [name for name in archive.sizes if name.startswith("models/") and name.endswith(".json")]
    if len(members) > 1:
        raise ModelError(f"it holds {len(members)} programs", "save one of them with torch.export.save")
    member = members[0] if members else "serialized_exported_program.json"
    if member not in archive.sizes:
        raise ModelError("it holds no program of torch.export", "write it with torch.export.save")
    return member, member.removeprefix("models/").removesuffix(".json") if members else ""


def _model(request: ModelRequest, path: Path, digest: str, program: Program, tensors: Mapping[str, Tensor]) -> Model:
    taken = program.input
    if taken.dtype not in TOLERANCES:
        raise ModelError(f"the program takes {taken.dtype} images", "export the model in float32")
    evaluated = replace(program, operations=in_evaluation(program.operations))
    trained = evaluated.operations is not program.operations
    notes = ["it was exported in training mode and is audited in evaluation mode"] if trained else []
    size = taken.sizes[0]
    types = other_types(evaluated, tensors)
    own = evaluated, tensors
    if types:
        evaluated, tensors = widened(evaluated, tensors)
        notes.append(f"the file computes in {' and '.join(types)}; it is audited in float32")
    tolerance = tolerance_of(types)
    network, comparison = verified_network(evaluated, tensors, own, tolerance, request.limits.total_bytes)
    rounds = f"; the file computes in {' and '.join(types)}: up to {tolerance:.0e}" if types else ""
    if network.group_size is not None:
        notes.append(f"batches of {size} are built into it, so that it runs on groups of {size} by vmap")
    conversion = Conversion(
        file=path.name,
        sha256=digest,
        format=f"torch.export, written by torch {program.writer}",
        reference=f"the file's own operations, {taken.example[0]} images at a time",
        parity=comparison.parity,
        parity_detail=f"on {comparison.images} seeded random images at once{rounds}",
        static_batch=size,
    )
    metadata = _layout(taken.sizes[1:], request)
    built = Built(
        network=network,
        name=path.name,
        architecture=program.architecture,
        weights="in the file",
        metadata=metadata,
        classes=None if program.undecided else max(2, comparison.outputs),
        notes=tuple(notes),
        provenance={"input size": "the file", "layout": "the file"} if metadata.input_shape else {},
        conversion=conversion,
        asked=OutputOptions(choice=program.choice),
        undecided=Undecided(program.undecided, lambda name: load(replace(request, logits=name)))
        if program.undecided
        else None,
    )
    return assemble(request, SOURCE, built)


def _layout(sizes: tuple[int | None, ...], request: ModelRequest) -> Preprocessing:
    """How the network wants one image, as far as the file says."""
    known = tuple(size for size in sizes if size is not None)
    if len(known) < len(sizes):
        return Preprocessing(layout=request.layout or "nchw")
    if len(known) == 3:
        last = request.layout == "nhwc" or (known[2] in COLOURS and known[0] not in COLOURS)
        if last and request.layout != "nchw":
            return Preprocessing(input_shape=(known[2], *known[:2]), layout="nhwc")
        return Preprocessing(input_shape=known)
    if len(known) == 1:
        return Preprocessing(input_shape=known, layout="flat")
    shape = (1, *known) if min(known) > max(COLOURS) else None
    return Preprocessing(input_shape=shape, layout="flat", network_shape=known)
