"""Which attacks choose and judge a repair, and their verdicts on the model as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from ..attacks import ATTACKS
from ..errors import DataError, UsageError
from ..models.answers import is_right, predicted
from ..progress import Progress
from ..records import AuditRecord, LabelSource, Perturbation
from ..runs.reading import DAMAGED_HINT
from ..scanning.attacking import AttackRunner
from ..scanning.attacking import verdicts as judge
from ..scanning.plan import perturbations, runs
from ..scanning.stages import Evaluation, predict
from ..scanning.verdicts import Flags
from ..settings.profile import AttackSettings, Profile
from ..units import parse_epsilon

DEFAULT_ATTACKS = ("pgd", "cascade")
PASSES = 600


def planned(
    record: AuditRecord, profile: Profile, names: Sequence[str], passes: int | None
) -> tuple[Perturbation, ...]:
    """The attacks at the norm and epsilon at which the neurons were measured, in the order given.

    Steps and the like are those of the scan's settings, where these name the attack.

    Args:
        names: empty takes the default ones.
        passes: of cascade, an image; None: those of the settings, else 600.

    Raises:
        UsageError: the run has no neuron tables, or an epsilon that is none; a name that is no attack, or an attack
            that moves a layer; passes without cascade.
        DataError: the record lacks the attack of its neuron tables.
    """
    if not record.neurons:
        raise UsageError("the run dropped no neurons", "scan with --neurons all")
    known = [name for name, entry in ATTACKS.items() if entry.kind == "attack" and not entry.layer]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{unknown[0]} is not an attack that repair can run", f"there are {', '.join(known)}")
    chosen = tuple(names) or DEFAULT_ATTACKS
    if passes is not None and "cascade" not in chosen:
        raise UsageError("passes: no attack here takes it", "add --attack cascade")
    wanted = record.neurons[0].perturbation
    ball = next((entry.perturbation for entry in record.attacks if entry.perturbation.id == wanted), None)
    if ball is None:
        raise DataError(f"the record names {wanted} for its neurons and holds no such attack", DAMAGED_HINT)
    # The record may be anybody's, and its epsilon has passed no check yet.
    epsilon = parse_epsilon(ball.epsilon, ball.norm)
    given = {entry.name: entry for entry in reversed(profile.attacks)}
    entries = []
    for name in chosen:
        changes: dict[str, object] = {"norm": ball.norm, "epsilon": (epsilon,)}
        settings = given.get(name, AttackSettings(name=name))
        if name == "cascade":
            changes["steps"] = passes or settings.steps or PASSES
        entries.append(settings.model_copy(update=changes))
    return perturbations(profile.model_copy(update={"attacks": tuple(entries), "noises": ()}))


@dataclass(frozen=True)
class Judge:
    """Verdicts on one set of images, of the model as it is now.

    Attributes:
        scene: `labels` say what counts as right; `right` is not used.
    """

    evaluation: Evaluation
    runner: AttackRunner

    def labelled(self, source: LabelSource, progress: Progress) -> Judge:
        """The same; where the labels come from the model itself, with what it says now. Cost: a forward an image."""
        if source == "dataset":
            return self
        # An image without an answer has no label either, and counts as wrong whatever stands there.
        return replace(
            self, evaluation=replace(self.evaluation, labels=predicted(predict(self.evaluation, progress)).clamp_min(0))
        )

    def clean(self, progress: Progress) -> Tensor:
        """[N] bool: right without an attack. Cost: one forward an image."""
        return is_right(predict(self.evaluation, progress), self.evaluation.labels)

    def robust(self, perturbation: Perturbation, right: Tensor, progress: Progress) -> Flags:
        """[N] bool: right before and after the attack, which is run anew.

        Args:
            right: [N] bool, right without an attack.
        """
        (run,) = runs([perturbation], set())
        stands = np.zeros(len(right), dtype=np.bool_)
        progress.stage(perturbation.id, len(right))
        for part, batch in replace(self.evaluation, right=right).batches():
            (judged,) = judge(self.runner, batch, run)
            stands[part] = judged.outcome.right.cpu().numpy()
            progress.advance(part.stop - part.start)
        stands &= right.numpy()
        return stands
