"""What the gates said of a run: the verdict for the head of a report, and every check in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from ...page import text
from ...page.view import Block, Card, Column, Group, Notice, Paragraph, Row, Section, Table, Tone
from ...records.gating import AppliedWaiver, GateCheck, Gating, Outcome, Verdict
from ...settings.gates import COMPARATIVE

TITLES: dict[Verdict, tuple[str, Tone]] = {
    "passed": ("The gates pass", "good"),
    "failed": ("The gates fail", "bad"),
    "inconclusive": ("The gates cannot decide", "warning"),
}
ORDER: tuple[Outcome, ...] = ("failed", "inconclusive", "passed", "not-comparable")
SAID: dict[Outcome, str] = {
    "passed": "passed",
    "failed": "failed",
    "inconclusive": "inconclusive",
    "not-comparable": "not comparable",
}
"""An outcome as readers see it."""
NAMED = 3


def notices(gating: Gating | None) -> tuple[Notice, ...]:
    """The verdict and the checks that it rests on; nothing where no gates were asked."""
    if gating is None:
        return ()
    title, tone = TITLES[gating.verdict]
    return (Notice(title, " ".join(_reasons(gating)), tone),)


def _reasons(gating: Gating) -> Iterator[str]:
    if not gating.checks:
        yield "No gate of the profile looked at anything."
        return
    counted = gating.counted
    yield f"Checks that count: {_tally(counted)}."
    deciding = [check for check in counted if check.outcome == gating.verdict != "passed"]
    yield from (f"{text.name(check.id)}: {_whole(check.sentence)}" for check in deciding[:NAMED])
    if len(deciding) > NAMED:
        yield f"And {len(deciding) - NAMED:,} more."
    waived = sum(check.waiver is not None for check in gating.checks)
    if waived:
        yield f"Waived: {waived:,}."
    warned = [check for check in gating.checks if check.level == "warn" and check.waiver is None]
    if warned:
        yield f"At level warn, which does not count: {_tally(warned)}."


def _tally(checks: Iterable[GateCheck]) -> str:
    """How many checks have each outcome, e.g. `1 failed, 3 passed`."""
    found = Counter(check.outcome for check in checks)
    return ", ".join(f"{found[outcome]:,} {SAID[outcome]}" for outcome in ORDER if found[outcome]) or "none"


def _whole(sentence: str) -> str:
    return text.capitalized(f"{text.sentence(sentence).rstrip('.')}.")


def cards(gating: Gating | None) -> tuple[Card, ...]:
    """The verdict as a key figure."""
    if gating is None:
        return ()
    baseline = "no baseline" if gating.baseline is None else f"baseline: {text.name(gating.baseline, 40)}"
    return (Card("Gates", gating.verdict, f"checks: {_tally(gating.counted)}; {baseline}", TITLES[gating.verdict][1]),)


def sections(gating: Gating | None) -> tuple[Section, ...]:
    """What was judged, every check, what to do, every waiver, and how the model differs from the baseline's."""
    if gating is None:
        return ()
    blocks: list[Block] = [Paragraph(_conditions(gating))]
    if gating.checks:
        blocks.append(_checks(gating))
    to_do = tuple(map(Paragraph, advice(gating)))
    if to_do:
        blocks.append(Group("What to do", to_do))
    if gating.waivers:
        blocks.append(_waivers(gating.waivers))
    if gating.differences:
        blocks.append(_differences(gating))
    return (Section("gates", "Gates", tuple(blocks)),)


