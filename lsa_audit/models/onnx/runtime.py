"""Runs an ONNX file in onnxruntime on the CPU, and compares a conversion of it with that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, ValueInfoProto
from torch import Tensor

from ...errors import ModelError
from ..parity import PARITY_TOLERANCE, relative_difference
from ..static_batch import filled_groups
from .reading import OnnxFile

HALF_TOLERANCE = 1e-2
STEP_TOLERANCE = 1 / 127
INSTALL_HINT = "pip install lsa-audit[onnx]"
SILENT = 4


class RuntimeProgram:
    """An ONNX file as onnxruntime runs it, on float32 images.

    Libraries with operations of other makers are never registered, so only onnxruntime's own code runs.
    """

    def __init__(self, source: OnnxFile, *, extra: Sequence[str] = (), exact: bool = False) -> None:
        """Args: names of further values to return; whether every node runs as written, nothing fused.

        Raises:
            ModelError: onnxruntime is not installed, or refuses the file.
        """
        try:
            import onnxruntime
        except ImportError:
            raise ModelError(f"no onnxruntime is installed to run {source.name}", INSTALL_HINT) from None
        if not source.compact:
            what = f"{source.name} has more than 2 GiB of weights, which onnxruntime does not take from memory"
            raise ModelError(what, "store them as float16, or load the original model")
        levels = onnxruntime.GraphOptimizationLevel
        options = onnxruntime.SessionOptions()
        options.log_severity_level = SILENT
        options.intra_op_num_threads = torch.get_num_threads()
        options.graph_optimization_level = levels.ORT_DISABLE_ALL if exact else levels.ORT_ENABLE_BASIC
        # Waiting threads that spin take the cores from torch's own.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        content = _with_outputs(source.proto, extra).SerializeToString()
        try:
            self._session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            what = f"onnxruntime refuses {source.name}: {_reason(error)}"
            raise ModelError(what, "export it again, with operations that onnxruntime knows") from error
        self.source = source
        self.name = f"onnxruntime {onnxruntime.__version__} on the CPU"
        self._names = list(dict.fromkeys((source.output_name, *extra)))

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """By name, the logits and the further values for images [N, ...] as the file takes them; floats are float32.

        A file that takes one batch size gets the images in groups of that size, the last one filled up with the last
        image; the results are joined along dimension 0, and what belongs to filled images is cut off there.

        Raises:
            RuntimeError: onnxruntime cannot run the file on these images.
        """
        batch, count = self.source.batch, len(images)
        if batch is None:
            return self._run(images)
        groups = filled_groups(images, batch)
        results = [self._run(group) for group in groups]
        joined = {name: torch.cat([result[name] for result in results]) for name in self._names}
        return {name: _cut(value, len(groups) * batch, count) for name, value in joined.items()}

    def _run(self, images: Tensor) -> dict[str, Tensor]:
        feed = {self.source.input_name: np.ascontiguousarray(images.numpy(), dtype=self.source.dtype)}
        try:
            values = self._session.run(self._names, feed)
        except Exception as error:
            raise RuntimeError(f"onnxruntime: {_reason(error)}") from error
        tensors = [torch.from_numpy(np.atleast_1d(value)) for value in values]
        floats = [tensor.float() if tensor.is_floating_point() else tensor for tensor in tensors]
        return dict(zip(self._names, floats, strict=True))


@dataclass(frozen=True)
class RuntimeComparison:
    """How far a conversion is from the file's own program.

    Attributes:
        reference: what it was compared with; None for nothing.
        parity: largest difference of logits, relative to the largest logit.
        detail: on which input, by which tolerance; or why there was no comparison, or why the conversion is not used.
        close: whether the conversion may be used.
    """

    reference: str | None
    parity: float | None
    detail: str
    close: bool


def compare(
    network: Callable[[Tensor], Tensor], program: RuntimeProgram, images: Tensor, *, rounds: bool
) -> RuntimeComparison:
    """Run a conversion and the file itself on the same images.

    The tolerance is 1e-4. A float16 file rounds every value to three digits where the conversion computes in float32:
    1e-2. Where values are rounded to 8 bits (`rounds`), the last bit of a float decides now and then between two
    neighbours, which moves on through the network: 1/127, one step of the largest logit, where 1e-4 is not met.

    Args:
        network: takes what the file takes, float32.
        images: [N >= 2, ...] as the file takes them; they go in as a batch of 1 and one of N, or in the file's own.

    Raises:
        ModelError: neither of the two runs on these images.
    """
    source = program.source
    batches = [images] if source.batch else [images[:1], images]
    expected, refusal = _logits(lambda part: program(part)[source.output_name], batches)
    found, failure = _logits(network, batches)
    if refusal and failure:
        what = f"{source.name} does not run on an input of shape {tuple(images.shape[1:])}: {refusal}"
        raise ModelError(what, "if the size is wrong, give --input-size CxHxW")
    if refusal:
        return RuntimeComparison(None, None, f"not compared: {refusal}", close=True)
    if failure:
        return RuntimeComparison(program.name, None, f"a conversion that does not run: {failure}", close=False)
    parity = max(relative_difference(*pair) for pair in zip(found, expected, strict=True))
    sizes = f"on random images in batches of {' and '.join(str(len(part)) for part in batches)}"
    if parity <= PARITY_TOLERANCE:
        return RuntimeComparison(program.name, parity, sizes, close=True)
    if rounds and parity <= STEP_TOLERANCE:
        detail = f"{sizes}; more than {PARITY_TOLERANCE:.0e}, as the file rounds to 8 bits: up to 1/127 is allowed"
        return RuntimeComparison(program.name, parity, detail, close=True)
    if source.half and parity <= HALF_TOLERANCE:
        detail = f"{sizes}; the file computes in float16, the conversion in float32: up to {HALF_TOLERANCE:.0e}"
        return RuntimeComparison(program.name, parity, detail, close=True)
    why = f"a conversion that differs by {parity:.1e} of the largest logit"
    return RuntimeComparison(program.name, parity, why, close=False)


def _logits(network: Callable[[Tensor], Tensor], batches: Sequence[Tensor]) -> tuple[list[Tensor], str]:
    """The logits of each batch, or why there are none."""
    try:
        with torch.no_grad():
            return [network(batch) for batch in batches], ""
    except Exception as error:  # noqa: BLE001 - whatever one of the two raises, the other may run
        return [], _reason(error)


def _with_outputs(proto: ModelProto, names: Sequence[str]) -> ModelProto:
    if not names:
        return proto
    widened = ModelProto()
    widened.CopyFrom(proto)
    known = {value.name for value in proto.graph.output}
    widened.graph.output.extend(ValueInfoProto(name=name) for name in names if name not in known)
    return widened


def _cut(value: Tensor, filled: int, count: int) -> Tensor:
    """Rows of the first `count` images; a value whose first dimension is not that of the images stays as it is."""
    rows, rest = divmod(len(value), filled)
    return value if rest or filled == count else value[: rows * count]


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return " ".join(lines[0].split())[:200] if lines else type(error).__name__
