"""Which weights of a checkpoint are put into a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.errors import AuditError, ExitCode, ModelError, UsageError
from lsa_audit.models.restoring import restore
from lsa_audit.models.weight_sets import sets_in

State = dict[str, Tensor]


class Net(nn.Module):
    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.bn = nn.BatchNorm2d(2)
        self.fc = nn.Linear(2, classes)


class Wrapper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Net()


def state(seed: int, network: nn.Module | None = None) -> State:
    generator = torch.Generator().manual_seed(seed)
    own = (network or Net()).state_dict()
    return {key: torch.rand(v.shape, generator=generator) if v.is_floating_point() else v for key, v in own.items()}


RAW, EMA = state(1), state(2)


def under(prefix: str, entries: State) -> State:
    return {prefix + key: value for key, value in entries.items()}


def saved(payload: Any, folder: Path) -> Path:
    torch.save(payload, folder / "x.pt")
    return folder / "x.pt"


def same(network: nn.Module, expected: State) -> bool:
    return all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())


FORMS: dict[str, Any] = {
    "list": {"state_dict": [RAW]},
    "two levels": {"checkpoint": {"model": RAW}},
    "three levels": {"a": {"b": {"c": RAW}}},
    "lightning": {"state_dict": under("model.", RAW), "hyper_parameters": {"lr": 0.1}, "loops": {}},
    "net.": under("net.", RAW),
    "backbone.": {"state_dict": under("backbone.", RAW)},
    "ema. alone": under("ema.", RAW),
    "model.module.": under("model.module.", RAW),
    "_orig_mod.model.": under("_orig_mod.model.", RAW),
    "any other": under("some.wrapper_", RAW),
    "loss weights beside": {"state_dict": {**under("model.", RAW), "criterion.weight": torch.ones(3)}},
    "profiled": {**RAW, "total_ops": torch.ones(1), "conv.total_params": torch.ones(1)},
    "averaged model": {"n_averaged": torch.tensor(2), **under("module.", RAW)},
    "an epoch among them": {**RAW, "epoch": 3},
    "without counters": {key: value for key, value in RAW.items() if "tracked" not in key},
    "optimizer beside": {"optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}, "net": RAW},
    "copies": {"model": RAW, "best": {key: value.clone() for key, value in RAW.items()}},
}


@pytest.mark.parametrize("payload", FORMS.values(), ids=FORMS)
def test_the_weights_are_found(tmp_path: Path, payload: Any) -> None:
    network = Net()
    restore(network, saved(payload, tmp_path))
    assert same(network, RAW | {"bn.num_batches_tracked": torch.tensor(0)})


def test_a_prefix_and_what_is_left_out_are_said(tmp_path: Path) -> None:
    payload = {"state_dict": {**under("model.", RAW), "criterion.weight": torch.ones(3)}}
    notes = restore(Net(), saved(payload, tmp_path)).notes
    assert notes == (
        "the prefix 'model.' was taken off the names in the checkpoint",
        "left out, as no part of the network: criterion.weight",
    )


@pytest.mark.parametrize("prefix", ["", "model.", "inner.", "module."])
def test_a_wrapped_network_takes_the_bare_names(tmp_path: Path, prefix: str) -> None:
    network = Wrapper()
    restore(network, saved(under(prefix, RAW), tmp_path))
    assert same(network.inner, RAW)


AVERAGED: dict[str, tuple[Any, str]] = {
    "timm": ({"state_dict": RAW, "state_dict_ema": EMA}, "state_dict_ema"),
    "torchvision": ({"model": RAW, "model_ema": {"n_averaged": torch.tensor(3), **under("module.", EMA)}}, "model_ema"),
    "a key": ({"model": RAW, "ema": {"module": EMA, "updates": 5}}, "ema.module"),
    "prefixes": ({"state_dict": {**under("model.", RAW), **under("ema_model.", EMA)}}, "state_dict.ema_model"),
}


@pytest.mark.parametrize(("payload", "label"), AVERAGED.values(), ids=AVERAGED)
@pytest.mark.parametrize(("wanted", "expected"), [(None, EMA), ("ema", EMA), ("raw", RAW)])
def test_averaged_weights_are_taken_unless_raw_ones_are_asked_for(
    tmp_path: Path, payload: Any, label: str, wanted: str | None, expected: State
) -> None:
    network = Net()
    restored = restore(network, saved(payload, tmp_path), wanted=wanted)
    assert same(network, expected)
    named = f"EMA weights ({label}) of checkpoint x.pt"
    assert (restored.weights == named) == (expected is EMA)
    assert any("also holds other weights that fit" in note for note in restored.notes)


def test_as_timm_the_first_of_two_averages_counts(tmp_path: Path) -> None:
    network = Net()
    restore(network, saved({"model": state(3), "model_ema": RAW, "state_dict_ema": EMA}, tmp_path))
    assert same(network, EMA)


@pytest.mark.parametrize(
    ("payload", "listed"),
    [
        ({"model": RAW, "best_model": EMA}, "model, best_model"),
        ({**under("student.", RAW), **under("teacher.", EMA)}, "student, teacher"),
        ({"nets": [RAW, EMA]}, "nets[0], nets[1]"),
    ],
)
def test_several_sets_are_named_and_one_is_asked_for(tmp_path: Path, payload: Any, listed: str) -> None:
    path = saved(payload, tmp_path)
    with pytest.raises(UsageError) as caught:
        restore(Net(), path)
    assert f"2 different sets of weights that fit: {listed}; choose one with --weights NAME" in str(caught.value)
    network = Net()
    last = listed.split(", ")[1]
    restored = restore(network, path, wanted=last)
    assert same(network, EMA)
    assert restored.weights == f"weights {last} of checkpoint x.pt"


def test_a_name_means_that_part_alone(tmp_path: Path) -> None:
    path = saved({**under("backbone.", RAW), "head.weight": torch.ones(3)}, tmp_path)
    with pytest.raises(ModelError, match=r"1 unexpected \(head\.weight\)"):
        restore(Net(), path)
    network = Net()
    assert "head.weight" in " ".join(restore(network, path, wanted="backbone").notes)
    assert same(network, RAW)


@pytest.mark.parametrize(
    ("payload", "wanted", "words"),
    [
        ({"state_dict": RAW}, "ema", "holds no EMA weights that fit"),
        ({"state_dict_ema": RAW}, "raw", "holds only EMA weights that fit"),
        ({"model": RAW}, "best", "holds no weights 'best' that fit; it holds model"),
    ],
)
def test_what_is_not_there_is_said(tmp_path: Path, payload: Any, wanted: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        restore(Net(), saved(payload, tmp_path), wanted=wanted)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight


def test_one_name_is_enough_for_tied_weights(tmp_path: Path) -> None:
    full = state(5, Tied())
    full["b.weight"] = full["a.weight"]
    for missing in ("a.weight", "b.weight"):
        network = Tied()
        restore(network, saved({key: value for key, value in full.items() if key != missing}, tmp_path))
        assert same(network, full)
    with pytest.raises(ModelError, match=r"different weights for a\.weight and b\.weight, which are one"):
        restore(Tied(), saved(full | {"b.weight": full["a.weight"] + 1}, tmp_path))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_are_converted_and_said(tmp_path: Path, dtype: torch.dtype) -> None:
    converted = {key: value.to(dtype) if value.is_floating_point() else value for key, value in RAW.items()}
    network = Net()
    notes = restore(network, saved(converted, tmp_path)).notes
    assert same(
        network, {key: value.float() if value.is_floating_point() else value for key, value in converted.items()}
    )
    assert notes == (f"weights stored as {str(dtype).removeprefix('torch.')} are computed with in float32",)


def quantised() -> Any:
    return Net().state_dict() | {"fc._packed_params._packed_params": (torch.ones(1), None)}


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "int8": (lambda: {k: v.to(torch.int8) if v.is_floating_point() else v for k, v in RAW.items()}, "as int8"),
    "complex": (lambda: RAW | {"fc.weight": RAW["fc.weight"].to(torch.complex64)}, "as complex64"),
    "quantised": (quantised, "quantised weights"),
    "qint8": (lambda: RAW | {"fc.weight": torch.quantize_per_tensor(RAW["fc.weight"], 0.1, 0, torch.qint8)}, "quantis"),
    "head": (lambda: Net(7).state_dict(), "the file has 7 classes: build the network with as many"),
    "another network": (
        lambda: {"arch": "resnet50", "state_dict": {"conv1.weight": torch.ones(2), "layer1.x": torch.ones(1)}},
        "8 missing .* 2 unexpected .* it is for 'resnet50'",
    ),
    "more than the network": (lambda: RAW | {"more.weight": torch.ones(2)}, r"1 unexpected \(more\.weight\)"),
    "optimizer": (lambda: torch.optim.Adam(Net().parameters()).state_dict(), "state of an optimizer and no weights"),
    "optimizer and epoch": (lambda: {"optimizer": {"state": {}}, "epoch": 3}, "state of an optimizer and no weights"),
    "nested deeply": (lambda: {"a": {"b": {"c": {"d": {"e": {"f": RAW}}}}}}, "not a state dict"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_what_does_not_fit_gets_one_line(tmp_path: Path, make: Callable[[], Any], words: str) -> None:
    network = Net()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(AuditError, match=words) as caught:
        restore(network, saved(make(), tmp_path))
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)
    assert same(network, before)


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("num_classes",), "give --model-arg num_classes=7"),
        (("width", "n_classes"), "give --model-arg n_classes=7"),
        (("width",), "build the network with as many"),
        ((), "build the network with as many"),
    ],
)
def test_the_advice_on_classes_names_an_argument_that_is_there(
    tmp_path: Path, arguments: tuple[str, ...], advice: str
) -> None:
    with pytest.raises(AuditError, match=f"the file has 7 classes: {advice}$"):
        restore(Net(), saved(Net(7).state_dict(), tmp_path), arguments=arguments)


@pytest.mark.parametrize(("arguments", "advice"), [(("width",), " and --model-arg"), ((), "")])
def test_no_argument_is_advised_where_none_is_taken(tmp_path: Path, arguments: tuple[str, ...], advice: str) -> None:
    with pytest.raises(AuditError, match=f"check the architecture{advice}$"):
        restore(Net(), saved({"x.weight": torch.ones(2), "y.weight": torch.ones(1)}, tmp_path), arguments=arguments)


def test_looking_for_weights_ends(tmp_path: Path) -> None:
    wide = [[[[] for _ in range(10)] for _ in range(40)] for _ in range(40)]
    assert sets_in(wide) == []
    circle: dict[str, Any] = {}
    circle["self"] = circle
    assert sets_in(circle) == []
