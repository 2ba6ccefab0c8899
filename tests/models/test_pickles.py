from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from lsa_audit.models import pickles
from lsa_audit.models.pickles import Contents, PickledCall, Storage, foreign_globals, scan
from lsa_audit.settings.limits import Limits

from ..hostile import archives, checkpoints


class Runs:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_names_are_listed_and_nothing_runs(tmp_path: Path, zipped: bool) -> None:
    target, path = tmp_path / "side-effect", tmp_path / "x.pt"
    state = {"weight": torch.zeros(2), "x": Runs(target)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    assert foreign_globals(path) == [f"{os.name}.mkdir"]
    assert not target.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_are_read_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    target, path = tmp_path / "side-effect", tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(Runs(target), protocol=protocol))
    assert foreign_globals(path) == [f"{os.name}.mkdir"]
    assert not target.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_state_dict_holds_nothing_foreign(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "x.pt"
    torch.save(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).state_dict(), path, _use_new_zipfile_serialization=zipped
    )
    assert foreign_globals(path) == []


def test_bytes_that_are_no_pickle_give_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(b"\x00\xff" * 40)
    assert foreign_globals(path) == []


def contents_of(folder: Path, content: bytes) -> Contents:
    return scan(archives.write(folder / "x.pt", {"archive/data.pkl": content}), Limits())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_calls_and_storages_are_those_that_loading_makes(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "x.pt"
    torch.save({"weight": torch.arange(6.0).view(2, 3)[:, 1:]}, path, _use_new_zipfile_serialization=zipped)
    contents = scan(path, Limits())
    (storage,) = contents.storages
    assert (storage.kind, storage.count) == ("torch.FloatStorage", 6)
    assert (contents.archive is not None) == zipped
    tensor = next(call for call in contents.calls if call.name == "torch._utils._rebuild_tensor_v2")
    assert tuple(tensor.arguments[:4]) == (storage, 1, (2, 2), (3, 1))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_module_names_its_classes(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "x.pt"
    torch.save(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), path, _use_new_zipfile_serialization=zipped)
    found = scan(path, Limits()).foreign
    assert {"torch.nn.modules.container.Sequential", "torch.nn.modules.conv.Conv2d"} <= set(found)
    assert not [name for name in found if "_rebuild" in name or "OrderedDict" in name]


OPCODES = {
    "reduce": (b"cos\nsystem\nX\x01\x00\x00\x00a\x85R.", ["os.system"]),
    "inst": (b"(X\x01\x00\x00\x00aios\nsystem\n.", ["os.system"]),
    "obj": (b"(cos\nsystem\nX\x01\x00\x00\x00ao.", ["os.system"]),
    "new object": (b"cos\nsystem\n)\x81.", ["os.system"]),
    "stack global": (b"\x8c\x02os\x8c\x06system\x93)R.", ["os.system"]),
    "from the memo": (b"cos\nsystem\nq\x000h\x00)R.", ["os.system"]),
    "twice": (b"cos\nsystem\n2)R)R.", ["a function that the pickle makes", "os.system"]),
    "extension": (b"\x82\x07)R.", ["copyreg extension 7"]),
    "a name that is only a value": (b"ctorch\nFloatStorage\n.", []),
    "a value that is called": (b"ctorch\nFloatTensor\nJ\xff\xff\xff\x7f\x85R.", ["torch.FloatTensor"]),
    "an object of a value": (b"(ctorch\nFloatTensor\nJ\xff\xff\xff\x7fo.", ["torch.FloatTensor"]),
    "an instance of a value": (b"(J\xff\xff\xff\x7fitorch\nFloatTensor\n.", ["torch.FloatTensor"]),
    "restricted torch allows it": (b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.", ["builtins.bytearray"]),
}


@pytest.mark.parametrize(("content", "names"), OPCODES.values(), ids=OPCODES)
def test_every_way_to_call_is_seen(tmp_path: Path, content: bytes, names: list[str]) -> None:
    contents = contents_of(tmp_path, b"\x80\x04" + content)
    assert contents.foreign == names
    assert contents.damage == ""


def test_a_call_by_a_function_of_torch_is_seen(tmp_path: Path) -> None:
    contents = scan(checkpoints.indirect_call(tmp_path), Limits())
    assert contents.foreign == [f"{os.name}.system"]
    assert contents.calls[-1] == PickledCall(f"{os.name}.system", (checkpoints.command(tmp_path),))


def test_a_tensor_that_is_filled_in_later_is_seen(tmp_path: Path) -> None:
    identity = b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06"
    state = b"(" + b"(" + identity + b"tQ" + b"K\x00K\x06\x85K\x01\x85t"
    contents = contents_of(tmp_path, b"\x80\x02ctorch\nTensor\n)\x81" + state + b"b.")
    storage = Storage("torch.FloatStorage", "0", 6)
    assert contents.storages == [storage]
    assert PickledCall("torch._utils._rebuild_tensor", (storage, 0, (6,), (1,))) in contents.calls


@pytest.mark.parametrize(
    "content",
    [b"", b"(", b"cos", b"h\x07.", b"R.", b"X\xff\xff\xff\xffa.", b")" + b"\x85" * 200 + b".", b"0."],
    ids=["empty", "no end", "cut name", "no memo", "empty stack", "cut text", "deep", "nothing to take"],
)
def test_damage_is_told_and_not_raised(tmp_path: Path, content: bytes) -> None:
    assert contents_of(tmp_path, b"\x80\x02" + content).damage


def test_endless_pickles_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "OPERATIONS", 1000)
    assert contents_of(tmp_path, b"\x80\x02" + b"N0" * 499 + b"N.").damage == ""
    assert "too many" in contents_of(tmp_path, b"\x80\x02" + b"N0" * 600 + b"N.").damage
