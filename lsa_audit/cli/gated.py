"""The gates of a scan: asked before it starts, as far as that is possible, and after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AuditError, UsageError
from . import gate as gates
from .question import of_scan

if TYPE_CHECKING:
    from ..gating.verdict import Question
    from ..records import Perturbation
    from ..records.gating import Gating
    from ..records.snapshot import Snapshot
    from ..scanning.audit import Audit
    from ..settings.profile import Profile
    from .output import RunFolder
    from .rendering import Output

PATH_LIMIT = 4096
ACCURACIES = ("clean_accuracy", "robust_accuracy")


@dataclass(frozen=True)
class Wanted:
    """What is made of a scan beside its run folder.

    Attributes:
        gate: whether the gates choose the exit code.
        baseline: what they compare with.
        output: further reports, FORMAT=FILE.
    """

    gate: bool = False
    baseline: Path | None = None
    output: tuple[str, ...] = ()


NOTHING = Wanted()


def asked(profile: Profile, name: str, wanted: Wanted) -> tuple[Question | None, Snapshot | None]:
    """What the gates are asked and what they compare with.

    Args:
        name: of the profile.

    Raises:
        UsageError: a baseline without --gate, or one whose attacks are not those of the scan.
        DataError, UnsafeError: a baseline that cannot be read.
    """
    if not wanted.gate:
        if wanted.baseline is not None:
            raise UsageError(
                "--baseline is given without --gate", "add --gate, or compare two runs with `lsa-audit diff`"
            )
        return None, None
    from ..scanning.plan import perturbations

    question = of_scan(profile, name)
    against = gates.held_against(wanted.baseline, question.gates)
    if against is not None:
        _check_plan(perturbations(profile), against, question)
    return question, against


def judged(
    folder: RunFolder,
    result: Audit,
    question: Question | None,
    against: Snapshot | None,
    outputs: Sequence[Output] = (),
) -> Gating | None:
    """What the gates say, where they are asked; a run that they cannot judge is kept all the same, with its reports.

    Args:
        outputs: the further reports, which are written without a verdict where the gates refuse the run.

    Raises:
        UsageError: the run cannot be compared with the baseline, or a gate finds nothing to look at.
    """
    if question is None:
        return None
    from ..reporting.pictures import pictures
    from ..reporting.shown import Shown
    from . import rendering

    try:
        return gates.judged(folder.path, result.record, result.evidence, question, against)
    except AuditError:
        written = folder.write(result.record, result.evidence)
        if outputs:
            rendering.write(outputs, Shown(result.record, None, pictures(result.record, result.evidence)))
        say_where(written)
        raise


def say_where(folder: Path) -> None:
    """Name the run folder on stderr."""
    from ..page.text import name
    from .console import Console

    # A folder may have a name of several lines.
    shown = name(str(folder), limit=PATH_LIMIT)
    Console(stderr=True).print(f"report: {shown}", highlight=False, soft_wrap=True, markup=False)


def _check_plan(planned: Sequence[Perturbation], baseline: Snapshot, question: Question) -> None:
    """Refuse a scan whose attacks could not be compared with the baseline's: it is taken for it but for its plan.

    Raises:
        UsageError: as `judge`, for the gates on accuracies.
    """
    from ..gating.verdict import judge
    from ..records.snapshot import JudgedImages
    from ..settings.gates import split

    if any(skipped.reason == "no-gradients" for skipped in baseline.skipped):
        # What a model without gradients leaves of the plan is known only once it is loaded.
        return
    expected = tuple(JudgedImages(perturbation=entry, robust=baseline.clean) for entry in planned)
    of_accuracies = {key: gate for key, gate in question.gates.items() if split(key)[0] in ACCURACIES}
    judge(baseline.model_copy(update={"judged": expected}), baseline, replace(question, gates=of_accuracies))
