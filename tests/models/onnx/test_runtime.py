"""onnxruntime as the file's own program: batches, further values, and when a conversion counts as the same."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn
from torch.nn import functional

from lsa_audit.errors import ModelError
from lsa_audit.models.onnx.reading import OnnxFile, read
from lsa_audit.models.onnx.runtime import RuntimeProgram, compare
from lsa_audit.settings.limits import Limits

from .model_files import cnn, save

onnxruntime = pytest.importorskip("onnxruntime")


def source_of(proto, folder: Path) -> OnnxFile:
    return read(save(proto, folder), Limits())


def images(count: int) -> Tensor:
    return torch.rand((count, 1, 8, 8), generator=torch.Generator().manual_seed(1))


def eager(proto) -> nn.Module:
    """The network of `cnn` in torch."""
    weights = {entry.name: entry for entry in proto.graph.initializer}

    def read_out(name: str) -> Tensor:
        entry = weights[name]
        return torch.frombuffer(bytearray(entry.raw_data), dtype=torch.float32).reshape(tuple(entry.dims))

    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    network[0].weight.data, network[0].bias.data = read_out("conv.weight"), read_out("conv.bias")
    network[3].weight.data, network[3].bias.data = read_out("fc.weight"), read_out("fc.bias")
    return network


@pytest.mark.parametrize("exact", [False, True])
def test_a_program_gives_the_logits_and_further_values(tmp_path, exact):
    network = eager(cnn())
    found = RuntimeProgram(source_of(cnn(), tmp_path), extra=("r", "logits"), exact=exact)(images(5))
    assert list(found) == ["logits", "r"]
    with torch.no_grad():
        assert torch.allclose(found["logits"], network(images(5)), atol=1e-6)
        assert torch.allclose(found["r"], functional.relu(network[0](images(5))), atol=1e-6)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_a_fixed_batch_takes_any_number(tmp_path, batch, count):
    found = RuntimeProgram(source_of(cnn(batch), tmp_path), extra=("r",))(images(count))
    expected = RuntimeProgram(source_of(cnn(), tmp_path), extra=("r",))(images(count))
    for name in ("logits", "r"):
        assert found[name].shape == expected[name].shape
        assert torch.allclose(found[name], expected[name], atol=1e-6)


def test_half_precision_comes_back_as_float32(tmp_path):
    found = RuntimeProgram(source_of(cnn(kind=TensorProto.FLOAT16), tmp_path), extra=("r",))(images(2))
    assert {value.dtype for value in found.values()} == {torch.float32}


def test_what_onnxruntime_does_not_know_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"onnxruntime refuses net\.onnx: .*Frob"):
        RuntimeProgram(source_of(cnn(bend="Frob"), tmp_path))


def test_a_failing_run_is_one_line(tmp_path):
    with pytest.raises(RuntimeError) as raised:
        RuntimeProgram(source_of(cnn(), tmp_path))(torch.rand(2, 1, 9, 9))
    assert "\n" not in str(raised.value)


def test_without_onnxruntime_the_hint_says_what_to_install(tmp_path, monkeypatch):
    source = source_of(cnn(), tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        ModelError, match=r"no onnxruntime is installed to run net\.onnx; pip install lsa-audit\[onnx\]"
    ):
        RuntimeProgram(source)


def test_files_that_no_message_holds_are_refused(tmp_path):
    with pytest.raises(ModelError, match="more than 2 GiB"):
        RuntimeProgram(replace(source_of(cnn(), tmp_path), compact=False))


class Off(nn.Module):
    """A network whose first logit of the largest image is off by a share of the largest logit."""

    def __init__(self, share: float, expected: Tensor) -> None:
        super().__init__()
        self.network, self.shift = eager(cnn()), share * float(expected.abs().max())

    def forward(self, batch: Tensor) -> Tensor:
        logits = self.network(batch)
        return logits + self.shift * torch.eye(len(logits), 3)


@pytest.mark.parametrize(
    ("share", "rounds", "dtype", "close"),
    [
        (0.0, False, "float32", True),
        (5e-5, False, "float32", True),
        (2e-4, False, "float32", False),
        (2e-4, True, "float32", True),
        (7e-3, True, "float32", True),
        (9e-3, True, "float32", False),
        (2e-4, False, "float16", True),
        (2e-2, False, "float16", False),
        (float("nan"), True, "float16", False),
    ],
)
def test_how_far_a_conversion_may_be(tmp_path, share, rounds, dtype, close):
    kind = TensorProto.FLOAT16 if dtype == "float16" else TensorProto.FLOAT
    program = RuntimeProgram(source_of(cnn(kind=kind), tmp_path), exact=True)
    with torch.no_grad():
        network = Off(share, eager(cnn())(images(2)[:1]))
    compared = compare(network, program, images(2), rounds=rounds)
    assert compared.close is close
    assert compared.reference == f"onnxruntime {onnxruntime.__version__} on the CPU"
    if dtype == "float32":
        assert compared.parity == pytest.approx(share, rel=0.3, abs=1e-6)
    assert ("8 bits" in compared.detail) == (close and rounds and share > 1e-4)


@pytest.mark.parametrize("failing", [lambda batch: batch.view(-1, 7), lambda batch: batch[:0]])
def test_a_conversion_that_fails_is_not_used(tmp_path, failing):
    assert not compare(failing, RuntimeProgram(source_of(cnn(), tmp_path)), images(2), rounds=False).close


def test_an_input_that_the_file_cannot_take_is_the_users(tmp_path):
    with pytest.raises(ModelError, match=r"does not run on an input of shape \(1, 9, 9\)") as raised:
        compare(eager(cnn()), RuntimeProgram(source_of(cnn(), tmp_path)), torch.rand(2, 1, 9, 9), rounds=False)
    assert "--input-size" in raised.value.hint


def test_where_only_the_runtime_fails_the_conversion_stays(tmp_path):
    program = RuntimeProgram(source_of(cnn(), tmp_path))
    compared = compare(lambda batch: batch.flatten(1)[:, :3], program, torch.rand(2, 1, 9, 9), rounds=False)
    assert (compared.reference, compared.parity, compared.close) == (None, None, True)
    assert compared.detail.startswith("not compared: onnxruntime: ")
