"""An ExportedProgram that the caller holds in memory, audited as its file would be."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import torch

from ...errors import ModelError, first_line
from ..base import Model, Undecided
from ..request import ModelRequest
from . import load

NAME = "ExportedProgram"


def from_program(program: torch.export.ExportedProgram, request: ModelRequest) -> Model:
    """The network of an exported program; the program itself is neither run nor changed.

    Its operations are on no list that they must keep to: they are the caller's own, and loaded already.

    Args:
        request: mean, std, sizes and limits; its `spec` does not count.

    Raises:
        ModelError: it cannot be saved, or is not a program from images to logits.
        UsageError: a wrong mean, std or input size.

    Cost: one copy of the program in the temporary folder, and as `exported.load`.
    """
    with tempfile.TemporaryDirectory(prefix="lsa-audit-") as folder:
        path = Path(folder) / f"{NAME}.pt2"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.export.save(program, path)
        except Exception as error:
            what = f"the {NAME} cannot be saved: {type(error).__name__}: {first_line(error)}"
            raise ModelError(what, "give the nn.Module that was exported") from error
        model = load(replace(request, spec=str(path), allow_code=True))
    undecided = model.undecided
    if undecided is not None:
        # The file is gone by then.
        again = Undecided(undecided.candidates, lambda name: from_program(program, replace(request, logits=name)))
        model = replace(model, undecided=again)
    return replace(model, name=model.architecture or NAME, weights="as given in memory")
