from __future__ import annotations

from lsa_audit.attacks.ensemble import STANDARD, cascade
from lsa_audit.page.view import Group, Paragraph, Table
from lsa_audit.records import AttackStage, AuditRecord
from lsa_audit.reporting.sections import ensembles

from ..builders import attacked, build, perturbation, stage

ALL = (stage("apgd-ce", 100, 9, 0), stage("apgd-t", 100, 9, 0, 9), stage("fab-t", 100, 9, 0, 9))
STANDARD_STAGES = (*ALL, stage("square", 5_000, 9, 0))


def told(*stages: AttackStage, classes: int = 10) -> str:
    record = build(attacks=(attacked(perturbation("cascade", 0.1), 9, stages=stages),))
    record = record.model_copy(update={"model": record.model.model_copy(update={"classes": classes})})
    return next(
        block.text for block in ensembles.blocks(record) if isinstance(block, Paragraph) and "published" in block.text
    )


def tables(record: AuditRecord) -> list[Table]:
    groups = [block for block in ensembles.blocks(record) if isinstance(block, Group)]
    return [block for group in groups for block in group.blocks if isinstance(block, Table)]


def test_the_published_settings_are_those_of_the_attack() -> None:
    assert {member.name: (member.steps, member.classes) for member in STANDARD} == ensembles.PUBLISHED
    assert told(*STANDARD_STAGES) == "Against the published settings cascade left out nothing."


def test_what_a_small_cascade_leaves_out_is_told() -> None:
    stages = [stage(member.name, member.steps, 9, 0, member.classes) for member in cascade(3_000)]
    expected = "cascade left out fab-t and cut apgd-ce to 50 of 100 steps; apgd-t to 50 of 100 steps; square to 1,500"
    assert expected in told(*stages)


def test_fewer_classes_and_fewer_steps_stand_together() -> None:
    stages = (stage("apgd-ce", 100, 9, 0), stage("apgd-t", 20, 9, 0, 4), *STANDARD_STAGES[2:])
    assert told(*stages).endswith("cascade cut apgd-t to 4 of 9 classes and 20 of 100 steps.")


def test_a_model_with_few_classes_misses_none() -> None:
    few = (stage("apgd-ce", 100, 9, 0), stage("apgd-t", 100, 9, 0, 2), stage("fab-t", 100, 9, 0, 2))
    assert told(*few, STANDARD_STAGES[3], classes=3).endswith("left out nothing.")
    assert "2 of 3 classes" in told(*few, STANDARD_STAGES[3], classes=4)


def test_each_result_has_a_table_folded_where_there_are_several(samples: dict[str, AuditRecord]) -> None:
    record = samples["ensembles"]
    groups = [block for block in ensembles.blocks(record) if isinstance(block, Group)]
    assert [group.folded for group in groups] == [True, True, True]
    assert tables(record)[0].rows[1].cells == ("apgd-t", "50", "4", "80", "0", "16,320", "16,320")
    one = record.model_copy(update={"attacks": record.attacks[4:5]})
    assert [block.folded for block in ensembles.blocks(one) if isinstance(block, Group)] == [False]


def test_the_sentence_is_told_once_for_all_epsilons(samples: dict[str, AuditRecord]) -> None:
    sentences = [block.text for block in ensembles.blocks(samples["ensembles"]) if isinstance(block, Paragraph)]
    assert sum("cascade" in sentence for sentence in sentences) == 1


def test_members_without_images_were_not_needed(samples: dict[str, AuditRecord]) -> None:
    row = tables(samples["ensembles"])[2].rows[3]
    assert row.cells == ("square", "5,000", "–", "not needed", "–", "–", "–")  # noqa: RUF001
    assert row.tone == "quiet"


def test_a_line_for_each_ensemble_at_the_epsilon_where_it_fools_most(samples: dict[str, AuditRecord]) -> None:
    first, second = ensembles.summaries(samples["ensembles"])
    assert first.startswith("cascade 8/255: fooled by apgd-ce 124, apgd-t 0, square 1; left out fab-t; cut short")
    assert "square (not needed)." in second


def test_without_ensembles_nothing_is_said(samples: dict[str, AuditRecord]) -> None:
    assert list(ensembles.blocks(samples["clean"])) == []
    assert list(ensembles.summaries(samples["clean"])) == []
