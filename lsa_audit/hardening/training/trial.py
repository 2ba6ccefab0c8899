"""What a training will take, from its first steps."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ...device.runtime import peak_memory
from ...progress import Progress
from .loop import Setup, Training
from .state import copy_of, put, trainable


@dataclass(frozen=True)
class TimingTrial:
    """What a few steps showed.

    Attributes:
        steps_an_epoch: of the optimiser.
        seconds_a_step: without validation.
        seconds_a_validation: once an epoch.
        seconds_total: of the whole training, without the audits.
        memory_bytes: the most that was held: of the GPU, or of the whole process on a CPU.
    """

    steps_an_epoch: int
    seconds_a_step: float
    seconds_a_validation: float
    seconds_total: float
    memory_bytes: int


def try_steps(setup: Setup, progress: Progress, steps: int = 2) -> TimingTrial:
    """Run that many steps, the first of which warms up, and one validation; the weights are as before in any case.

    Raises:
        ModelError: as `train`.
    """
    state = copy_of(setup.model.module)
    try:
        with trainable(setup.model, setup.graph, channels_last=setup.recipe.channels_last):
            training = Training(setup, progress, None)
            progress.stage("trial", steps)
            seconds = []
            for _ in range(steps):
                started = time.perf_counter()
                training.advance()
                seconds.append(time.perf_counter() - started)
                progress.advance(1)
            started = time.perf_counter()
            training.validated()
            validation = time.perf_counter() - started
    finally:
        put(setup.model.module, state)
    count = training.batches.steps_an_epoch
    total = setup.recipe.epochs * (count * seconds[-1] + validation) + validation
    return TimingTrial(count, seconds[-1], validation, total, peak_memory(setup.device))
