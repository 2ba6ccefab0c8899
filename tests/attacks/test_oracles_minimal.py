"""Minimal-norm attacks against independent implementations (foolbox, torchattacks) on held-out digits."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.attacks import cw, ddn, deepfool
from lsa_audit.attacks.base import Attack, Batch, judge
from lsa_audit.attacks.budget import Budget
from lsa_audit.data.builtin import digits_split
from lsa_audit.models import ModelRequest, load
from lsa_audit.records import Norm

pytestmark = pytest.mark.oracles

SLACK = 1.02


class Scene:
    """The model, and those of the first held-out digits that it classifies right."""

    def __init__(self, count: int = 200) -> None:
        split = digits_split()
        images, labels = split.test_images[:count], split.test_labels[:count]
        self.module: nn.Module = load(ModelRequest("digits-cnn")).module
        with torch.no_grad():
            right = self.module(images).argmax(1) == labels
        assert right.float().mean() > 0.9
        self.images, self.labels = images[right], labels[right]

    def ours(self, run: Attack, norm: Norm, steps: int) -> Tensor:
        """Distances; infinite where no misclassified image was found."""
        radius = 1.0 if norm == "linf" else math.sqrt(self.images[0].numel())
        batch = Batch(self.images, self.labels, tuple(str(index) for index in range(len(self.images))))
        return judge(self.module, run, batch, Budget(norm, radius, steps=steps, nearest=True), seed=0).distance

    def of(self, found: Tensor, norm: Norm) -> Tensor:
        with torch.no_grad():
            wrong = self.module(found).argmax(1) != self.labels
        order = torch.inf if norm == "linf" else 2
        distance = torch.linalg.vector_norm((found - self.images).flatten(1), ord=order, dim=1)
        return distance.where(wrong, torch.inf)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


@pytest.fixture(scope="module")
def foolbox():
    return pytest.importorskip("foolbox", reason="needs foolbox (make test-oracles)", exc_type=ImportError)


@pytest.fixture(scope="module")
def torchattacks():
    return pytest.importorskip("torchattacks", reason="needs torchattacks (make test-oracles)")


def at_least_as_near(ours: Tensor, theirs: Tensor) -> None:
    assert ours.isfinite().all()
    assert float(ours.median()) <= SLACK * float(theirs.median())


FOOLBOX: list[tuple[Attack, Norm, int, Callable[[object, int], object]]] = [
    (deepfool.run, "linf", 50, lambda attacks, steps: attacks.LinfDeepFoolAttack(steps=steps)),
    (deepfool.run, "l2", 50, lambda attacks, steps: attacks.L2DeepFoolAttack(steps=steps)),
    (ddn.run, "l2", 30, lambda attacks, steps: attacks.DDNAttack(steps=steps)),
    (ddn.run, "l2", 100, lambda attacks, steps: attacks.DDNAttack(steps=steps)),
    (cw.run, "l2", 50, lambda attacks, steps: attacks.L2CarliniWagnerAttack(steps=steps, abort_early=False)),
]


@pytest.mark.parametrize(("run", "norm", "steps", "peer"), FOOLBOX, ids=["deepfool", "deepfool", "ddn", "ddn", "cw"])
def test_as_near_as_foolbox_at_the_same_steps(foolbox, scene, run, norm, steps, peer):
    model = foolbox.PyTorchModel(scene.module, bounds=(0, 1), device="cpu")
    found = peer(foolbox.attacks, steps).run(model, scene.images, foolbox.criteria.Misclassification(scene.labels))
    at_least_as_near(scene.ours(run, norm, steps), scene.of(found.detach(), norm))


def test_carlini_wagner_is_as_near_as_foolbox_with_ten_times_the_steps(foolbox):
    # Few steps leave the peer far away, since blank pixels hardly move in tanh space.
    scene = Scene(60)
    model = foolbox.PyTorchModel(scene.module, bounds=(0, 1), device="cpu")
    peer = foolbox.attacks.L2CarliniWagnerAttack(steps=500)
    found = peer.run(model, scene.images, foolbox.criteria.Misclassification(scene.labels)).detach()
    at_least_as_near(scene.ours(cw.run, "l2", 50), scene.of(found, "l2"))


@pytest.mark.parametrize(("run", "steps", "name"), [(deepfool.run, 50, "DeepFool"), (cw.run, 50, "CW")])
def test_as_near_as_torchattacks_at_the_same_steps(torchattacks, scene, run, steps, name):
    found = getattr(torchattacks, name)(scene.module, steps=steps)(scene.images, scene.labels).detach()
    at_least_as_near(scene.ours(run, "l2", steps), scene.of(found, "l2"))
