from __future__ import annotations

import pytest

from lsa_audit.page.view import Gallery, Paragraph
from lsa_audit.records import AuditRecord
from lsa_audit.reporting.sections import gallery
from lsa_audit.reporting.shown import Shown

from ..builders import attacked, build, perturbation
from ..shown_records import failed, flipped


def gallery_of(shown: Shown) -> Gallery:
    (block,) = [block for block in gallery.section(shown).blocks if isinstance(block, Gallery)]
    return block


def introduction(record: AuditRecord) -> str:
    first = gallery.section(Shown(record)).blocks[0]
    assert isinstance(first, Paragraph)
    return first.text


def test_every_picture_is_an_exhibit_with_words_for_those_who_do_not_see_it() -> None:
    shown = failed()
    first, second = gallery_of(shown).exhibits
    assert (first.title, second.title) == ("Image 17: cat becomes dog", "Image 18: plane becomes ship")
    assert [image.caption for image in first.images] == ["clean", "attacked", "change × 10"]  # noqa: RUF001
    assert [image.alternative for image in first.images] == [
        "Image 17, clean: the model says cat, which is right",
        "Image 17 after pgd 8/255: the model says dog",
        "Image 17: ten times the difference, grey where nothing changed",
    ]
    assert first.images[2].content == shown.pictures[0].difference
    assert first.text == (
        "The model says cat before and dog after pgd 8/255, which moves a pixel by at most 0.0314 (L2 1.5)."
    )


def test_the_logits_stand_beside_the_pictures() -> None:
    table = gallery_of(failed()).exhibits[0].table
    assert table.caption == "Logits of image 17"
    assert [row.cells for row in table.rows] == [
        ("dog (after)", "1.25", "9.5"),
        ("cat (right, before)", "8.75", "4.5"),
        ("truck", "−0.5", "0.25"),  # noqa: RUF001
    ]


def test_without_pictures_the_table_says_the_same() -> None:
    shown = Shown(failed().record)
    block = gallery_of(shown)
    assert block.exhibits == ()
    assert block.table.rows[0].cells == ("17", "cat", "8.75", "4.5", "dog", "1.25", "9.5", "0.0314", "1.5")
    assert introduction(shown.record).startswith("2 images that are right before pgd 8/255 and wrong after it.")


def test_one_image_is_one() -> None:
    record = build(gallery=(flipped(0, 3, 5, perturbation="unknown", scores=()),))
    assert introduction(record).startswith("1 image that is right before unknown and wrong")
    assert gallery_of(Shown(record)).table.rows[0].cells[1:4] == ("3", "–", "–")  # noqa: RUF001


def flat() -> AuditRecord:
    return build(model=build().model.model_copy(update={"input_shape": (2,)}))


def robust() -> AuditRecord:
    return build(attacks=(attacked(perturbation("pgd", 8 / 255), 183),))


def noise() -> AuditRecord:
    return build(attacks=(attacked(perturbation("salt", 8 / 255, kind="noise"), 100),))


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (build(attacks=()), "No attack was run that could have flipped an image."),
        (noise(), "No attack was run that could have flipped an image."),
        (robust(), "No attack flipped an image."),
        (flat(), "An input of shape 2 is no picture of one or three channels, so none is shown."),
        (build(), "The scan kept no images of an attack that flipped one."),
        (build(settings={"gallery": 0}), "The settings keep images out of the report (`gallery: 0`)."),
    ],
)
def test_an_empty_gallery_says_why(record: AuditRecord, why: str) -> None:
    assert introduction(record) == why
