"""Where a source file can be mutated, and how: one function a kind of fault."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Edit = tuple[ast.expr, str]
Kind = Callable[[ast.AST, "Source"], Iterator[Edit]]

SIGNS: dict[type[ast.operator], str] = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*"}
BOUNDS: dict[type[ast.cmpop], str] = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
# A swap changes nothing there, or is a type error at once.
SYMMETRIC = {"isinstance", "issubclass", "hasattr", "max", "min", "maximum", "minimum", "equal", "allclose", "gcd"}
# What only shows where something else is wrong already.
UNSEEN_FLAGS = {"strict", "frozen", "slots", "kw_only", "exist_ok", "repr", "eq", "order"}


@dataclass(frozen=True)
class Mutation:
    """One fault: bytes `start` to `end` of a file are replaced.

    Attributes:
        path: from the project's root, with forward slashes.
        scope: dotted name of the function or class around it, empty at module level.
        before: the line as it was, without indentation; `after`: as it is then.
    """

    path: str
    line: int
    kind: str
    scope: str
    before: str
    after: str
    start: int
    end: int
    text: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What stays the same while lines above come and go."""
        return self.path, self.scope, self.before, self.after

    def applied(self, source: bytes) -> bytes:
        """The file with the fault in it."""
        return source[: self.start] + self.text.encode() + source[self.end :]


class Source:
    """A file's bytes, and where the nodes of its tree lie in them."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.starts = [0]
        for line in content.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def span(self, node: ast.expr) -> tuple[int, int]:
        """First byte and the byte behind the last one."""
        last, column = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[last - 1] + column

    def text(self, node: ast.expr) -> str:
        """The node as it is written."""
        start, end = self.span(node)
        return self.content[start:end].decode()


def mutations(path: str, content: bytes) -> list[Mutation]:
    """Every fault that can be put into a file, in the order of the file."""
    source = Source(content)
    found = []
    for node, scope in _nodes(ast.parse(content), ""):
        for kind, edits in KINDS.items():
            found += [_mutation(path, source, kind, scope, *edit) for edit in edits(node, source)]
    return found


def _nodes(node: ast.AST, scope: str) -> Iterator[tuple[ast.AST, str]]:
    """Nodes that do something: no annotations, decorators, messages of errors."""
    yield node, scope
    named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    inner = f"{scope}.{node.name}".lstrip(".") if named else scope  # type: ignore[attr-defined]
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.Raise | ast.Assert):
                yield from _nodes(child, inner)


def _mutation(path: str, source: Source, kind: str, scope: str, node: ast.expr, text: str) -> Mutation:
    start, end = source.span(node)
    first = source.content.rfind(b"\n", 0, start) + 1
    last = source.content.find(b"\n", end) % (len(source.content) + 1)
    before = source.content[first:last].decode()
    after = (source.content[first:start] + text.encode() + source.content[end:last]).decode()
    return Mutation(path, node.lineno, kind, scope, _flat(before), _flat(after), start, end, text)


def _flat(text: str) -> str:
    return " ".join(text.split())


def changes(entry: Mutation, content: bytes) -> bool:
    """Whether the file still is Python with the fault in it, and another program."""
    try:
        return ast.dump(ast.parse(entry.applied(content))) != ast.dump(ast.parse(content))
    except SyntaxError:
        return False


def _is_text(node: ast.expr) -> bool:
    """Whether adding would join text or lists."""
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    constant = isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    return constant or isinstance(node, ast.JoinedStr | ast.List | ast.Tuple | ast.ListComp)


def _sign(node: ast.AST, source: Source) -> Iterator[Edit]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node, f"({source.text(node.operand)})"
    if isinstance(node, ast.BinOp) and type(node.op) in SIGNS and not _is_text(node):
        yield node, f"({source.text(node.left)} {SIGNS[type(node.op)]} {source.text(node.right)})"


def _bound(node: ast.AST, source: Source) -> Iterator[Edit]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in BOUNDS:
        yield node, f"({source.text(node.left)} {BOUNDS[type(node.ops[0])]} {source.text(node.comparators[0])})"


def _by_one(node: ast.AST, _: Source) -> Iterator[Edit]:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield node, str(node.value + 1)


def _bias(node: ast.AST, source: Source) -> Iterator[Edit]:
    if isinstance(node, ast.Call):
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
            if isinstance(argument, ast.Name | ast.Attribute) and source.text(argument).endswith("bias"):
                yield argument, "None"


def _term(node: ast.AST, source: Source) -> Iterator[Edit]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult) and not _is_text(node):
        yield node, f"({source.text(node.left)})"


def _check(node: ast.AST, _: Source) -> Iterator[Edit]:
    if (
        isinstance(node, ast.If)
        and not node.orelse
        and isinstance(node.body[-1], ast.Raise | ast.Return | ast.Continue)
    ):
        yield node.test, "False"


def _swap(node: ast.AST, source: Source) -> Iterator[Edit]:
    if not isinstance(node, ast.Call) or source.text(node.func).rpartition(".")[2] in SYMMETRIC:
        return
    plain = (ast.Name, ast.Attribute, ast.Subscript)
    if len(node.args) >= 2 and isinstance(node.args[0], plain) and isinstance(node.args[1], plain):
        function, first, second = (source.text(part) for part in (node.func, node.args[0], node.args[1]))
        rest = [source.text(part) for part in node.args[2:]]
        rest += [
            f"{part.arg}={source.text(part.value)}" if part.arg else f"**{source.text(part.value)}"
            for part in node.keywords
        ]
        yield node, f"{function}({', '.join([second, first, *rest])})"


def _constant(node: ast.AST, _: Source) -> Iterator[Edit]:
    values = []
    if isinstance(node, ast.Call):
        values = [keyword.value for keyword in node.keywords if keyword.arg not in UNSEEN_FLAGS] + node.args
    elif isinstance(node, ast.Return | ast.Assign | ast.AnnAssign) and node.value is not None:
        values = [node.value]
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, bool):
            yield value, str(not value.value)
    if isinstance(node, ast.Constant) and type(node.value) is float:
        yield node, repr(2 * node.value or 1.0)


def _logic(node: ast.AST, source: Source) -> Iterator[Edit]:
    if isinstance(node, ast.BoolOp):
        word = " or " if isinstance(node.op, ast.And) else " and "
        parts = [f"({source.text(value)})" for value in node.values]
        yield node, f"({word.join(parts)})"


KINDS: dict[str, Kind] = {
    "sign": _sign,
    "bound": _bound,
    "one more": _by_one,
    "missing bias": _bias,
    "dropped term": _term,
    "dropped check": _check,
    "swapped arguments": _swap,
    "changed constant": _constant,
    "and for or": _logic,
}
