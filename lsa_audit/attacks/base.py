"""The judge: runs an attack on a batch, and alone decides which images were fooled.

An attack only proposes images. The judge watches every image that the attack sends through the model, keeps the first
one that is misclassified inside the budget (or the nearest one), and re-runs the model on what it kept, in float32,
before it gives a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..errors import DataError
from ..models.answers import has_answer, is_right
from ..models.state import preserved
from ..records import AttackStage
from .budget import Budget
from .draws import Draws
from .norms import column, lengths, project
from .target import STRONG, LayerView, Precision, Target, add_stages

Attack = Callable[[Target, Tensor, Draws], Tensor]
"""`run(target, rows, draws) -> images`: proposes a perturbed image for each of `rows` of `target.images`."""


@dataclass(frozen=True)
class Outcome:
    """The judge's verdicts on one batch of N images.

    Attributes:
        right: [N] bool, the model still gives the label on the image that was judged.
        adversarial: [N, ...] the images that were judged: the first (nearest) fooling one where there is one, else the
            last; the clean one where that is misclassified already.
        final: [N, ...] what the first run ended with; with `spend_all` every image has had the same number of steps.
        distance: [N] of the judged image from the clean one in the budget's norm; infinite where it is right.
        nonfinite: [N] bool, the judged logits hold NaN or plus infinity, or nothing finite (never right).
        zero_gradient: [N] bool, right, but no gradient was ever finite and non-zero: the image was not attacked.
        vanishing_gradient: [N] bool, right, and no gradient had an entry of at least 1e-10; holds the zero ones.
        nonfinite_gradient: [N] bool, a gradient held NaN or infinity.
        fooled_later: [N] bool, fell after the first two queries.
        rises, climbs: [N] steps that raised the objective, and all steps, where the attack tells.
        forwards, backwards: images sent through, the judge's own forward included.
        stages: what each member of an ensemble did.
    """

    right: Tensor
    adversarial: Tensor
    final: Tensor
    distance: Tensor
    nonfinite: Tensor
    zero_gradient: Tensor
    vanishing_gradient: Tensor
    nonfinite_gradient: Tensor
    fooled_later: Tensor
    rises: Tensor
    climbs: Tensor
    forwards: int
    backwards: int
    stages: tuple[AttackStage, ...] = ()

    @property
    def per_image(self) -> dict[str, Tensor]:
        """The fields that hold one entry an image, by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    @staticmethod
    def joined(parts: Sequence[Outcome]) -> Outcome:
        """The outcome of a batch that was judged in parts, in their order."""
        return Outcome(
            **{name: torch.cat([getattr(part, name) for part in parts]) for name in parts[0].per_image},
            forwards=sum(part.forwards for part in parts),
            backwards=sum(part.backwards for part in parts),
            stages=add_stages([part.stages for part in parts]),
        )


@dataclass(frozen=True)
class Batch:
    """Images [N, ...] float32 in [0, 1], labels [N] int64, and the ids that seed the images' generators.

    Attributes:
        right: [N] bool, which images the model classifies right before; None: not known. Those that are wrong are not
            attacked, except where the whole budget is to be spent.
    """

    images: Tensor
    labels: Tensor
    image_ids: tuple[str, ...]
    right: Tensor | None = None

    def of(self, rows: Tensor) -> Batch:
        """Some of the images, by position."""
        ids = tuple(self.image_ids[row] for row in rows.tolist())
        return Batch(self.images[rows], self.labels[rows], ids, None if self.right is None else self.right[rows])


@dataclass(frozen=True)
class Engine:
    """How the queries are computed; the verdict is always the plain module's in float32.

    Attributes:
        precision: of the attack's queries; None: float32.
        compiled: stands in for the module in the queries.
        view: reads the layer that a layer attack moves.
    """

    precision: Precision | None = None
    compiled: nn.Module | None = None
    view: LayerView | None = None


