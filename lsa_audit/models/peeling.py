"""Finds the sigmoid or softmax that makes a network's outputs, and the logits in front of it.

Every call of torch in a forward is watched. An output is known by the tensor that it is, so an activation elsewhere in
the network (attention, gates) is never taken for the last one, and nothing of the network is changed. Under
`torch.export` the same happens while it traces: the graph ends at the logits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Activation = Literal["sigmoid", "softmax", "log-sigmoid", "log-softmax", "argmax"]

ACTIVATIONS: dict[str, Activation] = {
    **dict.fromkeys(("sigmoid", "sigmoid_", "expit", "special_expit"), "sigmoid"),
    **dict.fromkeys(("softmax", "_softmax", "special_softmax"), "softmax"),
    **dict.fromkeys(("log_softmax", "_log_softmax", "special_log_softmax"), "log-softmax"),
    **dict.fromkeys(("logsigmoid", "log_sigmoid"), "log-sigmoid"),
    "argmax": "argmax",
}
"""By the name of the call, whether it is Python's or the operation's."""

SHAPES = frozenset(
    {
        *("squeeze", "squeeze_", "unsqueeze", "unsqueeze_", "flatten", "reshape", "_reshape_copy", "view", "view_copy"),
        *("_unsafe_view", "contiguous", "clone", "alias", "detach", "permute", "transpose", "t", "movedim", "moveaxis"),
        *("select", "slice", "narrow", "__getitem__", "getitem", "expand", "__get__"),
    }
)
"""Calls that only move entries: the same call on the logits gives the logits of what it returns."""

CASTS = frozenset({"to", "float", "double", "half", "bfloat16", "type", "type_as", "_to_copy", "cpu", "cuda"})
SCALINGS = frozenset({"mul", "mul_", "__mul__", "__rmul__", "multiply", "div", "div_", "__truediv__", "true_divide"})
CLIPS = frozenset({"clamp", "clip", "clamp_", "clip_", "clamp_min", "clamp_max"})
JOINS = frozenset({"cat", "concat", "concatenate", "hstack", "stack"})
LOGARITHMS: dict[Activation, Activation] = {"sigmoid": "log-sigmoid", "softmax": "log-softmax"}
CLIPPED = 1e-3
"""A clip of probabilities to [c, 1 - c] decides nothing for c up to this."""

LINEAR = frozenset({"linear", "addmm", "bilinear", "conv1d", "conv2d", "conv3d", "convolution", "_convolution"})
"""Calls whose results have no bounds: an output that one of them makes is a logit."""

RECENT = 64
TINY = 1e-30


class Found(NamedTuple):
    """An output that an activation has made, and the logits that went into it."""

    output: Tensor
    kind: Activation
    logits: Tensor


class Watch(TorchFunctionMode):
    """Watches the calls of one forward; `found` tells of a tensor what it was made of."""

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[int, Found] = {}
        self._recent: deque[tuple[Tensor, str]] = deque(maxlen=RECENT)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        name = _name(func)
        # A call in place leaves nothing of its operand.
        before = args[0].clone() if name == "sigmoid_" and isinstance(args[0], Tensor) else None
        result = func(*args, **named)
        if isinstance(result, Tensor):
            self._recent.append((result, self._origin(name, args, named)))
            self._note(name, func, args if before is None else (before, *args[1:]), named, result)
        return result

    def found(self, output: Tensor) -> Found | None:
        """What made this very tensor, where that is an activation with nothing behind it that changes an order."""
        entry = self._found.get(id(output))
        return entry if entry is not None and entry.output is output else None

    def maker(self, output: Tensor) -> str:
        """Name of the call that made this tensor; empty where it was not seen, or long ago."""
        return next((name for value, name in reversed(self._recent) if value is output), "")

    def _origin(self, name: str, args: Any, named: dict[str, Any]) -> str:
        """The call itself, or what made its operand where it only moves, casts or scales that."""
        operand = args[0] if args else named.get("input", named.get("self"))
        scaled = name in SCALINGS and _is_positive(_other(args[1:], named))
        if isinstance(operand, Tensor) and (name in SHAPES or name in CASTS or scaled):
            return self.maker(operand) or name
        return name

    def _note(self, name: str, func: Any, args: Any, named: dict[str, Any], result: Tensor) -> None:
        operand = args[0] if args else named.get("input", named.get("self"))
        if name in ACTIVATIONS and isinstance(operand, Tensor):
            self._keep(result, ACTIVATIONS[name], operand)
        elif name in JOINS:
            self._join(func, args, named, result)
        elif isinstance(operand, Tensor) and (entry := self.found(operand)) is not None:
            self._pass_on(name, func, args[1:], named, entry, result)
        elif name in SCALINGS and len(args) > 1 and isinstance(args[1], Tensor) and _is_positive(operand):
            entry = self.found(args[1])
            if entry is not None and "div" not in name:
                self._keep(result, entry.kind, entry.logits)

    def _keep(self, output: Tensor, kind: Activation, logits: Tensor) -> None:
        self._found[id(output)] = Found(output, kind, logits)

    def _pass_on(
        self, name: str, func: Callable[..., Any], rest: Any, named: dict[str, Any], entry: Found, result: Tensor
    ) -> None:
        """A value made of an activation's: its logits, where the call leaves the order as it was."""
        others = {key: value for key, value in named.items() if key not in ("input", "self")}
        if name in SHAPES and not any(isinstance(value, Tensor) for value in (*rest, *others.values())):
            moved = func(entry.logits, *rest, **others)
            self._keep(result, entry.kind, moved)
            inner = self.found(entry.logits)
            if inner is not None:
                self._pass_on(name, func, rest, named, inner, moved)
        elif name in CASTS:
            self._keep(result, entry.kind, entry.logits.to(result.device))
        elif name in ("log", "log_") and entry.kind in LOGARITHMS:
            self._keep(result, LOGARITHMS[entry.kind], entry.logits)
        elif (name in SCALINGS and _is_positive(_other(rest, named))) or (name in CLIPS and _is_wide(rest, named)):
            self._keep(result, entry.kind, entry.logits)
        elif name in ("rsub", "__rsub__") and entry.kind == "sigmoid" and _is_one(_other(rest, named)):
            self._keep(result, "sigmoid", -entry.logits)

    def _join(self, func: Callable[..., Any], args: Any, named: dict[str, Any], result: Tensor) -> None:
        """Sigmoids side by side."""
        parts = args[0] if args else named.get("tensors")
        if not isinstance(parts, list | tuple) or not all(isinstance(part, Tensor) for part in parts):
            return
        entries = [self.found(part) for part in parts]
        if all(entry is not None and entry.kind == "sigmoid" for entry in entries):
            others = {key: value for key, value in named.items() if key not in ("tensors", "out")}
            self._keep(result, "sigmoid", func([entry.logits for entry in entries if entry], *args[1:], **others))


