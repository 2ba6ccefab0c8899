"""Model files that are damaged: their bytes, the members of their archives, the nodes of their graphs."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import nn

from .case import Case, pick, scan
from .damage import damaged, damaged_member, damaged_tree


def network() -> nn.Module:
    """A small convolutional network for 8x8 digits with a few kinds of layers."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    ).eval()


@functools.cache
def sound() -> dict[str, bytes]:
    """File name -> content of the same network in every format."""
    import warnings

    from safetensors.torch import save

    net, images = network(), torch.rand(2, 1, 8, 8)
    files: dict[str, bytes] = {"net.safetensors": save(net.state_dict())}
    streams = {name: io.BytesIO() for name in ("net.pt", "net.pt2", "net.pth", "legacy.pth", "net.onnx")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(net, images), streams["net.pt"])
        torch.export.save(torch.export.export(net, (images,)), streams["net.pt2"])
        torch.save({"state_dict": net.state_dict(), "epoch": 3}, streams["net.pth"])
        torch.save(net.state_dict(), streams["legacy.pth"], _use_new_zipfile_serialization=False)
        torch.onnx.export(net, (images,), streams["net.onnx"], dynamo=False, dynamic_axes={"input": {0: "n"}})
    return files | {name: stream.getvalue() for name, stream in streams.items()}


ARCHIVES = ("net.pt", "net.pt2", "net.pth")
FACTORY = "from benchmarks.fuzz.files import network\n\n\ndef build():\n    return network()\n"


def _call(folder: Path, name: str, content: bytes) -> tuple[str, ...]:
    (folder / name).write_bytes(content)
    if not name.endswith((".pth", ".safetensors")):
        return scan(name)
    (folder / "net.py").write_text(FACTORY)
    return scan(name, "--arch", "net.py:build")


def damaged_bytes(draws: Generator, folder: Path, number: int) -> Case:
    """Any model file, damaged without regard to its structure."""
    name = pick(draws, list(sound()))
    content, how = damaged(draws, sound()[name])
    return Case(f"bytes {number} {name} {how}", _call(folder, name, content))


def damaged_archive(draws: Generator, folder: Path, number: int) -> Case:
    """An archive that is sound as one, with a damaged member."""
    name = pick(draws, ARCHIVES)
    content, how = damaged_member(draws, sound()[name])
    return Case(f"archive {number} {name} {how}", _call(folder, name, content))


def damaged_program(draws: Generator, folder: Path, number: int) -> Case:
    """A .pt2 file whose description is JSON, with other values in it."""
    with zipfile.ZipFile(io.BytesIO(sound()["net.pt2"])) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(member for member in members if member.endswith("model.json"))
    tree, how = damaged_tree(draws, json.loads(members[name]))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member, value in members.items():
            archive.writestr(member, json.dumps(tree) if member == name else value)
    return Case(f"program {number} {how}", _call(folder, "net.pt2", stream.getvalue()))


def damaged_onnx(draws: Generator, folder: Path, number: int) -> Case:
    """An ONNX file that parses, whose graph says something else."""
    import onnx

    model = onnx.load_from_string(sound()["net.onnx"])
    names = []
    for _ in range(int(draws.integers(1, 4))):
        change = pick(draws, GRAPH_CHANGES)
        if not model.graph.output or not model.graph.node:
            break
        change(draws, model)
        names.append(change.__name__.removeprefix("_"))
    return Case(f"onnx {number} {'+'.join(names)}", _call(folder, "net.onnx", model.SerializeToString()))


def _operation(draws: Generator, model: Any) -> None:
    node = pick(draws, model.graph.node)
    node.op_type = pick(draws, ("Relu", "Conv", "Gemm", "Softmax", "Loop", "NoSuch", "", "Reshape", "Dropout", "Cast"))


def _attribute(draws: Generator, model: Any) -> None:
    node = pick(draws, [node for node in model.graph.node if node.attribute] or model.graph.node)
    for attribute in node.attribute:
        if attribute.ints:
            attribute.ints[int(draws.integers(len(attribute.ints)))] = pick(draws, (0, -1, 7, 2**40))
        else:
            attribute.i = pick(draws, (0, -1, 7, 2**40))


def _edge(draws: Generator, model: Any) -> None:
    node = pick(draws, [node for node in model.graph.node if node.input])
    names = [name for other in model.graph.node for name in (*other.input, *other.output)] + ["", "nowhere"]
    node.input[int(draws.integers(len(node.input)))] = pick(draws, names)


def _removal(draws: Generator, model: Any) -> None:
    del model.graph.node[int(draws.integers(len(model.graph.node)))]


def _repetition(draws: Generator, model: Any) -> None:
    model.graph.node.append(pick(draws, model.graph.node))


def _weights(draws: Generator, model: Any) -> None:
    import onnx.numpy_helper

    if not model.graph.initializer:
        return
    tensor = pick(draws, model.graph.initializer)
    values = onnx.numpy_helper.to_array(tensor).copy()
    what = pick(draws, ("nan", "huge", "float16", "int64", "empty", "transposed"))
    if what in ("nan", "huge") and values.size and values.dtype.kind == "f":
        values.reshape(-1)[0] = np.nan if what == "nan" else 3e38
    elif what in ("float16", "int64"):
        with np.errstate(all="ignore"):
            values = values.astype(what)
    elif what == "empty":
        values = values[:0]
    else:
        values = np.ascontiguousarray(values.T)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _claim(draws: Generator, model: Any) -> None:
    tensor = pick(draws, model.graph.initializer)
    if tensor.dims:
        tensor.dims[int(draws.integers(len(tensor.dims)))] = pick(draws, (0, -1, 2, 2**40))


def _signature(draws: Generator, model: Any) -> None:
    value = pick(draws, (*model.graph.input, *model.graph.output))
    value.type.tensor_type.elem_type = pick(draws, (0, 1, 2, 7, 8, 10, 99))
    for dimension in value.type.tensor_type.shape.dim:
        if draws.random() < 0.5:
            dimension.dim_value = pick(draws, (0, 1, 3, 2**40))


def _opset(draws: Generator, model: Any) -> None:
    model.opset_import[0].version = pick(draws, (0, 1, 6, 9, 99))


def _results(draws: Generator, model: Any) -> None:
    if draws.random() < 0.5:
        del model.graph.output[:]
    else:
        made = [name for node in model.graph.node for name in node.output] or [""]
        model.graph.output[0].name = pick(draws, (pick(draws, made), "nowhere", ""))


GRAPH_CHANGES = (
    _operation,
    _attribute,
    _edge,
    _removal,
    _repetition,
    _weights,
    _claim,
    _signature,
    _opset,
    _results,
)
