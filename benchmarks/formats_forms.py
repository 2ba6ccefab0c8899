"""The forms in which `benchmarks.formats` writes a model, and what it measures on each after reading it back."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

IMAGES = 3
WRITTEN_WITH = 2
CAUSE_LENGTH = 160


@dataclass(frozen=True)
class Form:
    """`write` puts a module into a file; None: the module itself is given."""

    title: str
    name: str
    write: Callable[[nn.Module, Tensor, Path], object] | None


def _traced(module: nn.Module, images: Tensor, path: Path) -> None:
    torch.jit.save(torch.jit.trace(module, images, check_trace=False), path)


def _exported(module: nn.Module, images: Tensor, path: Path) -> None:
    program = torch.export.export(module, (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=False)
    torch.export.save(program, path)


def _current_onnx(module: nn.Module, images: Tensor, path: Path) -> None:
    dynamic = ({0: torch.export.Dim.DYNAMIC},)
    torch.onnx.export(module, (images,), path, dynamo=True, dynamic_shapes=dynamic, opset_version=20, verbose=False)


def _older_onnx(module: nn.Module, images: Tensor, path: Path) -> None:
    names = {"input_names": ["images"], "output_names": ["logits"]}
    axes = {"images": {0: "batch"}, "logits": {0: "batch"}}
    torch.onnx.export(module, (images,), path, dynamo=False, dynamic_axes=axes, opset_version=17, **names)


FORMS: dict[str, Form] = {
    "module": Form("module", "", None),
    "traced": Form("traced TorchScript", "model.pt", _traced),
    "exported": Form("torch.export", "model.pt2", _exported),
    "onnx-current": Form("ONNX, current exporter, opset 20", "model.onnx", _current_onnx),
    "onnx-older": Form("ONNX, older exporter, opset 17", "older.onnx", _older_onnx),
}


def measure(architecture: str, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One result for each form; a form that fails says where and why."""
    size = settings.pop("size")
    for name, form in FORMS.items():
        # One network to read and one to compare with: some keep what they make of their parameters at the first run.
        original, given = _made(architecture, settings), _made(architecture, settings)
        generator = torch.Generator().manual_seed(1)
        images = torch.rand((IMAGES, 3, size, size), generator=generator)
        result: dict[str, Any] = {"architecture": architecture, "form": name}
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(folder) / form.name
            try:
                if form.write is not None:
                    with contextlib.redirect_stdout(io.StringIO()):
                        form.write(given, images[:WRITTEN_WITH], path)
            except Exception as error:  # noqa: BLE001 - exporters fail in any way; the cause is what is reported
                yield {**result, "failed": "writing", "cause": _cause(error)}
                continue
            try:
                yield {**result, **_read_back(original, given if form.write is None else path, images)}
            except Exception as error:  # noqa: BLE001 - the same for reading
                yield {**result, "failed": "loading", "cause": _cause(error)}


def _made(architecture: str, settings: dict[str, Any]) -> nn.Module:
    """The seeded network with nothing left at a value that switches a part of it off."""
    import timm

    from lsa_audit.models.seeding import seeded

    with seeded(0), torch.no_grad():
        network = timm.create_model(architecture, pretrained=False, num_classes=10, **settings).eval()
        for name, tensor in network.state_dict(keep_vars=True).items():
            if not tensor.is_floating_point():
                continue
            constant = tensor.numel() < 2 or bool((tensor == tensor.flatten()[0]).all())
            if name.endswith("running_var") or (constant and float(tensor.flatten()[0]) >= 0.5):
                tensor.copy_(torch.rand_like(tensor) + 0.5)
            elif constant and float(tensor.flatten()[0]) > 0:
                tensor.copy_(0.1 + 0.4 * torch.rand_like(tensor))
            elif constant:
                tensor.copy_(0.1 * torch.randn_like(tensor))
    return network


def _read_back(original: nn.Module, subject: nn.Module | Path, images: Tensor) -> dict[str, Any]:
    from lsa_audit.graph.walker import walk
    from lsa_audit.models import ModelRequest, fit, from_module, load

    shape = tuple(images.shape[1:])
    if isinstance(subject, nn.Module):
        model = from_module(subject, mean=(0.0,), std=(1.0,), input_shape=shape)
    else:
        model = load(ModelRequest(str(subject), input_shape=shape))
    model = fit(model, images[:WRITTEN_WITH])
    info = walk(model, images).info
    expected, expected_gradient, _, _ = _run(original, images)
    logits, gradient, reached, parameters = _run(model.module, images)
    conversion = model.conversion
    remarks = (
        [] if conversion is None or conversion.static_batch is None else [f"batch {conversion.static_batch} fixed"]
    )
    if conversion is not None and conversion.opaque:
        remarks.append(f"black box because of {', '.join(conversion.opaque)}")
    remarks += [
        f"{entry.what}: {entry.detail}" for entry in info.skipped if entry.reason in ("module-hooks", "export-parity")
    ]
    return {
        "parity": float((logits - expected).abs().max() / expected.abs().max()),
        "cosine": _cosine(gradient, expected_gradient),
        "reached": reached,
        "parameters": parameters,
        "layers": len(info.layers),
        "walker": info.walker,
        "specialized": info.specialized,
        "remarks": remarks,
    }


def _run(module: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None, int, int]:
    """Logits, the input's gradient, and how many of the parameters (as tensors) get one that is not zero."""
    module.zero_grad()
    leaf = images.clone().requires_grad_(True)
    parameters = list(module.parameters())
    for parameter in parameters:
        parameter.requires_grad_(True)
    logits: Tensor = module(leaf)
    if not logits.requires_grad:
        return logits.detach(), None, 0, len(parameters)
    logits[:, 0].sum().backward()
    reached = sum(parameter.grad is not None and bool(parameter.grad.any()) for parameter in parameters)
    return logits.detach(), leaf.grad, reached, len(parameters)


def _cosine(gradient: Tensor | None, expected: Tensor | None) -> float | None:
    if gradient is None or expected is None:
        return None
    # To length 1 first: the gradients of a network with random weights may be tiny.
    units = [value.flatten().double() / value.double().norm() for value in (gradient, expected)]
    return float(units[0] @ units[1])


def _cause(error: BaseException) -> str:
    """The innermost error, in one plain line: exporters wrap it in advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split()) or "no message"
    return f"{type(error).__name__}: {text[:CAUSE_LENGTH]}".replace("|", "/")