def judge(
    module: nn.Module,
    attack: Attack,
    batch: Batch,
    budget: Budget,
    *,
    seed: int,
    gradients: bool = True,
    engine: Engine | None = None,
) -> Outcome:
    """Attack one batch and judge the result in float32.

    Images that fell to a query in low precision or of a compiled module only are attacked again without either.

    Args:
        module: pixels to logits; left exactly as it was (see `models.state.preserved`).
        gradients: whether the attack uses gradients; if so, verdicts reached without any are reported.
        engine: how the queries are computed; None: by the module itself in float32.

    Raises:
        DataError: images that are not float32, not finite or outside [0, 1].

    Cost: the attack's own, and one forward an image. Random: one generator an image and restart, from `seed`.
    """
    check_images(batch.images)
    engine = engine or Engine()
    with torch.inference_mode(False), preserved(module):
        batch = _without_inference(batch)
        queried = module if engine.compiled is None else engine.compiled
        target = Target(
            queried,
            batch.images,
            batch.labels,
            budget,
            right=batch.right,
            precision=engine.precision,
            view=engine.view,
        )
        final = _attack(attack, target, batch, seed)
        logits, judged = _verdict(module, target, final)
        if engine.precision is not None or engine.compiled is not None:
            only_in_queries = target.fooled & is_right(logits, batch.labels)
            if only_in_queries.any():
                target.module, target.precision, target.budget = module, None, replace(budget, spend_all=False)
                target.forget(only_in_queries)
                _attack(attack, target, batch, seed)
                logits, judged = _verdict(module, target, final)
    return _outcome(target, judged, final, logits, gradients=gradients)


def _attack(attack: Attack, target: Target, batch: Batch, seed: int) -> Tensor:
    """All restarts; what the first one ended with."""
    budget = target.budget
    rows = target.active(torch.arange(len(batch.images), device=batch.images.device))
    final = batch.images.clone()
    for restart in range(budget.restarts):
        if restart == 1:
            target.budget = replace(budget, spend_all=False)
        rows = target.active(rows) if restart else rows
        if not len(rows):
            break
        draws = Draws(seed, [batch.image_ids[row] for row in rows.tolist()], f"restart {restart}")
        proposed = within(attack(target, rows, draws), batch.images[rows], budget)
        if restart == 0:
            final[rows] = proposed
        if budget.restarts > 1:
            target.logits(proposed, rows)
    return final


def _verdict(module: nn.Module, target: Target, final: Tensor) -> tuple[Tensor, Tensor]:
    judged = torch.where(column(target.fooled, final), target.best, final)
    with torch.no_grad():
        return module(judged), judged


def _outcome(target: Target, judged: Tensor, final: Tensor, logits: Tensor, *, gradients: bool) -> Outcome:
    right = is_right(logits, target.labels)
    attacked = right & gradients
    distance = lengths(judged - target.images, target.budget.norm).flatten()
    return Outcome(
        right=right,
        adversarial=judged,
        final=final,
        distance=distance.where(~right, torch.inf),
        nonfinite=~has_answer(logits),
        zero_gradient=attacked & (target.largest == 0),
        vanishing_gradient=attacked & (target.largest < STRONG),
        nonfinite_gradient=target.broken,
        fooled_later=target.fooled_at > 2,
        rises=target.rises,
        climbs=target.climbs,
        forwards=target.forwards + len(final),
        backwards=target.backwards,
        stages=tuple(target.stages),
    )


def check_images(images: Tensor) -> None:
    """Refuse what the threat model does not cover.

    Raises:
        DataError: images that are not float32, not finite or outside [0, 1].
    """
    if images.dtype != torch.float32:
        raise DataError(f"images are {images.dtype}, not float32", "convert them")
    low, high = torch.aminmax(images)
    if not (low >= 0 and high <= 1):
        hint = "normalisation belongs inside the model: give pixels and --mean/--std"
        raise DataError(f"images span {low:.4g} to {high:.4g}, not [0, 1]", hint)


def within(proposed: Tensor, images: Tensor, budget: Budget) -> Tensor:
    """The proposals, clipped into the ball and into [0, 1]; a pixel that is not finite falls back to the clean one."""
    return project(torch.where(torch.isfinite(proposed), proposed, images).detach(), images, budget)


def _without_inference(batch: Batch) -> Batch:
    """Tensors made under inference_mode cannot take gradients; copies of them can."""
    images, labels = (tensor.clone() if tensor.is_inference() else tensor for tensor in (batch.images, batch.labels))
    return Batch(images, labels, batch.image_ids, batch.right)
