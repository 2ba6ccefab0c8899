"""What a diff amounts to, in sentences, and what a reader must know before the figures."""

from __future__ import annotations

from collections.abc import Iterator

from ...page import text
from ...page.view import Notice, Tone
from ...records.diff import ComparedRun, RunDiff
from . import diff_images, diff_layers, diff_rest
from .diff_words import NAME_WIDTH

HEADLINES: dict[tuple[bool, bool], tuple[str, Tone]] = {
    (True, True): ("Better and worse", "warning"),
    (True, False): ("Worse", "bad"),
    (False, True): ("Better", "good"),
    (False, False): ("No difference shown", ""),
}
"""By whether some share of right images got worse, and whether some got better."""


def described(run: ComparedRun) -> str:
    """One of the two runs in a line."""
    model, data = text.name(run.model, NAME_WIDTH), text.name(run.data, NAME_WIDTH)
    return f"{run.kind} of {model} on {data}, {text.quantity(run.images, 'image')}, {text.name(run.started_at)}"


def notices(diff: RunDiff) -> Iterator[Notice]:
    """What the figures can be relied on for, then whether they are better or worse."""
    for when, run in (("before", diff.before), ("after", diff.after)):
        if run.doubts:
            rules = ", ".join(map(text.name, run.doubts))
            said = f"What its attacks found cannot be relied on ({rules}), so a gain or loss under attack may be none."
            yield Notice(f"Attack health of the run {when}", said, "bad")
    if diff.label_source == "self":
        said = "Right means: the same answer as the model itself gives on the unperturbed image."
        yield Notice("The figures are prediction stability, not accuracy", said, "warning")
    trends = {entry.trend for entry in diff.accuracy}
    title, tone = HEADLINES["worse" in trends, "better" in trends]
    yield Notice(title, diff_images.differing(diff.accuracy), tone)


def sentences(diff: RunDiff) -> Iterator[str]:
    """What changed apart from the shares of right images, one thing a sentence."""
    yield from map(diff_images.flips, diff.flipped)
    yield from diff_images.differing_classes(diff)
    table = diff_layers.open_table(diff)
    yield from (diff_layers.NOTHING,) if table is None else diff_layers.sentences(table)
    yield from diff_layers.counted(diff)
    yield diff_rest.found(diff)
    yield diff_rest.not_measured(diff)
