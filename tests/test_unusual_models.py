"""Whole scans of small models in which something is zero, NaN, masked or missing; figures by hand or by plain torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lsa_audit
from lsa_audit.attacks import ATTACKS
from lsa_audit.attacks.base import Batch, judge
from lsa_audit.attacks.budget import Budget
from lsa_audit.attacks.functions import FUNCTIONS
from lsa_audit.gating.snapshot import flags, snapshot
from lsa_audit.progress import Silent
from lsa_audit.reporting import FORMATS
from lsa_audit.reporting.shown import Shown
from lsa_audit.scanning.audit import audit, make_profile

IMAGES = torch.rand(24, 1, 6, 6, generator=torch.Generator().manual_seed(7))
QUIET: dict[str, Any] = {"noises": (), "neurons": "none", "probes": (), "layers": "none", "gallery": 0, "threads": 1}


class Small(nn.Module):
    """A convolution, a branch beside it, and a linear layer."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.branch = nn.Conv2d(3, 3, 1)
        self.fc = nn.Linear(108, classes)
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for values in self.parameters():
                values.copy_(torch.randn(values.shape, generator=generator) * 0.3)
            # No class wins throughout.
            self.fc.bias -= Small.forward(self, IMAGES).mean(0)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.conv(images).relu()
        return self.fc((hidden + self.branch(hidden)).flatten(1))


def zero_branch() -> nn.Module:
    """As networks are initialised whose last layer of a residual branch starts at zero."""
    module = Small()
    nn.init.zeros_(module.branch.weight)
    nn.init.zeros_(module.branch.bias)
    return module.eval()


class Gate(Small):
    """A layer that is silent on every clean image, and not beyond them."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Conv2d(1, 2, 1, bias=False)
        nn.init.ones_(self.gate.weight)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + self.gate((images - 1).relu() + (-images).relu()).sum((1, 2, 3))[:, None]


def labels_of(module: nn.Module) -> Tensor:
    with torch.no_grad():
        return module(IMAGES).argmax(1)


@pytest.mark.parametrize(
    "measure",
    [
        "relative-error",
        pytest.param("cosine", marks=pytest.mark.slow),
        pytest.param("batch-relative-error", marks=pytest.mark.slow),
    ],
)
def test_a_layer_that_is_zero_on_clean_images_is_skipped_with_the_reason(measure):
    module = zero_branch()
    changes = {"layers": "all", "neurons": "all", "probes": ("patching", "filters"), "measure": measure}
    result = audit(
        module,
        make_profile({"test": QUIET | {"attacks": ["pgd"], "epsilon": ["0.1"]} | changes}),
        images=(IMAGES, labels_of(module)),
        progress=Silent(),
    )
    skipped = [entry for entry in result.record.skipped if entry.reason == "zero-on-clean-images"]
    assert [entry.what for entry in skipped] == ["relative error of branch"]
    (entry,) = result.record.sustainability
    (silent,) = [measured for measured in entry.layers if measured.layer == "branch"]
    assert (silent.mean, silent.low, silent.mvl_share) == (None, None, None) or silent.mvl_share == 0
    assert silent.undefined == len(IMAGES)
    assert "branch" not in entry.mvl
    assert entry.mu is not None
    for _, render in FORMATS.values():
        assert render(Shown(result.record)).strip()


@pytest.mark.slow
def test_images_on_which_a_layer_is_zero_are_left_out_of_its_mean():
    module = Small()
    module.conv.bias.data.fill_(0)
    images = IMAGES.clone()
    images[:5] = 0
    with torch.no_grad():
        labels = module(images).argmax(1)
    settings = QUIET | {"layers": "conv", "attacks": ["fgsm"], "epsilon": ["0.1"], "save_adversarials": True}
    result = audit(module.eval(), make_profile({"test": settings}), images=(images, labels), progress=Silent())
    (measured,) = result.record.sustainability[0].layers
    assert measured.undefined == 5
    assert not any(entry.reason == "zero-on-clean-images" for entry in result.record.skipped)
    values = result.evidence[f"measure/{result.record.attacks[0].perturbation.id}"][0]
    assert np.isnan(values[:5]).all()
    assert np.isfinite(values[5:]).all()
    assert measured.mean == pytest.approx(float(np.mean(values[5:], dtype=np.float64)))


def test_a_layer_attack_on_a_silent_layer_works():
    module = Gate().eval()
    attacks = [{"name": "layer-pgd", "layer": "branch", "steps": 2}]
    dead = zero_branch()
    for subject in (module, dead):
        record = lsa_audit.scan(
            subject, (IMAGES, labels_of(subject)), **QUIET, attacks=attacks, epsilon=["0.1"], profile={}
        )
        assert record.attacks[0].signs.nonfinite_gradient == 0


class Breaks(Small):
    """NaN, or plus infinity, for images with a bright corner: in the class that is right by `argmax`."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        bright = (images[:, 0, 0, 0] > 0.99)[:, None]
        first = torch.arange(logits.shape[1])[None] == 0
        return torch.where(bright & first, torch.full_like(logits, self.value), logits)


