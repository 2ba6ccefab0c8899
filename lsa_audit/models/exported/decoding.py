"""Reads the description of a program in a .pt2 file. Only known fields are looked at; no expression or code among them
is evaluated, and every operation must be on the list of those that a classifier may need."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ...errors import ModelError, UnsafeError
from ..allowed import ATEN
from ..checked import CHECKED
from ..outputs import OutputCandidate, choose_or_wait
from .arguments import DTYPES, EXPORT_HINT, read_argument
from .program import Input, Output, Program, ProgramCall, ProgramOperation, with_lifetimes

SCHEMA_MAJOR = 8
ATEN_TARGET = re.compile(r"torch\.ops\.(?P<namespace>\w+)\.(?P<name>\w+)\.(?P<overload>\w+)")
RESHAPE = "torch.ops.aten.reshape.default"
CONTROL_FLOW = "torch.ops.higher_order."

_COMPARISONS = ("eq", "ne", "le", "ge", "lt", "gt", "and_", "or_")
_ARITHMETIC = ("neg", "pos", "mul", "add", "sub", "floordiv", "mod", "pow", "truediv", "lshift", "rshift")
_SYMBOLIC = ("not", "int", "float", "ite", "max", "min", "sum", "sqrt")
LARGEST = 2**63


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, kept to 64 bits: Python's own numbers would grow until the memory is full."""

    def call(*operands: Any) -> Any:
        powers = function in (operator.pow, operator.lshift) and isinstance(operands[1], int) and operands[1] > 63
        result = None if powers else function(*operands)
        if powers or (type(result) is int and abs(result) >= LARGEST):
            raise ValueError("a number of more than 64 bits")
        return result

    return call


NUMBER_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f"_operator.{name}": _bounded(getattr(operator, name)) for name in _COMPARISONS + _ARITHMETIC},
    **{f"torch.sym_{name}": getattr(torch, f"sym_{name}") for name in _SYMBOLIC},
    **{f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "trunc", "sqrt")},
}
"""Arithmetic on sizes."""

VIEWS = frozenset({"view", "_unsafe_view", "view_copy", "_reshape_copy"})
"""Held to the strides that the exporter saw; `reshape` runs on any device and attention backend."""

CHECKS = frozenset(
    {
        "_assert_tensor_metadata",
        "_assert_scalar",
        "_assert_async",
        "_functional_assert_scalar",
        "_functional_assert_async",
        "sym_constrain_range",
        "sym_constrain_range_for_size",
    }
)
"""What the exporter adds to hold a program to the sizes and devices that it saw."""

TRAINING_FLAGS = {
    "batch_norm": "training",
    "_batch_norm_impl_index": "training",
    "native_batch_norm": "training",
    "_native_batch_norm_legit": "training",
    "dropout": "train",
    "native_dropout": "train",
    "feature_dropout": "train",
    "alpha_dropout": "train",
    "feature_alpha_dropout": "train",
}
"""Set where a network was exported in training mode."""


def decode(content: Mapping[str, Any], trusted: bool, wanted: str | None = None, classes: int | None = None) -> Program:
    """The program that a file describes.

    Args:
        content: the JSON of the file's program.
        trusted: whether operations outside of the list may be called.
        wanted: name or index of the output that holds the logits.
        classes: as the user says.

    Raises:
        UnsafeError: an operation that is not on the list, or an object with code of its own.
        UsageError: there is no such output.
        ModelError: several inputs, no output that can be logits, control flow, or a newer version of the format.
        KeyError, TypeError, ValueError: the description is malformed.
    """
    version = int(content["schema_version"]["major"])
    if version != SCHEMA_MAJOR:
        raise ModelError(f"version {version} of the format is not {SCHEMA_MAJOR}", EXPORT_HINT)
    described = content["graph_module"]
    graph, signature = described["graph"], described["signature"]
    if graph.get("custom_obj_values"):
        kinds = sorted({ascii(entry["class_fqn"]) for entry in graph["custom_obj_values"].values()})
        raise UnsafeError(f"it holds objects with code of their own ({', '.join(kinds)})", EXPORT_HINT)
    tensors, parameters, inputs = _inputs(signature["input_specs"])
    outputs = [spec["user_output"]["arg"] for spec in signature["output_specs"] if "user_output" in spec]
    _check_one(inputs, "input", "wrap it in a module that takes only the images")
    known = graph["tensor_values"]
    listed = [_candidate(entry["as_tensor"]["name"], known) for entry in outputs if "as_tensor" in entry]
    choice, undecided = choose_or_wait(listed, wanted, classes, "the program")
    output = choice.name
    operations = [_operation(node, trusted) for node in graph["nodes"] if _counts(node)]
    return Program(
        input=_input(inputs[0], graph["tensor_values"]),
        output=output,
        tensors=tensors,
        parameters=parameters,
        operations=with_lifetimes(operations, output),
        modules=tuple(str(entry["fqn"]) for entry in described["module_call_graph"]),
        architecture=next((op.calls[0].kind for op in operations if op.calls and not op.calls[0].path), "unknown"),
        writer=_version(content),
        choice=choice,
        undecided=undecided,
    )


def _candidate(name: str, metadata: Mapping[str, Any]) -> OutputCandidate:
    described = metadata[name]
    sizes = [entry.get("as_int") for entry in described["sizes"]]
    wide = [None if size is None else int(size) for size in sizes[1:] if size != 1]
    texts = ["N", *("?" if size is None else str(size) for size in sizes[1:])]
    floats = DTYPES[described["dtype"]].is_floating_point
    able = floats and bool(sizes) and len(wide) <= 1
    return OutputCandidate(str(name), f"[{', '.join(texts)}]", next(iter(wide), 1) if able else None, able)


