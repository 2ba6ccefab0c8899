from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import errors as hub_errors
from torch import nn

from lsa_audit.errors import ModelError, UsageError
from lsa_audit.models import ModelRequest, fit, load
from lsa_audit.models import timm as loader
from lsa_audit.models.assembly import RANDOM_NOTE

SMALL = "test_resnet.r160_in1k"


def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "require", lambda *_: None)


def test_random_weights_follow_the_seed_and_need_no_network() -> None:
    before = torch.get_rng_state()
    first, second, other = (load(ModelRequest(SMALL, random_weights=True, seed=seed)) for seed in (0, 0, 1))
    weights = [next(model.module.network.parameters()) for model in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), before)
    assert first.weights == "random, seed 0"
    assert first.notes == (RANDOM_NOTE,)
    assert not any(module.training for module in first.module.modules())


def test_preprocessing_comes_from_the_metadata() -> None:
    config = timm.get_pretrained_cfg(SMALL)
    model = load(ModelRequest(SMALL, random_weights=True))
    assert model.preprocessing.mean == config.mean
    assert model.preprocessing.std == config.std
    assert model.preprocessing.input_shape == config.input_size == (3, 160, 160)
    assert model.preprocessing.interpolation == config.interpolation
    assert model.preprocessing.crop_share == config.crop_pct
    assert model.preprocessing.channels == 3
    assert model.classes == 1000
    assert model.architecture == "test_resnet"
    assert SMALL in model.preprocessing.source


def test_the_own_prefix_of_timm_is_its_registry() -> None:
    model = load(ModelRequest(f"timm/{SMALL}", random_weights=True))
    assert model.name == f"timm/{SMALL}"
    assert model.source == "timm"


def test_arguments_change_the_network_and_the_input_that_is_asked_for() -> None:
    gray = {"in_chans": 1, "num_classes": 7}
    model = load(ModelRequest(SMALL, random_weights=True, mean=(0.5,), std=(0.5,), arguments=gray))
    assert model.preprocessing.input_shape == (1, 160, 160)
    assert fit(model, torch.rand(2, 1, 32, 32)).classes == 7
    with pytest.raises(UsageError, match=r"mean has 3 values .* channels are 1"):
        load(ModelRequest(SMALL, random_weights=True, arguments=gray))


def test_an_image_size_argument_is_the_input_size() -> None:
    model = load(ModelRequest("test_vit", random_weights=True, arguments={"img_size": 64}))
    assert model.preprocessing.input_shape == (3, 64, 64)
    assert fit(model, torch.rand(1, 3, 64, 64)).classes == 1000


def test_a_checkpoint_needs_no_network(tmp_path: Path) -> None:
    donor = load(ModelRequest(SMALL, random_weights=True, seed=5)).module.network
    torch.save({"state_dict": donor.state_dict()}, tmp_path / "x.pth")
    model = load(ModelRequest(SMALL, checkpoint=tmp_path / "x.pth"))
    assert all(torch.equal(a, b) for a, b in zip(donor.parameters(), model.module.network.parameters(), strict=True))
    assert model.weights == "checkpoint x.pth"
    assert model.notes == ()
    with pytest.raises(ModelError, match="unexpected"):
        load(ModelRequest("test_vit", checkpoint=tmp_path / "x.pth"))


def test_published_weights_are_asked_for_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    reachable(monkeypatch)
    real, asked = timm.create_model, []

    def create(name: str, pretrained: bool = False, **arguments: Any) -> nn.Module:
        asked.append((name, pretrained, arguments))
        return real(name, pretrained=False, **arguments)

    monkeypatch.setattr(timm, "create_model", create)
    model = load(ModelRequest(SMALL, arguments={"num_classes": 7}))
    assert asked == [(SMALL, True, {"num_classes": 7})]
    assert model.weights == f"published by hf-hub:timm/{SMALL}"
    assert model.notes == ("the last layer is random: 7 classes were asked for, the weights have 1000",)


FAILURES: dict[str, Exception] = {
    "not cached": hub_errors.LocalEntryNotFoundError("no connection"),
    "offline": hub_errors.OfflineModeIsEnabled("offline"),
    "connection": ConnectionError("refused"),
    "timeout": TimeoutError("timed out"),
}


@pytest.mark.parametrize("error", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("spec", [SMALL, "hf-hub:owner/net", "hf_hub:owner/net"])
def test_a_failed_download_is_one_line_that_names_the_ways_out(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], spec: str, error: Exception
) -> None:
    reachable(monkeypatch)

    def fail(*_: Any, **__: Any) -> nn.Module:
        raise error

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(ModelError, match=r"cannot be downloaded: .*--checkpoint FILE, or --random-weights") as caught:
        load(ModelRequest(spec))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("spec", [SMALL, "hf-hub:owner/net"])
def test_an_unreachable_hub_stops_before_timm_retries(monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    import huggingface_hub

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("refused")

    def never(*_: Any, **__: Any) -> nn.Module:
        raise AssertionError("timm was asked although the hub does not answer")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(timm, "create_model", never)
    with pytest.raises(ModelError, match="--random-weights"):
        load(ModelRequest(spec))


BAD: dict[str, tuple[ModelRequest, str]] = {
    "typing error": (ModelRequest("resnt18"), r"there is no model 'resnt18'; did you mean resnet18, \w+, \w+\?$"),
    "builtin with a typing error": (ModelRequest("digit-cnn"), "did you mean digits-cnn"),
    "nothing near": (ModelRequest("qqqqqqqqqqqq"), r"give a timm name or FILE\.py:FACTORY"),
    "unknown tag": (ModelRequest("resnet18.a1in1k", random_weights=True), r"did you mean resnet18\.a1_in1k"),
    "no published weights": (
        ModelRequest("botnet50ts_256"),
        "publishes no weights for botnet50ts_256; give --checkpoint",
    ),
    "wrong argument": (
        ModelRequest(SMALL, random_weights=True, arguments={"bogus": 1}),
        "TypeError: .*'bogus'.*--model-arg",
    ),
}


@pytest.mark.parametrize(("request_", "words"), BAD.values(), ids=BAD)
def test_bad_requests_get_one_line(request_: ModelRequest, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        load(request_)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", loader.RESERVED)
def test_arguments_that_the_tool_sets_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"--model-arg {name}"):
        load(ModelRequest(SMALL, random_weights=True, arguments={name: "x"}))


@pytest.mark.network
def test_a_small_published_model_downloads() -> None:
    try:
        model = load(ModelRequest(SMALL))
    except ModelError as error:
        pytest.skip(f"no hub here: {error.what}")
    assert fit(model, torch.rand(1, 3, 160, 160)).classes == 1000
