"""Makers of TorchScript and torch.export files that carry code or lie about sizes: each writes one file."""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import archives, checkpoints

Maker = Callable[[Path], Path]
IMAGES = torch.zeros(2, 1, 4, 4)
SCRIPT, PROGRAM = "model.pt", "model.pt2"


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()


class Expanded(nn.Module):
    """A buffer of 40 GB in 4 bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 3)
        self.register_buffer("large", torch.zeros(1).expand(10**10))

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1)) + self.large[:3]


class Restored(nn.Module):
    """Its state is made by a method of its own while the file is read."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))

    @torch.jit.export
    def __getstate__(self):  # type: ignore[no-untyped-def]
        return self.training

    @torch.jit.export
    def __setstate__(self, state: bool):  # type: ignore[no-untyped-def]
        self.training = state


class FalseStates(nn.Module):
    """An LSTM whose first states are for one image: torch reads beyond them."""

    def __init__(self) -> None:
        super().__init__()
        recurrent = nn.LSTM(4, 16, batch_first=True)
        for name, weight in recurrent.named_parameters():
            self.register_buffer(name, weight.detach())
        self.register_buffer("state", torch.zeros(1, 1, 16))
        self.linear = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        weights = [self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0]
        rows = images.flatten(1, 2)
        found = torch.lstm(rows, [self.state, self.state], weights, True, 1, 0.0, False, False, True)
        return self.linear(found[0][:, -1])


class FalseNorm(nn.Module):
    """A weight norm with one length for three rows: torch reads beyond it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 3)
        self.register_buffer("lengths", torch.rand(1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ torch._weight_norm(self.linear.weight, self.lengths, 0).t()


def scripted(module: nn.Module, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(folder / SCRIPT)
    return folder / SCRIPT


def traced(folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network(), IMAGES).save(folder / SCRIPT)
    return folder / SCRIPT


def rewritten(path: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> Path:
    """Change, rename or drop members; `change` gets a name without its top folder."""
    with zipfile.ZipFile(path) as archive:
        found = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    changed = [change(name, content) for name, content in found.items()]
    return archives.write(path, {f"archive/{pair[0]}": pair[1] for pair in changed if pair is not None})


def calling(statement: str) -> Maker:
    """A traced network whose program has one more statement; `{folder}` is where the file lies."""

    def make(folder: Path) -> Path:
        line = f"    {statement.format(folder=folder)}\n    return "

        def change(name: str, content: bytes) -> tuple[str, bytes]:
            own = name.endswith(".py") and b".forward(" in content
            return name, content.replace(b"    return ", line.encode()) if own else content

        return rewritten(traced(folder), change)

    return make


from_file = calling('stolen = torch.from_file("/etc/hostname", False, 4)')
save = calling(f'torch.save(input, "{{folder}}/{checkpoints.CANARY}")')
spaced_save = calling(f'ops . aten . save(input, "{{folder}}/{checkpoints.CANARY}")')
foreign_namespace = calling("_9 = ops.evil.run(input)")
nonsense = calling("][ this is no program")


def false_states(folder: Path) -> Path:
    return scripted(FalseStates(), folder)


def false_norm(folder: Path) -> Path:
    return scripted(FalseNorm(), folder)


def restored(folder: Path) -> Path:
    return scripted(Restored(), folder)


def restored_in_capitals(folder: Path) -> Path:
    """torch finds a member whatever its case; a look at `*.py` does not."""

    def change(name: str, content: bytes) -> tuple[str, bytes]:
        return (name.replace(".py", ".PY") if name.startswith("code/") else name), content

    path = rewritten(restored(folder), change)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo("archive/code/__torch__/innocent.py"), b"class A(Module):\n  pass\n")
    return path


def native_class(folder: Path) -> Path:
    return scripted_pickle(folder, b"c__torch__.torch.classes.evil\nRun\n)\x81}b.")


def scripted_pickle(folder: Path, content: bytes) -> Path:
    """A traced network whose data.pkl is this."""
    return rewritten(traced(folder), lambda name, old: (name, b"\x80\x02" + content if name == "data.pkl" else old))


def deep_lists(folder: Path) -> Path:
    """A list in a list in a list ..., so deep that taking it apart overruns the stack of torch's reader."""
    return scripted_pickle(folder, b"]" * 600_000 + b"a" * 599_999 + b".")


