from __future__ import annotations

from lsa_audit.page.view import Paragraph, Table
from lsa_audit.records import AuditRecord, FilterCurve, FilteredWeights, FilterName, Filters
from lsa_audit.reporting.sections import filters
from lsa_audit.stats.statistics import estimate

from ..builders import build

NAMES: tuple[FilterName, ...] = ("high-pass", "low-pass", "pulse")


def curve(name: FilterName, score: float | None) -> FilterCurve:
    return FilterCurve(
        filter=name,
        thresholds=(0.0, 0.5, 1.0),
        kept=(0.99, 0.5, 0.0),
        clean=(0.9, 0.4, 0.1),
        adversarial=(0.5, 0.2, 0.1),
        clean_score=score,
        adversarial_score=None if score is None else score - 0.1,
        difference_score=None if score is None else -0.1,
    )


def weights(layer: str | None, score: float | None) -> FilteredWeights:
    return FilteredWeights(layer=layer, weights=1_200, curves=tuple(curve(name, score) for name in NAMES))


def measured(*layers: FilteredWeights, robust: int = 120, attack: str = "pgd@linf-0.0313725") -> Filters:
    return Filters(
        perturbation=attack,
        samples=200,
        clean=estimate(183, 200),
        adversarial=estimate(robust, 200),
        network=weights(None, -0.2),
        layers=layers or (weights("conv1", 0.25), weights("linear", -0.0004)),
    )


def blocks(record: AuditRecord) -> tuple[list[str], Table]:
    section = filters.section(record)
    assert section is not None
    *paragraphs, table = section.blocks
    assert isinstance(table, Table)
    return [paragraph.text for paragraph in paragraphs if isinstance(paragraph, Paragraph)], table


def test_there_is_no_section_where_no_filter_was_measured(samples: dict[str, AuditRecord]):
    assert filters.section(samples["clean"]) is None


def test_the_network_leads_and_the_layers_follow_in_depth_order():
    _, table = blocks(build(filters=measured()))
    assert [row.cells[0] for row in table.rows] == ["all layers together", "conv1", "linear"]
    assert table.rows[1].cells[1:] == ("1,200", *("0.25", "0.15", "\N{MINUS SIGN}0.1") * 3)
    assert [column.title for column in table.columns[2:5]] == [
        "high-pass, clean",
        "high-pass, attack",
        "high-pass, attack \N{MINUS SIGN} clean",
    ]
    assert len(table.columns) == 11
    assert table.note == ""


def test_scores_have_three_decimals_and_those_that_do_not_exist_are_dashes():
    _, table = blocks(build(filters=measured(weights("conv1", None), weights("linear", -0.0004))))
    assert set(table.rows[1].cells[2:]) == {"\N{EN DASH}"}
    assert table.rows[2].cells[2] == "0"


def test_of_many_layers_those_with_the_lowest_clean_scores_are_shown():
    layers = [weights(f"layer{place}", abs(5 - place) / 10) for place in range(10)]
    table = filters.score_table(measured(*layers), limit=4)
    assert [row.cells[0] for row in table.rows] == ["all layers together", "layer4", "layer5", "layer6"]
    assert table.note == "7 more layers with higher clean scores: see record.json."


def test_what_the_filters_are_compared_with_is_told():
    paragraphs, _ = blocks(build(filters=measured()))
    assert paragraphs[3].startswith("Unfiltered, the accuracy on 200 images is 91.5 % (86.8")
    assert "under pgd 8/255 60.0 % (" in paragraphs[3]
    assert "few images" not in paragraphs[3]
    paragraphs, _ = blocks(build(filters=measured(robust=4)))
    assert paragraphs[3].endswith("The scores under attack rest on few images: they are shares of a small number.")


def test_what_is_right_without_any_weight_is_told():
    paragraphs, _ = blocks(build(filters=measured()))
    assert (
        "11.1 % of the accuracy at the first threshold of high-pass, and 20.0 % of that under attack." in paragraphs[4]
    )


def test_names_are_escaped(hostile_name: str):
    record = build(filters=measured(weights(hostile_name, 0.1), attack=hostile_name))
    paragraphs, table = blocks(record)
    for shown in (*paragraphs, table.rows[1].cells[0]):
        assert "\x1b" not in shown
        assert "\n" not in shown
        assert "\u202e" not in shown
