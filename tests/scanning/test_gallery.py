"""Which flipped images are shown, what is said of them, and when there are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lsa_audit.data.arrays import from_arrays
from lsa_audit.data.base import DataRequest, InputSpec
from lsa_audit.models import from_module
from lsa_audit.progress import Silent
from lsa_audit.records import Perturbation
from lsa_audit.scanning.audit import Audit, audit, make_profile
from lsa_audit.scanning.gallery import CLASSES, ChosenImages, gallery
from lsa_audit.scanning.stages import Evaluation
from lsa_audit.scanning.verdicts import Verdicts

ATTACK = Perturbation(
    id="pgd@linf-0.5",
    name="pgd",
    kind="attack",
    norm="linf",
    epsilon=0.5,
    steps=1,
    step_size=0.1,
    restarts=1,
    version=1,
    citation="",
)


class Brightness(nn.Module):
    """Logit c is minus the distance of the mean pixel from c / 10."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.register_buffer("levels", torch.arange(classes) / 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -(images.flatten(1).mean(1)[:, None] - self.levels).abs()


def pictures(labels: list[int], channels: int = 1, shift: float = 0.0) -> torch.Tensor:
    """One image of even brightness for each label, [N, channels, 4, 4]."""
    return torch.stack([torch.full((channels, 4, 4), label / 10 + shift) for label in labels])


def evaluation(labels: list[int], channels: int = 1, **changes: object) -> Evaluation:
    images = pictures(labels, channels)
    model = from_module(Brightness(), mean=None, std=None, input_shape=(channels, 4, 4))
    data = from_arrays(images, torch.tensor(labels), InputSpec((channels, 4, 4)), DataRequest("memory"))
    right = torch.ones(len(labels), dtype=torch.bool)
    whole = Evaluation(model, data, data.labels, torch.device("cpu"), batch_size=3, right=right)
    return replace(whole, **changes)


def shown(place: Evaluation, adversarial: torch.Tensor, kept: tuple[int, ...] = (), size: int = 8) -> ChosenImages:
    """The gallery where the attack flips everything but the images `kept`."""
    verdicts = Verdicts.empty(ATTACK, len(place.dataset))
    verdicts.right[list(kept)] = True
    logits = place.model.module(place.dataset.images(0, len(place.dataset)))
    return gallery(place, logits, verdicts, adversarial, size)


def ids(found: ChosenImages) -> list[int]:
    return [int(entry.image_id) for entry in found.flipped]


def test_one_image_of_every_class_comes_before_the_second_of_any():
    labels = [1, 1, 2, 1, 2, 3]
    found = shown(evaluation(labels), pictures(labels, shift=0.1))
    assert ids(found) == [0, 2, 5, 1, 4, 3]
    assert [entry.place for entry in found.flipped] == list(range(6))


@pytest.mark.parametrize("size", [1, 8, 12])
def test_no_more_are_shown_than_are_wanted(size):
    labels = [1, 2] * 10
    found = shown(evaluation(labels), pictures(labels, shift=0.1), size=size)
    assert ids(found) == list(range(size))
    assert len(found.evidence["gallery/clean"]) == size


def test_no_image_leaves_a_scan_that_wants_none():
    labels = [1, 2]
    assert shown(evaluation(labels), pictures(labels, shift=0.1), size=0) == ChosenImages()


def test_images_that_were_wrong_before_or_stay_right_are_left_out():
    labels = [1, 2, 3, 4]
    right = torch.tensor([False, True, True, True])
    found = shown(evaluation(labels, right=right), pictures(labels, shift=0.1), kept=(2,))
    assert ids(found) == [1, 3]


def test_an_image_that_recovers_or_is_not_finite_is_left_out():
    labels = [1, 2, 3, 4]
    adversarial = pictures(labels, shift=0.1)
    adversarial[0] = 0.1
    adversarial[2, 0, 0, 0] = torch.nan
    assert ids(shown(evaluation(labels), adversarial)) == [1, 3]


