"""A real network, scanned and repaired from the command line; what comes out is a file that plain torch reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lsa_audit.__main__ import main

pytestmark = [pytest.mark.realdata, pytest.mark.slow, pytest.mark.timeout(1200)]

NETWORKS = Path(__file__).parent / "networks.py"


def test_the_adversarially_trained_mnist_net(shared, tmp_path):
    model = [str(shared / "models/mnist_cnn_a_adv.model"), "--arch", f"{NETWORKS}:mnist_cnn_a"]
    scan = ["--data", str(shared / "data/mnist/mnist_test.npz"), "--samples", "200", "--epsilon", "0.3"]
    rest = ["--attack", "pgd", "--noise", "none", "--neurons", "all", "--layers", "none"]
    assert main(["scan", *model, *scan, *rest, "--out", str(tmp_path / "run")]) == 0
    wishes = ["--attack", "pgd", "--samples", "400", "--out", str(tmp_path / "repaired")]
    assert main(["repair", *model, "--record", str(tmp_path / "run"), *wishes]) == 0
    found = json.loads((tmp_path / "repaired" / "repair.json").read_text())
    assert (found["choosing"]["samples"], found["judging"]["samples"]) == (133, 267)
    assert [layer["layer"] for layer in found["layers"]] == ["0", "2", "5"]
    assert [entry["reason"] for entry in found["skipped"]] == ["output-layer"]
    assert found["candidates"][0]["robust"]["value"] == pytest.approx(0.77, abs=0.08)
    if found["outcome"] == "nothing-chosen":
        assert not list((tmp_path / "repaired").glob("*.model"))
        return
    clean, pgd = found["changes"]
    assert clean["before"]["value"] == pytest.approx(0.96, abs=0.03)
    assert abs(pgd["difference"]) < 0.05
    before, after = (
        torch.load(path, weights_only=True)
        for path in (model[0], tmp_path / "repaired" / "mnist_cnn_a_adv-repaired.model")
    )
    scales = torch.tensor(found["layers"][0]["scales"])
    before, after = (content.get("state_dict", content) for content in (before, after))
    assert torch.allclose(after["0.weight"], before["0.weight"] * scales.view(-1, 1, 1, 1).float())
