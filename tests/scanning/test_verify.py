"""A run stands up to a second judgement, and any change to it does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lsa_audit.errors import DataError, UsageError
from lsa_audit.models.builtin import weights_path
from lsa_audit.models.checkpoint import load_state_dict
from lsa_audit.progress import Silent
from lsa_audit.scanning.audit import Audit, audit, make_profile
from lsa_audit.scanning.verdicts import digest
from lsa_audit.scanning.verify import verify
from lsa_audit.stats.statistics import estimate

SETTINGS = {
    "data": "digits",
    "samples": 40,
    "epsilon": [0.05, 0.1, 0.2],
    "attacks": [
        "fgsm",
        {"name": "pgd", "steps": 4},
        {"name": "fab-t", "steps": 3},
        {"name": "square", "steps": 20, "norm": "l2", "epsilon": [1.0, 2.0]},
    ],
    "noises": ["uniform"],
    "layers": "none",
    "neurons": "none",
    "threads": 1,
    "save_adversarials": True,
}
SEARCH = "pgd@linf-0.1"
NEAREST = "fab-t@linf-0.2"


@pytest.fixture(scope="module")
def run():
    return audit("digits-cnn", make_profile({"test": SETTINGS}), progress=Silent())


def again(run: Audit, subject="digits-cnn", arrays=None, evidence=None, record=None, **changes):
    """The run judged again, with changes to its settings, its evidence or its record."""
    profile = make_profile({"record": run.record.settings, "test": changes})
    changed = {**run.evidence, **(evidence or {})}
    return verify(record or run.record, changed, profile, subject, Silent(), arrays)


def in_memory(network: nn.Module, arrays) -> Audit:
    changes = {"data": None, "samples": None, "epsilon": [0, 0.1], "attacks": ["fgsm"], "labels": "self", "noises": []}
    return audit(network, make_profile({"test": {**SETTINGS, **changes}}), images=arrays, progress=Silent())


def told(found):
    return [(entry.subject, entry.what) for entry in found.differences]


def result_of(run: Audit, name: str):
    return next(entry for entry in run.record.attacks if entry.perturbation.id == name)


def with_result(run: Audit, name: str, **changes):
    attacks = tuple(
        entry.model_copy(update=changes) if entry.perturbation.id == name else entry for entry in run.record.attacks
    )
    return run.record.model_copy(update={"attacks": attacks})


def with_images(run: Audit, name: str, images):
    """Other images together with their own hash in the record."""
    return {
        "evidence": {f"adversarial/{name}": images},
        "record": with_result(run, name, adversarials_sha256=digest(images)),
    }


def test_a_fresh_run_passes(run):
    found = again(run)
    assert found.differences == ()
    assert [entry.perturbation for entry in found.checks] == [
        "clean images",
        *(entry.perturbation.id for entry in run.record.attacks),
    ]
    assert {(entry.images, entry.agree, entry.within_rounding.count) for entry in found.checks} == {(40, 40, 0)}
    assert {entry.sha256_agrees for entry in found.checks[1:]} == {True}
    for checked, result in zip(found.checks[1:], run.record.attacks, strict=True):
        assert 0 <= checked.largest_distance <= result.perturbation.epsilon * (1 + 1e-5)


def test_the_sweep_of_the_run_leaves_verdicts_without_an_attack(run):
    """The case that the stored image of a right verdict is the clean one must be in this run."""
    assert any(0 < entry.attacked < run.record.clean.count for entry in run.record.attacks)
    assert any(0 < entry.fooled < run.record.clean.count for entry in run.record.attacks)


def test_a_run_with_measured_layers_passes():
    changes = {"layers": "learnable", "samples": 20, "attacks": ["fgsm", {"name": "pgd", "steps": 2}], "epsilon": [0.1]}
    measured = audit("digits-cnn", make_profile({"test": {**SETTINGS, **changes}}), progress=Silent())
    assert measured.record.sustainability
    assert again(measured, batch_size=7).differences == ()


def test_a_module_in_memory_with_uint8_images_passes():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 1, 4, 4), generator=generator, dtype=torch.uint8).numpy()
    arrays = (images, np.arange(20) % 3)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).train()
    first = in_memory(network, arrays)
    assert {first.evidence[f"adversarial/fgsm@linf-{epsilon}"].dtype for epsilon in ("0", "0.1")} == {
        np.dtype(np.uint8),
        np.dtype(np.float32),
    }
    found = again(first, subject=network, arrays=arrays)
    assert found.differences == ()
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (39, 0, 7, 7)])
@pytest.mark.parametrize("name", ["fgsm@linf-0.05", SEARCH, NEAREST, "square@l2-1", "uniform@linf-0.1"])
def test_one_changed_pixel_fails(run, name, place):
    images = run.evidence[f"adversarial/{name}"].copy()
    images[place] = np.nextafter(images[place], np.float32(0.5))
    found = again(run, evidence={f"adversarial/{name}": images})
    assert (name, "the sha256 of the stored images is not the recorded one") in told(found)
    assert [entry.perturbation for entry in found.checks if entry.sha256_agrees is False] == [name]


@pytest.mark.slow_for("uniform@linf-0.1")
@pytest.mark.parametrize("name", [SEARCH, NEAREST, "uniform@linf-0.1"])
def test_one_changed_verdict_fails(run, name):
    right = run.evidence[f"right/{name}"].copy()
    place = int(np.flatnonzero(run.evidence["labels"] == run.evidence["clean_predictions"])[3])
    right[place] = ~right[place]
    found = again(run, evidence={f"right/{name}": right})
    difference = next(entry for entry in found.differences if entry.what == "the verdict is not the stored one")
    assert (difference.subject, difference.images.count) == (name, 1)
    assert difference.images.first_ids == (str(run.evidence["image_ids"][place]),)
    assert any("figures do not follow" in what for _, what in told(found))


def test_a_verdict_and_its_figures_changed_together_fail_all_the_same(run):
    right = run.evidence[f"right/{SEARCH}"].copy()
    fallen = np.flatnonzero(~right & (run.evidence["labels"] == run.evidence["clean_predictions"]))
    right[fallen] = True
    count = run.record.clean.count
    record = with_result(run, SEARCH, fooled=0, robust_accuracy=estimate(count, 40))
    found = again(run, record=record, evidence={f"right/{SEARCH}": right})
    difference = next(entry for entry in found.differences if entry.what == "the verdict is not the stored one")
    assert difference.images.count == len(fallen)
    assert len(difference.images.first_ids) == min(len(fallen), 10)


@pytest.mark.parametrize("name", ["fgsm@linf-0.05", NEAREST, "square@l2-1"])
def test_an_image_outside_the_ball_fails_though_its_hash_fits(run, name):
    images = run.evidence[f"adversarial/{name}"].copy()
    images[5] = 1 - images[5]
    found = again(run, **with_images(run, name, images))
    assert (name, "outside the ball") in told(found)
    assert all(entry.sha256_agrees is not False for entry in found.checks)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.001, 1.001])
def test_pixels_outside_the_range_fail_though_their_hash_fits(run, value):
    name = "square@l2-2"
    images = run.evidence[f"adversarial/{name}"].copy()
    images[5, 0, 0, 0] = value
    found = again(run, **with_images(run, name, images))
    (difference,) = (entry for entry in found.differences if "pixel" in entry.what)
    assert difference.images.first_ids == (str(run.evidence["image_ids"][5]),)


def test_another_distance_fails(run):
    distance = run.evidence["distance/fab-t@linf"].copy()
    place = int(np.flatnonzero(np.isfinite(distance) & (distance > 0) & (distance < 0.2))[0])
    distance[place] *= 0.9
    found = again(run, evidence={"distance/fab-t@linf": distance})
    assert (NEAREST, "the stored distance is not that of the image") in told(found)
    assert (NEAREST, "the recorded distances do not follow from the stored ones") in told(found)
    found = again(run, evidence={"distance/fab-t@linf": np.full_like(distance, np.inf)})
    assert (NEAREST, "the verdict does not follow from the stored distance") in told(found)


def test_other_figures_fail(run):
    result = result_of(run, SEARCH)
    for changes in (
        {"fooled": result.fooled - 1},
        {"robust_accuracy": estimate(result.robust_accuracy.count + 1, 40)},
        {"robust_accuracy": result.robust_accuracy.model_copy(update={"value": 0.99})},
    ):
        assert told(again(run, record=with_result(run, SEARCH, **changes))) == [
            (SEARCH, f"the recorded figures do not follow from the verdicts: {result.fooled} are fooled")
        ]


def test_another_clean_accuracy_or_prediction_fails(run):
    record = run.record.model_copy(update={"clean": estimate(1, 40)})
    assert again(run, record=record).differences[0].what == "the recorded accuracy does not follow from the predictions"
    found = again(run, evidence={"clean_predictions": (run.evidence["clean_predictions"] + 1) % 10})
    difference = next(entry for entry in found.differences if entry.what == "the prediction is not the stored one")
    assert (difference.images.count, len(difference.images.first_ids)) == (40, 10)


@pytest.mark.parametrize("name", ["labels", "image_ids"])
def test_other_labels_and_ids_fail(run, name):
    assert again(run, evidence={name: run.evidence[name][::-1].copy()}).differences


def test_another_sweep_fails(run):
    sweep = run.record.sweeps[1]
    record = run.record.model_copy(update={"sweeps": (sweep.model_copy(update={"unbroken": 40}),)})
    assert told(again(run, record=record)) == [("sweeps", "the recorded sweeps do not follow from the verdicts")]
    found = again(run, evidence={"breaking_epsilon/pgd@linf": np.zeros(40)})
    assert told(found) == [("pgd@linf", "the stored breaking epsilons do not follow from the verdicts")]


def test_other_weights_fail_and_are_named(run, tmp_path):
    state, _ = load_state_dict(weights_path("digits-cnn"))
    state["linear.bias"] = state["linear.bias"] + 1e-6
    torch.save(state, tmp_path / "other.pt")
    found = again(run, checkpoint=str(tmp_path / "other.pt"))
    assert found.checks == ()
    (difference,) = found.differences
    assert difference.what.startswith("the sha256 of its weights is")
    assert run.record.model.weights_sha256 in difference.what


def test_another_normalisation_fails(run):
    (difference,) = again(run, mean=[0.5], std=[0.375]).differences
    assert difference.what.startswith("its mean is (0.5,), recorded is (0.304,)")


@pytest.mark.parametrize("changes", [{"samples": 41}, {"seed": 1}, {"slice": "100:140"}])
def test_other_data_fail(run, changes):
    (difference,) = again(run, **changes).differences
    assert difference.subject == "data"
    assert run.record.data.sha256 in difference.what


def test_another_meaning_of_right_fails(run):
    assert told(again(run, labels="self")) == [("labels", "they come from self, recorded is dataset")]


def test_a_perturbation_that_is_not_what_the_settings_say_fails(run):
    result = result_of(run, SEARCH)
    wider = result.perturbation.model_copy(update={"epsilon": 0.5})
    otherwise = (SEARCH, "recorded otherwise than the settings plan it")
    assert told(again(run, record=with_result(run, SEARCH, perturbation=wider))) == [otherwise]
    fewer = run.record.model_copy(update={"attacks": run.record.attacks[:-1]})
    assert told(again(run, record=fewer)) == [("uniform@linf-0.2", "planned by the settings, not recorded")]
    twice = run.record.model_copy(update={"attacks": (*run.record.attacks, result)})
    assert told(again(run, record=twice)) == [("attacks", "a perturbation is recorded twice")]


class Nearly(nn.Module):
    """Two logits of about 100 whose order hangs on `lead`."""

    def __init__(self, lead: float) -> None:
        super().__init__()
        self.register_buffer("lead", torch.tensor(lead), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first = 100 + 0 * images.flatten(1).sum(1)
        return torch.stack([first, first + self.lead], dim=1)


@pytest.mark.slow_except("0.005-20")
@pytest.mark.parametrize(("lead", "ties"), [(0.005, 20), (0.02, 0)])
def test_verdicts_near_a_tie_are_told_apart_from_wrong_ones(lead, ties):
    arrays = (torch.full((20, 1, 4, 4), 0.5).numpy(), np.arange(20) % 2)
    first = in_memory(Nearly(-lead), arrays)
    found = again(first, subject=Nearly(lead), arrays=arrays)
    assert [(entry.agree, entry.within_rounding.count) for entry in found.checks] == 3 * [(0, ties)]
    assert bool(found.differences) == (ties == 0)


def test_a_run_without_stored_images_is_refused(run):
    for record in (with_result(run, SEARCH, adversarials_sha256=None), run.record.model_copy(update={"attacks": ()})):
        with pytest.raises(UsageError, match="--save-adversarials"):
            again(run, record=record)


NEEDED = ["labels", "clean_predictions", "image_ids", f"right/{SEARCH}", f"adversarial/{SEARCH}", "distance/fab-t@linf"]


@pytest.mark.slow_except("labels")
@pytest.mark.parametrize("array", NEEDED)
def test_missing_or_misshapen_arrays_are_named(run, array):
    profile = make_profile({"record": run.record.settings})
    without = {name: value for name, value in run.evidence.items() if name != array}
    for evidence in (without, {**without, array: run.evidence[array][:-1]}, {**without, array: np.zeros(40, "M8[s]")}):
        with pytest.raises(DataError) as raised:
            verify(run.record, evidence, profile, "digits-cnn", Silent())
        assert array in raised.value.what


def test_predictions_of_no_class_are_refused(run):
    for value in (-2, 10):
        with pytest.raises(DataError, match="clean_predictions"):
            again(run, evidence={"clean_predictions": np.full(40, value)})
