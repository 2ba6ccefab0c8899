"""What came of training a model against attacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from . import AuditRecord, Environment, Finding, Timing
from .base import Record, Skipped
from .layers import GraphCheck
from .repair import Change, RepairedFile
from .subject import DataInfo, LabelInfo, ModelInfo

HARDENING_VERSION = 1

Ending = Literal["finished", "early-stop", "collapsed", "catastrophic-overfitting"]

Verdict = Literal["helped", "not-helped", "harmed", "masked", "no-checkpoint"]


class Epoch(Record):
    """One epoch of training and the validation after it; shares lie in 0..1."""

    epoch: int = Field(description="from 1")
    step: int = Field(description="steps done since the start")
    lr: float = Field(description="of the last step")
    epsilon: float = Field(description="of the last step, in pixel units")
    loss: float = Field(description="mean over the epoch, everything in it")
    penalty: float | None = Field(description="mean of what the regulariser added; None where nothing is added")
    train_robust: float = Field(description="right on the perturbed training images, as they were trained on")
    clean: float = Field(description="right on the validation images without attack")
    robust: float = Field(description="right on them under PGD")
    kept: bool = Field(description="the best so far: most robust of those that keep the clean accuracy asked for")
    duration_s: float
    images_per_s: float = Field(description="of training, validation not counted")


class TrainingLog(Record):
    """How the training went."""

    epochs: tuple[Epoch, ...]
    ending: Ending
    detail: str = Field(description="why it ended, in one sentence")
    kept_epoch: int | None = Field(description="whose weights were kept; None: no epoch kept the clean accuracy")
    clean_before: float = Field(description="on the validation images, before training")
    robust_before: float
    resumed: int = Field(default=0, description="how often the training was taken up again")


class LearningRateTrial(Record):
    """The first epochs once more with a smaller learning rate, after a training that broke the model."""

    lr: float = Field(description="that was tried")
    epoch: int = Field(description="in which the model broke, and after which the trial was validated")
    clean: float = Field(description="right on the validation images after it, 0..1")
    at_fault: bool = Field(description="whether the learning rate of the recipe broke the model")


class ChosenLayer(Record):
    """A layer that the regulariser acts on."""

    layer: str
    gamma: float | None = Field(description="weight of its relative error in the loss; None for a method without")
    relative_error: float | None = Field(description="under PGD on the images that choose; None where not measured")


class LayerShift(Record):
    """The relative error of one layer on the test images before and after, under the same attack."""

    layer: str
    before: float | None
    after: float | None
    chosen: bool
    in_mvl_before: bool
    in_mvl_after: bool


class GridScore(Record):
    """The R&G score: the plain sum of the accuracies, in %, over a grid of epsilons, clean included."""

    attack: str
    epsilons: tuple[float, ...] = Field(description="0 (clean) first; the score depends on this grid")
    before: tuple[float, ...] = Field(description="accuracy at each, 0..1")
    after: tuple[float, ...]
    score_before: float
    score_after: float


class Trainee(Record):
    """What was trained: the exported graph, or the model's own modules where the two would learn differently."""

    module: bool = Field(description="whether the model's own modules were trained")
    reason: str = Field(description="why, or what could not be compared; empty where a step of both was the same")
    left_alone: tuple[str, ...] = Field(description="parameters that the model's own forward gives no gradient")
    checks: tuple[GraphCheck, ...] = Field(description="one training step of the graph against one of the model")


class Hardening(Record):
    """One hardening: the choice of layers, the training, and the same audit before and after on other images."""

    hardening_version: int = HARDENING_VERSION
    tool_version: str
    subject: str = Field(description="the model as it was named on the command line")
    model: ModelInfo = Field(description="before")
    labels: LabelInfo
    recipe: dict[str, Any]
    title: str = Field(description="the recipe in a few words")
    training: DataInfo
    validation: DataInfo = Field(description="chooses the layers and the checkpoint; never trained on")
    test: DataInfo = Field(description="gives the verdict; neither trained on nor used to choose")
    eta: float = Field(description="of the choice of the most vulnerable layers")
    trainee: Trainee | None = Field(default=None, description="None in records of older versions")
    chosen: tuple[ChosenLayer, ...] = Field(description="empty without a layer-wise regulariser")
    log: TrainingLog
    before: AuditRecord
    after: AuditRecord | None = Field(description="of the file that was written; None where none was")
    changes: tuple[Change, ...] = Field(description="clean first, then every attack at its epsilons")
    strongest: tuple[str, ...] = Field(description="ids of the attacks whose changes decide, the training's own first")
    layer_attack: str | None = Field(description="id of the perturbation of `layers`")
    layers: tuple[LayerShift, ...]
    scores: tuple[GridScore, ...]
    verdict: Verdict
    reason: str = Field(description="the verdict in one sentence, with what was seen")
    learning_rate: LearningRateTrial | None = Field(
        default=None, description="None where the training did not break the model"
    )
    file: RepairedFile | None
    skipped: tuple[Skipped, ...] = ()
    environment: Environment
    timing: Timing

    @property
    def inconclusive(self) -> bool:
        """Whether no verdict on the robustness can be relied on."""
        return self.verdict in ("masked", "no-checkpoint") or bool(doubts(self.after, self.strongest))


def doubts(after: AuditRecord | None, strongest: Sequence[str]) -> tuple[Finding, ...]:
    """The attack-health errors of the audit after that touch the verdict: of the model, or of an attack that decides.

    Args:
        strongest: ids of the attacks that decide. The others, such as one step at larger epsilons, have no say.
    """
    if after is None:
        return ()
    others = {entry.perturbation.id for entry in after.attacks} - set(strongest)
    errors = [entry for entry in after.findings if entry.group == "attack-health" and entry.level == "error"]
    return tuple(entry for entry in errors if entry.subject not in others)
