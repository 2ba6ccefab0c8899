"""Makers of checkpoints that carry code, lie about sizes, or are no checkpoints: each writes one file.

A payload that runs makes the folder `canary` beside the file.
"""

from __future__ import annotations

import collections
import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from . import archives

CANARY = "canary"
LEGACY_HEAD = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


class Storage:
    """Pickles as torch pickles the storage of a tensor."""

    def __init__(self, key: str, count: int, kind: type = torch.FloatStorage) -> None:
        self.key, self.count, self.kind = key, count, kind


class Pickler(pickle.Pickler):
    legacy = False

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Storage):
            return None
        view = (None,) if self.legacy else ()
        return ("storage", value.kind, value.key, "cpu", value.count, *view)


def tensor(storage: Storage, size: Any, stride: Any, offset: int = 0) -> Calls:
    return Calls(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, collections.OrderedDict())


def zipped(payload: Any, path: Path, storages: dict[str, bytes] | None = None) -> Path:
    """A checkpoint in torch's zip format with any payload and any bytes in its storages."""
    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(payload)
    data = {f"archive/data/{key}": content for key, content in (storages or {}).items()}
    members = {"archive/data.pkl": stream.getvalue(), "archive/byteorder": b"little", **data, "archive/version": b"3\n"}
    return archives.write(path, members)


def legacy(payload: Any, path: Path, storages: dict[str, list[float]] | None = None) -> Path:
    """A checkpoint in the format before torch 1.6 with any payload and any floats in its storages."""
    storages = storages or {}
    with path.open("wb") as file:
        for value in LEGACY_HEAD:
            pickle.dump(value, file, protocol=2)
        pickler = Pickler(file, protocol=2)
        pickler.legacy = True
        pickler.dump(payload)
        pickle.dump(list(storages), file, protocol=2)
        for values in storages.values():
            file.write(struct.pack(f"<q{len(values)}f", len(values), *values))
    return path


def command(folder: Path) -> str:
    return f"mkdir {folder / CANARY}"


def system_call(folder: Path) -> Path:
    return zipped({"weight": Calls(os.system, command(folder))}, folder / "model.pth")


def legacy_system_call(folder: Path) -> Path:
    return legacy({"weight": Calls(os.system, command(folder))}, folder / "model.pth")


def plain_system_call(folder: Path) -> Path:
    (folder / "model.pkl").write_bytes(pickle.dumps(Calls(os.system, command(folder)), protocol=4))
    return folder / "model.pkl"


def evaluation(folder: Path) -> Path:
    code = f"__import__('os').mkdir({str(folder / CANARY)!r})"
    return zipped({"weight": Calls(eval, code)}, folder / "model.pth")


def indirect_call(folder: Path) -> Path:
    """A function of torch that may be called, and calls what it is given."""
    inner = (os.system, torch.Tensor, (command(folder),), {})
    return zipped({"weight": Calls(torch._tensor._rebuild_from_type_v2, *inner)}, folder / "model.pth")


def painted_name(folder: Path) -> Path:
    """A global whose name clears the terminal that it is printed on, and is long."""
    content = b"\x80\x02c\x1b[2Jevil\n" + b"run" * 9999 + b"\n)R."
    return archives.write(folder / "model.pth", {"archive/data.pkl": content, "archive/version": b"3\n"})


def allocation(folder: Path) -> Path:
    """torch's restricted unpickler lets this through, and it asks for as much memory as it likes."""
    return zipped({"weight": Calls(bytearray, 2**40)}, folder / "model.pth")


def whole_module(folder: Path) -> Path:
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), folder / "model.pth")
    return folder / "model.pth"


def stride_zero(folder: Path) -> Path:
    torch.save({"weight": torch.zeros(1).expand(10**10)}, folder / "model.pth")
    return folder / "model.pth"


def stride_zero_legacy(folder: Path) -> Path:
    state = {"weight": torch.zeros(1).expand(10**10)}
    torch.save(state, folder / "model.pth", _use_new_zipfile_serialization=False)
    return folder / "model.pth"


def huge_storage(folder: Path) -> Path:
    storage = Storage("0", 10**10)
    return zipped({"weight": tensor(storage, (10**10,), (1,))}, folder / "model.pth", {"0": bytes(24)})


def huge_storage_legacy(folder: Path) -> Path:
    storage = Storage("0", 10**10)
    return legacy({"weight": tensor(storage, (10**10,), (1,))}, folder / "model.pth", {"0": [0.0] * 6})


def beyond_its_storage(folder: Path) -> Path:
    return zipped({"weight": tensor(Storage("0", 6), (7,), (1,))}, folder / "model.pth", {"0": bytes(24)})


def size_of_another_kind(folder: Path) -> Path:
    return zipped({"weight": tensor(Storage("0", 6), [6], [1])}, folder / "model.pth", {"0": bytes(24)})


def missing_storage(folder: Path) -> Path:
    return zipped({"weight": tensor(Storage("7", 6), (6,), (1,))}, folder / "model.pth", {"0": bytes(24)})


def one_storage_twice(folder: Path) -> Path:
    payload = {"a": tensor(Storage("0", 1), (1,), (1,)), "b": tensor(Storage("0", 6), (6,), (1,))}
    return zipped(payload, folder / "model.pth", {"0": bytes(24)})


def many_expanded(folder: Path) -> Path:
    """None of them large, all together more than the limit."""
    storage = Storage("0", 1)
    payload = {f"weight{index}": tensor(storage, (4 * 2**20,), (0,)) for index in range(300)}
    return zipped(payload, folder / "model.pth", {"0": bytes(4)})


def deep_tuple(folder: Path) -> Path:
    """As a key of a dictionary it would overflow the stack of the interpreter."""
    content = b"\x80\x02})" + b"\x85" * 500_000 + b"K\x01s."
    return archives.write(folder / "model.pth", {"archive/data.pkl": content, "archive/version": b"3\n"})


def truncated_legacy(folder: Path) -> Path:
    state = {"weight": torch.zeros(200)}
    torch.save(state, folder / "model.pth", _use_new_zipfile_serialization=False)
    (folder / "model.pth").write_bytes((folder / "model.pth").read_bytes()[:-300])
    return folder / "model.pth"


def nan_weights(folder: Path) -> Path:
    torch.save({"weight": torch.full((2, 2), float("nan"))}, folder / "model.pth")
    return folder / "model.pth"


def safetensors(header: dict[str, Any], data: bytes = bytes(24)) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        text = json.dumps(header).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
        return folder / "model.safetensors"

    return make


def _entry(shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


safetensors_beyond = safetensors({"weight": _entry([10**10], 0, 4 * 10**10)})
safetensors_overlap = safetensors({"a": _entry([6], 0, 24), "b": _entry([3], 0, 12)})


def safetensors_header(folder: Path) -> Path:
    """A header that claims more bytes than the file has."""
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**39) + b'{"a":{}}')
    return folder / "model.safetensors"


def safetensors_truncated(folder: Path) -> Path:
    path = folder / "model.safetensors"
    save_file({"weight": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-50])
    return path
