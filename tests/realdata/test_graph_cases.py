"""Inputs on which an exported graph was not the model."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch

from lsa_audit.cli import app
from lsa_audit.progress import Silent
from lsa_audit.scanning.audit import audit, make_profile

pytestmark = pytest.mark.realdata
FAST = {"attacks": [{"name": "fgsm"}], "noises": [], "epsilon": [0.1], "gallery": 0}


@pytest.fixture
def cases(shared: Path) -> Path:
    folder = shared / "cases"
    if not folder.is_dir():
        pytest.skip("no cases beside the real data")
    return folder


def scanned(subject: Path | str, data: Path, **settings):
    profile = make_profile({"test": {**FAST, "data": str(data), **settings}})
    return audit(str(subject), profile, progress=Silent()).record


def test_a_static_gemm_is_the_layer_that_its_dynamic_twin_is(cases, shared):
    data = shared / "data" / "mnist" / "mnist_test.npz"
    records = [
        scanned(cases / "files" / f"gemm_{kind}.onnx", data, slice="0:20", labels="self")
        for kind in ("static", "dynamic")
    ]
    errors = [{entry.layer: entry.mean for entry in record.sustainability[0].layers} for record in records]
    assert errors[0] == pytest.approx(errors[1], rel=1e-4)
    assert errors[0]["/f/Gemm"] == pytest.approx(0.0215, abs=5e-4)
    tables = [[(layer.name, layer.output_shape) for layer in record.graph.layers] for record in records]
    assert tables[0] == tables[1]
    drops = [[entry.clean.margin_drop for table in record.neurons for entry in table.neurons] for record in records]
    assert numpy.allclose(*(numpy.array(entry, float) for entry in drops), rtol=1e-3, atol=1e-4, equal_nan=True)


def test_bfloat16_inside_a_forward_is_audited(cases):
    record = scanned(f"{cases}/nets/nets.py:autocast", cases / "data" / "digits8_test.npz", samples=40)
    plain = scanned(f"{cases}/nets/nets.py:plain", cases / "data" / "digits8_test.npz", samples=40)
    for found, expected in zip(record.sustainability[0].layers, plain.sustainability[0].layers, strict=True):
        assert found.mean == pytest.approx(expected.mean, rel=0.05)
    assert record.screening is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("quantised", "custom backward"),
        ("running_mean_by_count", "batch norms learn other statistics"),
        ("frozen_first", "left alone"),
    ],
)
def test_harden_trains_the_module_itself(cases, tmp_path, capsys, name, words):
    data = cases / "data"
    folder = tmp_path / "run"
    command = [
        "harden", f"{cases}/nets/nets.py:{name}", "--data", str(data / "digits8_train.npz"),
        "--test", str(data / "digits8_test.npz"), "--epsilon", ".1", "--epochs", "2", "--batch-size", "50",
        "--lr", ".02", "--out", str(folder), "--attack", "pgd",
    ]  # fmt: skip
    app(args=command, standalone_mode=False)
    said = "".join(capsys.readouterr())
    assert "own modules, not its exported graph" in said
    assert words in said
    (written,) = folder.glob("*.safetensors")
    from safetensors.torch import load_file

    after = load_file(written)
    before = torch.load(cases / "nets" / ("qcnn.pt" if name == "quantised" else "cnn.pt"), weights_only=True)
    moved = {key: float((after[key].float() - before[key].float()).abs().max()) for key in after}
    if name == "frozen_first":
        assert {key for key in moved if key.startswith("convfirst")} == {key for key in moved if "convfirst" in key}
        assert all(moved[key] == 0 for key in ("convfirst.weight", "convfirst.bias", "bn1.weight", "bn1.bias"))
    else:
        assert moved["convfirst.weight"] > 0.01
    assert moved["bn2.running_mean"] > 1e-3
