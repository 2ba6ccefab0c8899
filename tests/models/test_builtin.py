from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from lsa_audit.data.builtin import Split, digits_split, moons_split
from lsa_audit.errors import ModelError, UsageError
from lsa_audit.models import ModelRequest, fit, load
from lsa_audit.models.builtin import BUILTINS, weights_path
from lsa_audit.models.preprocessing import first_channels

SPLITS = {"digits-cnn": digits_split, "moons-mlp": moons_split}


def right(name: str, split: Split) -> str:
    model = fit(load(ModelRequest(name)), split.test_images[:2])
    with torch.no_grad():
        count = int((model.module(split.test_images).argmax(1) == split.test_labels).sum())
    return f"{count}/{len(split.test_labels)}"


def test_every_builtin_is_covered_here() -> None:
    assert set(SPLITS) == set(BUILTINS)


@pytest.mark.slow_except("moons-mlp")
@pytest.mark.parametrize("name", SPLITS)
def test_shipped_weights_have_the_accuracy_that_their_file_states(name: str) -> None:
    with safe_open(weights_path(name), "pt") as shipped:
        stated = shipped.metadata()["held_out_right"]
    count, total = (int(part) for part in stated.split("/"))
    assert right(name, SPLITS[name]()) == stated
    assert count / total >= 0.97


@pytest.mark.parametrize("name", SPLITS)
def test_weights_are_small_and_the_preprocessing_fits_the_network(name: str) -> None:
    assert weights_path(name).stat().st_size < 300_000
    model = load(ModelRequest(name))
    assert model.preprocessing == BUILTINS[name].preprocessing
    assert model.preprocessing.channels == first_channels(model.module.network)
    assert (model.source, model.weights, model.module.training) == ("builtin", "shipped with the package", False)


@pytest.mark.parametrize("name", SPLITS)
def test_the_class_count_is_right_before_and_after_a_run(name: str) -> None:
    model = load(ModelRequest(name))
    assert fit(model, SPLITS[name]().test_images[:2]).classes == model.classes


def test_stated_mean_and_std_are_those_of_the_training_images() -> None:
    images = digits_split().train_images
    stated = BUILTINS["digits-cnn"].preprocessing
    assert stated.mean[0] == pytest.approx(float(images.mean()), abs=5e-4)
    assert stated.std[0] == pytest.approx(float(images.std()), abs=5e-4)


def test_random_weights_follow_the_seed_and_leave_the_generators_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second, other = (
        load(ModelRequest("digits-cnn", random_weights=True, seed=seed)).module.network.conv1.weight
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_checkpoint_replaces_the_shipped_weights(tmp_path: Path) -> None:
    donor = load(ModelRequest("moons-mlp", random_weights=True, seed=4))
    torch.save(donor.module.network.state_dict(), tmp_path / "x.pt")
    model = load(ModelRequest("moons-mlp", checkpoint=tmp_path / "x.pt"))
    assert torch.equal(model.module.network.linear1.weight, donor.module.network.linear1.weight)
    assert model.checkpoint_sha256 is not None
    with pytest.raises(ModelError, match="does not fit DigitsCnn"):
        load(ModelRequest("digits-cnn", checkpoint=tmp_path / "x.pt"))


def test_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="width"):
        load(ModelRequest("moons-mlp", arguments={"width": 3}))
