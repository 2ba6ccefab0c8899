from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.errors import ModelError
from lsa_audit.models import ModelRequest, load
from lsa_audit.models.archives import check
from lsa_audit.models.saving import pack

from ...graph.networks import images_for, randomise
from ..torchscript.networks import KINDS, Residual, save
from .files import changed, check_differs, check_same, scale, write


class Twins(nn.Module):
    """Two layers of the same values, two uses of a third, and a scale that is a view of half of its memory."""

    shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.shared = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.load_state_dict(self.first.state_dict())
        self.turned = nn.Parameter(torch.arange(32.0).view(8, 4)[4:].t() / 32)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(torch.relu(self.second(torch.relu(self.first(x)))))
        return self.head(torch.relu(self.shared(x)) @ self.turned)


@pytest.mark.slow_except("scripted-frozen")
@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_comes_back(kind: str, tmp_path: Path):
    network = randomise(Residual())
    request = ModelRequest(str(save(network, kind, tmp_path / "model.pt")))
    images = images_for(network)
    written = changed(request, tmp_path)
    check_same(written, images)
    check_differs(written, request, images)
    script = torch.jit.load(str(written.path))
    with torch.no_grad():
        torch.testing.assert_close(script(images), written.model.module(images), rtol=0, atol=1e-5)


@pytest.mark.slow_except("scripted-frozen")
@pytest.mark.parametrize("kind", KINDS)
def test_one_of_two_equal_weights_changes(kind: str, tmp_path: Path):
    network = Twins().eval()
    request = ModelRequest(str(save(network, kind, tmp_path / "model.pt")))
    weights = [name for name, value in load(request).module.network.named_parameters() if value.dim() == 2]
    for name in weights:
        written = changed(request, tmp_path, name)
        check_same(written, images_for(network))
        again, original = written.reloaded.module.network.state_dict(), load(request).module.network.state_dict()
        assert [key for key in again if not torch.equal(again[key], original[key])] == [name]


def test_nothing_else_of_the_archive_changes(tmp_path: Path):
    request = ModelRequest(str(save(randomise(Residual()), "traced", tmp_path / "model.pt")))
    written = changed(request, tmp_path, "stem.weight")
    with zipfile.ZipFile(request.spec) as old, zipfile.ZipFile(written.path) as new:
        assert new.namelist() == old.namelist()
        assert new.testzip() is None
        differing = [name for name in old.namelist() if old.read(name) != new.read(name)]
        assert len(differing) == 1
        packed = [info.filename for info in old.infolist() if info.compress_type == zipfile.ZIP_DEFLATED]
        assert [info.filename for info in new.infolist() if info.compress_type == zipfile.ZIP_DEFLATED] == packed
    places = check(written.path, request.limits).places
    assert all(place.offset % 64 == 0 for place in places.values())


def test_an_unchanged_model_keeps_its_tensors(tmp_path: Path):
    network = randomise(Residual())
    request = ModelRequest(str(save(network, "scripted", tmp_path / "model.pt")))
    written = write(load(request), request, tmp_path)
    state = torch.jit.load(str(written.path)).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_half_precision_is_rounded_to_what_the_file_holds(tmp_path: Path):
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).half().eval()
    torch.jit.script(network).save(str(tmp_path / "half.pt"))
    request = ModelRequest(str(tmp_path / "half.pt"))
    written = changed(request, tmp_path, "0.weight")
    value = torch.jit.load(str(written.path)).state_dict()["0.weight"]
    assert value.dtype == torch.float16
    assert torch.equal(value, written.model.module.network.state_dict()["0.weight"].half())


def test_trust_in_a_file_goes_over_to_what_is_made_of_it(tmp_path: Path):
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.special.log_ndtr(self.linear(x))

    path = tmp_path / "odd.pt"
    torch.jit.script(Odd().eval()).save(str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    written = changed(ModelRequest(str(path), trusted=frozenset({digest})), tmp_path)
    assert written.request.trusted == {digest, hashlib.sha256(written.path.read_bytes()).hexdigest()}
    assert not written.request.allow_code


def test_a_file_for_the_lite_interpreter_is_refused(tmp_path: Path):
    path = tmp_path / "model.ptl"
    torch.jit.script(randomise(Residual()))._save_for_lite_interpreter(str(path))
    model = load(request := ModelRequest(str(path)))
    scale(model)
    with pytest.raises(ModelError, match="lite interpreter"):
        pack(model, request)


def test_a_checkpoint_over_the_file_is_taken_in(tmp_path: Path):
    network = randomise(Residual())
    path = save(network, "traced", tmp_path / "model.pt")
    state = {name: value + 1 if value.is_floating_point() else value for name, value in network.state_dict().items()}
    torch.save(state, tmp_path / "other.pt")
    request = ModelRequest(str(path), checkpoint=tmp_path / "other.pt")
    written = write(load(request), request, tmp_path)
    assert written.request.checkpoint is None
    check_same(written, images_for(network))
    found = torch.jit.load(str(written.path)).state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
