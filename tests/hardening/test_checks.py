"""What the audits before and after measure."""

from __future__ import annotations

import pytest

from lsa_audit.errors import UsageError
from lsa_audit.hardening.checks import DEFAULT_ATTACKS, Checks, audit_profile, layer_profile, reloading
from lsa_audit.models.request import ModelRequest
from lsa_audit.scanning.audit import make_profile
from lsa_audit.settings.recipe import Recipe

PROFILE = make_profile(
    {"test": {"data": "digits", "neurons": "conv1", "precision": "float32", "checkpoint": "a.pt", "seed": 4}}
)
RECIPE = Recipe(epsilon=0.3, seed=7)


def checked(**changes):
    recipe = changes.pop("recipe", RECIPE)
    return audit_profile(PROFILE, recipe, 0.7, Checks(**changes))


def test_the_first_attack_runs_on_the_grid_and_the_others_at_the_epsilon():
    found = checked()
    assert [entry.name for entry in found.attacks] == list(DEFAULT_ATTACKS)
    assert found.attacks[0].epsilon == pytest.approx((0.15, 0.3, 0.45, 0.6))
    assert {entry.epsilon for entry in found.attacks[1:]} == {(0.3,)}
    assert {entry.norm for entry in found.attacks} == {"linf"}
    assert [entry.steps for entry in found.attacks] == [None, None, None, 600]


def test_a_grid_is_sorted_holds_the_epsilon_once_and_stays_in_the_range():
    grid = checked(grid=(0.5, 0.1, 0.3, 0.1, 0.0)).attacks[0].epsilon
    assert grid == (0.1, 0.3, 0.5)
    assert checked(recipe=Recipe(epsilon=0.8)).attacks[0].epsilon == pytest.approx((0.4, 0.8))
    wide = checked(recipe=Recipe(norm="l2", epsilon=1.5)).attacks[0]
    assert wide.norm == "l2"
    assert wide.epsilon == pytest.approx((0.75, 1.5, 2.25, 3.0))


@pytest.mark.parametrize(("at", "own"), [("free", "fgsm"), ("pgd", "pgd"), ("trades", "pgd")])
def test_the_attack_most_like_the_training_is_always_among_them(at, own):
    found = checked(attacks=("square",), recipe=Recipe(at=at, epsilon=0.3)).attacks
    assert [entry.name for entry in found] == ["square", own]
    assert found[1].epsilon == (0.3,)
    assert [entry.name for entry in checked(attacks=("pgd", "square")).attacks] == ["pgd", "square"]


def test_passes_are_those_of_cascade():
    assert checked(attacks=("pgd", "cascade"), passes=50).attacks[1].steps == 50
    with pytest.raises(UsageError, match="passes: no attack here takes it"):
        checked(attacks=("pgd",), passes=50)


def test_neither_noises_nor_neurons_are_measured_and_the_labels_count():
    for found in (checked(), layer_profile(PROFILE, RECIPE, 0.7)):
        assert (found.noises, found.neurons, found.probes) == ((), "none", ())
        assert (found.labels, found.seed, found.eta, found.norm) == ("dataset", 7, 0.7, "linf")
        assert found.data == "digits"


def test_layers_are_chosen_under_pgd_alone():
    found = layer_profile(PROFILE, RECIPE, 0.7)
    assert [(entry.name, entry.epsilon) for entry in found.attacks] == [("pgd", (0.3,))]
    assert found.layers == "learnable"


def test_the_new_file_is_loaded_as_it_was_written():
    request = ModelRequest("new.safetensors", arch="resnet18", trusted=frozenset({"b" * 64, "a" * 64}))
    found = reloading(PROFILE, request)
    assert (found.arch, found.checkpoint, found.random_weights) == ("resnet18", None, False)
    assert found.trusted == ("a" * 64, "b" * 64)
    assert found.data == PROFILE.data
