"""Small ONNX models for tests, and what onnxruntime makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from lsa_audit.models.onnx.importer import Imported, import_graph

FLOAT = TensorProto.FLOAT
IR_VERSION = 10


@dataclass(frozen=True)
class Case:
    """One operation on the images, then flattened to [N, K].

    Attributes:
        operands: constants by position; position 0 is the image unless `image` says otherwise. None leaves one out.
        outputs: how many the node has; the first is compared.
        attributes: of the node.
    """

    op_type: str
    shape: tuple[int, ...] = (3, 6, 7)
    operands: Sequence[Any] = ()
    opset: int = 17
    attributes: dict[str, Any] = field(default_factory=dict)
    image: int = 0
    outputs: int = 1
    scale: float = 1.0
    reference: bool = False

    def __str__(self) -> str:
        settings = ",".join(f"{key}={value}" for key, value in self.attributes.items())
        return f"{self.op_type}-{self.opset}-{settings}"[:80]


def floats(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> numpy.ndarray:
    """Seeded uniform float32."""
    return numpy.random.default_rng(seed).uniform(low, high, shape).astype(numpy.float32)


def ints(*values: int) -> numpy.ndarray:
    """A vector of int64."""
    return numpy.array(values, numpy.int64)


def node(op_type: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> onnx.NodeProto:
    """A node; its name is `/` and its first output."""
    name = attributes.pop("name", f"/{outputs[0]}")
    return helper.make_node(op_type, list(inputs), list(outputs), name=name, **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str | None],
    constants: dict[str, numpy.ndarray] | None = None,
    opset: int = 17,
    output: Sequence[int | str | None] = ("n", None),
    dtype: int = FLOAT,
) -> onnx.ModelProto:
    """A graph from `images` of the given shape, the batch included, to `logits`."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("images", dtype, shape)],
        [helper.make_tensor_value_info("logits", dtype, output)],
        [numpy_helper.from_array(values, name) for name, values in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)


def single(case: Case) -> onnx.ModelProto:
    """The model of a case."""
    constants, names = {}, []
    for place, values in enumerate(case.operands):
        if place == case.image:
            names.append("images")
        names.append("" if values is None else f"operand{place}")
        if values is not None:
            constants[f"operand{place}"] = values
    if case.image >= len(case.operands):
        names.append("images")
    outputs = ["made", *(f"other{place}" for place in range(1, case.outputs))]
    nodes = [
        node(case.op_type, names, outputs, **case.attributes),
        node("Cast", ["made"], ["number"], to=FLOAT),
        node("Flatten", ["number"], ["logits"], axis=1),
    ]
    return model(nodes, ["n", *case.shape], constants, case.opset)


def runtime(proto: onnx.ModelProto, images: Tensor) -> Tensor:
    """What onnxruntime returns for the images, without its own optimisations."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return torch.from_numpy(session.run(None, {name: images.numpy()})[0])


def reference(proto: onnx.ModelProto, images: Tensor) -> Tensor:
    """What the evaluator of the onnx package returns, for what onnxruntime does not have."""
    return torch.from_numpy(numpy.array(ReferenceEvaluator(proto).run(None, {"images": images.numpy()})[0]))


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Assert that two results are the same up to rounding, relative to the largest value."""
    assert found.shape == expected.shape
    finite = torch.isfinite(expected)
    assert torch.equal(found[~finite], expected[~finite])
    largest = float(expected[finite].abs().max()) if finite.any() else 0.0
    torch.testing.assert_close(found[finite], expected[finite], rtol=0, atol=tolerance * max(largest, 1e-3))


def check(case: Case) -> Imported:
    """Assert that a case is what onnxruntime makes of it, on batches of 1, 2 and 5."""
    proto = single(case)
    imported = import_graph(proto)
    assert imported.batch is None
    generator = torch.Generator().manual_seed(7)
    for count in (1, 2, 5):
        images = (torch.rand([count, *case.shape], generator=generator) * 2 - 1) * case.scale
        expected = reference(proto, images) if case.reference else runtime(proto, images)
        with torch.no_grad():
            close(imported.network(images), expected)
    return imported