def _version(content: Mapping[str, Any]) -> str:
    version = str(content.get("torch_version"))
    return version if re.fullmatch(r"[\w.+<=]{1,40}", version) else "of unknown version"


def in_evaluation(operations: tuple[ProgramOperation, ...]) -> tuple[ProgramOperation, ...]:
    """The operations with the flags of training off; the same tuple where none was on."""
    found = []
    for operation in operations:
        flag = TRAINING_FLAGS.get(operation.name.removesuffix("_"))
        if flag is not None and operation.named.get(flag) is True and _has_statistics(operation):
            operation = operation.with_named({flag: False})
        found.append(operation)
    return operations if all(new is old for new, old in zip(found, operations, strict=True)) else tuple(found)


def _has_statistics(operation: ProgramOperation) -> bool:
    return "batch_norm" not in operation.name or operation.named.get("running_mean") is not None


def _check_one(entries: list[Any], what: str, hint: str) -> None:
    if len(entries) != 1 or "as_tensor" not in entries[0]:
        raise ModelError(f"the program has {len(entries)} {what}s, not one tensor", hint)


def _inputs(specs: list[Any]) -> tuple[dict[str, str], frozenset[str], list[Any]]:
    """Names of the network's own tensors, which of them are parameters, and the rest, which the caller gives."""
    tensors, parameters, given = {}, set(), []
    for spec in specs:
        ((kind, value),) = spec.items()
        if kind == "user_input":
            given.append(value["arg"])
        elif kind in ("parameter", "buffer", "tensor_constant"):
            original = str(value[f"{kind}_name"])
            tensors[str(value["arg"]["name"])] = original
            if kind == "parameter":
                parameters.add(original)
        elif kind != "constant_input":
            raise UnsafeError(f"it takes an input of the kind {kind!a}", EXPORT_HINT)
    return tensors, frozenset(parameters), given


def _input(argument: Mapping[str, Any], metadata: Mapping[str, Any]) -> Input:
    name = str(argument["as_tensor"]["name"])
    described = metadata[name]
    sizes, example = [], []
    for entry in described["sizes"]:
        fixed = entry.get("as_int")
        hint = (entry.get("as_expr") or {}).get("hint") or {}
        sizes.append(None if fixed is None else int(fixed))
        example.append(int(hint.get("as_int", 2)) if fixed is None else int(fixed))
    if min(example, default=0) < 1:
        raise ValueError("the input has no elements")
    return Input(name, tuple(sizes), tuple(example), str(DTYPES[described["dtype"]]).removeprefix("torch."))


def _counts(node: Mapping[str, Any]) -> bool:
    match = ATEN_TARGET.fullmatch(node["target"])
    return match is None or match["name"] not in CHECKS


def _operation(node: Mapping[str, Any], trusted: bool) -> ProgramOperation:
    target = str(node["target"])
    match = ATEN_TARGET.fullmatch(target)
    if match is not None and match["name"] in VIEWS and match["overload"] == "default":
        renamed = [{**entry, "name": "shape"} if entry["name"] == "size" else entry for entry in node["inputs"]]
        return _operation({**node, "target": RESHAPE, "inputs": renamed}, trusted)
    number_function = NUMBER_FUNCTIONS.get(target)
    function = number_function or _tensor_function(target, trusted)
    given = [(str(entry["name"]), read_argument(entry["arg"])) for entry in node["inputs"]]
    return ProgramOperation(
        target=target,
        function=function,
        arguments=tuple(value for _, value in given) if number_function else (),
        named={} if number_function else dict(given),
        outputs=tuple(_output(entry) for entry in node["outputs"]),
        calls=_calls(node["metadata"].get("nn_module_stack", "")),
    )


def _tensor_function(target: str, trusted: bool) -> Callable[..., Any]:
    if target.startswith(CONTROL_FLOW):
        raise ModelError(
            f"the program holds the control structure {target.removeprefix(CONTROL_FLOW)[:80]!a}",
            "export the model without it (for wrap_with_set_grad_enabled: without torch.no_grad in its forward)",
        )
    match = ATEN_TARGET.fullmatch(target)
    if match is None or not (_is_listed(match) or trusted):
        what = f"the program calls {target[:80]!a}, which is not on the list of operations that a classifier needs"
        raise UnsafeError(what, "give --allow-code if you trust the file")
    checked = CHECKED.get(f"{match['name']}.{match['overload']}")
    if checked is not None:
        return checked
    try:
        packet = getattr(getattr(torch.ops, match["namespace"]), match["name"])
        function: Callable[..., Any] = getattr(packet, match["overload"])
    except AttributeError:
        raise ModelError(f"this torch has no operation {target}", "update torch, or export the model anew") from None
    return function


def _is_listed(match: re.Match[str]) -> bool:
    return match["namespace"] == "aten" and match["name"] in ATEN


def _calls(stack: str) -> tuple[ProgramCall, ...]:
    """`key,path,type;key,path,type`, outermost first; a further call of a module has `@1` and so on in its path."""
    found = []
    for entry in filter(None, stack.split(";")):
        key, path, kind = entry.split(",", 2)
        name = kind.rpartition(".")[2]
        found.append(ProgramCall(key, path.split("@")[0], name if name.isidentifier() else "Module"))
    return tuple(found)


def _output(argument: Mapping[str, Any]) -> Output:
    ((kind, value),) = argument.items()
    if kind == "as_tensor":
        return str(value["name"])
    if kind == "as_tensors":
        return [str(entry["name"]) for entry in value]
    return str(value["as_name"]) if isinstance(value, dict) and "as_name" in value else None
