from __future__ import annotations

from pathlib import Path

import numpy
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from lsa_audit.errors import ModelError
from lsa_audit.models import ModelRequest, load
from lsa_audit.models.saving import onnx as saving
from lsa_audit.models.saving import pack

from ..onnx import model_files as files
from .files import Written, changed, check_differs, check_same, scale, write


def images_of(count: int = 4) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(3))


def check_runtime(written: Written, images: Tensor, tolerance: float = 1e-5) -> None:
    """Assert that onnxruntime makes the same of the file."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(written.path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        expected = written.model.module(images)
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=tolerance)


def initialisers(path: Path) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("batch", ["n", 2])
def test_every_weight_comes_back(batch: int | str, tmp_path: Path):
    request = ModelRequest(str(files.save(files.cnn(batch), tmp_path)))
    images = images_of(2)
    written = changed(request, tmp_path)
    check_same(written, images)
    check_differs(written, request, images)
    check_runtime(written, images)


def test_only_the_changed_initialiser_changes(tmp_path: Path):
    proto = files.cnn()
    proto.doc_string = "as it was"
    request = ModelRequest(str(files.save(proto, tmp_path)))
    written = changed(request, tmp_path, "fc.weight")
    found = onnx.load(written.path)
    assert initialisers(written.path)["fc.weight"] != proto.graph.initializer[2]
    found.graph.initializer[2].CopyFrom(proto.graph.initializer[2])
    assert found == proto


def test_an_unchanged_model_is_the_same_file(tmp_path: Path):
    request = ModelRequest(str(files.save(files.cnn(), tmp_path)))
    assert pack(load(request), request).content == Path(request.spec).read_bytes()


def test_numbers_instead_of_bytes_come_back(tmp_path: Path):
    proto = files.cnn()
    values = numpy_helper.to_array(proto.graph.initializer[2])
    proto.graph.initializer[2].CopyFrom(
        helper.make_tensor("fc.weight", TensorProto.FLOAT, values.shape, values.ravel())
    )
    written = changed(ModelRequest(str(files.save(proto, tmp_path))), tmp_path)
    check_same(written, images_of())
    check_runtime(written, images_of())


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_half_precision_is_rounded_to_what_the_file_holds(kind: int, tmp_path: Path):
    proto = files.cnn()
    value = torch.from_numpy(numpy_helper.to_array(proto.graph.initializer[2]).copy())
    half = value.to(torch.float16 if kind == TensorProto.FLOAT16 else torch.bfloat16)
    stored = helper.make_tensor("short", kind, value.shape, half.view(torch.int16).numpy().tobytes(), raw=True)
    proto.graph.initializer[2].CopyFrom(stored)
    proto.graph.node.insert(0, helper.make_node("Cast", ["short"], ["fc.weight"], to=TensorProto.FLOAT))
    request = ModelRequest(str(files.save(proto, tmp_path)))
    written = changed(request, tmp_path)
    check_differs(written, request, images_of())
    wanted, found = (model.module.network.get_parameter("short") for model in (written.model, written.reloaded))
    assert torch.equal(found, wanted.to(half.dtype).float())
    assert initialisers(written.path)["short"].data_type == kind


def test_values_that_half_precision_cannot_hold_are_refused(tmp_path: Path):
    proto = files.cnn()
    proto.graph.initializer[2].CopyFrom(files.tensor("short", 3, 144, dtype="float16"))
    proto.graph.node.insert(0, helper.make_node("Cast", ["short"], ["fc.weight"], to=TensorProto.FLOAT))
    model = load(request := ModelRequest(str(files.save(proto, tmp_path))))
    with torch.no_grad():
        model.module.network.get_parameter("short").mul_(1e6)
    with pytest.raises(ModelError, match="holds short as float16, for which the new values are too large"):
        pack(model, request)


def test_weights_in_nodes_and_behind_other_names_come_back(tmp_path: Path):
    proto = files.cnn()
    weight, bias = proto.graph.initializer[2], proto.graph.initializer[3]
    nodes = [
        helper.make_node("Constant", [], ["fc.bias"], value=bias),
        helper.make_node("Identity", ["stored"], ["fc.weight"]),
    ]
    weight.name = "stored"
    del proto.graph.initializer[3]
    for node in nodes:
        proto.graph.node.insert(0, node)
    request = ModelRequest(str(files.save(proto, tmp_path)))
    written = changed(request, tmp_path)
    assert {"stored", "fc.bias"} <= written.model.module.network.state_dict().keys()
    check_same(written, images_of())
    check_runtime(written, images_of())


def test_external_data_are_taken_in(tmp_path: Path):
    proto = files.cnn()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "weights.bin").write_bytes(files.weight_bytes(proto))
    request = ModelRequest(str(files.save(files.with_external(proto, "weights.bin"), tmp_path / "in")))
    (tmp_path / "out").mkdir()
    written = write(load(request), request, tmp_path / "out")
    check_same(written, images_of())
    check_runtime(written, images_of())


@pytest.mark.parametrize(("more", "fits"), [(-1, False), (0, False), (1, True)])
def test_a_file_must_stay_below_what_protobuf_takes(more: int, fits: bool, tmp_path: Path, monkeypatch):
    request = ModelRequest(str(files.save(files.cnn(), tmp_path)))
    network = load(request)
    size = saving.settle(onnx.load(request.spec), Path(request.spec), request.limits)
    monkeypatch.setattr(saving, "PROTOBUF_BYTES", size + more)
    if fits:
        assert pack(network, request)
        return
    with pytest.raises(ModelError, match="do not fit into one file of 2 GiB"):
        pack(network, request)


def test_one_weight_for_a_scale_and_a_statistic_cannot_change(tmp_path: Path):
    proto = files.cnn()
    proto.graph.node[0].output[0] = "raw"
    nodes = [helper.make_node("BatchNormalization", ["raw", "ones", "conv.bias", "conv.bias", "ones"], ["c"])]
    proto.graph.node.insert(1, nodes[0])
    proto.graph.initializer.append(numpy_helper.from_array(numpy.ones(4, numpy.float32), "ones"))
    model = load(request := ModelRequest(str(files.save(proto, tmp_path))))
    scale(model, "ones")
    with pytest.raises(ModelError, match="in the same bytes as another weight"):
        pack(model, request)


def test_a_computed_weight_has_no_place(tmp_path: Path):
    proto = files.cnn()
    proto.graph.initializer[2].name = "short"
    proto.graph.initializer.append(numpy_helper.from_array(numpy.float32([2]), "two"))
    proto.graph.node.insert(0, helper.make_node("Mul", ["short", "two"], ["fc.weight"]))
    model = load(request := ModelRequest(str(files.save(proto, tmp_path))))
    scale(model, "fc.weight")
    with pytest.raises(ModelError, match=r"does not hold fc\.weight as a tensor of its own"):
        pack(model, request)


def test_a_quantised_weight_cannot_change(tmp_path: Path):
    proto = files.cnn()
    values = numpy.round(numpy_helper.to_array(proto.graph.initializer[2]) * 64).astype(numpy.int8)
    proto.graph.initializer[2].CopyFrom(numpy_helper.from_array(values, "small"))
    proto.graph.initializer.extend(
        [numpy_helper.from_array(numpy.float32(1 / 64), "step"), numpy_helper.from_array(numpy.int8(0), "zero")]
    )
    proto.graph.node.insert(0, helper.make_node("DequantizeLinear", ["small", "step", "zero"], ["fc.weight"]))
    model = load(request := ModelRequest(str(files.save(proto, tmp_path))))
    scale(model)
    with pytest.raises(ModelError, match="holds small quantised, as int8"):
        pack(model, request)


def test_a_black_box_cannot_change(tmp_path: Path):
    pytest.importorskip("onnxruntime")
    model = load(request := ModelRequest(str(files.save(files.counting(), tmp_path))))
    with pytest.raises(ModelError, match=r"runs in onnxruntime only .*NonZero"):
        pack(model, request)
