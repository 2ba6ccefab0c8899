"""The parts of a repair's report: the verdict's figures, the choice, the layers, what was repaired and how."""

from __future__ import annotations

from collections.abc import Iterator

from ...page import text
from ...page.view import Column, Facts, Paragraph, Row, Section, Table
from ...records import DataInfo
from ...records.repair import Change, Repair, ScaledLayer, TriedStrengths

ROW_LIMIT = 40
HOW_IT_WORKS = (
    "Fragile neurons, those without which the model loses right answers, are scaled up by 1 + a f, robust ones down by "
    "1 - b r; f is the neuron's share of the largest accuracy drop of its layer, r is one minus that share. The scales "
    "are folded into the weights, so architecture and file format stay."
)
PAIRED = (
    "Before and after are the same images. The difference has its 95 % interval (adjusted Wald for pairs) and an exact "
    "two-sided McNemar test."
)


def before_and_after(repair: Repair) -> Section:
    """The same images before and after, without an attack and under each."""
    title = "Before and after"
    if not repair.changes:
        return Section("findings", title, (Paragraph("Nothing was chosen, so there is nothing to compare."),))
    return Section("findings", title, (Paragraph(PAIRED), change_table(repair)))


def change_table(repair: Repair) -> Table:
    """One row for the clean images and one for each attack."""
    columns = (
        Column("images", "label"),
        Column("before", "number"),
        Column("95 % interval before", "number"),
        Column("after", "number"),
        Column("95 % interval after", "number"),
        Column("difference", "number"),
        Column("95 % interval", "number"),
        Column("gained", "number"),
        Column("lost", "number"),
        Column("p", "number"),
    )
    rows = tuple(_change_row(entry) for entry in repair.changes)
    count = text.quantity(repair.judging.samples, "image")
    note = f"{count} that neither the scan nor the choice used. Gained: wrong before and right after; lost: reversed."
    return Table(f"{text.capitalized(repair.accuracy_name)} before and after", columns, rows, note)


def _change_row(entry: Change) -> Row:
    cells = (
        text.name(entry.id),
        text.percent(entry.before.value),
        text.interval(entry.before),
        text.percent(entry.after.value),
        text.interval(entry.after),
        text.percent(entry.difference),
        interval(entry),
        text.count(entry.gained),
        text.count(entry.lost),
        text.p_value(entry.p_value),
    )
    return Row(cells)


def interval(entry: Change) -> str:
    """Of the difference; its ends may be negative."""
    return f"{text.percent(entry.low)} to {text.percent(entry.high)}"


def choice(repair: Repair) -> Section:
    """Every pair of strengths that was tried."""
    columns = (
        Column("a (fragile)", "number"),
        Column("b (robust)", "number"),
        Column("mean change", "number"),
        Column("clean", "number"),
        Column("95 % interval", "number"),
        Column(f"under {text.name(repair.attacks[0].id)}", "number"),
        Column("95 % interval under attack", "number"),
    )
    rows = tuple(_candidate_row(entry, entry.strengths == repair.chosen) for entry in repair.candidates)
    floor = text.percent(repair.max_clean_drop)
    note = (
        f"{text.quantity(repair.choosing.samples, 'image')} that the scan did not use. The attack was run anew on "
        f"every edited model. {text.DASH}: more than {floor} of clean {repair.accuracy_name} lost, not attacked. Of "
        "equals the smaller change wins. The best of many figures is too good by chance: the verdict comes from other "
        "images."
    )
    chosen = f"Chosen: a = {repair.chosen.fragile:g}, b = {repair.chosen.robust:g}."
    table = Table("Every pair of strengths", columns, rows, note)
    return Section("choice", "How the strengths were chosen", (Paragraph(HOW_IT_WORKS), Paragraph(chosen), table))


