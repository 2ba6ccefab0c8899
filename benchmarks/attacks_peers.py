"""The contestants of `benchmarks.attacks`: ours, the floor, and the peers, each as one call that returns images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.attacks_scenes import Scene
from lsa_audit.attacks import ATTACKS
from lsa_audit.attacks.base import Batch, judge
from lsa_audit.attacks.budget import Budget
from lsa_audit.attacks.functions import FUNCTIONS

PGD_STEPS = 10
PGD_STEP_SIZE = 2 / 255
APGD_STEPS = 100
SEED = 0

Call = Callable[[], Tensor]


@dataclass(frozen=True)
class Contestant:
    """One way to attack a scene.

    Attributes:
        prepare: builds what a user builds once; the call that it returns is what is timed.
        does: what the call does, in words.
        package: that the peer comes in; None: nothing beyond the product's own dependencies.
    """

    prepare: Callable[[Scene], Call]
    does: str
    package: str | None = None


def _our_pgd(scene: Scene) -> Call:
    ids = _ids(scene)
    budget = Budget("linf", scene.epsilon, steps=PGD_STEPS, step_size=PGD_STEP_SIZE, spend_all=True)

    def call() -> Tensor:
        batch = Batch(scene.images, scene.labels, ids)
        return judge(scene.module, FUNCTIONS["pgd"], batch, budget, seed=SEED).adversarial

    return call


def _ours(name: str, steps: int | None = None) -> Callable[[Scene], Call]:
    """An attack of the catalogue as a scan runs it; steps None: the catalogue's own."""

    def prepare(scene: Scene) -> Call:
        ids, attack = _ids(scene), FUNCTIONS[name]
        budget = Budget("linf", scene.epsilon, steps=ATTACKS[name].steps if steps is None else steps)

        def call() -> Tensor:
            with torch.no_grad():
                right = scene.module(scene.images).argmax(1) == scene.labels
            batch = Batch(scene.images, scene.labels, ids, right)
            return judge(scene.module, attack, batch, budget, seed=SEED).adversarial

        return call

    return prepare


def _floor(scene: Scene) -> Call:
    module = scene.module.requires_grad_(False)
    images, labels, epsilon = scene.images, scene.labels, scene.epsilon

    def call() -> Tensor:
        low, high = (images - epsilon).clamp_min(0), (images + epsilon).clamp_max(1)
        current = low + (high - low) * torch.rand_like(images)
        for _ in range(PGD_STEPS):
            leaf = current.requires_grad_(True)
            loss = functional.cross_entropy(module(leaf), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, leaf)
            current = torch.clamp(leaf.detach() + PGD_STEP_SIZE * gradient.sign(), low, high)
        with torch.no_grad():
            module(current)
        return current

    return call


def _torchattacks(name: str, **settings: object) -> Callable[[Scene], Call]:
    def prepare(scene: Scene) -> Call:
        import torchattacks

        attack = getattr(torchattacks, name)(scene.module, eps=scene.epsilon, **settings)
        return lambda: attack(scene.images, scene.labels)

    return prepare


def _foolbox(scene: Scene) -> Call:
    import foolbox

    model = foolbox.PyTorchModel(scene.module, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfPGD(abs_stepsize=PGD_STEP_SIZE, steps=PGD_STEPS, random_start=True)
    return lambda: attack(model, scene.images, scene.labels, epsilons=scene.epsilon)[1]


def _art(scene: Scene) -> Call:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        scene.module,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(scene.images.shape[1:]),
        nb_classes=10,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = ProjectedGradientDescentPyTorch(
        classifier,
        norm=numpy.inf,
        eps=scene.epsilon,
        eps_step=PGD_STEP_SIZE,
        max_iter=PGD_STEPS,
        num_random_init=1,
        batch_size=len(scene.images),
        verbose=False,
    )
    return lambda: torch.from_numpy(attack.generate(scene.images.numpy(), scene.labels.numpy()))


def _pyautoattack(**settings: object) -> Callable[[Scene], Call]:
    def prepare(scene: Scene) -> Call:
        from pyautoattack import AutoAttack

        attack = AutoAttack(scene.module, norm="Linf", eps=scene.epsilon, seed=SEED, device="cpu", **settings)
        # A custom version would restart APGD four times more than the standard one does.
        attack.apgd.n_restarts = 1
        size = len(scene.images)
        return lambda: attack.run_standard_evaluation(scene.images, scene.labels, batch_size=size)[0]

    return prepare


def _ids(scene: Scene) -> tuple[str, ...]:
    return tuple(str(index) for index in range(len(scene.images)))


CONTESTANTS: dict[str, dict[str, Contestant]] = {
    "pgd": {
        "lsa-audit": Contestant(_our_pgd, "`judge` with `pgd`, the whole budget spent; float32 verdicts included"),
        "floor": Contestant(
            _floor, "the shortest loop: frozen parameters, the gradient of the input alone, and one final forward"
        ),
        "torchattacks": Contestant(
            _torchattacks("PGD", alpha=PGD_STEP_SIZE, steps=PGD_STEPS), "`PGD`; no verdicts", "torchattacks"
        ),
        "foolbox": Contestant(_foolbox, "`LinfPGD`; one forward for its verdicts", "foolbox"),
        "art": Contestant(
            _art,
            "`ProjectedGradientDescentPyTorch`, one start; from NumPy and back, one forward for its success rate",
            "adversarial-robustness-toolbox",
        ),
    },
    "apgd-ce": {
        "lsa-audit": Contestant(_ours("apgd-ce", APGD_STEPS), "one clean forward, `judge` with `apgd-ce`, 100 steps"),
        "pyautoattack": Contestant(
            _pyautoattack(version="custom", attacks=["apgd-ce"]),
            '`AutoAttack(version="custom", attacks=["apgd-ce"])`, 100 steps, one start as in its standard version; '
            "a clean forward, checks of the model and verdicts included",
            "pyautoattack",
        ),
        "torchattacks": Contestant(
            _torchattacks("APGD", steps=APGD_STEPS, n_restarts=1, seed=SEED),
            "`APGD`, 100 steps, one start",
            "torchattacks",
        ),
    },
    "autoattack": {
        "lsa-audit": Contestant(_ours("autoattack"), "one clean forward, `judge` with `autoattack`"),
        "lsa-audit cascade": Contestant(_ours("cascade"), "one clean forward, `judge` with `cascade`"),
        "pyautoattack": Contestant(
            _pyautoattack(version="standard"), '`AutoAttack(version="standard")`', "pyautoattack"
        ),
    },
}
"""Subject's attack -> name -> contestant."""

REFERENCES = {"pgd": "floor", "apgd-ce": "pyautoattack", "autoattack": "pyautoattack"}
"""Subject's attack -> the contestant to which times and verdicts are compared."""
