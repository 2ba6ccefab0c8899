"""The model as an attack sees it: it answers with logits and gradients, counts, and remembers what fooled it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

from ..models.answers import is_right
from ..records import AttackStage
from .budget import Budget
from .norms import inside, lengths
from .objectives import Objective, cross_entropy, difference

Precision = Literal["bf16", "fp16"]
PRECISIONS: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
LOSS_SCALE = 1024.0
"""Half precision rounds gradients below 6e-8 to zero; the objectives are multiplied before and the gradients divided
after, as in mixed-precision training."""
STRONG = 1e-10
"""A largest gradient entry below this counts as vanished: float32 steps of that size are lost in rounding."""

LayerView = Callable[[Tensor], tuple[Tensor, Tensor]]
"""`view(images [n, ...]) -> (logits [n, K], activation [n, D])` of one layer."""


def add_stages(parts: Sequence[Sequence[AttackStage]]) -> tuple[AttackStage, ...]:
    """The same members on several batches, summed up."""
    return tuple(
        AttackStage(
            name=stages[0].name,
            steps=stages[0].steps,
            classes=max(stage.classes for stage in stages),
            images=sum(stage.images for stage in stages),
            fooled=sum(stage.fooled for stage in stages),
            forwards=sum(stage.forwards for stage in stages),
            backwards=sum(stage.backwards for stage in stages),
        )
        for stages in zip(*(part for part in parts if part), strict=True)
    )


class Target:
    """The model as an attack sees it.

    `rows` name the images of the batch to which the given ones belong; an attack that works on a part of the batch says
    so with them.

    Attributes:
        wrong_before: [N] bool, rows whose clean image is misclassified, where that is known.
        fooled: [N] bool, those, and what was fooled inside the budget.
        best: [N, ...] the first fooling image of each row, or the nearest one where the budget asks for that.
        distance: [N] how far `best` is, in the budget's norm; infinite where there is none.
        classes: K, once the model has answered.
        fooled_at: [N] the query, counted from 1, at which a row first fell; 0 where it did not.
        largest: [N] the largest entry of any gradient met so far, as far as it is needed to tell whether it vanishes.
        broken: [N] bool, a gradient held NaN or infinity.
        rises, climbs: [N] steps that raised the objective, and all steps, of the attacks that report them.
    """

    def __init__(
        self,
        module: nn.Module,
        images: Tensor,
        labels: Tensor,
        budget: Budget,
        *,
        right: Tensor | None = None,
        precision: Precision | None = None,
        view: LayerView | None = None,
    ) -> None:
        self.module = module
        self.images = images
        self.labels = labels
        self.budget = budget
        self.precision = precision
        self.view = view
        self.forwards = 0
        self.backwards = 0
        self.classes = 0
        self.stages: list[AttackStage] = []
        self.best = images.clone()
        blank = torch.zeros(len(images), device=images.device)
        self.wrong_before = blank.bool() if right is None else ~right
        self.fooled = self.wrong_before.clone()
        self.distance = torch.full_like(blank, torch.inf).where(~self.fooled, 0.0)
        self.fooled_at = blank.int()
        self.largest = torch.full_like(blank, torch.inf).where(self.wrong_before, 0.0)
        self.broken = blank.bool()
        self.rises = blank.clone()
        self.climbs = blank.clone()
        self._calls = 0
        self._falls = 0
        self._seen_rows: tuple[Tensor, Tensor, int] | None = None
        self._all_strong = False
        self._clean_activation: Tensor | None = None

    def active(self, rows: Tensor) -> Tensor:
        """Those of `rows` that still need work: all of them when the whole budget is to be spent."""
        if self.budget.spend_all:
            return rows
        if self._seen_rows is not None and self._seen_rows[0] is rows and self._seen_rows[2] == self._falls:
            return rows
        left = rows[~(self.wrong_before if self.budget.nearest else self.fooled)[rows]]
        # Attacks ask at every step, and mostly nothing has changed since.
        if len(left) == len(rows):
            self._seen_rows = (rows, self.labels[rows], self._falls)
        return left

    def labels_of(self, rows: Tensor) -> Tensor:
        """The labels of `rows`."""
        if self._seen_rows is not None and self._seen_rows[0] is rows:
            return self._seen_rows[1]
        return self.labels[rows]

    def logits(self, images: Tensor, rows: Tensor) -> Tensor:
        """Logits [n, K] without gradients."""
        with torch.no_grad():
            logits = self._forward(images)
        self.forwards += len(images)
        self._observe(images, logits, rows)
        return logits

    def gradient(
        self, images: Tensor, rows: Tensor, objective: Objective = cross_entropy, targets: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Gradient of each image's objective with respect to that image, and the objectives [n].

        They are summed, so a gradient does not depend on the batch size; entries that are not finite become 0.
        Targets [n] are classes; None: the labels.
        Cost: one forward and one backward an image; no gradients of parameters.
        """
        labels = self.labels_of(rows)
        with torch.enable_grad():
            leaf = images.detach().requires_grad_(True)
            logits = self._forward(leaf)
            values = objective(logits, labels, labels if targets is None else targets)
            gradient = self._derive(values, leaf)
        return self._seen(images, logits.detach(), rows, gradient), values.detach()

    def layer_gradient(self, images: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The same for the relative error of the layer that `view` reads: ||phi(x') - phi(x)|| / ||phi(x)||.

        Where ||phi(x)|| is 0, for ||phi(x')|| alone.

        Raises:
            ValueError: there is no view.
        """
        if self.view is None:
            raise ValueError("no layer is viewed")
        if self._clean_activation is None:
            with torch.no_grad():
                self._clean_activation = self.view(self.images)[1]
            self.forwards += len(self.images)
        clean = self._clean_activation[rows]
        with torch.enable_grad():
            leaf = images.detach().requires_grad_(True)
            logits, activation = self.view(leaf)
            size = torch.linalg.vector_norm(clean, dim=1)
            moved = torch.linalg.vector_norm(activation - clean, dim=1)
            # A layer that is silent on the clean image has no relative error; how far it moves is raised instead.
            values = moved / torch.where(size > 0, size, 1.0)
            gradient = self._derive(values, leaf)
        return self._seen(images, logits.detach(), rows, gradient), values.detach()

    def differences(self, images: Tensor, rows: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients [n, T, ...] and values [n, T] of z_class - z_label for classes [n, T].

        Cost: one forward and T backwards an image.
        """
        labels = self.labels_of(rows)
        with torch.enable_grad():
            leaf = images.detach().requires_grad_(True)
            logits = self._forward(leaf)
            apart = [difference(logits, labels, column) for column in classes.unbind(1)]
            parts = [self._derive(values, leaf, keep=True) for values in apart]
        gradients = torch.stack([torch.zeros_like(images) if part is None else part for part in parts], dim=1)
        self.backwards += len(images) * (len(parts) - 1)
        flat = self._seen(images, logits.detach(), rows, gradients.flatten(1))
        return flat.view_as(gradients), torch.stack(apart, dim=1).detach()

    def forget(self, rows: Tensor) -> None:
        """These rows, [N] bool, did not fall after all."""
        self.fooled &= ~rows
        self._falls += 1
        self.distance[rows] = torch.inf
        self.fooled_at[rows] = 0

    def climbed(self, rows: Tensor, rose: Tensor) -> None:
        """An attack that raises an objective step by step tells whether a step did, for each of `rows`."""
        steps = rose.float()
        self.rises.index_add_(0, rows, steps)
        self.climbs.index_add_(0, rows, torch.ones_like(steps))

    def _derive(self, values: Tensor, leaf: Tensor, *, keep: bool = False) -> Tensor | None:
        """Gradient of the sum of the values; None where they do not depend on the images."""
        if not values.requires_grad:
            return None
        scale = LOSS_SCALE if self.precision == "fp16" else 1.0
        gradient = torch.autograd.grad(scale * values.sum(), leaf, allow_unused=True, retain_graph=keep)[0]
        return gradient if gradient is None or scale == 1.0 else gradient / scale

    def _seen(self, images: Tensor, logits: Tensor, rows: Tensor, gradient: Tensor | None) -> Tensor:
        """Count, observe, and return the gradient with zeros for what is not there or not finite."""
        self.forwards += len(images)
        self.backwards += len(images)
        self._observe(images, logits, rows)
        if gradient is None:
            return torch.zeros_like(images)
        # One sum tells whether there is anything to repair; it is not finite where an entry is not.
        if not torch.isfinite(gradient.sum()):
            self.broken[rows] |= ~torch.isfinite(gradient).flatten(1).all(1)
            gradient = gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        if not self._all_strong:
            self.largest[rows] = torch.maximum(self.largest[rows], gradient.flatten(1).abs().amax(1))
            self._all_strong = bool((self.largest >= STRONG).all())
        return gradient

    def _observe(self, images: Tensor, logits: Tensor, rows: Tensor) -> None:
        """Keep the first (or nearest) image of each row that is misclassified and inside the ball."""
        self._calls += 1
        self.classes = logits.shape[1]
        found = (~is_right(logits, self.labels_of(rows))).nonzero().flatten()
        if len(found) and not self.budget.nearest:
            found = found[~self.fooled[rows[found]]]
        if not len(found):
            return
        here, tried = rows[found], images[found].detach()
        clean = self.images[here]
        distance = lengths(tried - clean, self.budget.norm).flatten()
        better = inside(tried, clean, self.budget) & (distance < self.distance[here])
        here = here[better]
        self._falls += 1
        self.best[here] = tried[better]
        self.distance[here] = distance[better]
        self.fooled[here] = True
        self.fooled_at[here] = self.fooled_at[here].where(self.fooled_at[here] > 0, self._calls)

    def _forward(self, images: Tensor) -> Tensor:
        casting: AbstractContextManager[object] = nullcontext()
        if self.precision is not None:
            casting = torch.autocast(self.images.device.type, dtype=PRECISIONS[self.precision])
        with casting:
            logits: Tensor = self.module(images).float()
        return logits
