"""Two processes that share each batch do what one does with the whole of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lsa_audit.hardening.training.loop import CHECKPOINT_NAME, LOG_NAME

from . import trainings
from .trainings import SHARED, network, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def shared_batches(tmp_path_factory):
    """What two processes left, each for itself."""
    folder = tmp_path_factory.mktemp("together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, trainings.__file__, "share", str(folder)],
            env={**os.environ, **together, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=Path(__file__).parents[3],
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=800) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    return folder


@pytest.mark.parametrize("name", SHARED)
def test_the_losses_and_weights_are_those_of_one_process(name, shared_batches):
    settings, gammas = SHARED[name]
    alone, expected = run({"batch_size": 32, **settings}, gammas, own=network(norm=False, dropout=0.0))
    first, second = (torch.load(shared_batches / f"{name}-{rank}.pt") for rank in range(2))
    for value, other in zip(first["log"]["epochs"], second["log"]["epochs"], strict=True):
        timed = ("duration_s", "images_per_s")
        assert {key: value[key] for key in value if key not in timed} == {
            key: other[key] for key in other if key not in timed
        }
    for epoch, own in zip(first["log"]["epochs"], alone.epochs, strict=True):
        assert epoch["loss"] == pytest.approx(own.loss, abs=1e-5)
        assert epoch["penalty"] == pytest.approx(own.penalty, abs=1e-5)
        # The same images in the same order: as many of them are right.
        assert (epoch["step"], epoch["train_robust"]) == (own.step, own.train_robust)
        assert (epoch["clean"], epoch["robust"]) == (own.clean, own.robust)
    for key, value in expected.items():
        assert torch.equal(first["weights"][key], second["weights"][key])
        torch.testing.assert_close(first["weights"][key], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SHARED)
def test_only_the_first_process_writes(name, shared_batches):
    assert sorted(entry.name for entry in (shared_batches / f"{name}-0").iterdir()) == [CHECKPOINT_NAME, LOG_NAME]
    assert list((shared_batches / f"{name}-1").iterdir()) == []


def test_batch_norms_of_both_end_with_the_same_statistics(shared_batches):
    first, second = (torch.load(shared_batches / f"{trainings.NORMED}-{rank}.pt") for rank in range(2))
    assert first["log"]["epochs"][-1]["robust"] == second["log"]["epochs"][-1]["robust"]
    for key, value in first["weights"].items():
        assert torch.equal(second["weights"][key], value)