@pytest.mark.slow_except("dataset-inf", "self-inf")
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("source", ["dataset", "self"])
def test_clean_accuracy_counts_logits_that_are_no_answer_as_wrong(value, source):
    module = Breaks(value).eval()
    images = IMAGES.clone() * 0.9
    images[5:9, 0, 0, 0] = 1.0
    with torch.no_grad():
        logits = module(images)
    labels = logits.argmax(1)
    assert labels[5:9].tolist() == [0] * 4
    settings = QUIET | {"attacks": ["pgd"], "epsilon": ["0"], "labels": source}
    result = audit(module, make_profile({"test": settings}), images=(images, labels), progress=Silent())
    assert (result.record.clean.count, result.record.clean.total) == (20, 24)
    assert result.evidence["clean_predictions"][5:9].tolist() == [-1] * 4
    assert (result.evidence["labels"] >= 0).all()
    found = flags(snapshot(result.record, result.evidence, "run").clean)
    assert found.tolist() == [place not in range(5, 9) for place in range(24)]


class Masked(Small):
    """Seven classes, of which only the first ones are open."""

    def __init__(self, open_classes: int) -> None:
        super().__init__(7)
        self.open_classes = open_classes

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits.masked_fill(torch.arange(7)[None] >= self.open_classes, -torch.inf)


EVERY_NUMBER = [(name, classes) for name in ("apgd-dlr", "apgd-t") for classes in (2, 3, 4)]


@pytest.mark.slow_for("fab-t-3", "apgd-t-4")
@pytest.mark.parametrize(
    ("name", "classes"), [*EVERY_NUMBER, ("fgsm", 3), ("apgd-ce", 3), ("fab-t", 3), ("square", 3), ("deepfool", 3)]
)
def test_few_and_masked_classes_are_attacked_alike(name, classes):
    """The judge's figures of a model with masked classes are those of the same model without them."""
    masked = Masked(classes).eval()
    plain = Masked(classes).eval()
    plain.fc.weight.data, plain.fc.bias.data = plain.fc.weight[:classes], plain.fc.bias[:classes]
    plain.forward = lambda images: Small.forward(plain, images)
    labels = labels_of(plain)
    found = []
    for module in (masked, plain):
        batch = Batch(IMAGES, labels, tuple(map(str, range(len(IMAGES)))), torch.ones(len(IMAGES), dtype=torch.bool))
        nearest = ATTACKS[name].minimal
        budget = Budget("linf", 1.0 if nearest else 0.05, steps=10, nearest=nearest)
        gradients = ATTACKS[name].gradients
        outcome = judge(module, FUNCTIONS[name], batch, budget, seed=0, gradients=gradients)
        found.append(outcome)
        assert not outcome.zero_gradient.any()
        assert not outcome.nonfinite.any()
    # The two sum up in another order, so that an image on the very edge may fall on either side.
    assert int((found[0].right != found[1].right).sum()) <= 1
    assert (~found[0].right).any()


class Routed(nn.Module):
    """Bright images pass one layer more; the first three are bright, and not all others."""

    threshold = float(IMAGES[:3].mean((1, 2, 3)).min()) - 1e-3

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first, self.bright, self.fc = nn.Linear(36, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(x.flatten(1)))
        some = x.mean((1, 2, 3)) > self.threshold
        routed = hidden.clone()
        routed[some] = torch.relu(self.bright(hidden[some]))
        return self.fc(routed)


def test_a_layer_that_only_some_images_reach_is_skipped_and_the_others_are_measured():
    network = Routed().eval()
    labels = network(IMAGES).argmax(1)
    settings = {"noises": (), "neurons": "none", "probes": (), "gallery": 0, "threads": 1}
    record = lsa_audit.scan(network, (IMAGES, labels), attacks=["fgsm"], epsilon=0.1, **settings)
    assert {(entry.what, entry.reason) for entry in record.skipped} >= {("layer bright", "rows-by-content")}
    leaf = IMAGES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(network(leaf), labels, reduction="sum"), leaf)
    attacked = (IMAGES + 0.1 * gradient.sign()).clamp(0, 1)
    clean, moved = (network.first(images.flatten(1)) for images in (IMAGES, attacked))
    expected = ((moved - clean).norm(dim=1) / clean.norm(dim=1)).mean()
    (measured,) = record.sustainability
    assert {entry.layer: entry.mean for entry in measured.layers}["first"] == pytest.approx(float(expected), rel=1e-5)


class InComplexNumbers(nn.Module):
    """Its first layer computes in complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first, self.fc = nn.Linear(36, 8, dtype=torch.complex64), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.first(x.flatten(1).to(torch.complex64)).abs())


def test_a_layer_of_complex_numbers_is_measured_by_their_absolute_values():
    network = InComplexNumbers().eval()
    labels = network(IMAGES).argmax(1)
    settings = {"noises": (), "neurons": "all", "probes": (), "gallery": 0, "threads": 1, "budget": None}
    record = lsa_audit.scan(network, (IMAGES, labels), attacks=["fgsm"], epsilon=0.1, **settings)
    leaf = IMAGES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(network(leaf), labels, reduction="sum"), leaf)
    attacked = (IMAGES + 0.1 * gradient.sign()).clamp(0, 1)
    clean, moved = (network.first(images.flatten(1).to(torch.complex64)) for images in (IMAGES, attacked))
    expected = ((moved - clean).abs().square().sum(1).sqrt() / clean.abs().square().sum(1).sqrt()).mean()
    (measured,) = record.sustainability
    assert {entry.layer: entry.mean for entry in measured.layers}["first"] == pytest.approx(float(expected), rel=1e-5)
    assert [table.layer for table in record.neurons] == ["first", "fc"]
