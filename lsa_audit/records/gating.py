"""What the gates said of a run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..errors import ExitCode
from .base import Record

GATING_VERSION = 1

Verdict = Literal["passed", "failed", "inconclusive"]
Outcome = Literal["passed", "failed", "inconclusive", "not-comparable"]
"""Of one check; not-comparable: only one of the two runs has what is compared, so that it has no say."""
LimitName = Literal["min", "max", "max_drop", "max_rise", "no_new"]
WaiverState = Literal["used", "unused", "expired"]

EXIT_CODES: dict[Verdict, ExitCode] = {
    "passed": ExitCode.OK,
    "failed": ExitCode.GATE_FAILED,
    "inconclusive": ExitCode.INCONCLUSIVE,
}


class GateCheck(Record):
    """One limit of one gate, held against one figure."""

    id: str = Field(description="gate, target and limit, e.g. `relative_error@layer4.0.conv1:max_rise`")
    gate: str = Field(description="the key in the profile")
    kind: str = Field(description="a name of `gates.GATES`")
    target: str = Field(description="what was looked at: a ball, perturbation, layer, finding; empty for the whole run")
    level: Literal["warn", "error"]
    limit: LimitName
    allowed: float = Field(description="0 for no_new")
    outcome: Outcome
    sentence: str = Field(description="what was seen, against what, and why that decides or does not")
    seen: float | None = Field(default=None, description="the figure that is limited: share, mean, count, drop or rise")
    low: float | None = Field(default=None, description="one-sided bounds of it, each at 1 - alpha")
    high: float | None = None
    run_value: float | None = Field(default=None, description="share, mean or count of the run")
    baseline_value: float | None = None
    alpha: float | None = Field(default=None, description="None where nothing is estimated: counts of findings")
    p_broken: float | None = Field(default=None, description="small: the limit is broken")
    p_adjusted: float | None = Field(default=None, description="the same after Holm over the gates of this level")
    p_kept: float | None = Field(default=None, description="small: the limit is kept")
    images: int | None = Field(default=None, description="images that the decision rests on")
    images_needed: int | None = Field(
        default=None, description="about how many images would decide; None where decided, or where no number would"
    )
    waiver: str | None = Field(
        default=None, description="the reason of the waiver that covers it, so that it does not count"
    )
    line: int | None = Field(default=None, description="of the gate in the profile file")


class AppliedWaiver(Record):
    """One waiver, and whether it was of use."""

    gate: str
    reason: str
    expires: str = Field(description="ISO date, the last day")
    state: WaiverState
    covers: tuple[str, ...] = Field(description="ids of the checks that it excuses, or would if it had not expired")


class Difference(Record):
    """Something in which the run and the baseline differ, and which does not forbid to compare them."""

    what: str
    run: str
    baseline: str


class Gating(Record):
    """The verdict on a run; `gate.json` is this and nothing else."""

    gating_version: int = GATING_VERSION
    tool_version: str
    judged_on: str = Field(description="ISO date")
    run: str
    baseline: str | None
    profile: str | None = Field(description="where the gates stand: a file or preset; None: in the record's settings")
    images: int = Field(description="of the run")
    images_paired: int | None = Field(description="that the baseline has too; None without one")
    checks: tuple[GateCheck, ...]
    waivers: tuple[AppliedWaiver, ...] = ()
    differences: tuple[Difference, ...] = ()

    @property
    def counted(self) -> tuple[GateCheck, ...]:
        """The checks that count for the verdict: at level error, and not waived."""
        return tuple(check for check in self.checks if check.level == "error" and check.waiver is None)

    @property
    def verdict(self) -> Verdict:
        """What the checks at level error say together; waived ones do not count, nor does what cannot be compared.

        Where nothing that counts can be compared, nothing is decided.
        """
        outcomes = {check.outcome for check in self.counted}
        if not self.checks or outcomes == {"not-comparable"}:
            return "inconclusive"
        return "failed" if "failed" in outcomes else "inconclusive" if "inconclusive" in outcomes else "passed"

    @property
    def exit_code(self) -> ExitCode:
        """What the verdict says to the shell."""
        return EXIT_CODES[self.verdict]
