"""The network that an ONNX graph becomes: one small module for each node, run in the order of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from .operations import OPERATIONS
from .operations.base import Node, Value
from .operations.quantization import ROUNDS
from .operations.shapes import NUMERIC, run


@dataclass(frozen=True)
class Read:
    """An operand that an earlier step has made, by the file's name of the value."""

    name: str


@dataclass(frozen=True)
class Held:
    """An operand that is a parameter or buffer of the network, by its path."""

    path: str


@dataclass(frozen=True)
class StepCall:
    """One step with its operands.

    Attributes:
        operands: Read, Held, or a number, list of numbers or None as it is.
        outputs: names of the values that it makes.
        finished: names of the values that nothing reads any more.
    """

    step: str
    operands: tuple[Any, ...]
    outputs: tuple[str, ...]
    finished: tuple[str, ...]


class NodeStep(nn.Module):
    """One node of the graph. It holds no weights: they are operands, and the network holds them by their names."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node

    def forward(self, device: torch.device, *operands: Value) -> Value | tuple[Value, ...]:
        """Run the node; `device` is where a tensor made of numbers belongs."""
        kind = self.node.op_type
        tensors = [operand for operand in operands if isinstance(operand, Tensor)]
        if not tensors and kind in NUMERIC:
            return run(NUMERIC[kind], self.node, operands)
        operation = OPERATIONS[kind]
        ready = [
            _numbers(operand) if place in operation.numbers else _tensor(operand, tensors, device)
            for place, operand in enumerate(operands)
        ]
        made = {"device": device} if operation.makes else {}
        result: Value | tuple[Value, ...] = operation.run(self.node, *ready, **made)
        return result

    def extra_repr(self) -> str:
        """For `print(network)`."""
        return f"{self.node.op_type}, {self.node.name}"


def _numbers(operand: Value) -> Value:
    return operand.tolist() if isinstance(operand, Tensor) else operand


def _tensor(operand: Value, tensors: Sequence[Tensor], device: torch.device) -> Value:
    """A list as a tensor; a number too where no operand is a tensor, since torch takes it as it is elsewhere."""
    if operand is None or isinstance(operand, Tensor) or (tensors and not isinstance(operand, list)):
        return operand
    floats = next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)
    made = torch.tensor(operand, device=device)
    return made.to(floats) if made.is_floating_point() else made


class Network(nn.Module):
    """Images as the file takes them -> logits [N, K], both in float32.

    Attributes:
        layer_names: path of a step -> what the node is called.
        in_double: whether the graph computes in float64.
        batch: the only number of images that the graph takes; None takes any.
        stored_names: path of a parameter or buffer -> the file's name of the tensor that it was read from.
    """

    def __init__(self, input_name: str, output_name: str, in_double: bool = False) -> None:
        super().__init__()
        self.steps = nn.ModuleDict()
        self.plan: list[StepCall] = []
        self.layer_names: dict[str, str] = {}
        self.stored_names: dict[str, str] = {}
        self.input_name, self.output_name = input_name, output_name
        self.in_double = in_double
        self.batch: int | None = None

    def add(self, node: Node, call: StepCall) -> None:
        """Append a step."""
        self.steps[call.step] = NodeStep(node)
        self.layer_names[f"steps.{call.step}"] = node.name
        self.plan.append(call)

    def forward(self, images: Tensor) -> Tensor:
        """images [N, ...] -> logits [N, K].

        Raises:
            ValueError: the graph takes another number of images.
        """
        if self.batch is not None and len(images) != self.batch:
            raise ValueError(f"the graph takes {self.batch} images at a time, not {len(images)}")
        values: dict[str, Any] = {self.input_name: images.double() if self.in_double else images}
        for call in self.plan:
            self.run(call, values, images.device)
            for name in call.finished:
                values.pop(name, None)
        logits: Tensor = values[self.output_name]
        return logits if logits.dtype == images.dtype else logits.to(images.dtype)

    def run(self, call: StepCall, values: dict[str, Any], device: torch.device) -> None:
        """Run one step of the plan on the values by name, and add what it makes."""
        try:
            result = self.steps[call.step](device, *(self._operand(operand, values) for operand in call.operands))
        except Exception as error:
            error.add_note(f"{self.layer_names[f'steps.{call.step}']} ({call.step})")
            raise
        made = result if isinstance(result, tuple) else (result,)
        values.update(zip(call.outputs, made, strict=False))

    def kind(self, call: StepCall) -> str:
        """The operation of a step."""
        step = self.steps[call.step]
        return step.node.op_type if isinstance(step, NodeStep) else ""

    def rounding(self) -> tuple[str, ...]:
        """Names of the nodes whose gradient goes straight through a rounding."""
        nodes = [step.node for step in self.steps.values() if isinstance(step, NodeStep)]
        return tuple(node.name for node in nodes if node.op_type in ROUNDS)

    def _operand(self, operand: Any, values: dict[str, Any]) -> Any:
        if isinstance(operand, Read):
            return values[operand.name]
        return attrgetter(operand.path)(self) if isinstance(operand, Held) else operand