def _candidate_row(entry: TriedStrengths, chosen: bool) -> Row:
    under = entry.robust
    cells = (
        f"{entry.strengths.fragile:g}",
        f"{entry.strengths.robust:g}",
        text.percent(entry.change),
        text.percent(entry.clean.value),
        text.interval(entry.clean),
        text.DASH if under is None else text.percent(under.value),
        text.DASH if under is None else text.interval(under),
    )
    return Row(cells, "good" if chosen else "quiet" if under is None else "")


def layers(repair: Repair) -> Section:
    """The layers that are scaled, and those that are left alone."""
    columns = (
        Column("layer", "name"),
        Column("weight", "name"),
        Column("fragile", "number"),
        Column("robust", "number"),
        Column("null", "number"),
        Column("smallest scale", "number"),
        Column("largest scale", "number"),
    )
    shown, rest = repair.layers[:ROW_LIMIT], len(repair.layers) - ROW_LIMIT
    note = f"{text.quantity(rest, 'more layer')}: see repair.json." if rest > 0 else ""
    table = Table("Layers whose neurons can be scaled", columns, tuple(_layer_row(entry) for entry in shown), note)
    blocks: list[Paragraph | Table] = [table] if shown else [Paragraph("No layer can be scaled.")]
    if repair.skipped:
        rows = tuple(Row((text.name(entry.what), text.sentence(entry.detail))) for entry in repair.skipped)
        blocks.append(Table("Left alone", (Column("what", "label"), Column("why")), rows))
    return Section("layers", "Layers", tuple(blocks))


def _layer_row(entry: ScaledLayer) -> Row:
    cells = (
        text.name(entry.layer),
        text.name(entry.weight),
        text.count(entry.fragile),
        text.count(entry.robust),
        text.count(entry.null),
        f"{min(entry.scales):.3f}",
        f"{max(entry.scales):.3f}",
    )
    return Row(cells)


def subject(repair: Repair) -> Section:
    """The model, the file and the images."""
    model = (
        ("named", text.name(repair.subject)),
        ("architecture", text.name(repair.model.architecture)),
        ("weights", text.sentence(repair.model.weights)),
        ("weights sha256 before", text.digest(repair.model.weights_sha256)),
        *_file(repair),
        ("labels", "the dataset's own" if repair.labels.source == "dataset" else "the model's own clean predictions"),
    )
    parts = (Facts("Images that choose", _data(repair.choosing)), Facts("Images that judge", _data(repair.judging)))
    return Section("subject", "What was repaired", (Facts("Model", model), *parts))


def _file(repair: Repair) -> Iterator[tuple[str, str]]:
    if repair.file is None:
        yield "repaired file", "none was written"
        return
    yield "repaired file", text.name(repair.file.name)
    yield "repaired file sha256", text.digest(repair.file.sha256)
    yield "its logits, loaded again, differ by", f"{text.number(repair.file.difference)} of the largest"
    types = sorted({kind for entry in repair.layers for kind in entry.rounded_to})
    if types:
        yield "scaled weights", f"rounded to {', '.join(map(text.name, types))}, as the file keeps them, then judged"


def _data(data: DataInfo) -> tuple[tuple[str, str], ...]:
    return (
        ("name", text.name(data.name)),
        ("selection", text.sentence(data.selection)),
        ("sha256", text.digest(data.sha256)),
    )


def conditions(repair: Repair) -> Section:
    """Attacks, machine and timing."""
    environment = repair.environment
    attacks = tuple(
        (text.name(entry.id), f"{entry.steps:,} steps, {text.quantity(entry.restarts, 'run')}, {entry.citation}")
        for entry in repair.attacks
    )
    machine = (
        ("seed", text.count(repair.seed)),
        ("device", text.name(environment.device)),
        ("precision", text.name(environment.precision)),
        ("deterministic kernels", "yes" if environment.deterministic else "no"),
        ("packages", ", ".join(f"{text.name(key)} {text.name(value)}" for key, value in environment.packages.items())),
        *((text.name(stage), text.duration(seconds)) for stage, seconds in repair.timing.stages_s.items()),
    )
    return Section("conditions", "How it was measured", (Facts("Attacks", attacks), Facts("Run", machine)))
