"""Decides whether a TorchScript file may be read and run: text and pickles before torch sees them, graphs after.

Torch itself trusts such a file: it runs a `__setstate__` while it reads, and takes the sizes of tensors on faith.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import ModelError, UnsafeError
from ...settings.limits import Limits
from ..allowed import ATEN
from ..archives import Archive
from .control import STEPS
from .declared import PICKLES, check_pickles
from .language import ON_TENSORS, ON_VALUES, PRIMITIVES
from .roles import nodes_of

CODE_BYTES = 64 * 2**20
OPERATIONS = (
    {f"aten::{name}" for name in (*ATEN, *ON_TENSORS, *ON_VALUES)}
    | PRIMITIVES.keys()
    | STEPS.keys()
    | {"prim::Constant"}
)
DEEPEST_BLOCK = 100
LONGEST_STATEMENT = 2000
"""Operators of one statement; torch's reader recurses and overruns its stack on some 10,000."""
OPERATORS = re.compile(r"[(\[{+*/%<>=&|^~@]|(?<!\d)\.|(?<!, )(?<![\[(])-|\b(?:not|and|or|if|elif|else|is|in)\b")
IGNORED = re.compile(r"#[^\n]*|\\\n")
STRINGS = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'')
CALLS = re.compile(r"(?<![\w.])(?:torch\s*\.\s*(\w+)|ops\s*\.\s*(\w+)\s*\.\s*(\w+))\s*\(")
TRUST_HINT = "--allow-code runs it, or --trust with the file's SHA-256"
AGAIN_HINT = "save it again with torch.jit.save, or export it as ONNX"


def inspect(archive: Archive, limits: Limits, trusted: bool) -> None:
    """Check an archive before torch reads it.

    Raises:
        ModelError: no TorchScript file, or one that only the lite interpreter reads.
        UnsafeError: code that would run while the file is read, an operation or a class that is not on the allow-list,
            or tensors that are not what they claim.
    """
    code = [name for name in archive.sizes if name.startswith("code/") and name.endswith(".py")]
    if not code and "bytecode.pkl" in archive.sizes:
        raise ModelError(f"{archive.path.name} is for the lite interpreter only and holds no program", AGAIN_HINT)
    if not code or any(name not in archive.sizes for name in PICKLES):
        raise ModelError(f"{archive.path.name} is not a TorchScript file that this torch reads", AGAIN_HINT)
    needed = check_pickles(archive, limits)
    if trusted:
        return
    if needed:
        raise UnsafeError(f"{archive.path.name} needs {needed[0]}, which is not on the allow-list", TRUST_HINT)
    for name in code:
        text = archive.read(name, at_most=CODE_BYTES).decode(errors="replace")
        if "__setstate__" in text:
            what = f"{archive.path.name} has a __setstate__ ({name}), which would run while the file is read"
            raise UnsafeError(what, TRUST_HINT)
        text = IGNORED.sub("", STRINGS.sub('""', text))
        if _is_too_deep(text):
            raise UnsafeError(f"{archive.path.name} nests expressions or blocks too deeply ({name})", TRUST_HINT)
        for call in _calls(text):
            _require(archive.path.name, call)


def inspect_graphs(name: str, functions: Sequence[Any]) -> None:
    """Check every operation of every function and method.

    Args:
        name: of the file.
        functions: all that it holds, methods included.

    Raises:
        UnsafeError: an operation that is not on the allow-list.
    """
    for function in functions:
        for node in nodes_of(function.graph):
            _require(name, node.kind())


def _calls(text: str) -> Iterator[str]:
    """`aten::conv2d` for `torch.conv2d(`, `prim::RaiseException` for `ops.prim.RaiseException(`."""
    for function, namespace, name in CALLS.findall(text):
        yield f"aten::{function}" if function else f"{namespace}::{name}"


def _is_too_deep(text: str) -> bool:
    """Whether torch might run out of stack while it reads the text."""
    operators = depth = 0
    for line in text.splitlines():
        if depth <= 0:
            operators = 0
        operators += len(OPERATORS.findall(line))
        depth += sum(line.count(bracket) for bracket in "([{") - sum(line.count(bracket) for bracket in ")]}")
        if operators > LONGEST_STATEMENT or len(line) - len(line.lstrip()) > 2 * DEEPEST_BLOCK:
            return True
    return text.count("elif") > LONGEST_STATEMENT


def _require(file: str, operation: str) -> None:
    if operation not in OPERATIONS:
        raise UnsafeError(f"{file} calls {operation}, which is not on the allow-list", TRUST_HINT)
