"""Device, threads and deterministic kernels: chosen as asked, restored afterwards."""

from __future__ import annotations

import warnings

import pytest
import torch

from lsa_audit.device import runtime as module
from lsa_audit.device.runtime import (
    batch_size_on,
    batch_size_within,
    choose_threads,
    default_batch_size,
    kernels,
    runtime,
)
from lsa_audit.errors import UsageError


def settings() -> tuple[object, ...]:
    return (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        torch.utils.deterministic.fill_uninitialized_memory,
    )


@pytest.mark.parametrize("fails", [False, True])
def test_torch_is_deterministic_inside_and_as_before_outside(fails):
    before = settings()
    try:
        with runtime("cpu", 1) as place:
            environment = place.environment()
            assert environment.deterministic
            assert environment.threads == torch.get_num_threads() == 1
            assert not torch.backends.cuda.matmul.allow_tf32
            if fails:
                raise RuntimeError("inside")
    except RuntimeError:
        assert fails
    assert settings() == before


def test_kernels_that_are_not_deterministic_are_named_once():
    with runtime("cpu", None) as place:
        for _ in range(2):
            warnings.warn("upsample_backward does not have a deterministic implementation. More text.", stacklevel=1)
        notes = place.environment().notes
    assert notes == ("upsample_backward does not have a deterministic implementation",)


def test_auto_finds_a_device():
    with runtime("auto", None) as place:
        assert place.device.type in {"cpu", "cuda", "mps"}


@pytest.mark.parametrize("device", ["tpu", "cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match="use --device auto"), runtime(device, None):
        pass


@pytest.mark.parametrize(("together", "alone", "chosen"), [(1.0, 2.0, 2), (1.0, 0.8, 2), (1.0, 0.5, 1), (10.0, 1.0, 1)])
def test_one_thread_is_chosen_only_where_it_is_clearly_faster(monkeypatch, together, alone, chosen):
    before = torch.get_num_threads()
    monkeypatch.setattr(module, "_seconds", lambda workload: together if torch.get_num_threads() > 1 else alone)
    try:
        torch.set_num_threads(2)
        assert choose_threads(lambda: None) == chosen == torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("shape", "device", "expected"),
    [
        ((3, 32, 32), "cpu", 100),
        ((2,), "cpu", 100),
        ((3, 224, 224), "cpu", 16),
        ((3, 1024, 1024), "cpu", 8),
        ((3, 224, 224), "cuda", 100),
    ],
)
def test_large_images_go_in_smaller_batches_on_a_cpu(shape, device, expected):
    assert default_batch_size(shape, torch.device(device)) == expected


@pytest.mark.parametrize(
    ("free", "each", "expected"), [(2**40, 1.0, 1024), (2**30, 2**20, 512), (2**30, 3 * 2**20, 128), (2**20, 2**20, 8)]
)
def test_a_batch_takes_at_most_half_of_the_free_memory(free, each, expected):
    assert batch_size_within(free, each) == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_the_batch_fits():
    device = torch.device("cuda")
    module = torch.nn.Conv2d(3, 64, 3).to(device)
    size = batch_size_on(device, module, torch.rand(8, 3, 64, 64))
    assert 8 <= size <= 1024
    module(torch.rand(size, 3, 64, 64, device=device)).sum().backward()


@pytest.mark.parametrize("deterministic", [True, False])
def test_kernels_are_chosen_for_a_while(deterministic):
    def outcome():
        with runtime("cpu", None), kernels(deterministic=deterministic):
            assert torch.are_deterministic_algorithms_enabled() is deterministic
            raise ValueError

    before = torch.are_deterministic_algorithms_enabled()
    with pytest.raises(ValueError):  # noqa: PT011 - the one raised inside
        outcome()
    with runtime("cpu", None):
        with kernels(deterministic=deterministic):
            pass
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() is before
