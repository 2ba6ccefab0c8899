"""Hostile and broken TorchScript files are refused before anything of them runs."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.errors import AuditError, ModelError, UnsafeError
from lsa_audit.models.request import ModelRequest
from lsa_audit.models.torchscript import declared, inspection, load
from lsa_audit.settings.limits import Limits

from ...graph.networks import images_for, randomise
from .networks import Residual, Shared, Values, save

Edit = Callable[[bytes], bytes | None]


def edited(path: Path, edits: dict[str, Edit], added: dict[str, bytes] | None = None) -> Path:
    """A copy of an archive with members changed (those whose names end so), left out (None) or added."""
    copy = path.with_name(f"edited-{path.name}")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        root = source.namelist()[0].partition("/")[0]
        for name in source.namelist():
            content: bytes | None = source.read(name)
            for ending, edit in edits.items():
                if name.endswith(ending) and content is not None:
                    content = edit(content)
            if content is not None:
                target.writestr(name, content)
        for name, content in (added or {}).items():
            target.writestr(f"{root}/{name}", content)
    return copy


def refused(path: Path, kind: type[AuditError], **request: object) -> str:
    """The one line that a file is refused with."""
    with pytest.raises(kind) as caught:
        load(ModelRequest(str(path), **request))
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return str(caught.value)


class Linear(nn.Module):
    shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.fc(x))


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return save(randomise(Linear()), "scripted", tmp_path / "model.pt")


def calling(call: str) -> dict[str, Edit]:
    """Put a call into the forward of the outermost module."""
    return {".py": lambda code: code.replace(b"torch.relu(", f"torch.relu({call} + ".encode())}


@pytest.mark.parametrize(
    ("call", "named"),
    [
        ('torch.from_file("{marker}", True, 2)', "aten::from_file"),
        ('torch . from_file ("{marker}", True, 2)', "aten::from_file"),
        ('ops.aten.from_file("{marker}", True, 2)', "aten::from_file"),
        ("torch.set_(x, x)", "aten::set_"),
        ("torch.resize_(x, [9])", "aten::resize_"),
        ("ops.mylib.thing(x)", "mylib::thing"),
        ("ops.profiler._record_function_enter(x)", "profiler::_record_function_enter"),
    ],
)
def test_an_operation_off_the_list_is_refused(script: Path, tmp_path: Path, call: str, named: str):
    marker = tmp_path / "marker"
    path = edited(script, calling(call.replace("{marker}", str(marker))))
    assert refused(path, UnsafeError).startswith(
        f"edited-model.pt calls {named}, which is not on the allow-list; --allow-code"
    )
    assert not marker.exists()


def test_what_the_text_hides_is_found_in_the_graphs(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    marker = tmp_path / "marker"
    path = edited(script, calling(f'torch.from_file("{marker}", True, 2)'))
    monkeypatch.setattr(inspection, "_calls", lambda text: [])
    assert "calls aten::from_file" in refused(path, UnsafeError)
    assert not marker.exists()


def test_a_text_that_only_speaks_of_an_operation_is_let_through(script: Path):
    path = edited(
        script,
        {
            ".py": lambda code: code.replace(
                b"    return torch.relu(", b'    a = "torch.save(x)"\n    return torch.relu('
            )
        },
    )
    assert load(ModelRequest(str(path))).name == path.name


@pytest.mark.parametrize("by", ["flag", "digest"])
def test_a_trusted_file_runs(script: Path, tmp_path: Path, by: str):
    data = tmp_path / "data"
    data.write_bytes(torch.tensor([1.0, 2.0]).numpy().tobytes())
    path = edited(script, calling(f'torch.from_file("{data}", False, 2)'))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    given = {"allow_code": True} if by == "flag" else {"trusted": frozenset({digest})}
    model = load(ModelRequest(str(path), **given))
    images = images_for(Linear(), 3)
    plain = load(ModelRequest(str(script))).module.network.fc(images)
    with torch.no_grad():
        assert torch.allclose(
            model.module.network(images), (torch.tensor([1.0, 2.0]) + plain).relu(), rtol=1e-6, atol=1e-6
        )
    assert "calls aten::from_file" in refused(path, UnsafeError, trusted=frozenset({"0" * 64}))


def test_a_setstate_does_not_run(script: Path, tmp_path: Path):
    marker = tmp_path / "marker"
    method = (
        "  def __setstate__(self,\n    state: Tensor) -> NoneType:\n"
        f'    x = torch.from_file("{marker}", True, 2)\n    return None\n  def forward('
    )
    path = edited(script, {".py": lambda code: code.replace(b"  def forward(", method.encode(), 1)})
    assert "has a __setstate__ (code/" in refused(path, UnsafeError)
    assert not marker.exists()


def test_native_classes_are_refused(script: Path):
    path = edited(
        script, {"data.pkl": lambda content: content.replace(b"c__torch__", b"c__torch__.torch.classes.x", 1)}
    )
    assert "needs __torch__.torch.classes.x." in refused(path, UnsafeError)


def test_a_pickle_that_calls_for_code_is_refused(script: Path, tmp_path: Path):
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path / 'marker'}",)

    for member in ("data.pkl", "constants.pkl"):
        path = edited(script, {member: lambda _: pickle.dumps(Evil(), protocol=2)})
        assert "posix.system" in refused(path, UnsafeError)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "deep",
    [
        "(" * 10_000 + "x" + ")" * 10_000,
        "-" * 30_000 + "x",
        "(" + "-\n" * 30_000 + "x)",
        "(" + "x + # )\n" * 10_000 + "x)",
        "x" + "[0]" * 40_000,
        "x" + ".a" * 40_000,
        "x" + " - 1" * 10_000,
        "x if x else " * 10_000 + "x",
    ],
    ids=["brackets", "signs", "lines", "comments", "subscripts", "attributes", "differences", "choices"],
)
def test_a_text_that_would_overrun_the_stack_is_refused(script: Path, deep: str):
    path = edited(script, {".py": lambda code: code.replace(b"torch.relu(", f"torch.relu({deep} + ".encode())})
    assert "nests expressions or blocks too deeply" in refused(path, UnsafeError)


def test_blocks_that_would_overrun_the_stack_are_refused(script: Path):
    deep = b"".join(b"  " * level + b"if True:\n" for level in range(2, 300)) + b"  " * 300 + b"pass\n"
    path = edited(
        script, {".py": lambda code: code.replace(b"    return torch.relu(", deep + b"    return torch.relu(")}
    )
    assert "nests expressions or blocks too deeply" in refused(path, UnsafeError)


def test_a_long_list_of_numbers_is_no_nesting(tmp_path: Path):
    class Listed(nn.Module):
        shape = (2,)

        def __init__(self) -> None:
            super().__init__()
            self.numbers = [-float(number) for number in range(3000)]

        def forward(self, x: Tensor) -> Tensor:
            return x + torch.tensor(self.numbers)[:2]

    path = save(torch.jit.freeze(torch.jit.script(Listed().eval())), "scripted", tmp_path / "model.pt")
    assert load(ModelRequest(str(path))).name == "model.pt"


def test_a_tensor_beyond_its_data_is_refused(script: Path):
    path = edited(script, {"data/0": lambda content: content[:-4]})
    assert "data/0" in refused(path, UnsafeError)


def test_a_constant_beyond_its_data_is_refused(tmp_path: Path):
    script = save(randomise(Shared()), "traced-frozen", tmp_path / "model.pt")
    path = edited(script, {"constants/0": lambda content: content[:-4]})
    assert "data/0" in refused(path, UnsafeError)


def test_a_huge_tensor_over_one_number_is_refused(tmp_path: Path):
    class Huge(nn.Module):
        shape = (2,)

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.zeros(1).expand(10**5, 10**5))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.table[0, 0]

    path = save(Huge(), "traced", tmp_path / "huge.pt")
    assert path.stat().st_size < 10_000
    assert "40000000000 bytes" in refused(path, UnsafeError)


def test_tensors_above_the_limit_are_refused(script: Path):
    assert "above the limits" in refused(script, UnsafeError, limits=Limits(total_bytes=100))


@pytest.mark.parametrize("content", [b"", b"\x80\x02", b"no pickle", b"\x80\x02}q\x00."[:-1]])
def test_a_damaged_pickle_is_refused(script: Path, content: bytes):
    path = edited(script, {"data.pkl": lambda _: content})
    assert "malformed" in refused(path, UnsafeError)


def test_a_file_without_a_program_is_refused(script: Path, tmp_path: Path):
    gone: Edit = lambda _: None  # noqa: E731
    lite = edited(script, {".py": gone}, {"bytecode.pkl": b"\x80\x02]."})
    assert "lite interpreter only" in refused(lite, ModelError)
    assert "not a TorchScript file" in refused(edited(script, {"constants.pkl": gone}), ModelError)
    torch.save({"a": torch.ones(2)}, tmp_path / "state.pt")
    assert "not a TorchScript file" in refused(tmp_path / "state.pt", ModelError)


def test_a_text_that_is_no_program_is_refused(script: Path):
    path = edited(script, {".py": lambda code: code.replace(b"return", b"retrun")})
    assert "cannot be read by PyTorch" in refused(path, ModelError)


def test_a_missing_or_broken_file_is_refused(script: Path, tmp_path: Path):
    assert "does not exist" in refused(tmp_path / "none.pt", ModelError)
    broken = tmp_path / "broken.pt"
    broken.write_bytes(script.read_bytes()[:-100])
    assert "truncated" in refused(broken, UnsafeError)


def test_files_for_the_lite_interpreter_that_hold_a_program_load(tmp_path: Path):
    network = randomise(Residual())
    save(network, "scripted", tmp_path / "model.pt")
    torch.jit.load(tmp_path / "model.pt")._save_for_lite_interpreter(str(tmp_path / "model.ptl"))
    images = images_for(network, 2)
    with torch.no_grad():
        assert torch.allclose(
            load(ModelRequest(str(tmp_path / "model.ptl"))).module.network(images),
            network(images),
            rtol=1e-6,
            atol=1e-6,
        )


def test_a_forward_that_prints_is_refused(tmp_path: Path):
    class Printing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            print(x)  # noqa: T201
            return x

    path = save(Printing(), "scripted", tmp_path / "model.pt")
    assert "prim::Print" in refused(path, UnsafeError)


def test_every_member_of_an_ordinary_file_passes(tmp_path: Path):
    path = save(randomise(Values()), "scripted", tmp_path / "model.pt")
    assert load(ModelRequest(str(path))).source == "torchscript"


def test_as_many_lists_as_torch_takes_apart_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(randomise(Residual()), "scripted", tmp_path / "model.pt")
    monkeypatch.setattr(declared, "MAX_CONTAINERS", 0)
    count = int(re.search(r"holds (\d+) lists in data.pkl", refused(path, UnsafeError))[1])
    monkeypatch.setattr(declared, "MAX_CONTAINERS", count)
    load(ModelRequest(str(path)))
    monkeypatch.setattr(declared, "MAX_CONTAINERS", count - 1)
    assert f"holds {count} lists in data.pkl" in refused(path, UnsafeError)
