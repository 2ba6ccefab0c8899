"""What `gate` prints: the verdict, every check in one sentence, waivers, differences, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..page import text
from ..page.view import Tone
from ..records.gating import AppliedWaiver, Difference, GateCheck, Gating
from .sections.gates import SAID, TITLES, advice, rank
from .terminal import INDENT, STYLES, WIDTH

STATUS_WIDTH = 20
VALUE = 60
EXPIRED = "it excuses nothing any more"
UNUSED = "no check needs it: it can go"

Entry = tuple[str, Tone, str, str]
"""A word of status with its tone, what it is about, and a sentence."""


def to_json(gating: Gating) -> str:
    """What the gates said as indented JSON with a final newline: `gate.json`."""
    return gating.model_dump_json(indent=2) + "\n"


def summary(gating: Gating) -> RenderableType:
    """The verdict on at most 80 columns, the gravest check first."""
    title, tone = TITLES[gating.verdict]
    parts: list[RenderableType] = [
        Text(f"{title}: {_subject(gating)}", style=f"bold {STYLES[tone]}".strip()),
        Text(_conditions(gating), style="dim"),
    ]
    ordered = sorted(gating.checks, key=rank)
    parts += _part("Checks", map(_check, ordered))
    parts += _part("Waivers", map(_waiver, gating.waivers))
    parts += _part("Unlike the baseline", map(_difference, gating.differences))
    to_do = [Padding(line, (0, 0, 0, INDENT)) for line in map(Text, advice(gating))]
    if to_do:
        parts += [Text("\nWhat to do", style="bold"), *to_do]
    return Constrain(Group(*parts), WIDTH)


def _subject(gating: Gating) -> str:
    against = "" if gating.baseline is None else f" against {text.name(gating.baseline, VALUE)}"
    return f"{text.name(gating.run, VALUE)}{against}"


def _conditions(gating: Gating) -> str:
    where = "the run's own settings" if gating.profile is None else text.name(gating.profile, VALUE)
    images = text.quantity(gating.images, "image")
    if gating.images_paired is not None:
        paired = "all" if gating.images_paired == gating.images else text.count(gating.images_paired)
        images += f", {paired} of them paired"
    return f"{images}. Gates: {where}. {text.name(gating.judged_on)}."


def _part(title: str, entries: Iterable[Entry]) -> Iterator[RenderableType]:
    rows = list(entries)
    if not rows:
        return
    yield Text(f"\n{title}", style="bold")
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(max_width=STATUS_WIDTH, overflow="fold")
    grid.add_column(overflow="fold")
    for status, tone, subject, sentence in rows:
        style = STYLES[tone]
        grid.add_row(Text(status, style=style), Text.assemble((subject, "bold"), f"\n{sentence}"))
    yield Padding(grid, (0, 0, 0, INDENT), expand=False)


def _check(check: GateCheck) -> Entry:
    said = text.sentence(check.sentence)
    level = "" if check.level == "error" else f" ({check.level})"
    if check.waiver is not None:
        return (
            f"waived{level}",
            "quiet",
            text.name(check.id),
            f"{said.rstrip('.')}. Waived: {text.sentence(check.waiver)}",
        )
    tone: Tone = "good" if check.outcome == "passed" else "quiet" if check.outcome == "not-comparable" else "warning"
    if check.outcome == "failed" and check.level == "error":
        tone = "bad"
    return f"{SAID[check.outcome]}{level}", tone, text.name(check.id), said


def _waiver(waiver: AppliedWaiver) -> Entry:
    notes = {"used": f"covers {text.quantity(len(waiver.covers), 'check')}", "expired": EXPIRED, "unused": UNUSED}
    told = f"{text.sentence(waiver.reason)} (until {text.name(waiver.expires)}; {notes[waiver.state]})"
    return waiver.state, "quiet" if waiver.state == "used" else "warning", text.name(waiver.gate), told


def _difference(difference: Difference) -> Entry:
    told = f"{text.name(difference.baseline, VALUE)} before, {text.name(difference.run, VALUE)} now"
    return "differs", "quiet", text.name(difference.what), told
