"""With which settings each attack and noise was run, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator

from ...page import text
from ...page.view import Column, Row, Table
from ...records import AttackResult, AuditRecord
from ...units import format_epsilon
from .. import selection

COLUMNS = (
    Column("perturbation", "label"),
    Column("steps", "number"),
    Column("step size", "number"),
    Column("restarts", "number"),
    Column("inferred", "number"),
    Column("zero gradient", "number"),
    Column("not finite", "number"),
    Column("forwards", "number"),
    Column("backwards", "number"),
    Column("mean Linf", "number"),
    Column("mean L2", "number"),
    Column("version", "number"),
    Column("source"),
)


def table(record: AuditRecord) -> Table:
    """One row for each perturbation; the column `inferred` only where verdicts were."""
    named = selection.labels(record)
    rows = tuple(_row(record, result, named[result.perturbation.id]) for result in record.attacks)
    shown = Table("Settings and cost of the perturbations", COLUMNS, rows, " ".join(_notes(record)))
    hidden = "" if any(_inferred(record, result) for result in record.attacks) else "inferred"
    return shown.pick(*(column.title for column in COLUMNS if column.title != hidden))


def _row(record: AuditRecord, result: AttackResult, label: str) -> Row:
    perturbation = result.perturbation
    cells = (
        label,
        text.count(perturbation.steps) if perturbation.steps else text.DASH,
        _step_size(perturbation.step_size),
        text.count(perturbation.restarts),
        text.count(_inferred(record, result)),
        text.count(result.zero_gradient),
        text.count(result.nonfinite),
        text.count(result.forwards),
        text.count(result.backwards),
        text.number(result.mean_linf),
        text.number(result.mean_l2),
        str(perturbation.version),
        text.name(perturbation.citation),
    )
    return Row(cells, "warning" if result.zero_gradient or result.nonfinite else "")


def _inferred(record: AuditRecord, result: AttackResult) -> int:
    return 0 if result.attacked is None else max(0, record.clean.count - result.attacked)


def _step_size(value: float | None) -> str:
    if value is None:
        return text.DASH
    pixels = format_epsilon(value)
    return pixels if "/" in pixels else text.number(value)


def _notes(record: AuditRecord) -> Iterator[str]:
    yield "Zero gradient: images judged robust although every gradient was zero or not finite: they were not attacked."
    yield "Not finite: images whose logits became NaN or infinite; they count as fooled."
    yield "Forwards and backwards are images sent through the model."
    inferred = sum(_inferred(record, result) for result in record.attacks)
    if inferred:
        yield (
            f"Inferred: {text.quantity(inferred, 'verdict')} on images that are right before follow from other "
            "epsilons, without a run of their own: what falls in a ball falls in every larger one, and what withstands "
            "it withstands every smaller one. The means are over the images that were run."
        )
    nearest = _names(result for result in record.attacks if result.perturbation.minimal)
    if nearest:
        yield (
            f"{nearest}: one search for the nearest wrong answer gave the verdicts at every epsilon; "
            "its cost stands at each."
        )
    budgets = _names(result for result in record.attacks if result.stages and result.perturbation.steps)
    if budgets:
        yield f"Steps of {budgets}: the passes that an image may cost; the members tell their own steps."


def _names(results: Iterator[AttackResult]) -> str:
    return ", ".join(dict.fromkeys(selection.attack_name(result.perturbation) for result in results))
