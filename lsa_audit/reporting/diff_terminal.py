"""A diff in lines of at most 80 columns, short: the other formats hold every table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from ..page import text
from ..records.diff import AccuracyChange, LayerChange, RunDiff, Trend
from .sections import diff_layers, diff_overview, diff_rest
from .sections.diff_words import NAME_WIDTH, condition, largest, points, signed

WIDTH = 80
ROW_NAME = 22
LAYER_LIMIT = 8
SHARES = ("", "before", "after", "gained", "lost", "points", "p", "")
LAYERS = ("", "before", "after", "difference", "p", "")

MEANING = f"p: exact McNemar test on the same images, after Holm; {text.DASH}: no difference is shown"


def render(diff: RunDiff) -> str:
    """What is left out, the shares, the layers that changed most, the images, findings, and what else is different."""
    return "\n".join(_lines(diff)) + "\n"


def _lines(diff: RunDiff) -> Iterator[str]:
    for when, run in (("before", diff.before), ("after", diff.after)):
        yield from _wrapped(f"{when}: {text.name(run.name, NAME_WIDTH)}, {diff_overview.described(run)}")
    if diff.not_compared:
        yield from ("", "Not compared:")
        for unlike in diff.not_compared:
            yield from _wrapped(diff_rest.left_out(unlike), "  ")
    yield ""
    for notice in diff_overview.notices(diff):
        yield from _wrapped(f"{notice.title}. {notice.text}")
    yield from ("", *_aligned([SHARES, *map(_share, diff.accuracy)]), *_wrapped(MEANING), "")
    for said in diff_overview.sentences(diff):
        yield from _wrapped(said)
    yield from _layers(diff)
    yield from _names(diff)
    for finding in diff.findings.new:
        about, rule = text.name(finding.subject, NAME_WIDTH), text.name(finding.rule, NAME_WIDTH)
        yield from _wrapped(f"New finding: {finding.level}: {about} ({rule})")
    if diff.differences:
        yield from ("", "Also different:")
        for unlike in diff.differences:
            yield from _wrapped(diff_rest.left_out(unlike), "  ")


def _layers(diff: RunDiff) -> Iterator[str]:
    table = diff_layers.open_table(diff)
    if table is not None and table.layers:
        shown = largest(table.layers, LAYER_LIMIT, diff_layers.size)
        measure, under = text.measure_name(table.measure), text.name(table.perturbation, NAME_WIDTH)
        yield ""
        yield from _wrapped(f"Mean {measure} under {under}, the layers that changed most:")
        yield from (*_aligned([LAYERS, *map(_layer, shown)]), "")


def _names(diff: RunDiff) -> Iterator[str]:
    for flipped in diff.flipped:
        for word, names in (("wrong", flipped.wrong_images), ("right", flipped.right_images)):
            if names:
                shown = ", ".join(text.name(name, NAME_WIDTH) for name in names)
                yield from _wrapped(f"Newly {word} {condition(flipped.under)}: {shown}")


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Names to the left, numbers to the right, the last cell as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers, word in rows:
        cells = [cell.rjust(width) for cell, width in zip(numbers, widths[1:-1], strict=True)]
        yield "  ".join([name.ljust(widths[0]), *cells, word]).rstrip()


def _share(row: AccuracyChange) -> tuple[str, ...]:
    return (
        text.name(row.id, ROW_NAME),
        text.percent(row.before.value),
        text.percent(row.after.value),
        text.count(row.gained),
        text.count(row.lost),
        points(row.difference),
        text.p_value(row.p_adjusted),
        _word(row.trend),
    )


def _layer(row: LayerChange) -> tuple[str, ...]:
    means = text.number(row.before), text.number(row.after), signed(row.difference)
    return (text.name(row.layer, ROW_NAME), *means, text.p_value(row.p_adjusted), _word(row.trend))


def _word(trend: Trend | None) -> str:
    return trend if trend in ("better", "worse") else text.DASH


def _wrapped(said: str, indent: str = "") -> list[str]:
    return textwrap.wrap(said, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ")
