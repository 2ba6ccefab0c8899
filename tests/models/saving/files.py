"""Changes a loaded model, writes it as a file and loads that again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lsa_audit.models import Model, ModelRequest, load
from lsa_audit.models.saving import Packed, pack, reload_request


@dataclass(frozen=True)
class Written:
    """A model as it was changed in memory, and what came of it as a file."""

    model: Model
    packed: Packed
    path: Path
    request: ModelRequest
    reloaded: Model


def scale(model: Model, *names: str) -> None:
    """Multiply the named parameters, or all of them, by numbers between 0.8 and 1.4, another one for each row."""
    parameters = dict(model.module.network.named_parameters())
    with torch.no_grad():
        for name in names or parameters:
            parameter = parameters[name]
            rows = torch.linspace(0.8, 1.4, len(parameter)) if parameter.dim() else torch.tensor(1.3)
            parameter *= rows.view(-1, *(1,) * (parameter.dim() - 1)).to(parameter.dtype)


def write(model: Model, request: ModelRequest, folder: Path) -> Written:
    """The model as a file `written` in the folder, its sidecar beside it, and loaded again."""
    packed = pack(model, request)
    path = folder / f"written{packed.suffix}"
    path.write_bytes(packed.content)
    if packed.sidecar is not None:
        path.with_suffix(".yaml").write_text(packed.sidecar)
    again = reload_request(request, path)
    return Written(model, packed, path, again, load(again))


def changed(request: ModelRequest, folder: Path, *names: str) -> Written:
    """The model of a request with the named parameters, or all of them, scaled, written and loaded again."""
    before = Path(request.spec).read_bytes() if Path(request.spec).is_file() else None
    model = load(request)
    scale(model, *names)
    written = write(model, request, folder)
    assert before is None or Path(request.spec).read_bytes() == before
    return written


def logits(model: Model, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model.module(images)


def check_same(written: Written, images: Tensor) -> None:
    """Assert that the file holds the changed model: each tensor, and so each logit, bit by bit."""
    expected, found = (model.module.network.state_dict() for model in (written.model, written.reloaded))
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert torch.allclose(logits(written.reloaded, images), logits(written.model, images), rtol=1e-6, atol=1e-6)


def check_differs(written: Written, original: ModelRequest, images: Tensor) -> None:
    """Assert that the change shows in the logits."""
    assert not torch.allclose(logits(written.model, images), logits(load(original), images), atol=1e-3)
