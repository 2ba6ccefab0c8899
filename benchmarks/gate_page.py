"""What `benchmarks.gate` counts, and its Markdown page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.machine import processor

PAIRED, SAME, APART = "paired, exact", "z-test, same images", "z-test, other images"
MEANS = "studentised bootstrap"
UNCHANGED, AT_MARGIN, WORSE = "nothing changed", "at the margin", "twice the margin"
FIXED, KNOWN = "fixed", "announced, spread known"
POWER = 0.8
ERRORS = 3
"""Standard errors by which a share may miss what is asked of it; of 100 shares none is to be expected farther off."""

PREFACE = """\
Each point is a number of simulated pairs of runs. A share is written with its Monte-Carlo standard error (of a count
with one added on either side, so that it is never 0). *failed* where the truth is no worse than the margin is a
false failure; *passed* where it is the margin or worse is a false pass. At the margin itself no verdict is asked for:
both are errors, each with a probability of at most alpha.

A drop: half of the images are right before; the discordance is the share of images whose verdict changes (at least
as large as the drop: with 1 % and a drop of 2 or 4 points every change is a loss). The z-test takes both runs for
independent samples, with the same margin and alpha; on *other images* they really are. A pilot is a small pair of
runs of the same models; where it decides by itself it does not count, and else a fresh pair of as many images as it
announces is judged, whose median is shown.

