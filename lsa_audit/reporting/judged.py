"""What the verdict of gates means for the formats that machines read."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import ExitCode
from ..page import text
from ..records import Level
from ..records.gating import Gating
from .shown import Shown


def exit_code(shown: Shown) -> ExitCode:
    """What a command says to the shell about this run: the gates where they were asked, else the attacks' health."""
    if shown.gating is not None:
        return shown.gating.exit_code
    return ExitCode.INCONCLUSIVE if shown.record.inconclusive else ExitCode.OK


def finding_level(level: Level, gating: Gating | None) -> Level:
    """The level of a finding; where gates judged only they make errors, so that none comes back that they waive."""
    return "warning" if gating is not None and level == "error" else level


def useless_waivers(gating: Gating | None) -> Iterator[str]:
    """A sentence on each waiver that excuses nothing."""
    for waiver in () if gating is None else gating.waivers:
        if waiver.state != "used":
            yield f"The waiver of {text.name(waiver.gate)} until {text.name(waiver.expires)} is {waiver.state}."