def test_what_is_said_of_an_image():
    names = tuple("abcdefghij")
    place = evaluation([2, 5])
    place = replace(place, dataset=replace(place.dataset, class_names=names))
    (entry, _) = shown(place, pictures([4, 6], shift=0.02)).flipped
    assert (entry.perturbation, entry.label, entry.prediction) == (ATTACK.id, 2, 4)
    assert entry.linf == pytest.approx(0.22)
    assert entry.l2 == pytest.approx(0.22 * 4)
    # Around a mean of .42 the nearest levels are .4, .5, .3, .6; class c at .2 is the right one.
    assert [score.name for score in entry.scores] == ["e", "f", "d", "g", "c"]
    assert [score.label for score in entry.scores] == [4, 5, 3, 6, 2]
    assert len(entry.scores) == CLASSES
    right = entry.scores[-1]
    assert (right.clean, right.adversarial) == pytest.approx((0.0, -0.22), abs=1e-6)


def test_unnamed_classes_have_numbers():
    (entry,) = shown(evaluation([2]), pictures([3])).flipped
    assert [score.name for score in entry.scores] == [str(score.label) for score in entry.scores]


def test_the_pixels_are_those_of_the_images():
    labels = [1, 1, 2]
    place = evaluation(labels)
    adversarial = pictures(labels, shift=0.1)
    found = shown(place, adversarial)
    order = [0, 2, 1]
    assert found.evidence["gallery/adversarial"].dtype == np.float32
    assert np.array_equal(found.evidence["gallery/adversarial"], adversarial[order].numpy())
    assert np.array_equal(found.evidence["gallery/clean"], place.dataset.pixels[order].numpy())


@pytest.mark.parametrize(
    ("channels", "adversarial", "kept"), [(2, 0.1, ()), (1, 0.1, (0, 1)), (1, 0.0, ())], ids=["channels", "kept", "ok"]
)
def test_nothing_to_show_is_an_empty_gallery(channels, adversarial, kept):
    labels = [1, 2]
    assert shown(evaluation(labels, channels), pictures(labels, channels, adversarial), kept) == ChosenImages()


# --- in a scan ----------------------------------------------------------------------------------

FAST = {"data": "digits", "samples": 60, "epsilon": [0.02, 0.1], "attacks": ["pgd"], "threads": 1}


SMALL = {"layers": "linear", "neurons": "none", "probes": ["patching"], "noises": []}


def scanned(**settings: object) -> Audit:
    return audit("digits-cnn", make_profile({"test": {**FAST, **SMALL, **settings}}), progress=Silent())


@pytest.mark.slow
def test_a_scan_shows_images_that_the_studied_attack_flipped():
    found = scanned()
    record, evidence = found.record, found.evidence
    assert record.gallery
    for name in ("gallery/clean", "gallery/adversarial"):
        assert evidence[name].shape == (len(record.gallery), *record.model.input_shape)
    ids = evidence["image_ids"].tolist()
    for entry in record.gallery:
        index = ids.index(entry.image_id)
        assert evidence["clean_predictions"][index] == evidence["labels"][index] == entry.label
        assert not evidence[f"right/{entry.perturbation}"][index]
        moved = evidence["gallery/adversarial"][entry.place] - evidence["gallery/clean"][entry.place]
        assert np.abs(moved).max() == pytest.approx(entry.linf)
        assert 0 < entry.linf <= 0.1 + 1e-6
        assert entry.scores[0].label == entry.prediction != entry.label


@pytest.mark.slow
def test_a_scan_without_neurons_shows_images_of_the_largest_epsilon():
    found = scanned(probes=[]).record
    assert {entry.perturbation for entry in found.gallery} == {"pgd@linf-0.1"}


def test_a_scan_that_keeps_no_attacked_images_shows_none():
    found = scanned(layers="none", probes=[])
    assert any(result.fooled for result in found.record.attacks)
    assert found.record.gallery == ()
    assert not [name for name in found.evidence if name.startswith("gallery/")]


def test_feature_vectors_are_no_pictures():
    profile = make_profile({"test": {**FAST, **SMALL, "layers": "learnable", "data": "moons", "epsilon": [0.3]}})
    found = audit("moons-mlp", profile, progress=Silent()).record
    assert any(result.fooled for result in found.attacks)
    assert found.gallery == ()
