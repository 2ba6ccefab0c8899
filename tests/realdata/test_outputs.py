"""Cases in which outputs were taken for logits that are none, or the wrong output was taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import nn

from lsa_audit.errors import UsageError
from lsa_audit.models import ModelRequest, fit, load
from lsa_audit.scanning.audit import scan

from .test_networks import NETWORKS

pytestmark = pytest.mark.realdata

NORMALISED: dict[str, Any] = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
QUICK: dict[str, Any] = {"noises": [], "neurons": "none", "probes": [], "layers": "none"}
FGSM: dict[str, Any] = {**QUICK, "attacks": [{"name": "fgsm"}], "epsilon": ["1/255"]}


class Binary(nn.Module):
    """p(class 1) of a network: the sigmoid of the difference of two of its logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.network(images)
        return torch.sigmoid(logits[:, 1:2] - logits[:, 0:1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_one_sigmoid_is_decided_at_a_half(shared: Path, kind: str, tmp_path: Path) -> None:
    cases, file = shared / "cases", shared / "cases/files/bin_sigmoid.onnx"
    if kind == "torchscript":
        request = ModelRequest(f"{NETWORKS}:resnet20", checkpoint=shared / "models/cifar_resnet20.th")
        network = Binary(load(request).module.network).eval()
        file = tmp_path / "bin.pt"
        torch.jit.trace(network, torch.rand(2, 3, 32, 32)).save(str(file))
    record = scan(str(file), str(cases / "data/bin.npz"), **NORMALISED, **FGSM)
    assert (record.clean.count, record.clean.total) == (79, 80)
    assert record.model.outputs is not None
    assert (record.model.outputs.kind, record.model.outputs.logits) == ("sigmoids", "peeled")


def test_ten_sigmoids_are_attacked_as_their_logits(shared: Path) -> None:
    settings: dict[str, Any] = {**QUICK, "attacks": [{"name": "pgd", "steps": 20}], "epsilon": [0.1]}
    nets, data = shared / "cases/nets/nets.py", str(shared / "cases/data/digits8_test.npz")
    sigmoids, logits = (scan(f"{nets}:{name}", data, **settings) for name in ("ten_sigmoids", "ten_logits"))
    assert sigmoids.attacks[0].robust_accuracy.count == logits.attacks[0].robust_accuracy.count
    assert sigmoids.attacks[0].robust_accuracy.count <= 62
    assert sigmoids.clean.count == logits.clean.count == 127


def test_features_are_not_taken_for_logits(shared: Path) -> None:
    file = str(shared / "cases/files/featfirst.pt")
    data = str(shared / "cases/data/c10_100.npz")
    images = torch.from_numpy(numpy.load(data)["images"]).movedim(3, 1).float() / 255
    mean, std = (torch.tensor(NORMALISED[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        expected = torch.jit.load(file)((images - mean) / std)[1]
    right = int((expected.argmax(1) == torch.from_numpy(numpy.load(data)["labels"])).sum())
    for named in ({}, {"logits": "1"}):
        record = scan(file, data, **NORMALISED, **FGSM, **named)
        assert (record.clean.count, record.model.classes) == (right, 10)
    with pytest.raises(UsageError, match="give --logits NAME or INDEX"):
        fit(load(ModelRequest(file)), images)


def test_outputs_of_other_shapes_and_names(shared: Path) -> None:
    files, images = shared / "cases/files", torch.rand((4, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    runtime = pytest.importorskip("onnxruntime")
    for file, name, wishes in (
        ("out_4d.onnx", "y", {}),
        ("logits_and_aux_logits.onnx", "logits", {}),
        ("logits_and_aux_logits.onnx", "aux_logits", {"logits": "aux_logits"}),
        ("logits_and_aux_logits.onnx", "aux_logits", {"logits": "0"}),
    ):
        session = runtime.InferenceSession(files / file, providers=["CPUExecutionProvider"])
        (expected,) = session.run([name], {"x": images.numpy()})
        model = fit(load(ModelRequest(str(files / file), **wishes)), images)
        with torch.no_grad():
            numpy.testing.assert_allclose(model.module(images).numpy(), expected.reshape(4, 10), atol=1e-5)
