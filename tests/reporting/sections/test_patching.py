from __future__ import annotations

import pytest

from lsa_audit.page.view import Paragraph, Table
from lsa_audit.records import AuditRecord, Correlation, PatchedGroup, PatchedLayer, PatchedNeurons, Patching
from lsa_audit.reporting.sections import patching as patched
from lsa_audit.stats.statistics import estimate

from ..builders import RESNET, build

ATTACK = "pgd@linf-0.0313725"
LOST = 180
COUNTS = (180, 120, 120, 60, 90, 150, 180)
FRAGILE = (40, 12, 9)
RANDOM = (10, 12, 20)


def groups(place: int) -> tuple[PatchedGroup, ...]:
    """Of the first three layers; the third one has no targeting scores."""
    if place > 2:
        return ()
    counts: dict[PatchedNeurons, int] = {"fragile": FRAGILE[place], "random": RANDOM[place]}
    if place < 2:
        counts |= {"most-targeted": 30 + place, "least-targeted": 5}
    return tuple(
        PatchedGroup(group=group, neurons=4, returned=estimate(count, LOST)) for group, count in counts.items()
    )


def patching(**changes: object) -> Patching:
    layers = tuple(
        PatchedLayer(layer=name, returned=estimate(count, LOST), whole=count == LOST, groups=groups(place))
        for place, (name, count) in enumerate(zip(RESNET, COUNTS, strict=True))
    )
    correlation = Correlation(between=("returned", "relative_error"), rho=-0.4, p_value=0.35, count=5)
    fields = {"perturbation": ATTACK, "lost": LOST, "layers": layers, "correlation": correlation}
    return Patching(**{**fields, **changes})


def recorded(**changes: object) -> AuditRecord:
    return build(patching=patching(**changes))


def tables(record: AuditRecord) -> list[Table]:
    section = patched.section(record)
    assert section is not None
    return [block for block in section.blocks if isinstance(block, Table)]


def sentences(record: AuditRecord) -> str:
    section = patched.section(record)
    assert section is not None
    return "\n".join(block.text for block in section.blocks if isinstance(block, Paragraph))


def test_without_patching_there_is_no_section():
    assert patched.section(build()) is None


def test_layers_stand_in_depth_order_with_interval_and_relative_error():
    record = recorded()
    layers, _ = tables(record)
    assert [row.cells[0] for row in layers.rows] == list(RESNET)
    assert [column.title for column in layers.columns][1:] == [
        "returned",
        "95 % interval",
        "by construction",
        "relative error",
    ]
    entry = next(one for one in record.sustainability if one.perturbation == ATTACK)
    assert layers.rows[1].cells[1:4] == ("66.7 %", "59.5–73.1 %", "no")  # noqa: RUF001
    assert layers.rows[1].cells[4] == f"{entry.layers[1].mean:.3g}"
    assert [row.cells[3] for row in layers.rows] == ["yes", "no", "no", "no", "no", "no", "yes"]
    assert [row.tone for row in layers.rows] == ["quiet", "", "", "", "", "", "quiet"]
    assert "Under pgd 8/255, 180 images lost; 7 layers put back, 5 of them not by construction." in sentences(record)


def test_groups_stand_beside_each_other():
    _, found = tables(recorded())
    assert [row.cells[0] for row in found.rows] == list(RESNET[:3])
    titles = [column.title for column in found.columns]
    assert titles[2:] == ["fragile", "most targeted", "least targeted", "random", "whole layer"]
    assert found.rows[0].cells[1] == "4"
    assert found.rows[0].cells[2].startswith("22.2 ")
    assert found.rows[2].cells[3:5] == ("–", "–")  # noqa: RUF001


def test_groups_are_compared_over_the_layers():
    text = sentences(recorded())
    assert "fragile neurons return more lost images than as many random ones in 1 of 3 layers, fewer in 1," in text
    assert "and as many in 1." in text
    assert "most targeted neurons return more lost images than the least targeted ones in 2 of 2 layers" in text


def test_without_groups_nothing_is_said_of_them():
    bare = tuple(layer.model_copy(update={"groups": ()}) for layer in patching().layers)
    record = recorded(layers=bare)
    assert len(tables(record)) == 1
    assert "random" not in sentences(record)


def test_a_long_table_keeps_the_layers_from_which_most_returns():
    table = patched.layer_table(recorded(), patching(), limit=3)
    assert [row.cells[0] for row in table.rows] == ["layer1.0.conv1", "layer1.0.conv2", "layer3.0.conv1"]
    assert table.note == "4 more layers with smaller shares or by construction: see record.json."
    assert patched.layer_table(recorded(), patching()).note == ""
    assert patched.group_table(patching(), limit=2).note.endswith(
        "1 more layer with smaller shares or by construction: see record.json."
    )


def test_the_measure_is_that_of_the_same_attack():
    other = recorded(perturbation="square@linf-1")
    assert {row.cells[4] for row in tables(other)[0].rows} == {"–"}  # noqa: RUF001
    assert "Under square@linf-1, 180 images lost" in sentences(other)
    record = recorded()
    l2 = tuple(entry.model_copy(update={"measure": "l2"}) for entry in record.sustainability)
    changed = record.model_copy(update={"sustainability": l2})
    assert tables(changed)[0].columns[4].title == "L2 distance"
    assert "rank correlation of the L2 distance and the returned share" in sentences(changed)


@pytest.mark.parametrize(
    ("rho", "p_value", "expected"),
    [
        (0.7, 0.01, "From layers that move more, more tends to return (Spearman's rho 0.7, permutation p 0.010, 5 "),
        (-0.7, 0.01, "From layers that move more, less tends to return (Spearman's rho \N{MINUS SIGN}0.7,"),
        (0.7, 0.05, "How far a layer moves does not tell how much of the attack leads through it: no significant"),
        (None, None, "No rank correlation of the returned share and the relative error: one side is constant"),
    ],
)
def test_the_correlation_in_words(rho: float | None, p_value: float | None, expected: str):
    correlation = Correlation(between=("returned", "relative_error"), rho=rho, p_value=p_value, count=5)
    assert patched.correlation_sentence(correlation, "relative error").startswith(expected)


def test_names_of_the_record_are_shown_on_one_line():
    first, *rest = patching().layers
    record = recorded(layers=(first.model_copy(update={"layer": "a\nb\x1b[31m"}), *rest))
    assert tables(record)[0].rows[0].cells[0] == "a\\nb\\x1b[31m"
