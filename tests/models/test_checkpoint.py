from __future__ import annotations

import argparse
import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lsa_audit.errors import AuditError, ExitCode, ModelError, UnsafeError
from lsa_audit.models.checkpoint import load_state_dict
from lsa_audit.models.restoring import apply, restore
from lsa_audit.settings.limits import Limits

from ..hostile import checkpoints


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def saved(payload: Any, path: Path, zipped: bool = True) -> Path:
    torch.save(payload, path, _use_new_zipfile_serialization=zipped)
    return path


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


WRAPPED: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "model": lambda state: {"model": state, "ema": {"other": torch.zeros(1)}, "optimizer": {"lr": 0.1}},
    "model_state_dict": lambda state: {"model_state_dict": state, "loss": 0.5},
    "net": lambda state: {"net": state, "acc": 91.2},
    "params": lambda state: {"params": state},
    "nested": lambda state: {"state_dict": {"model": state}},
    "DataParallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "compiled DataParallel": lambda state: {f"_orig_mod.module.{name}": value for name, value in state.items()},
    "NumPy scalar": lambda state: {"state_dict": state, "best": numpy.float64(0.9), "step": numpy.int64(3)},
    "parsed options": lambda state: {"state_dict": state, "args": argparse.Namespace(lr=0.1)},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_wrappers_and_prefixes_come_off(tmp_path: Path, wrap: Callable[[Any], Any], zipped: bool) -> None:
    state = small().state_dict()
    path = saved(wrap(state), tmp_path / "x.pth", zipped)
    loaded, digest = load_state_dict(path)
    assert same(loaded, state)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_safetensors(tmp_path: Path) -> None:
    state = small().state_dict()
    save_file(state, tmp_path / "x.safetensors")
    loaded, _ = load_state_dict(tmp_path / "x.safetensors")
    assert set(loaded) == set(state)
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_a_prefix_that_not_all_names_carry_stays(tmp_path: Path) -> None:
    state = {"module.a": torch.zeros(1), "head": torch.ones(1)}
    loaded, _ = load_state_dict(saved(state, tmp_path / "x.pt"))
    assert set(loaded) == {"module.a", "head"}


UNSAFE = {
    "module": (checkpoints.whole_module, r"torch\.nn\.modules\.linear\.Linear"),
    "call": (checkpoints.system_call, r"posix\.system|nt\.system"),
    "legacy call": (checkpoints.legacy_system_call, r"posix\.system|nt\.system"),
    "plain pickle": (checkpoints.plain_system_call, r"posix\.system|nt\.system"),
    "eval": (checkpoints.evaluation, r"builtins\.eval|__builtin__\.eval"),
    "call by another function": (checkpoints.indirect_call, r"posix\.system|nt\.system"),
    "allocation": (checkpoints.allocation, "bytearray"),
}


@pytest.mark.parametrize(("make", "named"), UNSAFE.values(), ids=UNSAFE)
def test_code_is_refused_and_never_runs(tmp_path: Path, make: Callable[[Path], Path], named: str) -> None:
    path = make(tmp_path)
    with pytest.raises(UnsafeError, match=named) as caught:
        load_state_dict(path)
    assert caught.value.exit_code == ExitCode.UNSAFE
    assert not (tmp_path / checkpoints.CANARY).exists()


@pytest.mark.parametrize("make", [checkpoints.system_call, checkpoints.legacy_system_call, checkpoints.evaluation])
def test_the_side_effect_would_show(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """The proof above is worth something only if loading without care does leave the folder behind."""
    torch.load(make(tmp_path), weights_only=False)
    assert (tmp_path / checkpoints.CANARY).exists()


def test_code_of_a_trusted_file_runs(tmp_path: Path) -> None:
    state = small().state_dict()
    path = saved({"state_dict": state, "options": Path("a")}, tmp_path / "x.pt")
    with pytest.raises(UnsafeError, match=r"pathlib\..*Path"):
        load_state_dict(path, trusts=lambda digest: False)
    loaded, digest = load_state_dict(path, trusts=lambda digest: len(digest) == 64)
    assert same(loaded, state)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert same(load_state_dict(saved(small(), path), trusts=lambda digest: True)[0], state)


def test_code_that_is_not_here_is_named(tmp_path: Path) -> None:
    path = saved(small(), tmp_path / "x.pt")
    content = path.read_bytes().replace(b"torch.nn.modules.container", b"torch.nn.modules.containes")
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"needs code that is not here: .*containes"):
        load_state_dict(path, trusts=lambda digest: True)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_the_content_decides_not_the_suffix(tmp_path: Path, zipped: bool) -> None:
    state = small().state_dict()
    save_file(state, tmp_path / "x.pt")
    assert set(load_state_dict(tmp_path / "x.pt")[0]) == set(state)
    assert same(load_state_dict(saved(state, tmp_path / "x.safetensors", zipped))[0], state)


