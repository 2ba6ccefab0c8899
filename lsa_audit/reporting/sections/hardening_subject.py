"""What was hardened, by which recipe, on which images, with what: all that is needed to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...page import text
from ...page.view import Block, Column, Facts, Paragraph, Row, Section, Table
from ...records import DataInfo
from ...records.hardening import ChosenLayer, Hardening, Trainee
from ...units import format_epsilon
from . import provenance

ROW_LIMIT, NAME_LIMIT = 200, 10
AUDIT = "The effective settings are those of the audit before and after; the recipe has those of the training."
DISTANCES = ("epsilon", "step_size")


def recipe(record: Hardening) -> Section:
    """Every setting of the training, and the layers that the regulariser acts on."""
    settings = tuple((text.name(key), _setting(key, value)) for key, value in record.recipe.items())
    blocks: list[Block] = [Paragraph(f"{text.capitalized(text.sentence(record.title))}.")]
    if record.chosen:
        blocks.append(_chosen(record))
    else:
        blocks.append(Paragraph("No layer was chosen: the loss holds no layer-wise term."))
    blocks.append(Facts("Settings of the training", settings))
    return Section("recipe", "Recipe", tuple(blocks))


def _setting(key: str, value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return format_epsilon(value) if key in DISTANCES else f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{text.name(name)} {_setting(key, member)}" for name, member in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(_setting(key, member) for member in value) or "none"
    return text.sentence(str(value))


def _chosen(record: Hardening) -> Table:
    columns = (Column("layer", "name"), Column("gamma", "number"), Column("relative error", "number"))
    shown, rest = record.chosen[:ROW_LIMIT], len(record.chosen) - ROW_LIMIT
    note = (
        f"Relative error: under PGD on the validation images, before the training. Most vulnerable: above mu + eta "
        f"sigma, eta {text.number(record.eta)}."
    )
    if rest > 0:
        note = f"{note} {text.quantity(rest, 'more layer')}: see hardening.json."
    return Table("Layers that the regulariser acts on", columns, tuple(_chosen_row(entry) for entry in shown), note)


def _chosen_row(entry: ChosenLayer) -> Row:
    return Row((text.name(entry.layer), text.number(entry.gamma), text.number(entry.relative_error)))


def subject(record: Hardening) -> Section:
    """The model, the images and the written file."""
    labels = "the dataset's own" if record.labels.source == "dataset" else "the model's own clean predictions"
    model = (
        ("named", text.name(record.subject)),
        ("architecture", text.name(record.model.architecture)),
        ("weights", text.sentence(record.model.weights)),
        ("weights sha256 before", text.digest(record.model.weights_sha256)),
        ("labels", labels),
        ("labels, why", text.sentence(record.labels.reason)),
    )
    trained = (Facts("What was trained", _trained(record.trainee)),) if record.trainee else ()
    parts = (Facts("Model", model), *trained, Facts("Written file", _file(record)), _images(record))
    return Section("subject", "What was hardened", parts)


def _trained(trainee: Trainee) -> tuple[tuple[str, str], ...]:
    return (
        ("trained", "the model's own modules" if trainee.module else "the exported graph, which shares its weights"),
        *((("why" if trainee.module else "note", text.sentence(trainee.reason)),) if trainee.reason else ()),
        *((f"exported graph, {check.what}", provenance.compared(check)) for check in trainee.checks),
        *((("left alone, no gradient", _names(trainee.left_alone)),) if trainee.left_alone else ()),
    )


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - NAME_LIMIT} more" if len(names) > NAME_LIMIT else ""
    return ", ".join(text.name(name) for name in names[:NAME_LIMIT]) + more


def _file(record: Hardening) -> tuple[tuple[str, str], ...]:
    if record.file is None:
        return (("name", "none was written"),)
    return (
        ("name", text.name(record.file.name)),
        ("sha256", text.digest(record.file.sha256)),
        ("its logits, loaded again, differ by", f"{text.number(record.file.difference)} of the largest"),
    )


def written(record: Hardening) -> str:
    """Which file was written, in a sentence."""
    return "No file was written." if record.file is None else f"Written: {text.name(record.file.name)}."


def _images(record: Hardening) -> Table:
    columns = (
        Column("used for", "label"),
        Column("images", "number"),
        Column("name", "label"),
        Column("selection"),
        Column("sha256", "label"),
    )
    rows = (
        _images_row("training", record.training),
        _images_row("validation", record.validation),
        _images_row("test", record.test),
    )
    note = "Validation chooses the layers and the checkpoint; test gives the verdict. Neither was trained on."
    return Table("Images", columns, rows, note)


def _images_row(used_for: str, data: DataInfo) -> Row:
    cells = (
        used_for,
        f"{data.samples:,} of {data.total:,}",
        text.name(data.name),
        text.sentence(data.selection),
        text.digest(data.sha256),
    )
    return Row(cells)


def missing(record: Hardening) -> Section:
    """What was asked for and could not be done."""
    columns = (Column("what", "label"), Column("why"))
    rows = tuple(Row((text.name(entry.what), text.sentence(entry.detail))) for entry in record.skipped)
    return Section("skipped", "Not done", (Table("What could not be done, and why", columns, rows),))


def conditions(record: Hardening) -> Section:
    """Environment and timing of the whole run, with the settings of the audit before and after."""
    whole = {"environment": record.environment, "timing": record.timing}
    shown = provenance.conditions(record.before.model_copy(update=whole))
    return replace(shown, blocks=(Paragraph(AUDIT), *shown.blocks))
