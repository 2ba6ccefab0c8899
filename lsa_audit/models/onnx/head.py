"""What an ONNX graph returns: which output holds the logits, and the sigmoid or softmax in front of it taken off.

The graph is cut where the logits are, so that the conversion, onnxruntime and black boxes all give logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, shape_inference

from ...errors import ModelError
from ..calls import Activation
from ..outputs import Choice, OutputCandidate, choose_or_wait, shown
from .tensors import type_name

FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})
STANDARD = frozenset({"", "ai.onnx"})
ACTIVATIONS: Mapping[str, Activation] = {"Sigmoid": "sigmoid", "Softmax": "softmax", "LogSoftmax": "log-softmax"}
SAME = frozenset({"Identity", "Cast", "Dropout", "QuantizeLinear", "DequantizeLinear"})
RESHAPES = frozenset({"Squeeze", "Unsqueeze", "Flatten", "Reshape"})
UNBOUNDED = frozenset({"Gemm", "Conv", "FusedGemm", "QGemm", "QLinearMatMul", "QLinearConv", "FusedConv"})
OPSET_WITH_LAST_AXIS = 13
FLATTENED = "lsa_audit_logits"


@dataclass(frozen=True)
class TakenOutput:
    """The output that is taken.

    Attributes:
        value: a tensor of the graph.
        undecided: all that it could be, where only the data can tell.
        argmax: the file returns labels; `value` is what their argmax reads.
    """

    value: ValueInfoProto
    choice: Choice
    classes: int | None
    undecided: tuple[OutputCandidate, ...] = ()
    argmax: bool = False


@dataclass(frozen=True)
class HeadCut:
    """What was taken off.

    Attributes:
        activation: None where nothing was.
        maker: `linear` where the output comes out of a layer without bounds, else the operation.
    """

    activation: Activation | None
    maker: str


def take_output(proto: ModelProto, file: str, wanted: str | None, classes: int | None) -> TakenOutput:
    """The output that holds the logits.

    Args:
        wanted: its name or index, as the user says.
        classes: as the user says.

    Raises:
        UsageError, ModelError: see `outputs.choose`; several that nothing tells apart come back as `undecided`.
    """
    makers = _makers(proto)
    values = [_plain(value, makers) for value in proto.graph.output]
    listed = [_candidate(value, shown.name) for value, shown in zip(values, proto.graph.output, strict=True)]
    by_name = {entry.name: (value, entry) for value, entry in zip(values, listed, strict=True)}
    labels = None if any(entry.able for entry in listed) or wanted is not None else _behind_argmax(proto, makers)
    if labels is not None:
        return TakenOutput(labels, Choice(), None, argmax=True)
    try:
        choice, undecided = choose_or_wait(listed, wanted, classes, file)
    except ModelError:
        raise ModelError(
            f"{file} has no output of logits [N, K] ({shown(listed)})", "a classifier returns one row an image"
        ) from None
    value, entry = by_name[choice.name]
    return TakenOutput(value, choice, entry.classes, undecided)


def cut_head(proto: ModelProto, keep: bool) -> HeadCut:
    """Let the graph end at its logits [N, K]: without a last sigmoid or softmax, and without dimensions of one.

    Args:
        proto: with one output; is changed.
        keep: leave the activation on.
    """
    (output,) = proto.graph.output
    makers = _makers(proto)
    last = makers.get(output.name)
    # Inference copies the whole file.
    looked = last is not None and last.op_type in {*ACTIVATIONS, *SAME, *RESHAPES}
    known = _inferred(proto) if looked else {}
    opset = next((entry.version for entry in proto.opset_import if entry.domain in STANDARD), 0)
    name, activation, flat = output.name, None, _rank(output) in (2, None)
    place, reshaped = name, False
    while (node := makers.get(place)) is not None and node.domain in STANDARD:
        if node.op_type in SAME | RESHAPES:
            reshaped |= node.op_type in RESHAPES
        elif (
            not keep
            and node.op_type in ACTIVATIONS
            and _over_classes(node, known, opset)
            and _may_share_rows(known.get(node.input[0]), output)
        ):
            name, activation = node.input[0], activation or ACTIVATIONS[node.op_type]
            flat = flat and not reshaped
        else:
            break
        place = node.input[0]
    kind = known[name].type.tensor_type.elem_type if name in known else output.type.tensor_type.elem_type
    if not flat:
        proto.graph.node.append(helper.make_node("Flatten", [name], [FLATTENED], name=FLATTENED, axis=1))
        name = FLATTENED
    if name != output.name:
        del proto.graph.output[:]
        proto.graph.output.append(helper.make_tensor_value_info(name, kind or TensorProto.FLOAT, None))
    return HeadCut(activation, _maker(proto, makers, place))


def _makers(proto: ModelProto) -> dict[str, NodeProto]:
    return {name: node for node in proto.graph.node for name in node.output if name}


def _plain(value: ValueInfoProto, makers: Mapping[str, NodeProto]) -> ValueInfoProto:
    """The value itself; of a list of dictionaries, as scikit-learn's converter writes it, the table behind it."""
    node = makers.get(value.name)
    if node is not None and node.op_type == "ZipMap" and node.input:
        return _table(node.input[0])
    return value


