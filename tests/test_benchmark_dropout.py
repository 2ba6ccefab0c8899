"""The contestants of the dropout benchmark drop the same channels, and its page counts all channels from a sample."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import dropout
from lsa_audit.graph.walker import walk
from tests.graph.networks import Residual, images_for, model_of, randomise


@pytest.fixture(scope="module")
def scene() -> dropout.Scene:
    torch.manual_seed(0)
    model = model_of(randomise(Residual()).requires_grad_(False))
    images = images_for(Residual, 4)
    with torch.no_grad():
        return dropout.Scene(model.module, walk(model, images), images, model.module(images).argmax(1))


def test_the_hook_and_the_engine_drop_the_same_channels(scene):
    tasks = dropout.choose(scene, None)
    assert [task.layer.info.name for task in tasks] == [
        "stem",
        "layers.0.conv1",
        "layers.0.conv2",
        "layers.1.conv1",
        "layers.1.conv2",
        "fc",
    ]
    assert [len(task.channels) for task in tasks] == [4, 4, 4, 4, 4, 5]
    for task in tasks:
        found, expected = dropout.ours(scene, task), dropout.naive(scene, task)
        error, flipped = dropout.difference(found.logits, expected.logits)
        assert (error <= 1e-5, flipped) == (True, 0), task.layer.info.name
    assert all(not module._forward_hooks for module in scene.module.modules())


def test_differences_are_told():
    expected = torch.tensor([[1.0, 2.0], [4.0, 3.0]])
    assert dropout.difference(expected + torch.tensor([[0.0, 0.0], [0.0, 1.2]]), expected) == (pytest.approx(0.3), 1)


def test_a_sample_stands_for_all_channels(scene):
    tasks = dropout.choose(scene, 2)
    assert {len(task.channels) for task in tasks} == {2}
    assert tasks == dropout.choose(scene, 2)
    logits = torch.ones(2, 4, 5)
    times = {"lsa-audit": dropout.Result(1.0, 2.0, logits), "naive hook": dropout.Result(0.0, 10.0, logits)}
    text = dropout.document(scene, tasks, [[times for _ in tasks]], {"lsa-audit": 3 * 2**20, "naive hook": None})
    # 25 channels in 6 layers: 6 * 1 + 25 * 2 seconds, and 25 * 10.
    assert "| lsa-audit | 56.0 | 1.00 (1.00 to 1.00) | 3 MiB |" in text
    assert "| naive hook | 250.0 | 4.46 (4.46 to 4.46) | - |" in text
    assert "| captum | not installed | - | - |" in text
    assert "12 of 25 channels in 6 layers" in text
    assert "differ by at most 0.0e+00 of an image's largest; 0 verdicts differ." in text


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no /proc")
def test_memory_that_work_takes_is_seen():
    held = 64 * 2**20
    assert 0.9 * held <= dropout.peak_growth(lambda: torch.ones(held // 4)) < 2 * held


def test_screening_measures_a_share_of_the_pairs(scene):
    tasks = dropout.choose(scene, None)
    whole, part = (dropout._screened(scene, tasks, share) for share in (1.0, 0.5))
    assert whole.measured == 1
    assert 0 < part.measured <= 0.5


def test_screening_stands_for_half_of_its_images(scene):
    tasks = dropout.choose(scene, 2)
    times = {"naive hook": dropout.Result(0.0, 10.0)}
    race = dropout.Screened(50.0, 0.2, frozenset({("stem", 1), ("fc", 0)}))
    exact = dropout.Screened(300.0, 1.0, frozenset({("stem", 1), ("stem", 2)}))
    text = dropout.screening_lines([race], exact, [[times for _ in tasks]], tasks, None)
    # 25 channels at 10 seconds, against 25 seconds.
    assert "20.0 % of the pairs measured: the naive hook takes 10.0x as long" in text
    assert "1 of 2 fragile channels found, 1 others called fragile." in text
