"""The catalogue of attacks and noises. Reading it does not import torch; the functions are in `functions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..records import Norm

PGD_STEP_SHARE = 0.25
EVERY_NORM: tuple[Norm, ...] = ("linf", "l2", "l1")


MOST_QUERIES = 5_000


def cascade_queries(passes: int) -> int:
    """How many of a cascade's passes go to Square: half, at least 1 and at most the published 5,000."""
    return min(max(passes // 2, 1), MOST_QUERIES)


@dataclass(frozen=True)
class Entry:
    """What is known about an attack without running it.

    Attributes:
        kind: `attack` searches for a wrong answer; `noise` is drawn without looking at the model.
        steps: default number of steps; 0 for noise.
        iterative: whether steps, step_size and restarts may be set.
        gradients: whether it needs them; what does not, noise included, runs on any model.
        step_share: default step size as a share of epsilon; None where the attack sets its own.
        minimal: looks for the nearest wrong answer, whatever the epsilon; one run gives the verdicts at every epsilon.
        layer: moves one layer, which the settings must name.
        steps_are: what `steps` counts: of each search, queries of the scores, or passes (forward 1, gradient 3).
        ensemble: made of several attacks, each on what the one before left.
        version: rises when the implementation changes its results, so that old records are not compared with new ones.
    """

    summary: str
    kind: Literal["attack", "noise"]
    citation: str
    steps: int
    iterative: bool = False
    step_share: float | None = None
    gradients: bool = True
    norms: tuple[Norm, ...] = ("linf", "l2")
    minimal: bool = False
    layer: bool = False
    ensemble: bool = False
    steps_are: Literal["steps", "queries", "passes"] = "steps"
    version: int = 1

    @property
    def multistep(self) -> bool:
        """Whether it searches, so that a larger ball can only help it; one step and noise may do worse in one."""
        return self.kind == "attack" and self.steps != 1


ATTACKS: dict[str, Entry] = {
    "fgsm": Entry("one gradient step to the edge of the ball", "attack", "arXiv 1412.6572", steps=1),
    "pgd": Entry(
        "projected gradient steps from a random start",
        "attack",
        "arXiv 1706.06083",
        steps=20,
        iterative=True,
        step_share=PGD_STEP_SHARE,
    ),
    "apgd-ce": Entry(
        "PGD with momentum and its own step sizes", "attack", "arXiv 2003.01690", steps=50, iterative=True
    ),
    "apgd-dlr": Entry(
        "APGD on a loss that scaled logits do not hide", "attack", "arXiv 2003.01690", steps=50, iterative=True
    ),
    "apgd-t": Entry(
        "APGD towards each of the nine likeliest classes",
        "attack",
        "arXiv 2003.01690",
        steps=50,
        iterative=True,
        version=2,
    ),
    "fab-t": Entry(
        "the nearest boundary of each of the nine likeliest classes",
        "attack",
        "arXiv 1907.02044",
        steps=50,
        iterative=True,
        norms=EVERY_NORM,
        minimal=True,
        version=2,
    ),
    "deepfool": Entry(
        "steps to the nearest linearised boundary", "attack", "arXiv 1511.04599", steps=50, iterative=True, minimal=True
    ),
    "cw-l2": Entry(
        "weighs distance against margin, and searches for the weight",
        "attack",
        "arXiv 1608.04644",
        steps=100,
        iterative=True,
        norms=("l2",),
        minimal=True,
    ),
    "ddn": Entry(
        "shrinks a sphere while the image is misclassified, grows it otherwise",
        "attack",
        "arXiv 1811.09600",
        steps=100,
        iterative=True,
        norms=("l2",),
        minimal=True,
    ),
    "square": Entry(
        "random search with squares, from scores alone",
        "attack",
        "arXiv 1912.00049",
        1000,
        iterative=True,
        gradients=False,
        steps_are="queries",
    ),
    "layer-pgd": Entry(
        "PGD on the relative error of one layer",
        "attack",
        "arXiv 2202.02626",
        steps=20,
        iterative=True,
        step_share=PGD_STEP_SHARE,
        layer=True,
    ),
    "autoattack": Entry(
        "APGD-CE, APGD-T, FAB-T, Square with the published settings",
        "attack",
        "arXiv 2003.01690",
        steps=0,
        ensemble=True,
        version=2,
    ),
    "cascade": Entry(
        "the members of autoattack within a budget of passes (steps)",
        "attack",
        "arXiv 2003.01690",
        steps=3000,
        iterative=True,
        ensemble=True,
        steps_are="passes",
        version=2,
    ),
    "gaussian": Entry(
        "normal noise, clipped to the ball", "noise", "arXiv 2202.02626", steps=0, gradients=False, norms=EVERY_NORM
    ),
    "uniform": Entry(
        "uniform noise inside the ball", "noise", "arXiv 1608.08967", steps=0, gradients=False, norms=EVERY_NORM
    ),
    "salt": Entry(
        "random pixels made brighter", "noise", "arXiv 2202.02626", steps=0, gradients=False, norms=EVERY_NORM
    ),
    "pepper": Entry(
        "random pixels made darker", "noise", "arXiv 2202.02626", steps=0, gradients=False, norms=EVERY_NORM
    ),
    "speckle": Entry(
        "normal noise in proportion to the pixel",
        "noise",
        "arXiv 2202.02626",
        steps=0,
        gradients=False,
        norms=EVERY_NORM,
    ),
}
