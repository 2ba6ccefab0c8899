"""What an ONNX file ends in: the last activation is left out, the right output is taken; onnxruntime is the judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper
from torch import Tensor

from lsa_audit.errors import ModelError, UsageError
from lsa_audit.models import Model, ModelRequest, fit
from lsa_audit.models.onnx import load
from lsa_audit.models.onnx.black_box import BlackBox
from lsa_audit.models.outputs import UndecidedError

from .model_files import cnn, counting, ints, save, tensor, value

onnxruntime = pytest.importorskip("onnxruntime")

IMAGES = torch.rand((16, 1, 8, 8), generator=torch.Generator().manual_seed(3))


def ended(proto: ModelProto, *nodes: Any, outputs: Any = None, extra: Any = ()) -> ModelProto:
    """The graph with its logits renamed to `scored` and nodes behind them that make the output `out`."""
    for node in proto.graph.node:
        for place, name in enumerate(node.output):
            node.output[place] = "scored" if name == "logits" else name
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(extra)
    del proto.graph.output[:]
    proto.graph.output.extend(outputs or [value("out", ("n", 3))])
    return proto


def node(kind: str, *inputs: str, out: str = "out", domain: str = "", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), [out], name=f"/{kind}/{out}", domain=domain, **attributes)


def first_column() -> tuple[onnx.NodeProto, TensorProto]:
    """One column of the logits, [N, 1], as `column`, and the constant that it takes."""
    return node("Gather", "scored", "first", out="column", axis=1), ints("first", 1)


def loaded(proto: ModelProto, folder: Path, classes: int | None = None, **wishes: Any) -> Model:
    return fit(load(ModelRequest(str(save(proto, folder)), **wishes)), IMAGES, classes)


def runtime(proto: ModelProto, name: str) -> Tensor:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run([name], {"images": IMAGES.numpy()})[0])


def found(model: Model) -> Tensor:
    with torch.no_grad():
        return model.module(IMAGES)


ENDS: dict[str, tuple[str, Any]] = {
    "softmax": ("softmax", lambda: [node("Softmax", "scored")]),
    "log-softmax": ("log-softmax", lambda: [node("LogSoftmax", "scored", axis=1)]),
    "sigmoid": ("sigmoids", lambda: [node("Sigmoid", "scored")]),
    "behind a cast": ("softmax", lambda: [node("Softmax", "scored", out="p"), node("Cast", "p", to=TensorProto.FLOAT)]),
    "behind an identity": ("softmax", lambda: [node("Softmax", "scored", out="p"), node("Identity", "p")]),
    "behind a flatten": ("sigmoids", lambda: [node("Sigmoid", "scored", out="p"), node("Flatten", "p")]),
}


@pytest.mark.parametrize(("kind", "nodes"), ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("start", [cnn, counting], ids=["converted", "black box"])
def test_the_last_activation_is_left_out(kind, nodes, start, tmp_path):
    model = loaded(ended(start(), *nodes()), tmp_path)
    assert isinstance(model.module.network, BlackBox) == (start is counting)
    assert (model.outputs.kind, model.outputs.decided_by, model.outputs.logits) == (kind, "graph", "peeled")
    assert torch.allclose(found(model), runtime(cnn(), "logits"), atol=1e-5)


@pytest.mark.parametrize("start", [cnn, counting], ids=["converted", "black box"])
def test_one_sigmoid_decides_at_a_half(start, tmp_path):
    column, first = first_column()
    nodes = [column, node("Sub", "column", "half", out="z"), node("Sigmoid", "z")]
    middle = float(runtime(cnn(), "logits")[:, 1].median())
    half = onnx.numpy_helper.from_array(numpy.array([middle], "float32"), "half")
    proto = ended(start(), *nodes, outputs=[value("out", ("n", 1))], extra=[first, half])
    probabilities = runtime(proto, "out")[:, 0]
    assert 0 < int((probabilities > 0.5).sum()) < len(IMAGES)
    model = loaded(proto, tmp_path)
    assert (model.classes, model.outputs.columns, model.outputs.kind) == (2, 1, "sigmoids")
    assert torch.equal(found(model).argmax(1) == 1, probabilities > 0.5)
    assert torch.allclose(found(model).softmax(1)[:, 1], probabilities, atol=1e-6)


def test_a_squeezed_score_is_one_an_image(tmp_path):
    column, first = first_column()
    nodes = [column, node("Sigmoid", "column", out="p"), node("Squeeze", "p", "axes")]
    proto = ended(cnn(), *nodes, outputs=[value("out", ("n",))], extra=[first, ints("axes", 1)])
    model = loaded(proto, tmp_path)
    assert torch.allclose(found(model).softmax(1)[:, 1], runtime(proto, "out"), atol=1e-6)


@pytest.mark.parametrize("batch", ["n", 1, 2])
def test_dimensions_of_one_are_dropped(batch, tmp_path):
    nodes = [node("Unsqueeze", "scored", "axes", out="four"), node("Softmax", "four", axis=1)]
    output = [value("out", (batch, 3, 1, 1))]
    model = loaded(ended(cnn(batch), *nodes, outputs=output, extra=[ints("axes", 2, 3)]), tmp_path)
    assert torch.allclose(found(model), runtime(cnn(), "logits"), atol=1e-5)
    assert model.outputs.kind == "softmax"


def test_a_softmax_over_anything_else_stays(tmp_path):
    proto = ended(cnn(), node("Softmax", "scored", axis=0))
    model = fit(load(ModelRequest(str(save(proto, tmp_path)))), IMAGES[:2])
    assert model.outputs.logits != "peeled"


def test_scores_that_the_user_calls_logits_stay(tmp_path):
    proto = ended(cnn(), node("Softmax", "scored"))
    model = loaded(proto, tmp_path, outputs_are="logits")
    assert torch.allclose(found(model), runtime(proto, "out"), atol=1e-6)
    assert model.outputs.decided_by == "user"


def sklearn_like(zipped: bool = False) -> ModelProto:
    """A label and probabilities, as skl2onnx writes them."""
    nodes = [node("Softmax", "scored", out="probabilities"), node("ArgMax", "probabilities", out="label", axis=1)]
    label = value("label", ("n", 1), TensorProto.INT64)
    outputs = [label, value("probabilities", ("n", 3))]
    proto = ended(cnn(), *nodes, outputs=outputs)
    if zipped:
        keys = {"classlabels_int64s": [0, 1, 2]}
        proto.graph.node.append(node("ZipMap", "probabilities", out="zipped", domain="ai.onnx.ml", **keys))
        proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
        entry = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        listed = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, entry))
        proto.graph.output[1].CopyFrom(helper.make_value_info("zipped", listed))
    return proto


@pytest.mark.parametrize("zipped", [False, True], ids=["table", "dictionaries"])
def test_of_a_label_and_probabilities_the_logits_are_found(zipped, tmp_path):
    model = loaded(sklearn_like(zipped), tmp_path)
    assert torch.allclose(found(model), runtime(cnn(), "logits"), atol=1e-5)
    assert (model.outputs.output, model.outputs.others) == ("zipped" if zipped else "probabilities", ("label",))


def test_labels_alone_lead_to_the_scores_that_they_are_made_of(tmp_path):
    proto = ended(
        cnn(), node("ArgMax", "scored", axis=1, keepdims=0), outputs=[value("out", ("n",), TensorProto.INT64)]
    )
    model = loaded(proto, tmp_path)
    assert model.outputs.kind == "labels"
    assert torch.equal(found(model).argmax(1), runtime(proto, "out"))


def two() -> ModelProto:
    """Features [N, 144] and scores [N, 3], of which no name tells."""
    return ended(cnn(), node("Identity", "scored"), outputs=[value("f", ("n", 144)), value("out", ("n", 3))])


def test_the_output_is_told_by_the_classes_or_by_the_user(tmp_path):
    expected = runtime(cnn(), "logits")
    for classes, wishes, by in ((3, {}, "classes"), (None, {"logits": "out"}, "user"), (None, {"logits": "1"}, "user")):
        model = loaded(two(), tmp_path, classes, **wishes)
        assert torch.allclose(found(model), expected, atol=1e-5)
        assert (model.outputs.output, model.outputs.others, model.outputs.chosen_by) == ("out", ("f",), by)


def test_an_output_that_nothing_tells_is_asked_for(tmp_path):
    with pytest.raises(UndecidedError, match=r"f \[N, 144\], out \[N, 3\]; give --logits NAME or INDEX"):
        loaded(two(), tmp_path)
    with pytest.raises(UsageError, match=r"--logits g: net\.onnx has no such output"):
        loaded(two(), tmp_path, logits="g")


def test_a_map_of_scores_is_refused_by_its_shape(tmp_path):
    proto = ended(cnn(), outputs=[value("r", ("n", 4, 6, 6))])
    with pytest.raises(ModelError, match=r"no output of logits \[N, K\] \(r \[N, 4, 6, 6\]\)"):
        loaded(proto, tmp_path)


def test_masked_classes_never_win_and_the_file_agrees_with_its_conversion(tmp_path):
    mask = tensor("mask", 3)
    mask.raw_data = torch.tensor([0.0, -torch.inf, 0.0]).numpy().tobytes()
    proto = ended(cnn(), node("Add", "scored", "mask"), extra=[mask])
    model = loaded(proto, tmp_path)
    assert model.differentiable
    assert model.outputs.masked == (1,)
    assert torch.isfinite(found(model)).all()
    assert torch.equal(found(model).argmax(1), runtime(proto, "out").argmax(1))


def test_an_output_of_a_type_that_does_not_exist_is_named(tmp_path):
    proto = cnn()
    proto.graph.output[0].type.tensor_type.elem_type = 99
    with pytest.raises(ModelError, match="of unknown type 99"):
        load(ModelRequest(str(save(proto, tmp_path))))
