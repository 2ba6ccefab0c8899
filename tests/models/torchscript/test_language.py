"""Every construct of the script language gives what TorchScript's own interpreter gives."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch

from lsa_audit.models.torchscript.compiler import Library, compile_all
from lsa_audit.models.torchscript.inspection import OPERATIONS
from lsa_audit.models.torchscript.roles import nodes_of

ROW = torch.tensor([3.0, -1.0, 2.0])
TABLE = torch.arange(6.0).reshape(2, 3)

CASES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "integers": ("(a: int, b: int) -> List[int]: return [a + b, a - b, a * b, a // b, a % b, -a]", (-7, 3)),
    "powers": ("(a: int, b: int) -> Tuple[float, float, float]: return a ** b, round(a), a ** 0.5", (7, 3)),
    "division": ("(a: int, b: int) -> float: return a / b", (-7, 2)),
    "floats": (
        "(a: float, b: float) -> List[float]: return [a + b, a - b, a * b, a / b, a // b, a % b, a ** b]",
        (7.5, -2.0),
    ),
    "mixed": ("(a: int, b: float) -> List[float]: return [a + b, b - a, a * b, a / b, a ** b, b % a]", (3, 2.5)),
    "comparisons": ("(a: int, b: int) -> List[bool]: return [a < b, a <= b, a > b, a >= b, a == b, a != b]", (2, 3)),
    "logic": ("(a: bool, b: bool) -> List[bool]: return [a and b, a or b, not a, a ^ b, a & b, a | b]", (True, False)),
    "bits": ("(a: int, b: int) -> List[int]: return [a & b, a | b, a ^ b]", (12, 10)),
    "conversions": (
        "(a: float, b: int) -> Tuple[int, float, bool, str]: return int(a), float(b), bool(b), str(b)",
        (-2.7, 3),
    ),
    "rounding": (
        "(a: float) -> Tuple[int, int, float, float]: return math.floor(a), math.ceil(a), round(a), abs(a)",
        (-2.5,),
    ),
    "math": ("(a: float) -> List[float]: return [math.sqrt(a), math.exp(a), math.log(a), math.pow(a, 2.0)]", (2.5,)),
    "extremes": ("(a: int, b: int) -> List[int]: return [min(a, b), max(a, b), min([a, b, -9]), max([a, b])]", (4, -2)),
    "lists": (
        """(a: List[int]) -> List[int]:
    b = [x * 2 for x in a]
    b.append(7)
    b.extend([1, 2])
    b.insert(1, 9)
    b[0] = b[-1] + len(b)
    last = b.pop()
    b.reverse()
    b += [last]
    return b + a[1:3] + a[::-1] + [a.index(2), a.count(2)] + a * 2 + sorted(a)""",
        ([3, 1, 2],),
    ),
    "sorting": (
        """(a: List[int]) -> List[int]:
    b = a.copy()
    b.sort(reverse=True)
    c = list(b)
    c.remove(2)
    del c[0]
    a.clear()
    return b + c""",
        ([3, 1, 2],),
    ),
    "dictionaries": (
        """(a: Dict[str, int]) -> Dict[str, int]:
    b = {"x": 1}
    b.update(a)
    b["y"] = b["x"] + len(a)
    if "z" in b:
        b["w"] = b.pop("z")
    b["g"] = b.get("none", 5) + b.setdefault("new", 2)
    total = 0
    for key, value in b.items():
        total += value
    b["total"] = total + len(list(b.keys())) + sum(list(b.values()))
    return b""",
        ({"z": 4, "q": 6},),
    ),
    "strings": (
        """(a: str, b: int) -> str:
    c = "{} and {}".format(a, b) + a.upper() + a.lower() + ", ".join([a, a]) + a.replace("a", "o")
    if a.startswith("a") and c.endswith("z") or a[0] == "x":
        return "no"
    return c + a[1:3]""",
        ("abcd", 3),
    ),
    "tuples": (
        "(a: Tuple[int, float], b: Tuple[int, int, int]) -> Tuple[float, int, int]: return a[1], b[1:][0], len(b)",
        ((1, 2.0), (3, 4, 5)),
    ),
    "loops": (
        """(n: int) -> List[int]:
    found: List[int] = []
    for i in range(10, 0, -3):
        if i == 4:
            continue
        for j in range(n):
            if j == 2:
                break
            found.append(i * j)
    k = 0
    while True:
        k += 1
        if k > n:
            break
    return found + [k]""",
        (4,),
    ),
    "nested returns": (
        """(n: int) -> int:
    if n > 2:
        if n > 5:
            return 1
        return 2
    else:
        n = n + 10
    return n""",
        (1,),
    ),
    "optional": (
        """(a: Optional[int], b: Optional[torch.Tensor]) -> int:
    c = 0
    if a is not None:
        c += a
    if b is None:
        c += 10
    else:
        c += b.size(0)
    return c""",
        (5, None),
    ),
    "tensor facts": (
        "(x: torch.Tensor) -> Tuple[int, int, int, List[int], bool, int]: "
        "return x.dim(), x.numel(), len(x), x.stride(), x.is_floating_point(), x.shape[-1]",
        (TABLE,),
    ),
    "tensor values": (
        "(x: torch.Tensor) -> Tuple[float, int, bool]: return float(x.sum()), int(x.max()), bool(x.min() < 0)",
        (ROW,),
    ),
    "creation": (
        "(x: torch.Tensor, n: int) -> List[torch.Tensor]: return [torch.tensor([1, n]), torch.tensor(2.5), "
        "torch.tensor([[1.0], [2.0]], dtype=torch.float64), torch.zeros(n, 2), torch.full([2], 3.5), torch.arange(n), "
        "torch.ones_like(x, dtype=torch.int64), x.new_zeros([n]), torch.as_tensor([1, 2])]",
        (ROW, 3),
    ),
    "types": (
        "(x: torch.Tensor) -> List[torch.Tensor]: return [x.to(torch.float64), x.int(), x.half(), x.type_as(x.long()), "
        "x.to(x.dtype), torch.empty(0, dtype=x.dtype), x.to(x.device)]",
        (ROW,),
    ),
    "dtype comparison": (
        "(x: torch.Tensor) -> bool: return x.dtype == torch.float32 and x.device.type == 'cpu'",
        (ROW,),
    ),
    "indexing": (
        "(x: torch.Tensor) -> List[torch.Tensor]: "
        "return [x[0], x[:, 1:], x[..., None], x[x > 2], x[[1, 0]], x[-1, ::2]]",
        (TABLE,),
    ),
    "unpacking": (
        """(x: torch.Tensor) -> torch.Tensor:
    a, b = x.unbind()
    c, d, e = x.unbind(1)
    f, g = x.split([1, 2], dim=1)
    h, i, j = torch.chunk(x, 3, dim=1)
    values, places = x.max(dim=1)
    total = a.sum() + b.sum() * 2 + c.sum() + d.sum() * e.sum() + f.sum() * g.sum()
    return total + (h * i * j).sum() + values.sum() + places.sum()""",
        (TABLE,),
    ),
    "in place": (
        """(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[0] = 1.0
    y[:, 1] += 2
    y.add_(1).mul_(2)
    y[1, 2] -= y[0, 0]
    return y""",
        (TABLE,),
    ),
    "keywords": (
        "(x: torch.Tensor) -> List[torch.Tensor]: return [torch.add(x, x, alpha=2), x.sum(dim=[0], keepdim=True), "
        "torch.div(x, 2, rounding_mode='floor'), x.std(dim=0, unbiased=False), torch.sub(x, 1), 2 - x, 2 ** x]",
        (ROW,),
    ),
}


def ran(text: str, arguments: tuple[Any, ...]) -> tuple[Any, Any]:
    """What the interpreter under test returns, and what TorchScript returns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        unit = torch.jit.CompilationUnit(f"def f{text}\n")
        function = unit.f
        expected = function(*(value.copy() if isinstance(value, list | dict) else value for value in arguments))
    library = Library(frozenset())
    compile_all(library, [function])
    assert {node.kind() for node in nodes_of(function.graph)} <= OPERATIONS
    return library.programs[""]["f"].run(library.holder, *arguments), expected


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, torch.Tensor):
        return found.dtype == expected.dtype and torch.equal(found, expected)
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        return isinstance(found, float) and math.isclose(found, expected, rel_tol=1e-15)
    return type(found) is type(expected) and found == expected


@pytest.mark.parametrize("name", CASES)
def test_a_function_returns_what_torchscript_returns(name: str):
    found, expected = ran(*CASES[name])
    assert same(found, expected), (found, expected)


@pytest.mark.parametrize(("first", "second"), [(None, ROW), (3, ROW), (None, None)])
def test_optional_arguments_take_both_ways(first: int | None, second: torch.Tensor | None):
    found, expected = ran(CASES["optional"][0], (first, second))
    assert found == expected


@pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 9])
def test_early_returns_take_every_way(count: int):
    found, expected = ran(CASES["nested returns"][0], (count,))
    assert found == expected


def test_registers_are_free_after_their_last_use():
    text = "(x: torch.Tensor) -> torch.Tensor:\n    y = x + 1\n    z = y * 2\n    return z.sum() + 1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function = torch.jit.CompilationUnit(f"def f{text}\n").f
    library = Library(frozenset())
    compile_all(library, [function])
    program = library.programs[""]["f"]
    registers = list(program.registers)
    (source,) = program.block.arguments
    registers[source] = ROW
    program.block.run(registers)
    held = [index for index, value in enumerate(registers) if isinstance(value, torch.Tensor)]
    assert held == list(program.block.results)
