"""What a hardening run does: every setting of the training, checked before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import ProfileError
from ..units import format_epsilon
from .limits import Count
from .profile import Distance

Base = Literal["none", "fgsm", "pgd", "apgd", "free", "trades", "mart"]
Regularizer = Literal["none", "atlr", "lad-lie", "lad-strang"]
Augmentation = Literal["flip", "crop", "erase"]

STEPS: dict[Base, int] = {"none": 0, "fgsm": 1, "pgd": 7, "apgd": 7, "free": 4, "trades": 10, "mart": 10}
STEP_SHARES: dict[Base, float] = {"fgsm": 1.25, "pgd": 0.25, "free": 1.0, "trades": 0.25, "mart": 0.25}
"""Default step size as a share of epsilon."""

USUAL_LR = {"sgd": 0.01, "adam": 0.001, "adamw": 0.001}
"""Of fine-tuning."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Recipe(BaseModel):
    """How a model is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    at: Base = Field(default="pgd", description="base adversarial training")
    reg: Regularizer = Field(default="none", description="layer-wise regulariser")
    norm: Literal["linf", "l2"] = "linf"
    epsilon: Distance = 8 / 255
    steps: Count | None = Field(default=None, description="of the attack in training; null: the base's own")
    step_size: Distance | None = Field(default=None, description="null: a share of epsilon")
    beta: Weight = Field(default=6.0, description="of trades and mart: weight of the divergence")

    layers: str = Field(default="mvl", min_length=1, description="mvl, all (learnable) or globs: what reg acts on")
    gamma: Literal["auto"] | Weight | dict[str, Weight] = Field(
        default="auto", description="of atlr: one number, one a layer by name, or auto"
    )
    clean_statistics: Literal["train", "eval"] = Field(
        default="train", description="of the batch norms in the clean forward of atlr, trades and mart"
    )
    lad_step: Weight = Field(default=0.01, description="of lad-lie and lad-strang, for every hidden layer")
    lad_scale: Literal["relative", "raw"] = Field(
        default="relative", description="relative: lad_step is a share of the norm of the image's activation"
    )
    lad_warmup: Weight = Field(default=1.0, description="epochs until lad_step is reached")

    awp: Weight = Field(default=0.0, description="adversarial weight perturbation: share of each weight's norm")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.0, description="decay of averaged weights; 0: none")
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    epochs: Count = 10
    batch_size: Count = Field(default=128, description="images in one step, over all processes and micro-batches")
    accumulate: Count = Field(default=1, description="micro-batches in one step")
    optimizer: Literal["sgd", "adamw", "adam"] = "sgd"
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01
    momentum: Share = 0.9
    weight_decay: Weight = 5e-4
    clip_grad: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    schedule: Literal["none", "cosine", "linear", "multistep"] = "cosine"
    warmup: Weight = Field(default=0.0, description="epochs in which the learning rate rises")
    epsilon_warmup: Weight = Field(default=0.0, description="epochs in which epsilon rises")
    bn: Literal["train", "frozen"] = "train"
    augment: tuple[Augmentation, ...] = ()
    precision: Literal["float32", "bf16"] = "float32"
    channels_last: bool = False
    compile: bool = False
    deterministic: bool = True
    seed: int = Field(default=0, ge=0, lt=2**31)

    validation_steps: Count = Field(default=10, description="of PGD on the validation images after each epoch")
    max_clean_drop: Share = Field(default=1.0, description="clean accuracy that the best checkpoint may lose")
    patience: Count | None = Field(default=None, description="epochs without a better checkpoint; null: never stop")
    save_every: Count | None = Field(default=None, description="steps between checkpoints; null: after each epoch")

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.norm == "linf" and self.epsilon > 1:
            raise ValueError(f"epsilon {self.epsilon:g} is above 1, the whole range of a pixel")
        if self.at != "none" and self.epsilon == 0:
            raise ValueError(f"epsilon 0 leaves {self.at} nothing to train against; use at: none or a larger epsilon")
        if self.at == "none" and self.reg != "none":
            raise ValueError(f"reg {self.reg} needs perturbed images; give a base attack with at")
        if self.at in ("none", "fgsm") and self.steps is not None and self.steps != STEPS[self.at]:
            raise ValueError(f"at {self.at} takes no steps; pgd does")
        if self.accumulate > self.batch_size:
            raise ValueError(f"{self.accumulate} micro-batches do not fit into a batch of {self.batch_size}")
        return self

    @property
    def attack_steps(self) -> int:
        """Steps of the attack in training; replays of the batch for free."""
        return STEPS[self.at] if self.steps is None else self.steps

    @property
    def attack_step_size(self) -> float:
        """In pixel units; 2 epsilon for apgd, which halves it."""
        return STEP_SHARES.get(self.at, 2.0) * self.epsilon if self.step_size is None else self.step_size

    @property
    def own_attack(self) -> Literal["fgsm", "pgd"]:
        """Which attack of an audit is most like the one in training."""
        return "fgsm" if self.at in ("fgsm", "free") else "pgd"

    @property
    def smaller_lr(self) -> float:
        """The learning rate to try where this one is too large: the optimiser's usual one, or a tenth of that.

        >>> Recipe(lr=5.0).smaller_lr, Recipe(lr=0.01).smaller_lr, Recipe(optimizer="adam", lr=0.01).smaller_lr
        (0.01, 0.001, 0.001)
        """
        usual = USUAL_LR[self.optimizer]
        return usual if self.lr > usual else float(f"{self.lr / 10:.6g}")

    @property
    def title(self) -> str:
        """In a few words, e.g. `PGD-7 at linf 8/255 with atlr`."""
        if self.at == "none":
            return "training without attack"
        attack = f"{self.at.upper()}-{self.attack_steps} at {self.norm} {format_epsilon(self.epsilon)}"
        return attack if self.reg == "none" else f"{attack} with {self.reg}"


def make_recipe(sources: Mapping[str, Mapping[str, Any]]) -> Recipe:
    """The recipe from raw values of several sources, lowest precedence first.

    Raises:
        ProfileError: all mistakes at once.
    """
    merged: dict[str, Any] = {}
    for values in sources.values():
        merged.update(values)
    try:
        return Recipe.model_validate(merged, strict=False)
    except ValidationError as error:
        problems = [_problem(entry) for entry in error.errors(include_url=False)]
        raise ProfileError("; ".join(dict.fromkeys(problems)), "see `lsa-audit harden --help`") from None


def _problem(entry: Any) -> str:
    where = ".".join(str(part) for part in entry["loc"][:1])
    message = entry["msg"].removeprefix("Value error, ")
    message = f"{message[:1].lower()}{message[1:]}"
    return f"{where}: {message}" if where else message


def ramp(step: int, steps_an_epoch: int, epochs: float) -> float:
    """How far a linear warm-up of so many epochs is at a step, above 0 and at most 1."""
    total = math.ceil(epochs * steps_an_epoch)
    return 1.0 if total <= 0 else min(1.0, (step + 1) / total)