def _name(func: Any) -> str:
    schema = getattr(func, "_schema", None)
    name = schema.name.rpartition("::")[2] if schema is not None else getattr(func, "__name__", "")
    return str(name)


def _other(rest: Sequence[Any], named: dict[str, Any]) -> Any:
    return rest[0] if rest else named.get("other")


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _is_one(value: Any) -> bool:
    return isinstance(value, int | float) and value == 1


def _is_wide(rest: Sequence[Any], named: dict[str, Any]) -> bool:
    """Whether a clip leaves probabilities apart that matter."""
    low, high = (*rest, None, None)[:2]
    low, high = named.get("min", low), named.get("max", high)
    numbers = [value for value in (low, high) if value is not None]
    if not all(isinstance(value, int | float) for value in numbers):
        return False
    return (low is None or low <= CLIPPED) and (high is None or high >= 1 - CLIPPED)


def agrees(kind: Activation, logits: Tensor, outputs: Tensor) -> bool:
    """Whether the activation really makes these outputs [N, K] of those logits, up to a positive factor.

    For a softmax the factor may differ from image to image, as it does where only some of its classes are returned.
    """
    if logits.shape != outputs.shape:
        return False
    tolerance = 1e-4 if outputs.dtype in (torch.float32, torch.float64) else 2e-2
    logits, outputs = logits.double(), outputs.double()
    if kind == "softmax":
        return logits.shape[1] > 1 and _near(outputs / outputs.sum(1, keepdim=True), logits.softmax(1), tolerance)
    if kind == "log-softmax":
        return logits.shape[1] > 1 and _near(outputs.log_softmax(1).exp(), logits.softmax(1), tolerance)
    made = logits.sigmoid() if kind == "sigmoid" else torch.nn.functional.logsigmoid(logits)
    factor = outputs.abs().sum() / made.abs().sum().clamp_min(TINY)
    return _near(outputs / factor.clamp_min(TINY), made, tolerance * max(1.0, float(made.abs().max())))


def _near(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    return bool(((found - expected).abs() <= tolerance).all())
