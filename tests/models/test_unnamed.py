"""Averages that a checkpoint holds as a list without names (`torch_ema`, hand-written loops)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.errors import ExitCode, UsageError
from lsa_audit.models import ModelRequest, load
from lsa_audit.models.restoring import restore
from lsa_audit.models.saving import pack

State = dict[str, Tensor]
FACTORY = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 4), nn.Linear(4, 4)).eval()
"""


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 4), nn.Linear(4, 4))
    with torch.no_grad():
        for value in (*net.parameters(), net[1].running_mean):
            value.copy_(torch.rand_like(value))
    return net.eval()


RAW, AVERAGE = network(1), network(2)
SHADOW = [parameter.detach() for parameter in AVERAGE.parameters()]
EMA = {"decay": 0.99, "num_updates": 3, "shadow_params": SHADOW, "collected_params": None}
WHOLE = list(AVERAGE.state_dict().values())


def expected(*, buffers_of: nn.Module) -> State:
    return {**buffers_of.state_dict(), **dict(AVERAGE.named_parameters())}


def saved(payload: Any, folder: Path) -> Path:
    torch.save(payload, folder / "x.pth")
    return folder / "x.pth"


def same(module: nn.Module, state: State) -> bool:
    return all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


FORMS = {
    "torch_ema": ({"model": RAW.state_dict(), "ema": EMA}, "ema.shadow_params", RAW),
    "beside the weights": ({"net": RAW.state_dict(), **EMA}, "shadow_params", RAW),
    "parameters": ({"model": RAW.state_dict(), "ema_params": tuple(SHADOW)}, "ema_params", RAW),
    "the whole state": ({"model_state": RAW.state_dict(), "ema_params": WHOLE}, "ema_params", AVERAGE),
}


@pytest.mark.parametrize(("payload", "label", "buffers"), FORMS.values(), ids=FORMS)
def test_a_list_is_named_and_taken_where_it_is_asked_for(tmp_path, payload, label, buffers):
    path, net = saved(payload, tmp_path), network(3)
    restored = restore(net, path)
    assert same(net, RAW.state_dict())
    assert restored.notes == (
        f"the file also holds averaged weights without names ({label}); --weights ema takes them",
    )
    for wanted in ("ema", label):
        restored = restore(net, path, wanted=wanted)
        assert same(net, expected(buffers_of=buffers))
        assert restored.weights == f"EMA weights ({label}) of checkpoint x.pth"
        assert any("were taken in the order of the parameters" in note for note in restored.notes)
    restore(net, path, wanted="raw")
    assert same(net, RAW.state_dict())


def test_a_list_that_is_all_that_fits_is_taken(tmp_path):
    net = network(3)
    assert restore(net, saved({"ema_params": WHOLE}, tmp_path)).weights.startswith("EMA weights (ema_params)")
    assert same(net, AVERAGE.state_dict())


def test_averages_with_names_go_first(tmp_path):
    path = saved({"model": RAW.state_dict(), "state_dict_ema": network(5).state_dict(), "ema": EMA}, tmp_path)
    net = network(3)
    notes = restore(net, path, wanted="ema").notes
    assert same(net, network(5).state_dict())
    assert "--weights ema.shadow_params takes them" in notes[0]


def test_a_list_that_does_not_fit_is_said_not_to_be_used(tmp_path):
    path, net = saved({"model": RAW.state_dict(), "ema_params": SHADOW[1:]}, tmp_path), network(3)
    assert restore(net, path).notes == (
        "averaged weights without names (ema_params) were not used: they are 7 tensors for 8 parameters",
    )
    with pytest.raises(UsageError, match="7 tensors for 8 parameters; leave out --weights") as caught:
        restore(net, path, wanted="ema")
    assert caught.value.exit_code == ExitCode.USAGE
    # Without running statistics a list of parameters is no network.
    with pytest.raises(UsageError, match="lack what is no parameter"):
        restore(net, saved(EMA, tmp_path), wanted="ema")


def test_two_lists_are_asked_for_and_small_ones_are_none(tmp_path):
    two = {"model": RAW.state_dict(), "ema1": EMA, "ema2": {"shadow_params": WHOLE}}
    with pytest.raises(UsageError, match=r"2 averages: ema1.shadow_params, ema2.shadow_params; choose one"):
        restore(network(3), saved(two, tmp_path), wanted="ema")
    losses = {"model": RAW.state_dict(), "ema_losses": [torch.ones(3)]}
    assert restore(network(3), saved(losses, tmp_path)).notes == ()


def test_a_changed_average_goes_back_into_its_list(tmp_path):
    (tmp_path / "net.py").write_text(FACTORY)
    path = saved({"model": RAW.state_dict(), "ema": EMA}, tmp_path)
    request = ModelRequest(str(path), arch=f"{tmp_path / 'net.py'}:build", weights="ema")
    model = load(request)
    with torch.no_grad():
        model.module.network[3].weight.mul_(2)
    (tmp_path / "new.pth").write_bytes(pack(model, request).content)
    new = torch.load(tmp_path / "new.pth", weights_only=True)
    assert torch.equal(new["ema"]["shadow_params"][4], 2 * SHADOW[4])
    assert torch.equal(new["model"]["3.weight"], RAW[3].weight)
