from __future__ import annotations

import pytest

from lsa_audit.page.view import Group, Paragraph, Section, Table
from lsa_audit.records import AuditRecord
from lsa_audit.reporting.sections import layers


def groups(section: Section) -> list[Group]:
    return [block for block in section.blocks if isinstance(block, Group)]


def test_the_strongest_attack_is_open_and_first_the_others_are_folded(samples: dict[str, AuditRecord]) -> None:
    shown = [(group.title, group.folded) for group in groups(layers.section(samples["clean"]))]
    assert shown == [
        ("Under pgd 8/255: 2 vulnerable layers", False),
        ("Under fgsm 2/255: 1 vulnerable layer", True),
        ("Under fgsm 8/255: 2 vulnerable layers", True),
        ("Under pgd 2/255: 1 vulnerable layer", True),
        ("Every layer", False),
    ]


def test_the_list_keeps_its_order_and_shows_its_figures(samples: dict[str, AuditRecord]) -> None:
    entry = samples["clean"].sustainability[3]
    table = layers.mvl_table(entry)
    assert tuple(row.cells[0] for row in table.rows) == entry.mvl
    assert table.rows[0].cells[1:] == ("1.39", "1.32–1.47", "97.0 %", "1.5", "5.56")  # noqa: RUF001


def test_the_statistics_hold_the_threshold(samples: dict[str, AuditRecord]) -> None:
    shown = dict(layers.statistics(samples["clean"].sustainability[3]))
    assert (shown["mu"], shown["sigma"], shown["eta"], shown["threshold"]) == ("0.63", "0.42", "0.8", "0.966")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("clean", "2 layers above mu + eta sigma, most vulnerable first"),
        ("empty-mvl", "empty: no layer above mu + eta sigma; highest, below threshold: layer3.0.conv1"),
        ("nothing-known", "unknown: mu and sigma could not be computed"),
    ],
)
def test_the_list_in_a_sentence(name: str, expected: str, samples: dict[str, AuditRecord]) -> None:
    assert layers.mvl_sentence(samples[name].sustainability[-1]) == expected


def test_every_layer_stands_in_depth_order_with_the_vulnerable_marked(samples: dict[str, AuditRecord]) -> None:
    matrix, detail = groups(layers.section(samples["clean"]))[-1].blocks
    assert isinstance(matrix, Table)
    assert isinstance(detail, Table)
    names = [layer.name for layer in samples["clean"].graph.layers]
    assert [row.cells[0] for row in matrix.rows] == [row.cells[0] for row in detail.rows] == names
    assert [row.cells[0] for row in matrix.rows if row.cells[4].startswith(layers.MARK)] == ["layer3.0.conv1", "linear"]
    assert [row.cells[0] for row in detail.rows if row.tone == "bad"] == ["layer3.0.conv1", "linear"]


def test_beyond_the_limit_the_highest_layers_stay_and_the_rest_is_counted(
    samples: dict[str, AuditRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "ROW_LIMIT", 3)
    matrix = groups(layers.section(samples["clean"]))[-1].blocks[0]
    assert isinstance(matrix, Table)
    assert [row.cells[0] for row in matrix.rows][1:] == ["layer3.0.conv1", "linear"]
    assert matrix.note == "4 layers with lower means: see record.json."


def test_measures_are_explained(samples: dict[str, AuditRecord]) -> None:
    first = layers.section(samples["clean"]).blocks[0]
    assert isinstance(first, Paragraph)
    assert first.text.startswith("Relative error is how far")


def test_no_layer_is_said(samples: dict[str, AuditRecord]) -> None:
    assert layers.section(samples["clean-only"]).blocks == (Paragraph("No layer was measured."),)