A rise: values before and changes are lognormal, with a standard deviation of the logarithm of 0.5 (mildly skewed) or
1; the change is halved and moved to the true mean.
"""


@dataclass(frozen=True)
class Row:
    """How often a test said what on one point.

    Attributes:
        figure: `drop` or `rise`.
        test: one of the names above.
        truth: one of the names above.
        spread: discordance of a drop, or skew of the values.
        planned: how the number of images came about.
        images: the number, or the median of the numbers.
        simulated: pairs that were judged.
    """

    figure: str
    test: str
    truth: str
    spread: str
    planned: str
    images: int
    simulated: int
    failed: int
    passed: int

    @property
    def right(self) -> int:
        """Verdicts that are right; none at the margin."""
        return {UNCHANGED: self.passed, WORSE: self.failed}.get(self.truth, 0)

    @property
    def wrong(self) -> int:
        """The larger number of errors of one kind."""
        return {UNCHANGED: self.failed, WORSE: self.passed}.get(self.truth, max(self.failed, self.passed))


def document(rows: Sequence[Row], margins: tuple[float, float], alpha: float, seconds: float) -> str:
    """The page; `margins` are those of the drop and of the rise."""
    lines = [
        "# Do the verdicts of the gates keep their word?",
        "",
        "    python -m benchmarks.gate",
        "",
        *PREFACE.splitlines(),
        "",
        f"Margin of the drop {100 * margins[0]:g} points, of the rise {margins[1]:g}; alpha {alpha:g}; "
        f"{seconds / 60:.0f} CPU minutes on {processor()}.",
        "",
        "## What holds and what does not",
        "",
        *(f"- {line}" for line in claims(rows, alpha)),
    ]
    for title, keep in SECTIONS.items():
        lines += ["", f"## {title}", "", *_table([row for row in rows if keep(row)])]
    return "\n".join([*lines, ""])


SECTIONS: dict[str, Callable[[Row], bool]] = {
    "A drop, on fixed numbers of images": lambda row: row.figure == "drop" and row.planned == FIXED,
    "A drop, on the number of images that is announced": lambda row: row.test == PAIRED and row.planned != FIXED,
    "How many images the unpaired test needs": lambda row: row.test in (SAME, APART) and row.planned != FIXED,
    "A rise of a mean of skewed values": lambda row: row.figure == "rise",
}


def claims(rows: Sequence[Row], alpha: float) -> list[str]:
    """What was asked for and whether the rows show it, in sentences."""
    drops, rises = ([row for row in rows if row.figure == figure] for figure in ("drop", "rise"))
    paired = [row for row in drops if row.test == PAIRED]
    announced = [row for row in paired if row.planned != FIXED and row.truth != AT_MARGIN]
    known = [row for row in announced if row.planned == KNOWN]
    pilots = [row for row in announced if row.planned != KNOWN]
    return [
        _errors("Drops, false failures when nothing changed", paired, UNCHANGED, alpha),
        _errors("Drops, errors of either kind at the margin", paired, AT_MARGIN, alpha),
        _errors("Drops, false passes at twice the margin", paired, WORSE, alpha),
        _powers("Drops, right verdicts on the announced number, discordance known", known),
        _powers("Drops, right verdicts on the number announced from a pilot", pilots),
        *(
            _errors(f"Rises of means of {spread} values, errors of either kind at the margin", group, AT_MARGIN, alpha)
            for spread in dict.fromkeys(row.spread for row in rises)
            if (group := [row for row in rises if row.spread == spread])
        ),
        _powers(
            "Rises, right verdicts on the announced number, variance known", [r for r in rises if r.planned == KNOWN]
        ),
        *_comparison(drops),
    ]


def _errors(what: str, rows: Iterable[Row], truth: str, alpha: float) -> str:
    found = [row for row in rows if row.truth == truth and row.simulated]
    if not found:
        return f"{what}: nothing was simulated."
    worst = max(found, key=lambda row: row.wrong / row.simulated)
    broken = [row for row in found if row.wrong / row.simulated - ERRORS * _error(row.wrong, row.simulated) > alpha]
    says = "holds" if not broken else f"does not hold at {len(broken)} of {len(found)} points"
    return (
        f"{what}, at most {100 * alpha:g} %: {says}. The largest share is {_share(worst.wrong, worst.simulated)} "
        f"({_place(worst)})."
    )


def _powers(what: str, rows: Iterable[Row]) -> str:
    found = [row for row in rows if row.truth != AT_MARGIN and row.simulated]
    if not found:
        return f"{what}: nothing was simulated."
    worst = min(found, key=lambda row: row.right / row.simulated)
    short = [row for row in found if row.right / row.simulated + ERRORS * _error(row.right, row.simulated) < POWER]
    says = "holds" if not short else f"does not hold at {len(short)} of {len(found)} points"
    return (
        f"{what}, at least {100 * POWER:g} %: {says}. The smallest share is {_share(worst.right, worst.simulated)} "
        f"({_place(worst)})."
    )


def _comparison(drops: Sequence[Row]) -> list[str]:
    """The numbers of images with which each test passes an unchanged model with a probability of about 0.8."""
    planned = [row for row in drops if row.planned != FIXED and row.truth == UNCHANGED]
    lines = []
    for spread in dict.fromkeys(row.spread for row in drops):
        numbers = {row.test: row.images for row in planned if row.spread == spread and "pilot" not in row.planned}
        if {PAIRED, SAME, APART} <= numbers.keys():
            lines.append(
                f"To pass an unchanged model with a discordance of {spread} the paired test needs "
                f"{numbers[PAIRED]:,} images, the z-test {numbers[SAME]:,} on the same images and "
                f"{numbers[APART]:,} on other images."
            )
    return lines


def _place(row: Row) -> str:
    return f"{row.truth}, {row.spread}, {row.images:,} images, {row.planned}"


def _table(rows: Sequence[Row]) -> list[str]:
    head = ["truth", "spread", "test", "images", "planned", "pairs", "failed", "passed", "inconclusive"]
    return [_line(head), _line(["---"] * len(head)), *(_line(_cells(row)) for row in rows)]


def _cells(row: Row) -> list[str]:
    counts = (row.failed, row.passed, row.simulated - row.failed - row.passed)
    shares = [_share(count, row.simulated) if row.simulated else "" for count in counts]
    return [row.truth, row.spread, row.test, f"{row.images:,}", row.planned, f"{row.simulated:,}", *shares]


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} ± {100 * _error(count, total):.1f} %"


def _error(count: int, total: int) -> float:
    share = (count + 1) / (total + 2)
    return math.sqrt(share * (1 - share) / total)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
