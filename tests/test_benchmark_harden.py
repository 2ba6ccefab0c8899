"""The contestants of the training benchmark take the same steps, and the page holds what was measured."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from benchmarks import harden
from benchmarks import harden_contestants as contestants
from lsa_audit.device.runtime import runtime


class Small(nn.Module):
    """Two convolutions with the names that AT-LR acts on."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, stride=4)
        self.layer1 = nn.Sequential(nn.Sequential())
        self.layer1[0].add_module("conv1", nn.Conv2d(4, 4, 3, stride=2))
        self.head = nn.Linear(4 * 3 * 3, contestants.CLASSES)

    def forward(self, images):
        features = torch.relu(self.layer1(torch.relu(self.conv1(images))))
        return self.head(features.flatten(1))


@pytest.fixture
def scene():
    torch.manual_seed(0)
    with runtime("cpu", 1) as place:
        yield contestants.Scene(Small().eval(), contestants.dataset(12, 0), 4, place.device)


def test_the_watch_leaves_out_the_first_step():
    readings = iter([0.0, 10.0, 11.0, 13.0])
    watch = contestants.Stopwatch(lambda: next(readings))
    watch.advance(0)
    for _ in range(3):
        watch.advance(1)
    assert watch.steps == [1.0, 2.0]


@pytest.mark.slow
def test_every_contestant_times_the_same_steps_and_leaves_the_network_alone(scene):
    before = {name: value.clone() for name, value in scene.network.state_dict().items()}
    for contestant in (contestants.ours(), contestants.ours(contestants.EARLY), contestants.plain):
        seconds = contestant(scene)
        assert len(seconds) == 2
        assert min(seconds) > 0
    assert all(torch.equal(value, before[name]) for name, value in scene.network.state_dict().items())


@pytest.mark.slow
def test_speeds_are_images_a_second(scene):
    found = harden.speeds(scene, {"float32": {}, "bf16": {"precision": "bf16"}})
    assert list(found) == ["float32", "bf16"]
    assert all(speed > 0 for speeds in found.values() for speed in speeds.values())


def test_a_missing_peer_is_said_and_ours_must_run(scene, monkeypatch):
    monkeypatch.setitem(sys.modules, "art", None)
    monkeypatch.setattr(harden, "CONTESTANTS", {harden.PLAIN: contestants.plain, harden.ART: contestants.art})
    absent: dict[str, str] = {}
    assert list(harden._present(scene, absent)) == [harden.PLAIN]
    assert absent[harden.ART].startswith("ModuleNotFoundError")

    def broken(_):
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(harden, "CONTESTANTS", {harden.OURS: broken})
    with pytest.raises(RuntimeError, match="a bug of ours"):
        harden._present(scene, absent)


def test_the_order_turns(scene, monkeypatch):
    called: list[str] = []

    def contestant(name):
        return lambda _: called.append(name) or [1.0]

    present = {name: contestant(name) for name in "abc"}
    assert harden._round(scene, present, 1) == {"a": 1.0, "b": 1.0, "c": 1.0}
    assert called == ["b", "c", "a"]


@pytest.mark.parametrize(("slower", "met"), [(1.1, "met"), (1.3, "missed")])
def test_the_page_takes_ratios_within_rounds(slower, met):
    name = "lsa-audit PGD-7 + AT-LR, first two convolutions"
    rounds = [{harden.OURS: speed, name: slower * speed, harden.PLAIN: 2 * speed} for speed in (1.0, 3.0, 2.0)]
    found = {"batch_size": 64, "steps": 2, "processor": "a CPU", "absent": {harden.ART: "not there"}, "cpu_s": rounds}
    with runtime("cpu", 1) as place:
        environment = place.environment()
    text = harden.document({**found, "images_per_s": {"bf16": {"PGD-7": 1200.4, "with": 900.0}}}, environment)
    assert f"| {harden.PLAIN} | 4.000 (2.000 to 6.000) | 2.000 (2.000 to 2.000) | 1.000 (1.000 to 1.000) |" in text
    assert f"{name}: {slower:.2f} times {harden.OURS}; the goal of at most 1.2 is {met}." in text
    assert f"| {harden.ART} | takes no part: not there | | |" in text
    assert "| bf16 | 1200 | 900 |" in text
    assert "No CUDA device" in harden.document({**found, "images_per_s": None}, environment)


@pytest.mark.oracles
def test_art_takes_part(scene):
    pytest.importorskip("art")
    assert len(contestants.art(scene)) == 2