def test_a_malformed_archive_is_unsafe(tmp_path: Path) -> None:
    with pytest.raises(UnsafeError, match="truncated"):
        load_state_dict(_cut(True, 0.6)(tmp_path))


def test_safetensors_keep_to_the_limits(tmp_path: Path) -> None:
    save_file(small().state_dict(), tmp_path / "x.safetensors")
    with pytest.raises(UnsafeError, match="above the limits"):
        load_state_dict(tmp_path / "x.safetensors", Limits(total_bytes=100))


def _broken(content: bytes, name: str = "x.pt") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def _cut(zipped: bool, keep: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = saved(small().state_dict(), folder / "x.pt", zipped)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
        return path

    return make


def _safetensors(name: str, keep: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        save_file(small().state_dict(), folder / name)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * keep)])
        return folder / name

    return make


def _scripted(folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(folder / "x.pt")
    return folder / "x.pt"


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "nothing.pt", "does not exist"),
    "folder": (lambda folder: folder, "is a folder"),
    "empty": (_broken(b""), "is empty"),
    "web page": (_broken(b"<!DOCTYPE html><html>404"), "is a web page"),
    "lfs pointer": (_broken(b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "text": (_broken(b"hello there, this is no checkpoint"), "is text"),
    "truncated legacy": (_cut(False, 0.9), "truncated|damaged"),
    "legacy head only": (_cut(False, 0.1), "truncated|damaged"),
    "truncated safetensors": (_safetensors("x.safetensors", 0.9), "truncated"),
    "TorchScript": (_scripted, "TorchScript archive"),
    "list": (lambda folder: saved([torch.zeros(1)], folder / "x.pt"), "holds a list"),
    "nothing inside": (lambda folder: saved({}, folder / "x.pt"), "holds no weights"),
    "no tensors": (lambda folder: saved({"epoch": 3, "lr": 0.1}, folder / "x.pt"), "no tensor under epoch, lr"),
}


@pytest.mark.parametrize(("make", "words"), BROKEN.values(), ids=BROKEN)
def test_broken_files_get_one_line(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        load_state_dict(make(tmp_path))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_apply_loads_everything() -> None:
    network, other = small(), {name: value + 1 for name, value in small().state_dict().items()}
    apply(network, other, "x.pt")
    assert same(dict(network.state_dict()), other)


def test_a_mismatch_lists_every_kind_and_leaves_the_network_alone() -> None:
    network = small()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = {name: value + 1 for name, value in before.items()}
    del state["1.bias"]
    state["0.weight"] = torch.zeros(9, 1, 3, 3)
    state |= {f"extra{index}": torch.zeros(1) for index in range(6)}
    with pytest.raises(ModelError) as caught:
        apply(network, state, "x.pt")
    text = str(caught.value)
    assert "1 missing (1.bias)" in text
    assert "6 unexpected (extra0, extra1, extra2, extra3 and 2 more)" in text
    assert "1 wrong size (0.weight (9, 1, 3, 3) for (2, 1, 3, 3))" in text
    assert "\n" not in text
    assert same(dict(network.state_dict()), before)


def test_old_files_may_lack_the_step_counter_of_batch_norm() -> None:
    network, state = small(), dict(small().state_dict())
    del state["1.num_batches_tracked"]
    apply(network, state, "x.pt")


def test_a_wrapped_network_takes_bare_names() -> None:
    network = nn.DataParallel(small())
    state = {name: value + 1 for name, value in small().state_dict().items()}
    apply(network, state, "x.pt")
    assert same(dict(network.module.state_dict()), state)


def test_a_mapping_that_holds_itself_is_refused(tmp_path: Path) -> None:
    state: dict[str, object] = {}
    state["state_dict"] = state
    with pytest.raises(ModelError, match="no tensor under state_dict"):
        load_state_dict(saved(state, tmp_path / "x.pt"))


def test_restore_says_where_the_weights_came_from(tmp_path: Path) -> None:
    path = saved(small().state_dict(), tmp_path / "x.pt")
    restored = restore(small(), path)
    assert restored.weights == "checkpoint x.pt"
    assert len(restored.sha256) == 64
    with pytest.raises(AuditError, match=r"x\.pt does not fit Linear"):
        restore(nn.Linear(2, 2), path)


@pytest.mark.realdata
def test_the_legacy_resnet20_file_loads(shared: Path) -> None:
    state, digest = load_state_dict(shared / "models/cifar_resnet20.th")
    assert "conv1.weight" in state
    assert state["linear.weight"].shape == (10, 64)
    assert len(digest) == 64


@pytest.mark.realdata
def test_a_real_torchscript_file_is_named_as_such(shared: Path) -> None:
    with pytest.raises(ModelError, match="TorchScript archive"):
        load_state_dict(shared / "models/cifar_resnet20_traced.pt")
