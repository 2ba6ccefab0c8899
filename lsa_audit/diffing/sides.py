"""The two runs of a diff, and the images that both have."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from ..gating.comparability import Rows, pair
from ..gating.snapshot import Truths, digests, robust
from ..records import Environment
from ..records.diff import NamedBy
from ..records.snapshot import Snapshot

CLEAN = "clean"


@dataclass(frozen=True)
class Side:
    """One of two runs.

    Attributes:
        image_ids, labels: of each image; None for a baseline, which does not keep them.
        environment: None for a baseline.
    """

    snapshot: Snapshot
    kind: Literal["run", "baseline"] = "run"
    image_ids: Sequence[str] | None = None
    labels: NDArray[Any] | None = None
    environment: Environment | None = None


@dataclass(frozen=True)
class Pairs:
    """Both runs, and the rows of the images that both have, in the order of the run after."""

    before: Side
    after: Side
    rows_before: Rows
    rows_after: Rows

    @classmethod
    def of(cls, before: Side, after: Side) -> Pairs:
        """The images that both have.

        Raises:
            DataError: malformed digests.
        """
        rows_after, rows_before = pair(after.snapshot, before.snapshot)
        return cls(before, after, rows_before, rows_after)

    def right(self, attacks: Collection[str]) -> tuple[Truths, Truths]:
        """[N] whether a shared image is right without attack and under all of these, before and after."""
        before, after = robust(self.before.snapshot, attacks), robust(self.after.snapshot, attacks)
        return before[self.rows_before], after[self.rows_after]

    def labels(self) -> NDArray[Any] | None:
        """[N] labels of the shared images; None where only baselines are there, which do not keep them."""
        if self.after.labels is not None:
            return self.after.labels[self.rows_after]
        return None if self.before.labels is None else self.before.labels[self.rows_before]

    def names(self) -> tuple[NamedBy, list[str]]:
        """What tells the shared images: their ids, where only baselines are there their digests, else their rows."""
        for side, rows in ((self.after, self.rows_after), (self.before, self.rows_before)):
            if side.image_ids is not None:
                return "image-id", [str(side.image_ids[row]) for row in rows]
        found = digests(self.after.snapshot)
        if found is None:
            return "row", [str(row) for row in self.rows_after]
        return "digest", [found[row].tobytes().hex() for row in self.rows_after]
