"""How the training of a hardening went: its ending, the kept epoch, every epoch."""

from __future__ import annotations

from ...page import text
from ...page.view import Block, Column, Facts, Group, Paragraph, Row, Section, Table
from ...records.hardening import Ending, Epoch, Hardening
from ...units import format_epsilon

ROW_LIMIT = 200
ENDINGS: dict[Ending, str] = {
    "finished": "The training ran to its end",
    "early-stop": "The training was stopped early",
    "collapsed": "The training collapsed and was stopped",
    "catastrophic-overfitting": "The training was stopped: catastrophic overfitting",
}


def section(record: Hardening) -> Section:
    """The ending in a sentence, then every epoch."""
    blocks: list[Block] = [Paragraph(sentence(record)), Facts("Validation images", _facts(record))]
    if record.log.epochs:
        blocks.append(Group("Every epoch", (_table(record),), folded=True))
    return Section("training", "Training", tuple(blocks))


def sentence(record: Hardening) -> str:
    """How it ended, why, and whose weights were kept."""
    log = record.log
    kept = "No epoch was kept." if log.kept_epoch is None else f"The weights of epoch {log.kept_epoch:,} were kept."
    return f"{ENDINGS[log.ending]}: {text.sentence(log.detail).rstrip('.')}. {kept}"


def _facts(record: Hardening) -> tuple[tuple[str, str], ...]:
    log, named = record.log, record.before.accuracy_name
    kept = next((entry for entry in log.epochs if entry.epoch == log.kept_epoch), None)
    return (
        (f"{named} before training", text.percent(log.clean_before)),
        ("under PGD before training", text.percent(log.robust_before)),
        (f"{named} of the kept epoch", text.percent(kept.clean if kept else None)),
        ("under PGD of the kept epoch", text.percent(kept.robust if kept else None)),
        *((("training taken up again", text.quantity(log.resumed, "time")),) if log.resumed else ()),
    )


def _table(record: Hardening) -> Table:
    columns = (
        Column("epoch", "number"),
        Column("weights", "label"),
        Column("loss", "number"),
        Column("of it penalty", "number"),
        Column("training, attacked", "number"),
        Column("validation, clean", "number"),
        Column("validation, PGD", "number"),
        Column("lr", "number"),
        Column("epsilon", "number"),
        Column("step", "number"),
        Column("took", "number"),
        Column("images/s", "number"),
    )
    log = record.log
    rows = tuple(_row(entry, entry.epoch == log.kept_epoch) for entry in log.epochs[-ROW_LIMIT:])
    rest = len(log.epochs) - ROW_LIMIT
    cut = f" The first {text.quantity(rest, 'epoch')}: see hardening.json." if rest > 0 else ""
    note = f"lr and epsilon: of the last step. Images/s: of the training, validation not counted.{cut}"
    return Table(f"Loss and {record.before.accuracy_name} of every epoch", columns, rows, note)


def _row(entry: Epoch, kept: bool) -> Row:
    cells = (
        text.count(entry.epoch),
        "kept" if kept else "best so far" if entry.kept else text.DASH,
        text.number(entry.loss),
        text.number(entry.penalty),
        text.percent(entry.train_robust),
        text.percent(entry.clean),
        text.percent(entry.robust),
        text.number(entry.lr),
        format_epsilon(entry.epsilon),
        text.count(entry.step),
        text.duration(entry.duration_s),
        text.number(entry.images_per_s),
    )
    return Row(cells, "good" if kept else "")
