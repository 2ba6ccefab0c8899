"""Finds the sigmoid, softmax, tanh ... that makes a network's outputs, and the logits in front of it.

Every call of torch in a forward is watched. An output is known by the tensor that it is, so an activation elsewhere in
the network (attention, gates) is never taken for the last one, and nothing of the network is changed. Under
`torch.export` the same happens while it traces. No value is read here: `deciding` holds what was found against values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from torch import Tensor
from torch.overrides import TorchFunctionMode

from .calls import (
    ACTIVATIONS,
    BEHIND_FACTORS,
    CASTS,
    CLIPPED,
    CLIPS,
    DIVISIONS,
    EXPANSIONS,
    JOINS,
    LOGARITHMS,
    POSITIVE,
    REDUCTIONS,
    SCALINGS,
    SHAPES,
    Activation,
)
from .squashing import RISES, SQUASHES, STEPS, Step, has_bounds, step_of

IN_PLACE = frozenset({"sigmoid_", *(name for name in SQUASHES if name.endswith("_"))})
RECENT = 64


class Peeled(NamedTuple):
    """What an activation has made, and the logits that went into it.

    Attributes:
        steps: what was done to each number since; with `squash`, the activation too.
        name: what the activation of a `squash` is called.
        shared: a number of each image's own was added to all its values since, or they were multiplied by one.
        plain: no step changes more than a scale, and nothing was added.
    """

    kind: Activation
    logits: Tensor
    steps: tuple[Step, ...] = ()
    name: str = ""
    shared: Literal["", "added", "scaled"] = ""
    plain: bool = True


class _Made(NamedTuple):
    """A recent result: the call that it goes back to, whether it is never below 0, and one number an image, and of what
    it is the absolute value, with what was added to that.
    """

    value: Tensor
    origin: str
    positive: bool
    one_an_image: bool
    size_of: tuple[Tensor, Any] | None = None


class Watch(TorchFunctionMode):
    """Watches the calls of one forward; `found` tells of a tensor what it was made of."""

    def __init__(self) -> None:
        super().__init__()
        # Each with the tensor that it is known by, so that no other takes its place in memory.
        self._found: dict[int, tuple[Tensor, Peeled]] = {}
        self._squashed: deque[int] = deque()
        self._constants: dict[int, tuple[Tensor, bool]] = {}
        self._recent: deque[_Made] = deque(maxlen=RECENT)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        name = _name(func)
        # A call in place leaves nothing of its operand.
        in_place = name in IN_PLACE or (name in SQUASHES and bool(named.get("inplace")))
        before = args[0].clone() if in_place and args and isinstance(args[0], Tensor) else None
        result = func(*args, **named)
        if isinstance(result, Tensor):
            args, named = _in_order(func, args, named)
            self._recent.append(self._made(name, args, named, result))
            if _is_single(result):
                constant = all(self._is_constant(value) for value in (*args, *named.values()))
                self._constants[id(result)] = (result, constant)
            self._note(name, func, args if before is None else (before, *args[1:]), named, result)
        return result

    def found(self, output: Tensor) -> Peeled | None:
        """What made this very tensor, where that is an activation with nothing behind it that changes an order."""
        known = self._found.get(id(output))
        return known[1] if known is not None and known[0] is output else None

    def maker(self, output: Tensor) -> str:
        """Name of the call that made this tensor; empty where it was not seen, or long ago."""
        made = self._last(output)
        return "" if made is None else made.origin

    def _last(self, value: Any) -> _Made | None:
        return next((made for made in reversed(self._recent) if made.value is value), None)

    def _made(self, name: str, args: Any, named: dict[str, Any], result: Tensor) -> _Made:
        """The call itself, or what made its operand where it only moves, casts or scales that."""
        operand = args[0] if args else named.get("input", named.get("self"))
        scaled = name in SCALINGS and _is_positive(_other(args[1:], named))
        moved = name in SHAPES or name in CASTS or name in EXPANSIONS or scaled
        origin, positive = name, name in POSITIVE
        one_an_image = all(isinstance(size, int) and size == 1 for size in result.shape[1:]) and result.dim() > 1
        if isinstance(operand, Tensor) and (moved or name in REDUCTIONS) and (last := self._last(operand)):
            origin = last.origin if moved else name
            positive |= last.positive and (name != "add" or _is_positive(_other(args[1:], named)))
            one_an_image |= last.one_an_image and name in EXPANSIONS
        return _Made(result, origin or name, positive, one_an_image, self._size_of(name, args, operand))

    def _size_of(self, name: str, args: Any, operand: Any) -> tuple[Tensor, Any] | None:
        if name == "abs" and isinstance(operand, Tensor):
            return operand, None
        if name != "add" or len(args) < 2:
            return None
        for value, other in (args[:2], args[1::-1]):
            made = self._last(value)
            if made is not None and made.origin == "abs":
                return (made.size_of[0], other) if made.size_of and self._is_constant(other) else None
        return None

    def _softsign(self, name: str, args: Any) -> Callable[..., Any] | None:
        """Where a value is divided by a number plus its own absolute value, that as one function of both."""
        made = self._last(args[1]) if name in DIVISIONS and len(args) == 2 else None
        if made is None or made.origin != "add" or made.size_of is None or made.size_of[0] is not args[0]:
            return None
        number = made.size_of[1]
        return lambda values: _softened(values, number)

    def _is_constant(self, value: Any) -> bool:
        """Whether a value is the same for all images: a number, a parameter or what was made of such alone."""
        if isinstance(value, list | tuple):
            return all(self._is_constant(entry) for entry in value)
        if not isinstance(value, Tensor):
            return True
        known = self._constants.get(id(value))
        return _is_single(value) and (known is None or known[0] is not value or known[1])

    def _note(self, name: str, func: Any, args: Any, named: dict[str, Any], result: Tensor) -> None:
        if name in JOINS:
            self._join(func, args, named, result)
            return
        operand = args[0] if args else None
        if not isinstance(operand, Tensor):
            if len(args) > 1 and isinstance(args[1], Tensor) and (entry := self.found(args[1])) is not None:
                self._pass_on(name, func, args, 1, named, entry, result)
            return
        entry = self.found(operand)
        if (softsign := self._softsign(name, args)) is not None:
            name, func, args, named = "softsign", softsign, args[:1], {}
        squash = SQUASHES.get(name, "") if has_bounds(name, args[1:], named) else ""
        if name in ACTIVATIONS:
            self._keep(result, Peeled(ACTIVATIONS[name], operand))
        elif (squash and (entry is None or squash != "clip")) or (name in RISES and entry is None):
            if result is not operand:
                steps = (step_of(func, args, 0, named),)
                self._keep(result, Peeled("squash", operand, steps, squash or RISES[name], plain=False))
        elif entry is not None:
            self._pass_on(name, func, args, 0, named, entry, result)
        elif len(args) > 1 and isinstance(args[1], Tensor) and (entry := self.found(args[1])) is not None:
            self._pass_on(name, func, args, 1, named, entry, result)

    def _keep(self, output: Tensor, entry: Peeled) -> None:
        self._found[id(output)] = (output, entry)
        if entry.kind == "squash":
            # There may be one behind every layer, and only those that end the network are asked for.
            self._squashed.append(id(output))
            if len(self._squashed) > RECENT:
                self._found.pop(self._squashed.popleft(), None)

    def _pass_on(
        self,
        name: str,
        func: Callable[..., Any],
        args: Any,
        place: int,
        named: dict[str, Any],
        entry: Peeled,
        output: Any,
    ) -> None:
        """A value made of an activation's: its logits, where the call leaves the order as it was."""
        rest = (*args[:place], *args[place + 1 :])
        others = {key: value for key, value in named.items() if key not in ("input", "self")}
        values = (*rest, *others.values())
        if place == 0 and name in SHAPES:
            if not any(isinstance(value, Tensor) for value in values):
                self._move(func, rest, others, entry, output)
        elif place == 0 and name in CASTS:
            self._keep(output, entry._replace(logits=entry.logits.to(output.device)))
        elif name == "normalize":
            self._keep(output, entry._replace(shared="scaled", plain=False))
        elif name in ("log", "log_") and entry.plain and entry.kind in LOGARITHMS:
            shared: Literal["", "added"] = "added" if entry.steps else ""
            self._keep(output, Peeled(LOGARITHMS[entry.kind], entry.logits, shared=shared))
        elif (
            name in ("rsub", "__rsub__", "sub")
            and entry.kind == "sigmoid"
            and not entry.steps
            and entry.plain
            and (_is_one(_other(rest, named)) and (place == 1 or name != "sub"))
        ):
            self._keep(output, Peeled("sigmoid", -entry.logits))
        elif all(self._is_constant(value) for value in values):
            self._step(name, func, args, place, named, entry, output)
        elif len(rest) == 1 and self._is_shared(rest[0], output) and not others:
            self._share(name, place, rest[0], entry, output)

    def _move(self, func: Callable[..., Any], rest: Any, others: dict[str, Any], entry: Peeled, output: Tensor) -> None:
        moved = func(entry.logits, *rest, **others)
        self._keep(output, entry._replace(logits=moved))
        inner = self.found(entry.logits)
        if inner is not None:
            self._move(func, rest, others, inner, moved)

    def _step(
        self,
        name: str,
        func: Callable[..., Any],
        args: Any,
        place: int,
        named: dict[str, Any],
        entry: Peeled,
        output: Any,
    ) -> None:
        """The same for each number, whatever the image and the class."""
        rest = (*args[:place], *args[place + 1 :])
        divides = place == 1 and name in DIVISIONS
        scales = name in SCALINGS and _is_positive(_other(rest, named)) and not divides
        wide = place == 0 and name in CLIPS and _is_wide(rest, named)
        if entry.shared:
            added = name in ("add", "sub") and place == 0
            if scales or wide or added or name in BEHIND_FACTORS:
                self._keep(output, entry._replace(plain=entry.plain and (scales or wide)))
            return
        if name in STEPS or name in CLIPS:
            steps = (*entry.steps, step_of(func, args, place, named))
            self._keep(output, entry._replace(steps=steps, plain=entry.plain and (scales or wide)))

    def _is_shared(self, value: Any, output: Tensor) -> bool:
        """Whether there is one number for all classes of an image."""
        made = self._last(value)
        return made is not None and made.one_an_image and made.value.dim() == output.dim()

    def _share(self, name: str, place: int, value: Tensor, entry: Peeled, output: Tensor) -> None:
        """Something of each image's own, added or multiplied."""
        made = self._last(value)
        positive = made is not None and made.positive
        if positive and name in SCALINGS and (place == 0 or name not in DIVISIONS):
            self._keep(output, entry._replace(shared="scaled", plain=False))
        elif (name in ("sub", "sub_") and place == 0) or name in ("add", "add_"):
            self._keep(output, entry._replace(shared=entry.shared or "added", plain=False))

    def _join(self, func: Callable[..., Any], args: Any, named: dict[str, Any], result: Tensor) -> None:
        """The same activation side by side."""
        parts = args[0] if args else named.get("tensors")
        if not isinstance(parts, list | tuple) or not all(isinstance(part, Tensor) for part in parts):
            return
        entries = [self.found(part) for part in parts]
        if all(entry is not None and entry.kind == "sigmoid" and entry.plain for entry in entries):
            others = {key: value for key, value in named.items() if key not in ("tensors", "out")}
            self._keep(
                result, Peeled("sigmoid", func([entry.logits for entry in entries if entry], *args[1:], **others))
            )


def _name(func: Any) -> str:
    schema = getattr(func, "_schema", None)
    name = schema.name.rpartition("::")[2] if schema is not None else getattr(func, "__name__", "")
    return str(name)


def _in_order(func: Any, args: Any, named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments by position as far as they go; exported programs and rebuilt scripts may pass all by name."""
    if args:
        return args, named
    schema = getattr(func, "_schema", None)
    names = ["input", "self"] if schema is None else [entry.name for entry in schema.arguments if not entry.kwarg_only]
    left = dict(named)
    found = []
    for name in names:
        if name in left:
            found.append(left.pop(name))
        elif schema is not None:
            break
    return tuple(found), left


def _softened(values: Tensor, number: Any) -> Tensor:
    return values / (values.abs() + (number.to(values) if isinstance(number, Tensor) else number))


def _is_single(value: Tensor) -> bool:
    """Whether a tensor is one number, whatever the batch."""
    return all(isinstance(size, int) and size == 1 for size in value.shape)


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
