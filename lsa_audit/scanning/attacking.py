"""From a planned run to verdicts on one batch: single attacks, minimal-norm attacks, and sweeps over epsilon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..attacks import ATTACKS
from ..attacks.base import Batch, Engine, Outcome, judge
from ..attacks.budget import Budget
from ..attacks.functions import FUNCTIONS
from ..attacks.norms import column, reaches, widest
from ..attacks.target import LayerView, add_stages
from ..errors import ModelError
from ..records import Perturbation
from .plan import Run

Result = TypeVar("Result")


@dataclass(frozen=True)
class Judged:
    """The verdicts of one perturbation on a batch; `attacked` [N] tells the images that it was really run on."""

    perturbation: Perturbation
    outcome: Outcome
    attacked: Tensor


@dataclass(frozen=True)
class AttackRunner:
    """What judging needs beside the batch: the model, the seed, how queries are computed, views of layers by name."""

    module: nn.Module
    seed: int
    engine: Engine
    views: dict[str, LayerView]

    def judge(self, batch: Batch, perturbation: Perturbation, budget: Budget) -> Outcome:
        """One attack on one batch; where memory runs out, on its halves."""
        engine = self.engine
        if perturbation.layer is not None:
            engine = replace(engine, view=self.views[perturbation.layer])

        def run(part: Batch) -> Outcome:
            return judge(
                self.module,
                FUNCTIONS[perturbation.name],
                part,
                budget,
                seed=self.seed,
                gradients=ATTACKS[perturbation.name].gradients,
                engine=engine,
            )

        return Outcome.joined(in_parts(run, batch))


def in_parts(function: Callable[[Batch], Result], batch: Batch) -> list[Result]:
    """The function's result on the batch; on its halves, one after the other, where memory runs out.

    Raises:
        ModelError: memory runs out with a single image.
    """
    try:
        return [function(batch)]
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        if len(batch.images) == 1:
            raise ModelError("memory runs out with a single image", "use another device or a smaller input") from None
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(batch.images) // 2
    places = torch.arange(len(batch.images), device=batch.images.device)
    return [*in_parts(function, batch.of(places[:half])), *in_parts(function, batch.of(places[half:]))]


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: CUDA has an error of its own, the CPU's allocator says so in words."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def verdicts(runner: AttackRunner, batch: Batch, run: Run) -> list[Judged]:
    """The verdicts of every perturbation of the run, in its order. `batch.right` must be known."""
    if run.mode == "nearest":
        return _nearest(runner, batch, run)
    if run.mode == "bisect":
        return _bisect(runner, batch, run)
    (perturbation,) = run.perturbations
    outcome = runner.judge(batch, perturbation, _budget(perturbation, spend_all=run.measured))
    return [Judged(perturbation, outcome, _right(batch) | run.measured)]


def _budget(perturbation: Perturbation, *, spend_all: bool = False) -> Budget:
    return Budget(
        norm=perturbation.norm,
        epsilon=perturbation.epsilon,
        steps=perturbation.steps,
        step_size=perturbation.step_size,
        restarts=perturbation.restarts,
        spend_all=spend_all,
    )


def _right(batch: Batch) -> Tensor:
    if batch.right is None:
        raise ValueError("the batch does not say which images are right before")
    return batch.right


def _nearest(runner: AttackRunner, batch: Batch, run: Run) -> list[Judged]:
    """One search for the nearest wrong answer anywhere; an image falls at every epsilon that reaches it."""
    first = run.perturbations[0]
    budget = replace(_budget(first), epsilon=widest(first.norm, batch.images), nearest=True)
    found = runner.judge(batch, first, budget)
    judged = []
    for perturbation in run.perturbations:
        fallen = reaches(perturbation.epsilon, found.distance)
        outcome = replace(
            found,
            right=_right(batch) & ~fallen,
            adversarial=torch.where(column(fallen, batch.images), found.adversarial, batch.images),
            nonfinite=found.nonfinite & fallen,
        )
        judged.append(Judged(perturbation, outcome, _right(batch)))
    return judged


def _bisect(runner: AttackRunner, batch: Batch, run: Run) -> list[Judged]:
    """Each image meets the middle of the epsilons that are still open for it: the balls lie inside each other.

    Cost: of k epsilons an image meets about log2(k + 1).
    """
    right, count = _right(batch), len(run.perturbations)
    last_right = torch.where(right, -1, -2)
    first_fallen = torch.where(right, count, -1)
    fallen_image = batch.images.clone()
    outcomes = [_untouched(batch) for _ in run.perturbations]
    attacked = [torch.zeros_like(right) for _ in run.perturbations]
    while True:
        middle = (last_right + first_fallen).div(2, rounding_mode="floor")
        rows = (first_fallen - last_right > 1).nonzero().flatten()
        if not len(rows):
            break
        # The largest group first: one call for all images that wait for the same epsilon.
        place = int(middle[rows].mode().values)
        rows = rows[middle[rows] == place]
        outcome = runner.judge(batch.of(rows), run.perturbations[place], _budget(run.perturbations[place]))
        outcomes[place] = _written(outcomes[place], outcome, rows)
        attacked[place][rows] = True
        stands = outcome.right
        last_right[rows[stands]] = place
        first_fallen[rows[~stands]] = place
        fallen_image[rows[~stands]] = outcome.adversarial[~stands]
    judged = []
    for place, perturbation in enumerate(run.perturbations):
        fallen = first_fallen <= place
        inferred = fallen & ~attacked[place]
        images = torch.where(column(inferred, batch.images), fallen_image, outcomes[place].adversarial)
        judged.append(
            Judged(perturbation, replace(outcomes[place], right=~fallen, adversarial=images), attacked[place])
        )
    return judged


def _untouched(batch: Batch) -> Outcome:
    """Verdicts before any attack; distances, flags and counts are filled in where an attack is run."""
    blank = torch.zeros(len(batch.images), device=batch.images.device)
    flag = blank.bool()
    return Outcome(
        right=_right(batch),
        adversarial=batch.images,
        final=batch.images,
        distance=torch.full_like(blank, torch.inf),
        nonfinite=flag,
        zero_gradient=flag,
        vanishing_gradient=flag,
        nonfinite_gradient=flag,
        fooled_later=flag,
        rises=blank,
        climbs=blank,
        forwards=0,
        backwards=0,
    )


def _written(whole: Outcome, part: Outcome, rows: Tensor) -> Outcome:
    changes: dict[str, Any] = {
        name: value.index_copy(0, rows, getattr(part, name)) for name, value in whole.per_image.items()
    }
    return replace(
        whole,
        **changes,
        forwards=whole.forwards + part.forwards,
        backwards=whole.backwards + part.backwards,
        stages=add_stages([whole.stages, part.stages]),
    )
