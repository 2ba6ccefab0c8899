"""An ONNX file that only onnxruntime can run, as a network without gradients whose intermediate values can be read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

from onnx import NodeProto, TensorProto
from torch import Tensor

from ..base import Intermediate, Opaque
from .order import read_by
from .reading import OnnxFile
from .runtime import RuntimeProgram

SHAPE_ONLY = frozenset({"Shape", "Size", "ConstantOfShape", "EyeLike", "RandomNormalLike", "RandomUniformLike"})
STATISTICS = {
    "BatchNormalization": slice(3, 5),
    "QuantizeLinear": slice(1, 3),
    "DequantizeLinear": slice(1, 3),
}
"""Inputs that hold statistics and scales, not parameters."""
WEIGHT_TYPES = frozenset(
    {
        *(TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE),
        *(TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4),
    }
)


class BlackBox(Opaque):
    """Images as the file takes them -> logits, computed by onnxruntime on the CPU, without gradients."""

    def __init__(self, source: OnnxFile, because: tuple[str, ...]) -> None:
        """Args: operations, or another reason, for which nothing else can run the file.

        Raises:
            ModelError: onnxruntime is missing, or refuses the file.
        """
        super().__init__()
        self.because = because
        self.input_name = source.input_name
        self._output = source.output_name
        self._sessions = _Sessions(source)
        self.runtime = self._sessions.plain.name
        constants = _Constants(source)
        self.parameter_count = sum(constants.weights.values())
        self.weights_sha256 = _digest(source.proto.graph.initializer)
        self._known = tuple(_intermediates(source, constants))

    def forward(self, images: Tensor) -> Tensor:
        """images [N, ...] as the file takes them -> logits [N, K] on the device of the images."""
        return self.run_with(images, ())[0]

    def intermediates(self) -> tuple[Intermediate, ...]:
        """One for each node of the file whose value depends on the images, in the order of the file."""
        return self._known

    def run_with(self, images: Tensor, values: Iterable[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits, and the named intermediate values.

        Cost: one forward; the first run with another choice of values makes another session.
        """
        names = tuple(values)
        found = self._sessions.of(names)(images.detach().cpu())
        found = {name: value.to(images.device) for name, value in found.items()}
        return found[self._output], {name: found[name] for name in names}


class _Sessions:
    """The plain session and the one with the values that were asked for last; a file needs few kinds of run.

    An object of its own, so that whoever restores the module's attributes does not throw the sessions away.
    """

    def __init__(self, source: OnnxFile) -> None:
        self._source = source
        self.plain = RuntimeProgram(source)
        self._names: tuple[str, ...] = ()
        self._tapped = self.plain

    def of(self, names: tuple[str, ...]) -> RuntimeProgram:
        if not names:
            return self.plain
        if names != self._names:
            self._tapped, self._names = RuntimeProgram(self._source, extra=names), names
        return self._tapped


class _Constants:
    """Which values of a graph depend on the images, and which weights the others are made of."""

    def __init__(self, source: OnnxFile) -> None:
        graph = source.proto.graph
        self.weights = {
            tensor.name: math.prod(tensor.dims)
            for tensor in graph.initializer
            if tensor.dims and tensor.data_type in WEIGHT_TYPES
        }
        self._made_of = {name: (name,) for name in self.weights}
        self.dependent = {source.input_name}
        for node in graph.node:
            if node.op_type not in SHAPE_ONLY and any(name in self.dependent for name in read_by(node)):
                self.dependent.update(node.output)
            else:
                self._made_of.update(dict.fromkeys(node.output, self.of(node)))
        for node in graph.node:
            if node.op_type in STATISTICS:
                for name in node.input[STATISTICS[node.op_type]]:
                    self.weights.pop(name, None)

    def of(self, node: NodeProto) -> tuple[str, ...]:
        """Names of the weights that a node reads, directly or through operations on weights alone."""
        return tuple(dict.fromkeys(weight for name in read_by(node) for weight in self._made_of.get(name, ())))


def _intermediates(source: OnnxFile, constants: _Constants) -> Iterable[Intermediate]:
    left = dict(constants.weights)
    for index, node in enumerate(source.proto.graph.node):
        if not node.output or node.output[0] not in constants.dependent:
            continue
        operands = [name for name in node.input if name in constants.dependent]
        yield Intermediate(
            name=node.name or f"{node.op_type}_{index}",
            operation=node.op_type,
            value=node.output[0],
            operands=tuple(operands),
            # A weight that several nodes read belongs to the first.
            parameters=sum(left.pop(name, 0) for name in constants.of(node)),
        )


def _digest(tensors: Sequence[TensorProto]) -> str:
    digest = hashlib.sha256()
    for tensor in sorted(tensors, key=lambda tensor: tensor.name):
        digest.update(tensor.SerializeToString(deterministic=True))
    return digest.hexdigest()
