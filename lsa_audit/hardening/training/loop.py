"""The training loop: perturb, step, validate, keep the best, and take up again where it was cut."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.nn.parallel import DistributedDataParallel

from ...data.base import Dataset, sha256
from ...device.ranks import Ranks
from ...errors import ModelError
from ...graph.base import Graph
from ...graph.training import TrainedGraph
from ...models.base import Model, weights_sha256
from ...progress import Progress
from ...records.hardening import Epoch, TrainingLog
from ...settings.recipe import Recipe, ramp
from ...writing import write_whole
from . import checkpoint
from .awp import perturbed as weights_perturbed
from .base import TrainingBatch
from .bases import BASES
from .batches import Batches, Piece
from .ema import Ema
from .regularizers import REGULARIZERS
from .schedule import make_optimizer, make_schedule
from .state import copy_of, put, trainable
from .step import Loss, TrainingStep
from .validation import Score, ending, epoch_line, validate

CHECKPOINT_NAME, LOG_NAME = "checkpoint.pt", "training.jsonl"
SEED_STRIDE = 1_000_003


@dataclass(frozen=True)
class Setup:
    """What training needs.

    Attributes:
        model: fitted, on the device; its weights are changed.
        graph: of the model, walked.
        gammas: the layers that the regulariser acts on, in the order of execution, with their weights.
        training, validation: without a common image.
    """

    model: Model
    graph: Graph
    recipe: Recipe
    gammas: Mapping[str, float]
    training: Dataset
    validation: Dataset
    device: torch.device
    ranks: Ranks = field(default_factory=Ranks)


@dataclass
class _Sums:
    """Over the steps of the current epoch."""

    loss: float = 0.0
    penalty: float = 0.0
    right: float = 0.0
    images: int = 0
    steps: int = 0
    seconds: float = 0.0


def train(setup: Setup, progress: Progress, folder: Path | None = None, *, resume: bool = False) -> TrainingLog:
    """Train the model, and leave the weights of the best epoch in it.

    The best is the most robust one under PGD on the validation images among those that keep the clean accuracy which
    the recipe asks for; where no epoch does, the weights are as before.

    Args:
        folder: where the checkpoint and the log are kept; None keeps neither.
        resume: go on from the checkpoint in the folder; on a CPU the result has the same bits as without the break.

    Raises:
        ModelError: nothing to train, or a loss that is not finite; the last checkpoint stays.
        UsageError: the checkpoint is of another recipe, model or data.
        OutputError: the folder cannot be written; the last checkpoint stays.

    Cost: an epoch is, an image, the attack's forwards and backwards, one of training, and what the regulariser adds.
    """
    with trainable(setup.model, setup.graph, channels_last=setup.recipe.channels_last):
        return Training(setup, progress, folder).run(resume=resume)


class Training:
    """A training on its way; inside `trainable`."""

    def __init__(self, setup: Setup, progress: Progress, folder: Path | None) -> None:
        recipe = setup.recipe
        self.setup, self.recipe, self.progress, self.folder = setup, recipe, progress, folder
        self.module = setup.model.module
        self.trainee = TrainedGraph(setup.graph, self.module, recipe.bn, compiled=recipe.compile)
        self.examples, objective = BASES[recipe.at](recipe)
        self.regularizer = REGULARIZERS[recipe.reg](recipe, setup.gammas)
        self.batches = Batches(setup.training, recipe, setup.ranks, setup.device)
        self.optimizer = make_optimizer(self.trainee.parameters, recipe)
        self.schedule = make_schedule(self.optimizer, recipe, self.batches.steps_an_epoch)
        self.ema = Ema(self.module, recipe.ema) if recipe.ema else None
        self.loss = TrainingStep(self.trainee, objective, self.regularizer, recipe.clean_statistics == "train")
        self.wrapped: nn.Module = self.loss
        if setup.ranks.size > 1:
            # A module's own forward may leave out whole blocks in a step.
            own = not isinstance(setup.graph.module, fx.GraphModule)
            self.wrapped = DistributedDataParallel(self.loss, find_unused_parameters=own)
        self.fingerprint = {
            "weights": weights_sha256(self.module.network),
            "training": sha256(setup.training),
            "validation": sha256(setup.validation),
        }
        self.step = 0
        self.sums = _Sums()
        self.epochs: list[Epoch] = []
        self.best = copy_of(self.module)
        self.before = Score(0.0, 0.0)
        self.resumed = 0

    def run(self, *, resume: bool) -> TrainingLog:
        if resume:
            self._load()
        else:
            self.before = self.validated()
            self._save()
        self.progress.message(f"before: {self.before} on {len(self.setup.validation)} validation images")
        end = self._ending()
        while end is None:
            self.progress.stage(f"epoch {len(self.epochs) + 1} of {self.recipe.epochs}", self.batches.steps_an_epoch)
            self.progress.advance(self.sums.steps)
            while self.step < (len(self.epochs) + 1) * self.batches.steps_an_epoch:
                self.advance()
                self.progress.advance(1)
                if self.recipe.save_every and self.step % self.recipe.save_every == 0:
                    self._save()
            self._finish_epoch()
            end = self._ending()
        put(self.module, self.best)
        kept = [entry.epoch for entry in self.epochs if entry.kept]
        return TrainingLog(
            epochs=tuple(self.epochs),
            ending=end[0],
            detail=end[1],
            kept_epoch=kept[-1] if kept else None,
            clean_before=self.before.clean,
            robust_before=self.before.robust,
            resumed=self.resumed,
        )

    def _ending(self) -> Any:
        return ending(self.epochs, self.before, self.setup.validation.labels, self.recipe) if self.epochs else None

    def advance(self) -> None:
        """One step of the optimiser; of free, one for each replay."""
        started = time.perf_counter()
        torch.manual_seed((self.recipe.seed * SEED_STRIDE + self.step) * self.setup.ranks.size + self.setup.ranks.rank)
        self.schedule(self.step)
        pieces = self.batches.step(self.step)
        for _ in range(self.examples.replays):
            self.optimizer.zero_grad(set_to_none=True)
            losses = [self._backward(piece, len(pieces), index) for index, piece in enumerate(pieces)]
            self._count(losses, pieces)
            length = nn.utils.clip_grad_norm_(self.trainee.parameters, self.recipe.clip_grad or math.inf)
            self._check("the length of the gradient", float(length))
            self.optimizer.step()
            if self.ema is not None:
                self.ema.update(self.step)
        self.step += 1
        self.sums.steps += 1
        self.sums.seconds += time.perf_counter() - started

    def _backward(self, piece: Piece, pieces: int, index: int) -> Loss:
        """Perturb, forward and backward one micro-batch; processes meet at the last one."""
        spe = self.batches.steps_an_epoch
        epsilon = self.recipe.epsilon * ramp(self.step, spe, self.recipe.epsilon_warmup)
        batch = TrainingBatch(piece.images, piece.labels, piece.draw, epsilon, self.step / spe)
        with self._casting():
            perturbed = self.examples.perturb(self.trainee, batch).detach()
            perturbed.requires_grad_(self.examples.learns)
            visitors = self.regularizer.injections(self.trainee, perturbed.detach(), batch)
            arguments = (batch.images, perturbed, batch.labels, visitors)
            last = index == pieces - 1
            waiting = isinstance(self.wrapped, DistributedDataParallel) and not last
            with self._weights_moved(arguments), self.wrapped.no_sync() if waiting else nullcontext():  # type: ignore[operator]
                loss: Loss = self.wrapped(*arguments)
                if not loss.total.requires_grad:
                    what = "the loss has no gradient by any weight of the model"
                    raise ModelError(what, "train a model whose outputs follow its weights smoothly")
                torch.autograd.backward(loss.total / pieces)
        if perturbed.grad is not None:
            self.examples.after(perturbed.grad, batch)
        return loss

    def _weights_moved(self, arguments: tuple[Any, ...]) -> AbstractContextManager[object]:
        if not self.recipe.awp:
            return nullcontext()
        parameters, buffers = self.trainee.parameters, dict(self.module.named_buffers())
        before = {name: value.clone() for name, value in buffers.items()}
        gradients = torch.autograd.grad(self.loss(*arguments).total, parameters, materialize_grads=True)
        # Batch norms shall take in each batch once, from the forward that trains.
        for name, value in before.items():
            buffers[name].copy_(value)
        return weights_perturbed(parameters, [self.setup.ranks.mean(entry) for entry in gradients], self.recipe.awp)

    def _count(self, losses: list[Loss], pieces: list[Piece]) -> None:
        """Add up what the step showed."""
        here = torch.stack([loss.total.detach() for loss in losses]).mean()
        mean = float(self.setup.ranks.mean(here))
        self._check("the loss", mean)
        self.sums.loss += mean
        if losses[0].penalty is not None:
            penalty = torch.stack([loss.penalty for loss in losses if loss.penalty is not None]).mean()
            self.sums.penalty += float(self.setup.ranks.mean(penalty))
        self.sums.right += float(self.setup.ranks.sum(torch.stack([loss.right for loss in losses]).sum()))
        self.sums.images += self.setup.ranks.size * sum(len(piece.labels) for piece in pieces)

    def _check(self, what: str, value: float) -> None:
        """Refuse to go on from a number that is not finite: the weights are still good."""
        if math.isfinite(value):
            return
        kept = ""
        if self.folder is not None and (self.folder / CHECKPOINT_NAME).is_file():
            kept = f"; the last good checkpoint is {self.folder / CHECKPOINT_NAME}"
        seen = f"{what} is {value} at step {self.step + 1} (epoch {len(self.epochs) + 1}){kept}"
        lower = f"lower the learning rate {self.recipe.lr:g}, e.g. --lr {self.recipe.smaller_lr:g}"
        raise ModelError(seen, f"{lower}; or lower --gamma, or give --clip-grad or a --warmup")

    def _finish_epoch(self) -> None:
        score, sums = self.validated(), self.sums
        replays = max(1, round(sums.images / (sums.steps * self.batches.batch_size)))
        floor = self.before.clean - self.recipe.max_clean_drop - 1e-9
        kept_before = [entry for entry in self.epochs if entry.kept]
        quality = score.clean if self.recipe.at == "none" else score.robust
        best = max([entry.clean if self.recipe.at == "none" else entry.robust for entry in kept_before], default=-1.0)
        epoch = Epoch(
            epoch=len(self.epochs) + 1,
            step=self.step,
            lr=float(self.optimizer.param_groups[0]["lr"]),
            epsilon=self.recipe.epsilon * ramp(self.step - 1, self.batches.steps_an_epoch, self.recipe.epsilon_warmup),
            loss=sums.loss / (sums.steps * replays),
            penalty=None if not self.regularizer.layers else sums.penalty / (sums.steps * replays),
            train_robust=sums.right / sums.images,
            clean=score.clean,
            robust=score.robust,
            kept=score.clean >= floor and quality > best,
            duration_s=round(sums.seconds, 3),
            images_per_s=round(sums.images / sums.seconds, 1),
        )
        self.epochs.append(epoch)
        self.sums = _Sums()
        if epoch.kept:
            with self._averaged():
                self.best = copy_of(self.module)
        self._save()
        self.progress.message(epoch_line(epoch, self.recipe.epochs))

    def validated(self) -> Score:
        """The score of the model as it is now, averaged where the recipe says so."""
        # The last forward of a module that is trained by itself was one of training.
        self.module.eval()
        with self._averaged():
            if self.setup.ranks.size > 1:
                # Batch norms have seen other images in each process; those of the first are what is kept.
                put(self.module, self.setup.ranks.share(copy_of(self.module)))
            return validate(self.module, self.setup.validation, self.recipe, self.setup.device, self.setup.ranks)

    def _averaged(self) -> AbstractContextManager[object]:
        return nullcontext() if self.ema is None else self.ema.swapped()

    def _casting(self) -> AbstractContextManager[object]:
        if self.recipe.precision == "float32":
            return nullcontext()
        return torch.autocast(self.setup.device.type, dtype=torch.bfloat16)

    def _save(self) -> None:
        if self.folder is None or not self.setup.ranks.first:
            return
        content = {
            "recipe": self.recipe.model_dump(mode="json"),
            "fingerprint": self.fingerprint,
            "step": self.step,
            "model": copy_of(self.module),
            "optimizer": self.optimizer.state_dict(),
            "ema": None if self.ema is None else self.ema.state(),
            "best": self.best,
            "rng": checkpoint.capture_rng(),
            "log": [entry.model_dump(mode="json") for entry in self.epochs],
            "extra": {
                "before": [self.before.clean, self.before.robust],
                "sums": dict(vars(self.sums)),
                "examples": self.examples.state(),
                "resumed": self.resumed,
            },
        }
        checkpoint.save(self.folder / CHECKPOINT_NAME, content)
        lines = "".join(f"{json.dumps(entry.model_dump(mode='json'))}\n" for entry in self.epochs)
        write_whole(self.folder / LOG_NAME, lines.encode())

    def _load(self) -> None:
        if self.folder is None:
            raise ValueError("to resume takes a folder")
        content = checkpoint.load(self.folder / CHECKPOINT_NAME)
        checkpoint.check(content, self.recipe, self.fingerprint)
        extra = content["extra"]
        put(self.module, content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        if self.ema is not None:
            self.ema.load(content["ema"])
        self.examples.load(extra["examples"])
        self.best = content["best"]
        checkpoint.restore_rng(content["rng"])
        self.step = content["step"]
        self.epochs = [Epoch.model_validate(entry) for entry in content["log"]]
        self.before = Score(*extra["before"])
        self.sums = _Sums(**extra["sums"])
        self.resumed = extra["resumed"] + 1
