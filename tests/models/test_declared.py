from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.errors import UnsafeError
from lsa_audit.models.checkpoint import load_state_dict
from lsa_audit.models.declared import check_declared
from lsa_audit.models.pickles import scan
from lsa_audit.settings.limits import Limits

from ..hostile import checkpoints
from ..hostile.checkpoints import Calls, Storage, tensor, zipped

LIES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "stride 0": (checkpoints.stride_zero, r"\(10000000000,\) of 40000000000 bytes in a storage of 4"),
    "stride 0, legacy": (checkpoints.stride_zero_legacy, "of 40000000000 bytes in a storage of 4"),
    "huge storage": (checkpoints.huge_storage, "claims 40000000000 bytes in data/0, which has 24"),
    "huge storage, legacy": (checkpoints.huge_storage_legacy, "more than the whole file has"),
    "beyond its storage": (checkpoints.beyond_its_storage, "reaches beyond its storage of 24 bytes"),
    "size in a list": (checkpoints.size_of_another_kind, "of a size that is no number"),
    "missing storage": (checkpoints.missing_storage, "lacks the member data/7"),
    "one storage in two sizes": (checkpoints.one_storage_twice, "storage 0 in two ways"),
    "many": (checkpoints.many_expanded, "above the limits: tensors of 5033164800 bytes"),
}


@pytest.mark.parametrize(("make", "words"), LIES.values(), ids=LIES)
def test_sizes_that_the_file_does_not_back_are_refused(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    with pytest.raises(UnsafeError, match=words) as caught:
        load_state_dict(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_numpy_values_are_numbers(tmp_path: Path) -> None:
    import numpy

    path = zipped({"x": Calls(numpy.dtype, "V2000000000")}, tmp_path / "x.pt")
    with pytest.raises(UnsafeError, match="NumPy value that is not a number"):
        load_state_dict(path)


def test_a_negative_stride_or_offset_is_refused(tmp_path: Path) -> None:
    for wrong in (tensor(Storage("0", 6), (6,), (-1,)), tensor(Storage("0", 6), (2,), (1,), offset=-1)):
        path = zipped({"weight": wrong}, tmp_path / "x.pt", {"0": bytes(24)})
        with pytest.raises(UnsafeError, match="no number"):
            load_state_dict(path)


def test_the_form_that_is_patched_loads_when_it_is_honest(tmp_path: Path) -> None:
    path = zipped({"weight": tensor(Storage("0", 6), (2, 2), (3, 1), 1)}, tmp_path / "x.pt", {"0": bytes(24)})
    assert load_state_dict(path)[0]["weight"].shape == (2, 2)
    path = checkpoints.legacy({"weight": tensor(Storage("0", 6), (6,), (1,))}, path, {"0": [1.0] * 6})
    assert load_state_dict(path)[0]["weight"].tolist() == [1.0] * 6


TYPES = ("float64", "float16", "bfloat16", "int64", "int8", "bool", "complex64")
NEW_TYPES = ("uint16", "float8_e4m3fn")

HONEST: dict[str, Callable[[Tensor], dict[str, Tensor]]] = {
    "views of one storage": lambda base: {"a": base[:4], "b": base.view(4, 6).T, "c": base[5], "whole": base},
    "small expanded": lambda base: {"mask": base[:1].expand(100, 100)},
    "empty": lambda base: {"nothing": torch.zeros(0, 3), "scalar": torch.tensor(2)},
    "types": lambda base: {name: base.to(getattr(torch, name)) for name in TYPES},
    "new types": lambda base: {name: base.to(getattr(torch, name)) for name in NEW_TYPES},
    "parameters": lambda base: dict(nn.Conv2d(1, 2, 3).named_parameters()),
    "channels last": lambda base: {"weight": base.view(1, 2, 3, 4).to(memory_format=torch.channels_last)},
    "quantised": lambda base: {"weight": torch.quantize_per_tensor(base, 0.1, 0, torch.qint8)},
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", HONEST)
def test_what_torch_saves_passes(tmp_path: Path, name: str, zipped: bool) -> None:
    if name == "new types" and not zipped:
        pytest.skip("torch itself cannot read them in this format")
    path = tmp_path / "x.pt"
    state = HONEST[name](torch.arange(24.0))
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    contents = scan(path, Limits())
    assert contents.foreign == []
    assert contents.damage == ""
    assert len(contents.calls) >= len(state)
    check_declared(contents, path, Limits())
    loaded, _ = load_state_dict(path)
    for key, value in state.items():
        assert loaded[key].dtype == value.dtype
        assert torch.equal(_plain(loaded[key]), _plain(value))


def _plain(value: Tensor) -> Tensor:
    return value.dequantize() if value.is_quantized else value.cfloat()
