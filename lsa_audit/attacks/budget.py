"""What an attack may spend: the ball, the steps, the restarts."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..records import Norm


@dataclass(frozen=True)
class Budget:
    """What an attack may spend.

    Attributes:
        epsilon: radius of the ball in pixel units, 0 or above (at most 1 for linf).
        steps: number of gradient steps, 1 or above for attacks.
        step_size: in pixel units; None where the attack sets its own.
        restarts: independent runs; images already fooled take no part in the later ones.
        spend_all: keep attacking images that are fooled already, so that every image gets the same number of steps.
            Layer measurements need that; verdicts do not.
        nearest: look for the nearest fooling image in the ball, not for the first one; every image gets all steps.
    """

    norm: Norm
    epsilon: float
    steps: int = 1
    step_size: float | None = None
    restarts: int = 1
    spend_all: bool = False
    nearest: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon < float("inf") or (self.norm == "linf" and self.epsilon > 1):
            raise UsageError(f"epsilon {self.epsilon} is not a radius for {self.norm} on images in [0, 1]")
        if self.steps < 0 or self.restarts < 1:
            raise UsageError(
                f"steps {self.steps} and restarts {self.restarts} are not a budget", "use whole numbers from 1"
            )
