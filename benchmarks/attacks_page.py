"""The Markdown page of `benchmarks.attacks`."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.attacks_peers import CONTESTANTS, REFERENCES
from benchmarks.attacks_scenes import SUBJECTS

PREFACE = """\
CPU time with one torch thread, median (smallest to largest) over the rounds; each round calls every contestant once, in
an order that turns from round to round, on the same images and a copy of the same model. The ratio is the median of the
ratios within each round. Every contestant's images are then judged by one plain forward in float32 that is not timed:
an image outside the ball (tolerance 1e-6) or [0, 1] fools nobody. Robust accuracy counts images that are right before
and after; all contestants have fixed seeds, and the verdicts are those of the last round. *only it*, *only REFERENCE*:
images that this contestant fools and the reference does not, and the other way round.
"""

Line = dict[str, Any]


def document(results: list[Line], absent: dict[str, str], command: str) -> str:
    """The page.

    Args:
        results: the lines of `results.jsonl`.
        absent: contestant or subject -> why it took no part in this run.
        command: that made this run.
    """
    lines = ["# Attacks, side by side", "", f"    {command}", "", *PREFACE.splitlines(), ""]
    lines += [f"- {environment}" for environment in dict.fromkeys(line["environment"] for line in results)]
    if absent:
        lines += ["", "Took no part in the last run:", "", *(f"- {name}: {why}" for name, why in absent.items())]
    for subject in SUBJECTS.values():
        for samples in sorted({line["samples"] for line in results if line["subject"] == subject.name}):
            group = [line for line in results if (line["subject"], line["samples"]) == (subject.name, samples)]
            lines += ["", f"## {subject.title}", "", *_table(subject.attack, group)]
    lines += ["", "## What each call does", ""]
    for attack, contestants in CONTESTANTS.items():
        lines += [f"- {attack}, {name}: {contestant.does}" for name, contestant in contestants.items()]
    return "\n".join([*lines, ""])


def _table(attack: str, group: list[Line]) -> list[str]:
    reference = REFERENCES[attack]
    rounds = {line["round"] for line in group}
    first = group[0]
    header = ["contestant", "CPU s", f"to {reference}", "robust accuracy", "only it", f"only {reference}", "outside"]
    return [
        f"{first['samples']} images, {first['right_before']} right before; rounds: {len(rounds)}.",
        "",
        _row(header),
        _row(["---"] * len(header)),
        *(_row(_cells(name, reference, group)) for name in CONTESTANTS[attack]),
    ]


def _cells(name: str, reference: str, group: list[Line]) -> list[str]:
    own, other = _rounds(name, group), _rounds(reference, group)
    if not own:
        return [name, "not run", *[""] * 5]
    last = own[max(own)]
    cells = [name, _spread([line["cpu_s"] for line in own.values()], 2)]
    shared = sorted(own.keys() & other.keys())
    cells.append(_spread([own[number]["cpu_s"] / other[number]["cpu_s"] for number in shared], 3) if shared else "")
    cells.append(f"{100 * last['robust'].count('1') / last['samples']:.1f} %")
    if shared and name != reference:
        pairs = list(zip(last["robust"], other[max(other)]["robust"], strict=True))
        cells += [str(pairs.count(("0", "1"))), str(pairs.count(("1", "0")))]
    else:
        cells += ["", ""]
    return [*cells, str(last["outside"])]


def _rounds(name: str, group: list[Line]) -> dict[int, Line]:
    return {line["round"]: line for line in group if line["contestant"] == name}


def _spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
