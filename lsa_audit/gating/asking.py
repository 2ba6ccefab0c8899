"""What passes between the parts of the engine: a limit that is asked about, what it is held against, what was seen."""

from __future__ import annotations

from dataclasses import dataclass

from ..records.gating import LimitName, Outcome
from ..records.snapshot import Snapshot
from ..settings.gates import COMPARATIVE, Gate, split
from ..stats.decision import Decision
from .comparability import Rows, same_weights
from .patterns import EVERYTHING

NOTHING_CHANGED = "nothing changed"
"""The verdict where weights and verdicts are the baseline's: no statistics are needed to say that."""


@dataclass(frozen=True)
class ComparedRuns:
    """A run and what it is held against.

    Attributes:
        run_rows, baseline_rows: of the images that both have, in the run's order.
    """

    run: Snapshot
    baseline: Snapshot
    run_rows: Rows
    baseline_rows: Rows

    @property
    def same_weights(self) -> bool:
        """Whether both are runs of the same weights, so that equal verdicts mean that nothing changed."""
        return same_weights(self.run, self.baseline)


@dataclass(frozen=True)
class LimitQuestion:
    """One limit of one gate on one thing.

    Attributes:
        key: of the gate in the profile.
        target: what is looked at; empty for the whole run.
        names: of what is looked at together: attacks of a ball, layers of a list, findings.
        needs: ids of the perturbations that must agree with the baseline's; None where runs need not be comparable.
        under: id of the perturbation under which layers are looked at.
        missing: why there is nothing to look at.
    """

    key: str
    gate: Gate
    target: str
    limit: LimitName
    names: tuple[str, ...] = ()
    needs: tuple[str, ...] | None = None
    under: str = ""
    missing: str = ""

    @property
    def kind(self) -> str:
        """A name of `gates.GATES`."""
        return split(self.key)[0]

    @property
    def id(self) -> str:
        """The same in every run."""
        return f"{self.kind}@{self.target}:{self.limit}" if self.target else f"{self.kind}:{self.limit}"

    @property
    def allowed(self) -> float:
        """The limit; 0 for no_new."""
        return self.gate.limits[self.limit]

    @property
    def comparative(self) -> bool:
        """Whether it takes a baseline."""
        return self.limit in COMPARATIVE


@dataclass(frozen=True)
class LimitResult:
    """What was seen of what was asked.

    Attributes:
        sentence: without the verdict.
        outcome: where nothing is estimated; None: the decision tells.
        verdict: in words, where it is another one than the outcome's usual.
        figure: what is limited, where there is no decision that holds it.
        images: that it rests on, where there is no decision that holds them.
        note: what a reader should know beside the verdict.
    """

    sentence: str
    outcome: Outcome | None = None
    decision: Decision | None = None
    figure: float | None = None
    run_value: float | None = None
    baseline_value: float | None = None
    images: int | None = None
    note: str = ""
    verdict: str = ""


def whole(key: str) -> str:
    """The target of a check on everything that a gate looks at together: what the profile says, nothing for all."""
    target = split(key)[1]
    return "" if target == EVERYTHING else target


def absent(key: str, gate: Gate, why: str) -> list[LimitQuestion]:
    """What is asked of a run that has nothing for a gate."""
    return [LimitQuestion(key, gate, whole(key), limit, missing=why) for limit in gate.limits]
