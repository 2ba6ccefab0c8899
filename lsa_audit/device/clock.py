"""How long each stage took; the only place that looks at the clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from ..records import Timing


class Clock:
    """Seconds of each stage of a scan; the first one is `load`."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._stages: dict[str, float] = {}
        self._name = "load"
        self._since = time.perf_counter()

    def enter(self, stage: str) -> None:
        """The stage before ends, this one begins."""
        now = time.perf_counter()
        self._stages[self._name] = now - self._since
        self._name, self._since = stage, now

    def timing(self) -> Timing:
        """Ends the last stage."""
        self._stages[self._name] = time.perf_counter() - self._since
        total = sum(self._stages.values())
        started = self._started.isoformat(timespec="seconds")
        stages = {name: round(seconds, 3) for name, seconds in self._stages.items()}
        return Timing(started_at=started, duration_s=round(total, 3), stages_s=stages)