def _table(name: str) -> ValueInfoProto:
    """A value [N, K] of sizes that nobody states."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None])


def _behind_argmax(proto: ModelProto, makers: Mapping[str, NodeProto]) -> ValueInfoProto | None:
    """What the argmax reads that makes the only output."""
    if len(proto.graph.output) != 1:
        return None
    node = makers.get(proto.graph.output[0].name)
    while node is not None and node.op_type in SAME | RESHAPES:
        node = makers.get(node.input[0])
    if node is None or node.op_type != "ArgMax":
        return None
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    return _inferred(proto).get(node.input[0], _table(node.input[0])) if axis in (1, -1) else None


def _candidate(value: ValueInfoProto, name: str) -> OutputCandidate:
    if not value.type.HasField("tensor_type"):
        return OutputCandidate(name, "(no tensor)", None, able=not value.type.WhichOneof("value"))
    kind = value.type.tensor_type
    floats = kind.elem_type in (0, *FLOATS)
    if not kind.HasField("shape"):
        return OutputCandidate(name, "", None, floats)
    sizes = [dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim]
    texts = ["N", *("?" if size is None else str(size) for size in sizes[1:])]
    wide = [size for size in sizes[1:] if size != 1]
    able = floats and bool(sizes) and len(wide) <= 1
    what = "" if floats else f" of {type_name(kind.elem_type)}"
    return OutputCandidate(
        name, f"[{', '.join(texts[: len(sizes)])}]{what}", next(iter(wide), 1) if able else None, able
    )


def _inferred(proto: ModelProto) -> dict[str, ValueInfoProto]:
    """What is known of the shapes and types inside, as far as inference goes."""
    try:
        graph = shape_inference.infer_shapes(proto).graph
    except (shape_inference.InferenceError, ValueError, RuntimeError, onnx.onnx_cpp2py_export.checker.ValidationError):
        graph = proto.graph
    return {value.name: value for value in (*graph.value_info, *graph.output, *graph.input)}


def _rank(value: ValueInfoProto | None) -> int | None:
    if value is None or not value.type.tensor_type.HasField("shape"):
        return None
    return len(value.type.tensor_type.shape.dim)


def _may_share_rows(value: ValueInfoProto | None, output: ValueInfoProto) -> bool:
    """Whether a value can hold one row an image where the output does; a reshape between them may have mixed images."""
    shapes = [entry.type.tensor_type.shape.dim for entry in (value, output) if entry is not None and _rank(entry)]
    counts = [shape[0].dim_value for shape in shapes if shape[0].dim_value > 0]
    return len(set(counts)) < 2


def _over_classes(node: NodeProto, known: Mapping[str, ValueInfoProto], opset: int) -> bool:
    """Whether a softmax runs over the classes of an image, and nothing else."""
    if node.op_type == "Sigmoid":
        return True
    value = known.get(node.input[0], known.get(node.output[0]))
    default = -1 if opset >= OPSET_WITH_LAST_AXIS else 1
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), default)
    rank = _rank(value)
    if value is None or rank is None:
        return axis == 1
    wide = [dim for dim in value.type.tensor_type.shape.dim[1:] if dim.dim_value != 1]
    return axis % rank == 1 and len(wide) <= 1


def _maker(proto: ModelProto, makers: Mapping[str, NodeProto], name: str) -> str:
    node = makers.get(name)
    if node is None:
        return ""
    weights = {tensor.name for tensor in proto.graph.initializer}
    if node.op_type == "Add":
        product = [makers[entry] for entry in node.input if entry in makers and makers[entry].op_type == "MatMul"]
        return "linear" if product and any(entry in weights for entry in product[0].input) else "Add"
    unbounded = node.op_type in UNBOUNDED or (node.op_type == "MatMul" and any(_weighs(node, weights)))
    return "linear" if unbounded else node.op_type


def _weighs(node: NodeProto, weights: set[str]) -> Iterator[bool]:
    yield from (entry in weights for entry in node.input)
