"""Images that an attack flipped: pictures and logits where the format shows pictures, else a table of the same."""

from __future__ import annotations

from ...page import text
from ...page.view import Column, Exhibit, Gallery, Image, Paragraph, Row, Section, Table
from ...records import AuditRecord, ClassScore, Flipped
from .. import selection
from ..shown import Picture, Shown

TITLE = "Flipped images"
NAME = 40
TIMES = "\N{MULTIPLICATION SIGN}"
CHANNELS = (1, 3)
CHOICE = "The first flipped image of every class comes first, then the second of every class, in the order of the data."


def section(shown: Shown) -> Section:
    """The chosen images, or why there are none."""
    record = shown.record
    if not record.gallery:
        return Section("gallery", TITLE, (Paragraph(_why_none(record)),))
    pictures = {picture.flipped.place: picture for picture in shown.pictures}
    exhibits = tuple(
        _exhibit(record, flipped, pictures[flipped.place]) for flipped in record.gallery if flipped.place in pictures
    )
    blocks = (Paragraph(_introduction(record)), Gallery(exhibits, _table(record)))
    return Section("gallery", TITLE, blocks)


def _why_none(record: AuditRecord) -> str:
    shape = record.model.input_shape
    if not any(result.perturbation.kind == "attack" for result in record.attacks):
        return "No attack was run that could have flipped an image."
    if not any(result.fooled for result in record.attacks if result.perturbation.kind == "attack"):
        return "No attack flipped an image."
    if len(shape) != 3 or shape[0] not in CHANNELS:
        return f"An input of shape {text.shape(shape)} is no picture of one or three channels, so none is shown."
    if record.settings.get("gallery") == 0:
        return "The settings keep images out of the report (`gallery: 0`)."
    return "The scan kept no images of an attack that flipped one."


def _introduction(record: AuditRecord) -> str:
    count = len(record.gallery)
    chosen = f"{text.quantity(count, 'image')} that {'is' if count == 1 else 'are'}"
    return f"{chosen} right before {_attacks(record)} and wrong after it. {CHOICE}"


def _attacks(record: AuditRecord) -> str:
    labels = selection.labels(record)
    return ", ".join(dict.fromkeys(_attack(labels, flipped) for flipped in record.gallery))


def _attack(labels: dict[str, str], flipped: Flipped) -> str:
    return labels.get(flipped.perturbation) or text.name(flipped.perturbation)


def _exhibit(record: AuditRecord, flipped: Flipped, picture: Picture) -> Exhibit:
    name = text.name(flipped.image_id, NAME)
    image = f"Image {name}"
    right, answer = _class_name(flipped, flipped.label), _class_name(flipped, flipped.prediction)
    attack = _attack(selection.labels(record), flipped)
    changed = f"{image}: ten times the difference, grey where nothing changed"
    images = (
        Image("clean", f"{image}, clean: the model says {right}, which is right", picture.clean),
        Image("attacked", f"{image} after {attack}: the model says {answer}", picture.adversarial),
        Image(f"change {TIMES} 10", changed, picture.difference),
    )
    said = (
        f"The model says {right} before and {answer} after {attack}, which moves a pixel by at most "
        f"{text.number(flipped.linf)} (L2 {text.number(flipped.l2)})."
    )
    return Exhibit(f"{image}: {right} becomes {answer}", said, images, _scores(name, flipped))


def _scores(name: str, flipped: Flipped) -> Table:
    columns = (Column("class", "label"), Column("clean", "number"), Column("attacked", "number"))
    rows = tuple(_score(flipped, score) for score in flipped.scores)
    return Table(f"Logits of image {name}", columns, rows)


def _score(flipped: Flipped, score: ClassScore) -> Row:
    name = text.name(score.name, NAME)
    if score.label == flipped.label:
        name = f"{name} (right, before)"
    if score.label == flipped.prediction:
        name = f"{name} (after)"
    return Row((name, text.number(score.clean), text.number(score.adversarial)))


def _class_name(flipped: Flipped, label: int) -> str:
    return next((text.name(score.name, NAME) for score in flipped.scores if score.label == label), str(label))


def _table(record: AuditRecord) -> Table:
    columns = (
        Column("image", "label"),
        Column("right class", "label"),
        Column("its logit before", "number"),
        Column("after", "number"),
        Column("answer under attack", "label"),
        Column("its logit before", "number"),
        Column("after", "number"),
        Column("linf", "number"),
        Column("L2", "number"),
    )
    rows = tuple(_row(flipped) for flipped in record.gallery)
    return Table(
        f"Images flipped by {_attacks(record)}", columns, rows, "linf, L2: length of the change, pixels in [0, 1]."
    )


def _row(flipped: Flipped) -> Row:
    scores = {score.label: score for score in flipped.scores}
    cells = [text.name(flipped.image_id, NAME)]
    for label in (flipped.label, flipped.prediction):
        score = scores.get(label)
        before, after = (None, None) if score is None else (score.clean, score.adversarial)
        cells += [_class_name(flipped, label), text.number(before), text.number(after)]
    return Row((*cells, text.number(flipped.linf), text.number(flipped.l2)))
