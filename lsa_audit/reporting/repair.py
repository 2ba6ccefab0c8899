"""A repair in Markdown, HTML, JSON and on the terminal: the verdict first, then what it rests on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ..page import text
from ..page.view import Card, Document, Notice, Tone
from ..records.repair import Change, Outcome, Repair
from . import html, markdown
from .sections import repair as sections

WIDTH = 80
TONES: dict[Outcome, Tone] = {
    "helped": "good",
    "not-helped": "warning",
    "harmed": "bad",
    "masked": "bad",
    "nothing-chosen": "warning",
}


def to_json(repair: Repair) -> str:
    """The record as indented JSON with a final newline."""
    return repair.model_dump_json(indent=2) + "\n"


def to_markdown(repair: Repair) -> str:
    """The report as GitHub-flavoured Markdown."""
    return markdown.page(document(repair))


def to_html(repair: Repair) -> str:
    """The report as one self-contained page."""
    return html.page(document(repair), ())


def document(repair: Repair) -> Document:
    """What the report of a repair shows."""
    images = text.quantity(repair.judging.samples, "held-out image")
    timing = f"{text.name(repair.timing.started_at)}, {text.duration(repair.timing.duration_s)}"
    return Document(
        title=f"Repair of {text.name(repair.model.name)} on {text.name(repair.judging.name)}",
        subtitle=f"Judged on {images}. {timing}, lsa-audit {text.name(repair.tool_version)}.",
        notices=(Notice(headline(repair), sentence(repair), TONES[repair.outcome]),),
        cards=tuple(_cards(repair)),
        lead=(sections.before_and_after(repair),),
        sections=(
            sections.choice(repair),
            sections.layers(repair),
            sections.subject(repair),
            sections.conditions(repair),
        ),
        footer=f"{text.DASH_MEANING} The unrounded figures are in repair.json, version {repair.repair_version}.",
    )


def headline(repair: Repair) -> str:
    """The verdict in a few words."""
    return {
        "helped": "The repair helped",
        "not-helped": "The repair did not help",
        "harmed": "The repair did harm",
        "masked": "The repair did not help: gradient masking, not robustness",
        "nothing-chosen": "No strength helped: no model was written",
    }[repair.outcome]


def sentence(repair: Repair) -> str:
    """What the verdict says, with the figures that decide it."""
    named = repair.accuracy_name
    if repair.outcome == "nothing-chosen":
        return _why_nothing(repair)
    clean, *attacked = repair.changes
    figures = f"{_figures(attacked)}; clean {_moved(clean)}"
    floor = text.percent(repair.max_clean_drop)
    if repair.outcome == "helped":
        kept = f"no more clean {named} was lost than the {floor} that are allowed"
        alone = "" if len(attacked) > 1 else " Only one attack judged, so gradient masking cannot be ruled out."
        return f"Significantly more images are right under every attack that judges, and {kept}: {figures}.{alone}"
    if repair.outcome == "masked":
        first = text.name(attacked[0].id)
        return (
            f"Significantly more images are right under {first}, which chose the strengths, but not under every other "
            f"attack: {figures}. What only one attack sees is a sign of gradient masking."
        )
    if repair.outcome == "harmed":
        return f"Significantly fewer images are right than before: {figures}."
    return f"There is no significant gain under every attack within a clean loss of {floor}: {figures}."


def _why_nothing(repair: Repair) -> str:
    if not repair.layers:
        return "None of the layers can be scaled; each is listed with its reason."
    if len(repair.candidates) == 1:
        where = "In the layers that can be scaled no" if repair.skipped else "No"
        return f"{where} neuron is fragile or robust, so there is nothing to scale."
    tried = text.quantity(len(repair.candidates) - 1, "pair")
    attack = text.name(repair.attacks[0].id)
    return (
        f"Of {tried} of strengths none left more images right under {attack} than the unchanged model, with at most "
        f"{text.percent(repair.max_clean_drop)} of the clean {repair.accuracy_name} lost."
    )


def _figures(attacked: list[Change]) -> str:
    return "; ".join(f"{text.name(entry.id)} {_moved(entry)}" for entry in attacked)


def _moved(entry: Change) -> str:
    return f"{text.percent(entry.before.value)} to {text.percent(entry.after.value)} (p {text.p_value(entry.p_value)})"


def _cards(repair: Repair) -> Iterator[Card]:
    for entry in repair.changes:
        label = f"{text.capitalized(repair.accuracy_name)}, {text.name(entry.id)}"
        note = f"{text.percent(entry.before.value)} before; p {text.p_value(entry.p_value)}"
        yield Card(label, text.percent(entry.after.value), note)
    strengths = repair.chosen
    tried = text.quantity(len(repair.candidates), "pair")
    yield Card("Strengths a, b", f"{strengths.fragile:g}, {strengths.robust:g}", f"chosen out of {tried}")


def summary(repair: Repair) -> list[str]:
    """The verdict and the table of changes, in lines of at most 80 columns where names allow."""
    lines = [f"{headline(repair)}.", *textwrap.wrap(sentence(repair), WIDTH)]
    if repair.changes:
        head = ("", "before", "after", "difference", "95 % interval", "p")
        rows = [head, *(_short_row(entry) for entry in repair.changes)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
        lines.append("")
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join(cells))
        lines += [
            "",
            f"Strengths: a = {repair.chosen.fragile:g} (fragile up), b = {repair.chosen.robust:g} (robust down).",
        ]
    return lines


def _short_row(entry: Change) -> tuple[str, ...]:
    return (
        text.name(entry.id, 24),
        text.percent(entry.before.value),
        text.percent(entry.after.value),
        text.percent(entry.difference),
        f"{text.percent(entry.low)} to {text.percent(entry.high)}",
        text.p_value(entry.p_value),
    )
