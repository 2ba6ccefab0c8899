"""Several processes on one job."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from lsa_audit.device.ranks import NEEDED, Ranks, ranks
from lsa_audit.errors import UsageError

CPU = torch.device("cpu")
TOGETHER = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}

PROCESS = """
import json, torch
from lsa_audit.device.ranks import ranks

with ranks(torch.device("cpu")) as mine:
    value = torch.tensor([0.1, 1.0 + mine.rank], dtype=torch.float64)
    seen = {
        "first": mine.first,
        "size": mine.size,
        "sum": mine.sum(value).tolist(),
        "mean": mine.mean(value).tolist(),
        "kept": value.tolist(),
        "shared": mine.share({"from": mine.rank}),
        "device": str(mine.device_of(torch.device("cpu"))),
    }
seen["open"] = torch.distributed.is_initialized()
print(json.dumps(seen))
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in NEEDED:
        monkeypatch.delenv(name, raising=False)


def test_alone_nothing_is_joined_and_nothing_changes():
    value = torch.ones(2)
    with ranks(CPU) as mine:
        assert mine == Ranks(rank=0, size=1)
        assert mine.first
        assert mine.mean(value) is value
        assert mine.sum(value) is value
        assert mine.share("x") == "x"
        assert mine.device_of(torch.device("cuda")) == torch.device("cuda")
        assert not torch.distributed.is_initialized()


def test_a_job_of_one_process_is_one_alone(monkeypatch):
    for name, value in {**TOGETHER, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with ranks(CPU) as mine:
        assert mine == Ranks()


@pytest.mark.slow
def test_two_processes_meet():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**os.environ, **TOGETHER, "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        seen = [json.loads(process.communicate(timeout=200)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for rank, one in enumerate(seen):
        assert one == {
            "first": rank == 0,
            "size": 2,
            "sum": [0.2, 3.0],
            "mean": [0.1, 1.5],
            "kept": [0.1, 1.0 + rank],
            "shared": {"from": 0},
            "device": "cpu",
            "open": False,
        }


@pytest.mark.parametrize("missing", NEEDED)
def test_an_incomplete_environment_is_named(missing, monkeypatch):
    for name in set(TOGETHER) - {missing}:
        monkeypatch.setenv(name, TOGETHER[name])
    with pytest.raises(UsageError, match=f"{missing} not set; start with `torchrun"), ranks(CPU):
        pass


def test_an_address_alone_is_not_torchruns(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with ranks(CPU) as mine:
        assert mine == Ranks()


@pytest.mark.parametrize(
    "wrong", [{"RANK": "2"}, {"RANK": "-1"}, {"WORLD_SIZE": "two"}, {"WORLD_SIZE": "0"}, {"RANK": "0"}]
)
def test_numbers_that_make_no_sense(wrong, monkeypatch):
    for name, value in {**TOGETHER, **wrong}.items():
        monkeypatch.setenv(name, value)
    name, value = next(iter(wrong.items()))
    with pytest.raises(UsageError, match=f"{name}={value}"), ranks(CPU):
        pass


def test_a_device_that_processes_cannot_share(monkeypatch):
    for name, value in TOGETHER.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="2 processes cannot share mps"), ranks(torch.device("mps")):
        pass


def test_each_process_needs_a_gpu(monkeypatch):
    for name, value in TOGETHER.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="process 1 of this machine has no GPU of its own: there are 1"):
        ranks(torch.device("cuda")).__enter__()


def test_the_gpu_of_a_process_is_the_one_of_its_number_on_the_machine():
    assert Ranks(rank=5, size=8, local=1).device_of(torch.device("cuda")) == torch.device("cuda", 1)
    assert Ranks(rank=5, size=8, local=1).device_of(CPU) == CPU


def test_others_that_cannot_be_reached(monkeypatch):
    def refused(*_arguments, **_options):
        raise torch.distributed.DistNetworkError("cannot listen\nat length")

    for name, value in TOGETHER.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.distributed, "init_process_group", refused)
    with pytest.raises(UsageError, match="process 1 of 2 could not join the others: cannot listen; start"), ranks(CPU):
        pass
