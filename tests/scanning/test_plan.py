"""The list of perturbations that settings stand for."""

from __future__ import annotations

import pytest

from lsa_audit.attacks import ATTACKS
from lsa_audit.errors import ProfileError, UsageError
from lsa_audit.scanning.plan import measurable, perturbations, runs, without_gradients
from lsa_audit.settings.profile import Profile, build

NOISES = [name for name, entry in ATTACKS.items() if entry.kind == "noise"]


def made(**values: object) -> Profile:
    return build({"test": {"noises": [], **values}}, list(ATTACKS), NOISES)


def test_every_attack_at_every_epsilon_in_rising_order():
    planned = perturbations(made(attacks=["fgsm", "pgd"], epsilon=["8/255", "2/255"], noises=["salt"]))
    assert [entry.id for entry in planned] == [
        "fgsm@linf-2/255",
        "fgsm@linf-8/255",
        "pgd@linf-2/255",
        "pgd@linf-8/255",
        "salt@linf-2/255",
        "salt@linf-8/255",
    ]


def test_an_attack_may_have_its_own_norm_epsilon_and_budget():
    settings = {"name": "pgd", "norm": "l2", "epsilon": [1.5], "steps": 7, "step_size": "1/255", "restarts": 3}
    (planned,) = perturbations(made(attacks=[settings]))
    assert planned.id == "pgd@l2-1.5"
    assert (planned.steps, planned.step_size, planned.restarts) == (7, 1 / 255, 3)


def test_defaults_come_from_the_catalogue():
    (planned,) = perturbations(made(attacks=["pgd"], epsilon=[0.1]))
    assert (planned.steps, planned.restarts) == (ATTACKS["pgd"].steps, 1)
    assert planned.step_size == pytest.approx(0.1 / 4)
    assert planned.version == ATTACKS["pgd"].version


def test_an_attack_that_sets_its_own_step_size_gets_none():
    (planned,) = perturbations(made(attacks=["apgd-ce"], epsilon=[0.1]))
    assert planned.step_size is None


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"attacks": ["pgd", "pgd"]}, ProfileError, "would run twice"),
        ({"attacks": [{"name": "fgsm", "steps": 3}]}, ProfileError, "takes no steps"),
        ({"attacks": ["pgd"], "epsilon": [1.5]}, UsageError, "larger than the whole pixel range"),
        ({"attacks": ["pgd"], "epsilon": [8]}, UsageError, "did you mean 8/255"),
    ],
)
def test_plans_that_make_no_sense_are_refused(values, error, message):
    with pytest.raises(error, match=message):
        perturbations(made(**values))


def test_without_gradients_square_stands_in_for_the_cascade():
    attacks = ["pgd", {"name": "cascade", "steps": 400}, {"name": "square", "epsilon": [0.2], "steps": 7}]
    left, skipped = without_gradients(perturbations(made(attacks=attacks, epsilon=[0.1, 0.2])), ["LSTM"])
    assert [(entry.id, entry.steps) for entry in left] == [("square@linf-0.2", 7), ("square@linf-0.1", 200)]
    assert {entry.what for entry in skipped} == {
        *("pgd@linf-0.1", "pgd@linf-0.2"),
        *("cascade@linf-0.1", "cascade@linf-0.2"),
    }


def test_a_plan_becomes_runs_that_waste_nothing():
    planned = perturbations(
        made(attacks=["fgsm", "pgd", "cascade", "fab-t"], epsilon=[0.1, 0.2], noises=["salt"], norm="linf")
    )
    measured = {entry.id for entry in measurable(planned)}
    assert {entry.name for entry in measurable(planned)} == {"fgsm", "pgd", "salt"}
    with_layers = [(run.mode, len(run.perturbations), run.measured) for run in runs(planned, measured)]
    assert with_layers == [
        *4 * [("each", 1, True)],
        ("bisect", 2, False),
        ("nearest", 2, False),
        *2 * [("each", 1, True)],
    ]
    verdicts_only = [(run.mode, run.perturbations[0].name) for run in runs(planned, set())]
    assert verdicts_only == [
        *2 * [("each", "fgsm")],
        *[("bisect", "pgd"), ("bisect", "cascade"), ("nearest", "fab-t")],
        *2 * [("each", "salt")],
    ]


def test_an_ensemble_is_measured_where_it_is_the_only_attack():
    planned = perturbations(made(attacks=["autoattack"], epsilon=[0.1], noises=["salt"]))
    assert [entry.name for entry in measurable(planned)] == ["autoattack", "salt"]


@pytest.mark.parametrize("attack", ["layer-pgd", {"name": "pgd", "layer": "fc"}])
def test_a_layer_belongs_to_layer_attacks_and_to_no_others(attack):
    with pytest.raises(ProfileError, match="layer"):
        perturbations(made(attacks=[attack]))
