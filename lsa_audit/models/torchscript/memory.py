"""A TorchScript module that the caller holds in memory, audited as its file would be."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...errors import ModelError, first_line
from ..base import Model
from ..request import ModelRequest
from . import load


def from_script(module: torch.jit.ScriptModule, request: ModelRequest) -> Model:
    """The network of a scripted or traced module; the module itself is neither run nor changed.

    Its code is on no list that it must keep to: it is the caller's own, and loaded already.

    Args:
        request: mean, std, sizes and limits; its `spec` does not count.

    Raises:
        ModelError: it cannot be saved, holds an operation that only TorchScript has, or weights that no file can hold.
        UsageError: a wrong mean, std or input size.

    Cost: one copy of the module in the temporary folder, and as `torchscript.load`.
    """
    label = str(getattr(module, "original_name", "")) or type(module).__name__
    with tempfile.TemporaryDirectory(prefix="lsa-audit-") as folder:
        path = Path(folder) / f"{label}.pt"
        try:
            torch.jit.save(module, str(path))
        except (RuntimeError, OSError) as error:
            reason = first_line(error)
            raise ModelError(
                f"the TorchScript module {label} cannot be saved: {reason}", "give it as a file"
            ) from error
        try:
            model = load(replace(request, spec=str(path), allow_code=True))
        except ModelError as error:
            if not _packed(module):
                raise
            what = f"torch.jit.optimize_for_inference has packed the weights of {label} for this processor"
            raise ModelError(what, "give the module as it was before that; it may be frozen") from error
    return replace(model, name=label, weights="as given in memory")


def _packed(module: Any) -> bool:
    """Whether weights are in oneDNN's own layout, whose operations have no derivative and which no file can hold."""
    return bool(module.graph.findAllNodes("prim::ConstantMKLDNNTensor"))
