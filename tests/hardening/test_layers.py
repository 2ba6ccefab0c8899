"""Which layers a regulariser acts on, and with what weight."""

from __future__ import annotations

import pytest
import torch

from lsa_audit.errors import UsageError
from lsa_audit.hardening.layers import names, weights
from lsa_audit.hardening.training.atlr import relative_error
from lsa_audit.settings.recipe import Recipe

from .training import trainings


@pytest.fixture(scope="module")
def made():
    return trainings.setup({})


def chosen(made, vulnerable=(), **settings):
    return names(made.graph, Recipe(**{"reg": "atlr", **settings}), vulnerable)


def weighed(made, layers, **settings):
    recipe = Recipe(**{**trainings.SMALL, "at": "pgd", "steps": 2, "reg": "atlr", **settings})
    return weights(made.model, made.graph, made.training, recipe, layers, trainings.CPU)


@pytest.mark.slow
def test_the_most_vulnerable_in_the_order_of_execution(made):
    assert chosen(made, ("head", "conv1")) == ("conv1", "head")
    assert chosen(made) == ()


def test_all_are_the_learnable_ones_and_globs_choose(made):
    assert chosen(made, layers="all") == ("conv1", "conv2", "head")
    assert chosen(made, layers="conv*") == ("conv1", "conv2")
    assert chosen(made, layers="relu1,head") == ("relu1", "head")
    with pytest.raises(UsageError, match="nothing"):
        chosen(made, layers="nothing*")


@pytest.mark.parametrize("layers", ["mvl", "all"])
@pytest.mark.parametrize("reg", ["lad-lie", "lad-strang"])
def test_lad_moves_the_hidden_states(made, reg, layers):
    assert chosen(made, ("head",), reg=reg, layers=layers) == ("relu1", "relu2")


def test_one_gamma_for_all_or_one_a_layer(made):
    layers = ("conv1", "conv2")
    assert weighed(made, layers, gamma=0.5) == {"conv1": 0.5, "conv2": 0.5}
    assert weighed(made, layers, gamma={"conv2": 0.25}) == {"conv1": 0.0, "conv2": 0.25}
    with pytest.raises(UsageError, match="gamma names head, which is not among the regularised layers"):
        weighed(made, layers, gamma={"head": 1.0})


@pytest.mark.parametrize("at", ["pgd", "free", "trades"])
def test_automatic_weights_give_every_layer_the_same_share(made, at):
    before = trainings.weights(made)
    found = weighed(made, ("conv1", "conv2"), at=at)
    assert list(found) == ["conv1", "conv2"]
    assert all(gamma > 0 for gamma in found.values())
    # In evaluation, on other images of the kind, moved at random: the shares are of one size.
    images = trainings.dataset(64, seed=5).images(0, 64)
    with torch.no_grad():
        prepared = made.model.module.prepare(images)
        network = made.model.module.network
        noise = 0.08 * torch.randn(images.shape, generator=torch.Generator().manual_seed(2)).sign()
        moved = made.model.module.prepare((images + noise).clamp(0, 1))
        first = [network.conv1(entry) for entry in (prepared, moved)]
        second = [network.conv2(network.relu1(network.norm(entry))) for entry in first]
        shares = [
            found[name] * float(relative_error(*(entry.flatten(1) for entry in pair)))
            for name, pair in (("conv1", first), ("conv2", second))
        ]
    assert 0.3 < shares[0] / shares[1] < 3
    after = trainings.weights(made)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(value.grad is not None for value in made.model.module.parameters())
