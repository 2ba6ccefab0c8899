"""What the attacks found, and whether they worked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from .base import Estimate, Norm, Record


class Perturbation(Record):
    """One attack or noise at one epsilon, with every setting that changes its result."""

    id: str = Field(description="e.g. pgd@linf-8/255")
    name: str
    kind: Literal["attack", "noise"]
    norm: Norm
    epsilon: float
    steps: int = Field(description="of each search; 0 for noise and for autoattack, whose stages tell them")
    step_size: float | None
    restarts: int
    version: int = Field(description="rises when the implementation changes its results")
    citation: str
    minimal: bool = Field(
        default=False, description="looks for the nearest wrong answer: one run gives the verdicts at every epsilon"
    )
    layer: str | None = Field(default=None, description="the layer that the attack moves, where it moves one")


class AttackStage(Record):
    """One member of an ensemble: it works on the images that the members before it left right."""

    name: str
    steps: int = Field(description="for each class that it aims at; queries for square")
    classes: int = Field(description="classes that it aims at, one after the other; 0 where it aims at none")
    images: int = Field(description="images that it worked on; 0: nothing was left, it did not run")
    fooled: int
    forwards: int
    backwards: int


class AttackSigns(Record):
    """What the judge saw of how an attack went; the attack-health rules read it."""

    nonfinite_gradient: int = Field(description="images with a gradient that held NaN or infinity")
    vanishing_gradient: int = Field(
        description="robust verdicts for which no entry of any gradient reached 1e-10, zero gradients included"
    )
    fooled_later: int = Field(description="images that fell after the first two queries, the start and the first step")
    rising_share: float | None = Field(
        description="share of the steps that raised the objective, over the robust verdicts; None without steps"
    )


class Distances(Record):
    """How far the nearest misclassified image lies, over the images that are right before (minimal-norm attacks)."""

    found: int = Field(description="images for which one was found")
    total: int = Field(description="images that are right before")
    quartile: float | None = Field(description="a quarter of the images lie below; None where too few were found")
    median: float | None
    upper_quartile: float | None
    median_low: float | None = Field(description="95 % bootstrap interval of the median")
    median_high: float | None


class AttackResult(Record):
    """The judge's verdicts on one perturbation, summed up; the per-image verdicts are in `evidence.npz`."""

    perturbation: Perturbation
    robust_accuracy: Estimate
    fooled: int = Field(description="images right before and wrong after")
    nonfinite: int = Field(description="images whose logits became NaN or infinite; counted as fooled")
    zero_gradient: int = Field(
        description="robust verdicts for which every gradient was zero or not finite: not attacked"
    )
    forwards: int = Field(description="images sent forward")
    backwards: int = Field(description="images sent backward")
    mean_linf: float = Field(description="of the judged images, over the attacked ones that are right before")
    mean_l2: float
    attacked: int | None = Field(
        default=None,
        description="images that it was run on; the verdicts of the others follow from smaller or larger epsilons, or "
        "they are wrong before. None: all",
    )
    stages: tuple[AttackStage, ...] = Field(default=(), description="the members of an ensemble, in order")
    signs: AttackSigns | None = Field(default=None, description="for attacks that use gradients")
    distances: Distances | None = Field(default=None, description="for minimal-norm attacks, whatever the epsilon")
    adversarials_sha256: str | None = Field(
        default=None, description="over the saved images, type and shape (`adversarial/ID` in `evidence.npz`)"
    )


def beside_one_step(attacks: Sequence[AttackResult]) -> Iterator[tuple[AttackResult, AttackResult]]:
    """Each attack of one step with the one of several steps that leaves the fewest images right in its ball."""
    for result in attacks:
        ball = (result.perturbation.norm, result.perturbation.epsilon)
        several = [
            other
            for other in attacks
            if (other.perturbation.norm, other.perturbation.epsilon) == ball and other.perturbation.steps != 1
        ]
        if result.perturbation.steps == 1 and several:
            yield result, min(several, key=lambda other: other.robust_accuracy.count)


class Sweep(Record):
    """At which epsilon of the settings each image first falls to one attack, over the images that are right before."""

    name: str
    norm: Norm
    epsilons: tuple[float, ...]
    first_fooled: tuple[int, ...] = Field(description="images whose breaking epsilon is this one, for each epsilon")
    unbroken: int = Field(description="images that no epsilon breaks")
    median: float | None = Field(description="breaking epsilon of the median image; None: above the largest")


Suspicion = Literal["more-steps", "larger-epsilon", "black-box", "noise"]


class Comparison(Record):
    """Images that one perturbation fools although another one, which should be at least as strong, does not."""

    suspicion: Suspicion = Field(description="why `stronger` should be the stronger one")
    weaker: str = Field(description="id of the perturbation")
    stronger: str
    missed: int = Field(description="images that only `weaker` fools")
    robust: int = Field(description="images that `stronger` leaves right")


class UnboundedTrial(Record):
    """An attack in a ball as wide as the pixel range: only a broken attack, or a constant model, survives it."""

    perturbation: str = Field(description="name of the attack, its steps and its epsilon, in words")
    images: int
    fooled: int
    by_chance: int | None = Field(
        default=None, description="of the images, those that one random image of the ball fools; None: not tried"
    )


class SlopeTrial(Record):
    """Whether the loss rises along its own gradient, and along single parts of it, near right images."""

    images: int = Field(description="those tried; the ones that withstood the most attacks come first")
    tested: int = Field(description="of them, those whose loss changed by more than rounding")
    downhill: int = Field(description="of those tested: the loss fell along the gradient at every step that changed it")
    tiny: int = Field(description="of the images, those on which no entry of the gradient reached 1e-10")
    parts: int = Field(description="parts of the gradients: each channel, and groups of pixels, of every image")
    smooth: int = Field(description="of the parts, those along which the loss is close to linear")
    parts_downhill: int = Field(description="of the smooth parts: the loss fell along them")


class ModelHealth(Record):
    """What the outputs say about whether attacks on this model can work."""

    outputs: Literal["logits", "probabilities", "log-probabilities"]
    saturated: int = Field(description="clean images whose softmax is exactly 1 in float32")
    at_bounds: int | None = Field(
        default=None, description="clean images whose outputs are at the bounds of all outputs; None: an older record"
    )
    repeat_difference: float = Field(
        description="largest difference of the logits of two forwards of the same images, relative"
    )
    training_layers: tuple[str, ...] = Field(description="layers that stay in training mode in eval mode")
    given_in_training: int = Field(
        default=0, description="layers of a module in memory that were in training mode; they were audited in eval mode"
    )
    unbounded: UnboundedTrial | None = Field(default=None, description="None: no gradient attack was run")
    slopes: SlopeTrial | None = Field(default=None, description="None: no gradient attack was run")
    comparisons: tuple[Comparison, ...] = ()