def advice(gating: Gating) -> Iterator[str]:
    """What a reader can do about the verdict, a sentence or two for each reason."""
    if not gating.checks:
        yield "No gate looked at anything: add limits to the gates of the profile."
    counted = [check for check in gating.counted if check.outcome not in ("passed", "not-comparable")]
    if gating.counted and all(check.outcome == "not-comparable" for check in gating.counted):
        yield "Nothing that the gates look at is in both runs: make a new baseline, or change the gates' patterns."
    failed = [check for check in counted if check.outcome == "failed"]
    if failed:
        yield "Mend the model, or excuse a check until a certain day by a waiver in the profile."
    if any(check.limit in COMPARATIVE for check in failed):
        yield (
            "lsa-audit diff BASELINE RUN shows what changed. If the new figures are to hold from now on: lsa-audit "
            "baseline update RUN --to BASELINE --accept REASON."
        )
    if any(check.kind == "attack_health" for check in counted):
        yield "The attacks cannot be relied on as they are: lsa-audit explain ID tells what to do about each finding."
    needed = [check.images_needed for check in counted if check.images_needed is not None]
    if needed:
        yield (
            f"About {max(needed):,} images would decide: scan so many, with --samples or --slice; the baseline must "
            "hold them too."
        )
    if gating.baseline is None and any(check.limit in COMPARATIVE for check in counted):
        yield "Limits on changes need a run to compare with: name one with --baseline."


def _conditions(gating: Gating) -> str:
    run, images = text.name(gating.run, 60), text.quantity(gating.images, "image")
    profile = "the run's own settings" if gating.profile is None else text.name(gating.profile, 60)
    where = f"The gates stand in {profile}; judged on {text.name(gating.judged_on)}."
    if gating.baseline is None:
        return f"The run {run} was judged on its {images}, without a baseline. {where}"
    paired = "all" if gating.images_paired == gating.images else text.count(gating.images_paired)
    baseline = text.name(gating.baseline, 60)
    return (
        f"The run {run} was held against the baseline {baseline}, image by image, on {paired} of its {images}. {where}"
    )


def _checks(gating: Gating) -> Table:
    columns = (Column("outcome"), Column("check", "label"), Column("what was seen"))
    ordered = sorted(gating.checks, key=rank)
    note = "Checks at level warn, and waived ones, do not count. The unrounded figures are in gate.json."
    return Table("Checks, those that count first", columns, tuple(map(_check, ordered)), note)


def rank(check: GateCheck) -> tuple[bool, bool, int]:
    """Sorts those that count before those that do not, the gravest first."""
    return check.level != "error", check.waiver is not None, ORDER.index(check.outcome)


def _check(check: GateCheck) -> Row:
    seen, level = _whole(check.sentence), "" if check.level == "error" else f" ({check.level})"
    if check.waiver is not None:
        reason = _whole(check.waiver)
        return Row((f"{SAID[check.outcome]}, waived{level}", text.name(check.id), f"{seen} Waived: {reason}"), "quiet")
    quiet: dict[Outcome, Tone] = {"passed": "", "not-comparable": "quiet"}
    tone = quiet.get(check.outcome, "bad" if _is_grave(check) else "warning")
    return Row((f"{SAID[check.outcome]}{level}", text.name(check.id), seen), tone)


def _is_grave(check: GateCheck) -> bool:
    return check.outcome == "failed" and check.level == "error"


def _waivers(waivers: Iterable[AppliedWaiver]) -> Table:
    columns = (Column("state"), Column("gate", "label"), Column("until"), Column("reason"), Column("checks", "number"))
    rows = tuple(
        Row(
            (
                waiver.state,
                text.name(waiver.gate),
                text.name(waiver.expires),
                text.sentence(waiver.reason),
                text.count(len(waiver.covers)),
            ),
            "" if waiver.state == "used" else "warning",
        )
        for waiver in waivers
    )
    note = "An expired waiver excuses nothing; an unused one can go."
    return Table("Waivers", columns, rows, note)


def _differences(gating: Gating) -> Table:
    columns = (Column("what", "label"), Column("baseline"), Column("run"))
    rows = tuple(
        Row((text.name(entry.what), text.sentence(entry.baseline), text.sentence(entry.run)))
        for entry in gating.differences
    )
    return Table(
        "Differences between baseline and run",
        columns,
        rows,
        "Such differences are what gates judge: they are shown, not refused.",
    )
