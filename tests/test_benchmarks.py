"""The comparison of the attacks runs without the peers, and goes on where it stopped."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import attacks


@pytest.fixture
def alone(monkeypatch):
    """No peer can be imported; the number of threads is as before afterwards."""
    for name in ("torchattacks", "foolbox", "art", "pyautoattack"):
        monkeypatch.setitem(sys.modules, name, None)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(folder: Path, rounds: int) -> list[dict]:
    assert attacks.main(["--only", "pgd", "--samples", "4", "--rounds", str(rounds), "--out", str(folder)]) == 0
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.usefixtures("alone")
def test_ours_and_the_floor_are_compared_where_peers_are_missing(tmp_path):
    first = run(tmp_path, 1)
    assert {line["contestant"] for line in first} == {"lsa-audit", "floor"}
    assert all(line["cpu_s"] > 0 and line["outside"] == 0 and line["right_before"] == 4 for line in first)
    page = (tmp_path / "README.md").read_text()
    assert "- foolbox (pgd): ModuleNotFoundError" in page
    assert "4 images, 4 right before; rounds: 1." in page

    more = run(tmp_path, 3)
    assert more[:2] == first
    assert [line["contestant"] for line in more] == ["lsa-audit", "floor", "floor", "lsa-audit", "lsa-audit", "floor"]
    assert "rounds: 3." in (tmp_path / "README.md").read_text()
    assert run(tmp_path, 2) == more


@pytest.mark.parametrize(
    ("epsilon", "moved", "robust", "outside"),
    [(0.1, 0.08, "00", 0), (0.1, 0.2, "10", 2), (1.0, 0.6, "10", 2)],
    ids=["inside", "outside the ball", "outside [0, 1]"],
)
def test_an_image_outside_the_ball_or_the_range_fools_nobody(epsilon, moved, robust, outside):
    layer = torch.nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0] * 4, [-1.0] * 4]))
        layer.bias.copy_(torch.tensor([-1.8, 1.8]))
    images = torch.full((2, 1, 2, 2), 0.5)
    scene = attacks.Scene(torch.nn.Sequential(torch.nn.Flatten(), layer), images, torch.tensor([0, 1]), epsilon)
    found = attacks._verdicts(scene, images - moved)
    assert found == {"right_before": 1, "robust": robust, "outside": outside}


def test_an_unknown_subject_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        attacks.main(["--only", "pgd,deepfool", "--out", str(tmp_path)])
    assert "no subject is named deepfool" in capsys.readouterr().err
