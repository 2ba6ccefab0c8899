"""ONNX files as models: layouts, fixed batches, half precision, and that a wrong conversion is never used."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from lsa_audit.errors import ModelError, UnsafeError, UsageError
from lsa_audit.models import ModelRequest, fit
from lsa_audit.models.onnx import load
from lsa_audit.models.onnx.black_box import BlackBox
from lsa_audit.settings.limits import Limits

from .model_files import cnn, counting, linear, model, save, tensor

onnxruntime = pytest.importorskip("onnxruntime")


def request(proto: onnx.ModelProto, folder: Path, **asked: object) -> ModelRequest:
    return ModelRequest(str(save(proto, folder)), **asked)


def pixels(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(3))


def by_runtime(proto: onnx.ModelProto, taken: Tensor) -> Tensor:
    """The logits of the file, one run for each batch that it takes."""
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    size = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value or len(taken)
    parts = [session.run(None, {"images": part.numpy()})[0] for part in taken.split(size)]
    return torch.from_numpy(numpy.concatenate(parts))


def test_a_file_becomes_a_model_that_was_compared(tmp_path):
    found = load(request(cnn(), tmp_path))
    assert (found.name, found.source, found.weights, found.classes) == ("net.onnx", "onnx", "in the file", 3)
    assert found.architecture == "ONNX graph of 4 nodes"
    assert found.preprocessing.input_shape == (1, 8, 8)
    assert found.provenance == {
        "input size": "the file",
        "layout": "the input shape 1x8x8 of the file",
        "classes": "the file",
    }
    conversion = found.conversion
    assert (conversion.file, conversion.format) == ("net.onnx", "ONNX, opset 17, written by tests 1")
    assert conversion.reference == f"onnxruntime {onnxruntime.__version__} on the CPU"
    assert conversion.parity <= 1e-6
    assert conversion.parity_detail.startswith("on random images in batches of 1 and 2; 4 values inside differ by")
    assert found.differentiable
    assert found.reference is None
    assert not found.module.training


def test_the_network_has_weights_gradients_and_the_files_logits(tmp_path):
    module = load(request(cnn(), tmp_path, mean=(0.5,), std=(0.25,))).module
    images = pixels(5, 1, 8, 8).requires_grad_()
    logits = module(images)
    assert torch.allclose(logits, by_runtime(cnn(), ((images - 0.5) / 0.25).detach()), atol=1e-6)
    logits.sum().backward()
    assert images.grad.abs().sum() > 0
    assert {name for name, _ in module.network.named_parameters()} == {
        "conv.weight",
        "conv.bias",
        "fc.weight",
        "fc.bias",
    }


@pytest.mark.parametrize(
    ("shape", "size", "delivered"),
    [
        (("n", 64), 64, (1, 8, 8)),
        (("n", 64, 1), 64, (1, 8, 8)),
        (("n", 192), 192, (3, 8, 8)),
        (("n", 30), 30, (30,)),
        ((1, 64, 1), 64, (1, 8, 8)),
        (("n", 6, 5, 3), 90, (3, 6, 5)),
    ],
)
def test_layouts(tmp_path, shape, size, delivered):
    found = load(request(linear(shape, size), tmp_path))
    assert found.preprocessing.input_shape == delivered
    images = pixels(3, *delivered)
    turned = images.permute(0, 2, 3, 1) if len(shape) == 4 else images
    taken = turned.reshape(3, *shape[1:])
    with torch.no_grad():
        assert torch.allclose(found.module(images), by_runtime(linear(shape, size), taken), atol=1e-6)


@pytest.mark.parametrize("batch", [1, 4])
def test_fixed_batches(tmp_path, batch):
    found = load(request(cnn(batch), tmp_path))
    assert found.conversion.static_batch == batch
    assert found.conversion.parity <= 1e-6
    images = pixels(8, 1, 8, 8)
    for count in (1, 3, 8):
        with torch.no_grad():
            assert torch.allclose(found.module(images[:count]), by_runtime(cnn(), images[:count]), atol=1e-6)


def test_half_precision_runs_in_float32(tmp_path):
    proto = cnn(kind=TensorProto.FLOAT16)
    found = load(request(proto, tmp_path))
    assert all(parameter.dtype == torch.float32 for parameter in found.module.parameters())
    assert found.conversion.parity <= 1e-2
    expected = by_runtime(proto, pixels(2, 1, 8, 8).half()).float()
    with torch.no_grad():
        assert torch.allclose(found.module(pixels(2, 1, 8, 8)), expected, atol=1e-2)


def test_double_precision(tmp_path):
    nodes = [helper.make_node("MatMul", ["images", "w"], ["logits"], name="/MatMul")]
    proto = model(nodes, [tensor("w", 64, 3, dtype="float64")], ("n", 64), kind=TensorProto.DOUBLE)
    found = load(request(proto, tmp_path))
    expected = by_runtime(proto, pixels(2, 64).double()).float()
    with torch.no_grad():
        assert torch.allclose(found.module(pixels(2, 1, 8, 8).view(2, 1, 8, 8)).float(), expected, atol=1e-5)


def pooled() -> onnx.ModelProto:
    """conv -> global pool -> flatten -> gemm on images of any size."""
    nodes = [
        helper.make_node("Conv", ["images", "conv.weight"], ["c"], name="/Conv"),
        helper.make_node("GlobalAveragePool", ["c"], ["p"], name="/Pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="/Flatten"),
        helper.make_node("Gemm", ["f", "fc.weight"], ["logits"], name="/fc", transB=1),
    ]
    return model(nodes, [tensor("conv.weight", 4, 3, 3, 3), tensor("fc.weight", 3, 4)], ("n", 3, "h", "w"))


def test_where_the_size_is_open_the_first_run_compares(tmp_path):
    found = load(request(pooled(), tmp_path))
    assert (found.preprocessing.input_shape, found.conversion.parity) == (None, None)
    fitted = fit(found, pixels(2, 3, 12, 9))
    assert fitted.conversion.parity <= 1e-6
    assert fitted.conversion.parity_detail == "on 2 images"
    assert fitted.preprocessing.input_shape == (3, 12, 9)


def test_an_input_size_makes_the_comparison_at_once(tmp_path):
    found = load(request(pooled(), tmp_path, input_shape=(3, 12, 9)))
    assert found.conversion.parity <= 1e-6
    assert found.provenance["input size"] == "given by the user"


def quantised(shape=("n", 3, 8, 8)) -> onnx.ModelProto:
    """quantize -> dequantize -> conv -> global pool -> flatten -> gemm."""
    proto = pooled()
    for dim, size in zip(proto.graph.input[0].type.tensor_type.shape.dim[1:], shape[1:], strict=True):
        dim.Clear()
        if isinstance(size, int):
            dim.dim_value = size
    scale = numpy_helper.from_array(numpy.array(1 / 16, "float32"), "scale")
    proto.graph.initializer.extend([scale, numpy_helper.from_array(numpy.array(0, "uint8"), "zero")])
    proto.graph.node[0].input[0] = "d"
    proto.graph.node.insert(0, helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], name="/D"))
    proto.graph.node.insert(0, helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["q"], name="/Q"))
    return proto


def test_rounding_lets_gradients_through_and_says_so(tmp_path):
    found = load(request(quantised(), tmp_path))
    assert len(found.conversion.straight_through) == 1
    images = pixels(2, 3, 8, 8).requires_grad_()
    found.module(images).sum().backward()
    assert images.grad.abs().sum() > 0


def test_rounding_and_an_open_size_need_the_size(tmp_path):
    with pytest.raises(UsageError, match="--input-size"):
        load(request(quantised(("n", 3, None, None)), tmp_path))
    assert load(request(quantised(("n", 3, None, None)), tmp_path, input_shape=(3, 8, 8))).conversion.parity < 1e-6


def test_a_wrong_conversion_is_not_used(tmp_path, monkeypatch):
    from lsa_audit.models import onnx as loader

    def wrong(*arguments):
        imported = right(*arguments)
        with torch.no_grad():
            imported.network.get_parameter("fc.bias")[0] += 10
        return imported

    right = loader.import_graph
    monkeypatch.setattr(loader, "import_graph", wrong)
    found = load(request(cnn(), tmp_path))
    assert isinstance(found.module.network, BlackBox)
    assert not found.differentiable
    (reason,) = found.conversion.opaque
    assert "differs by" in reason
    with torch.no_grad():
        assert torch.allclose(found.module(pixels(3, 1, 8, 8)), by_runtime(cnn(), pixels(3, 1, 8, 8)), atol=1e-6)


def test_without_onnxruntime_nothing_is_compared(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    conversion = load(request(cnn(), tmp_path)).conversion
    assert (conversion.reference, conversion.parity) == (None, None)
    assert conversion.parity_detail.startswith("not compared: no onnxruntime is installed")
    assert conversion.parity_detail.endswith("pip install lsa-audit[onnx]")
    with pytest.raises(ModelError, match=r"ai\.onnx::NonZero.*pip install lsa-audit\[onnx\]"):
        load(request(counting(), tmp_path))


def test_a_runtime_that_refuses_the_file_does_not_stop_its_conversion(tmp_path, monkeypatch):
    def refuse(*arguments, **named):
        raise RuntimeError("opset 17 is too new\nand more")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    found = load(request(cnn(), tmp_path))
    assert found.differentiable
    assert found.conversion.parity is None
    assert "onnxruntime refuses net.onnx: opset 17 is too new" in found.conversion.parity_detail


def test_a_free_batch_that_is_none_runs_in_the_files_own(tmp_path):
    proto = linear(("n", 64), 64)
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(numpy.array([1, 64]), "to"))
    found = load(request(proto, tmp_path))
    assert found.conversion.static_batch == 1
    assert "in batches of 1;" in found.conversion.parity_detail
    with torch.no_grad():
        expected = [by_runtime(proto, image.view(1, 64)) for image in pixels(3, 1, 8, 8)]
        assert torch.allclose(found.module(pixels(3, 1, 8, 8)), torch.cat(expected), atol=1e-6)


def test_operations_that_nobody_knows_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"onnxruntime refuses net\.onnx.*Frob") as raised:
        load(request(cnn(bend="Frob"), tmp_path))
    assert "\n" not in str(raised.value)


def test_contradicting_options_are_refused(tmp_path):
    asked = request(cnn(), tmp_path)
    with pytest.raises(UsageError, match="--checkpoint"):
        load(replace(asked, checkpoint=Path("other.pt")))
    with pytest.raises(UsageError, match="takes 1x8x8 an image, not the input size 3x8x8"):
        load(replace(asked, input_shape=(3, 8, 8)))
    with pytest.raises(UnsafeError):
        load(replace(asked, limits=Limits(total_bytes=100)))


def test_loading_leaves_the_generators_alone(tmp_path):
    before = torch.get_rng_state(), numpy.random.get_state()[1].copy()
    load(request(cnn(), tmp_path))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (numpy.random.get_state()[1] == before[1]).all()