def script_stride_zero(folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Expanded(), IMAGES).save(folder / SCRIPT)
    return folder / SCRIPT


def script_without_storage(folder: Path) -> Path:
    return rewritten(traced(folder), lambda name, content: None if name == "data/0" else (name, content))


def script_truncated(folder: Path) -> Path:
    path = traced(folder)
    path.write_bytes(path.read_bytes()[:-300])
    return path


def lite_without_code(folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network(), IMAGES)._save_for_lite_interpreter(str(folder / SCRIPT))
    return rewritten(folder / SCRIPT, lambda name, content: None if name.startswith("code/") else (name, content))


def exported(folder: Path, module: nn.Module | None = None) -> Path:
    program = torch.export.export(module or network(), (IMAGES,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(program, folder / PROGRAM)
    return folder / PROGRAM


def described(change: Callable[[Any], None], member: str = "models/model.json") -> Maker:
    """An exported network with its description changed."""

    def make(folder: Path) -> Path:
        def rewrite(name: str, content: bytes) -> tuple[str, bytes]:
            if name != member:
                return name, content
            description = json.loads(content)
            change(description)
            return name, json.dumps(description).encode()

        return rewritten(exported(folder), rewrite)

    return make


def _retarget(target: str) -> Maker:
    def change(description: Any) -> None:
        description["graph_module"]["graph"]["nodes"][0]["target"] = target

    return described(change)


def _enlarge(config: Any) -> None:
    config["config"]["1.weight"]["tensor_meta"]["sizes"] = [{"as_int": 10**10}, {"as_int": 16}]


def _expand(config: Any) -> None:
    meta = config["config"]["1.weight"]["tensor_meta"]
    meta["sizes"], meta["strides"] = [{"as_int": 10**10}, {"as_int": 16}], [{"as_int": 0}, {"as_int": 0}]


def _cycle(description: Any) -> None:
    description["graph_module"]["graph"]["nodes"].reverse()


foreign_operation = _retarget("torch.ops.aten.from_file.default")
foreign_function = _retarget("os.system")
painted_operation = _retarget("\x1b[2J" + "evil" * 999)
program_huge = described(_enlarge, "data/weights/model_weights_config.json")
program_stride_zero = described(_expand, "data/weights/model_weights_config.json")
program_cyclic = described(_cycle)


def evaluated_size(folder: Path) -> Path:
    """A size given as an expression that torch would evaluate."""
    code = f"__import__('os').mkdir('{folder / checkpoints.CANARY}')"
    path = exported(folder)

    def change(name: str, content: bytes) -> tuple[str, bytes]:
        if name != "models/model.json":
            return name, content
        text = json.dumps(_with_expression(json.loads(content), code))
        return name, text.encode()

    return rewritten(path, change)


def _with_expression(value: Any, code: str) -> Any:
    if isinstance(value, dict):
        return {key: code if key == "expr_str" else _with_expression(entry, code) for key, entry in value.items()}
    return [_with_expression(entry, code) for entry in value] if isinstance(value, list) else value


def _payload(folder: Path) -> bytes:
    return pickle.dumps(checkpoints.Calls(__import__("os").system, checkpoints.command(folder)), protocol=2)


def sample_input(folder: Path) -> Path:
    """Only the sample input calls for code; nothing needs it."""
    payload = _payload(folder)

    def change(name: str, content: bytes) -> tuple[str, bytes]:
        return name, payload if name.startswith("data/sample_inputs/") else content

    return rewritten(exported(folder), change)


def pickled_weight(folder: Path) -> Path:
    def config(description: Any) -> None:
        description["config"]["1.weight"]["use_pickle"] = True

    path = described(config, "data/weights/model_weights_config.json")(folder)
    stream = io.BytesIO()
    torch.save({"weight": checkpoints.Calls(__import__("os").system, checkpoints.command(folder))}, stream)

    def change(name: str, content: bytes) -> tuple[str, bytes]:
        return name, stream.getvalue() if name == "data/weights/weight_0" else content

    return rewritten(path, change)


def compiled(folder: Path) -> Path:
    path = exported(folder)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/data/aotinductor/model/net.so", b"\x7fELF")
    return rewritten(path, lambda name, content: (name, content))
