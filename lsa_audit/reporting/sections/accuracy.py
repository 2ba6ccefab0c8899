"""Clean and robust accuracy under each perturbation, and what the attacks told beside it."""

from __future__ import annotations

from ...page import text
from ...page.view import Block, Column, Paragraph, Row, Section, Table, Tone
from ...records import AttackResult, AuditRecord
from ...units import format_epsilon
from .. import selection
from . import distances, ensembles, perturbations, sweeps

HOW_TO_READ = (
    "Every share of images is shown with its 95 % Wilson interval: the range of true values that agree with so many "
    "images. An image counts as right under an attack only if the model withstands every restart."
)
GRID_EPSILONS = 4
FLAG = "!"


def section(record: AuditRecord) -> Section:
    """Accuracy on clean images first, then under each perturbation; then how far the images are from falling."""
    title = text.capitalized(record.accuracy_name)
    if not record.attacks:
        none = Paragraph("No attack and no noise was run.")
        return Section("accuracy", title, (Paragraph(HOW_TO_READ), accuracy_table(record), none))
    nearest = distances.table(record)
    blocks: list[Block] = [Paragraph(HOW_TO_READ), accuracy_table(record), *sweeps.tables(record)]
    blocks += [] if nearest is None else [nearest]
    blocks += [perturbations.table(record), *ensembles.blocks(record)]
    return Section("accuracy", title, tuple(blocks))


def accuracy_table(record: AuditRecord) -> Table:
    """One row for the clean images and one for each perturbation, as they were run; empty columns are left out."""
    columns = (
        Column("perturbation", "label"),
        Column("norm"),
        Column("epsilon", "number"),
        Column(record.accuracy_name, "number"),
        Column("95 % interval", "number"),
        Column("fooled", "number"),
        Column("flags"),
    )
    clean = record.clean
    first = Row(("clean", text.DASH, "0", text.percent(clean.value), text.interval(clean), text.DASH, ""))
    rows = tuple(_accuracy_row(result, record.inconclusive) for result in record.attacks)
    norms = {result.perturbation.norm for result in record.attacks}
    distance = f"Epsilon: {min(norms)} distance on pixels in [0, 1]. " if len(norms) == 1 else ""
    note = f"{text.quantity(clean.total, 'image')}. {distance}Fooled: right before and wrong after."
    hidden = set() if len(norms) > 1 else {"norm"}
    if not any(row.cells[-1] for row in rows):
        hidden.add("flags")
    table = Table(f"{text.capitalized(record.accuracy_name)} by perturbation", columns, (first, *rows), note)
    return table.pick(*(column.title for column in columns if column.title not in hidden))


def accuracy_grid(record: AuditRecord) -> Table | None:
    """One row for each attack and noise, one column for each epsilon; None where that is no shorter or too wide."""
    epsilons = sorted({result.perturbation.epsilon for result in record.attacks})
    if not 2 <= len(epsilons) <= GRID_EPSILONS:
        return None
    several_norms = len({result.perturbation.norm for result in record.attacks}) > 1
    rows: dict[str, dict[float, AttackResult]] = {}
    for result in record.attacks:
        perturbation = result.perturbation
        attack = selection.attack_name(perturbation)
        label = f"{attack} {perturbation.norm}" if several_norms else attack
        rows.setdefault(label, {})[perturbation.epsilon] = result
    columns = (Column("perturbation", "label"), *(Column(format_epsilon(epsilon), "number") for epsilon in epsilons))
    shown = tuple(
        Row((label, *(_grid_cell(results.get(epsilon)) for epsilon in epsilons)), _grid_tone(results))
        for label, results in rows.items()
    )
    note = (
        f"{text.capitalized(record.accuracy_name)} in % with its 95 % interval, by epsilon. {FLAG}: see the findings."
    )
    flagged = any(FLAG in cell for row in shown for cell in row.cells)
    return Table("", columns, shown, note if flagged else note.partition(f" {FLAG}:")[0])


def _grid_cell(result: AttackResult | None) -> str:
    if result is None:
        return text.DASH
    return text.share(result.robust_accuracy) + (FLAG if _flags(result) else "")


def _grid_tone(results: dict[float, AttackResult]) -> Tone:
    return "warning" if any(_flags(result) for result in results.values()) else ""


def _accuracy_row(result: AttackResult, inconclusive: bool) -> Row:
    perturbation, estimate = result.perturbation, result.robust_accuracy
    flags = _flags(result)
    tone: Tone = "warning" if flags and inconclusive else ""
    cells = (
        selection.attack_name(perturbation),
        perturbation.norm,
        format_epsilon(perturbation.epsilon),
        text.percent(estimate.value),
        text.interval(estimate),
        text.count(result.fooled),
        flags,
    )
    return Row(cells, tone)


def _flags(result: AttackResult) -> str:
    flags = []
    if result.zero_gradient:
        flags.append(f"{result.zero_gradient:,} zero gradient")
    if result.nonfinite:
        flags.append(f"{result.nonfinite:,} not finite")
    return ", ".join(flags)
