from __future__ import annotations

from typing import Any

import pytest

from lsa_audit.findings import HEALTH_RULES
from lsa_audit.records import AuditRecord, Finding
from lsa_audit.report.sections import attack_health
from lsa_audit.report.sections.checks import CHECKS
from lsa_audit.report.view import Table

from ..builders import attacked, build, examined, perturbation, signs, stage


def rows(record: AuditRecord) -> dict[str, tuple[str, ...]]:
    (table,) = [block for block in attack_health.section(record).blocks if isinstance(block, Table)]
    return {row.cells[0]: row.cells[1:] for row in table.rows}


def said(record: AuditRecord) -> str:
    return str(attack_health.section(record).blocks[1])


def finding(rule: str, subject: str, level: str = "error", **changes: Any) -> Finding:
    usual = {"rule": rule, "group": "attack-health", "level": level, "subject": subject, "message": "m"}
    return Finding(**{**usual, **changes})


def test_every_rule_has_a_check_in_its_order() -> None:
    assert tuple(CHECKS) == tuple(HEALTH_RULES)


def test_attacks_that_work_are_fine(samples: dict[str, AuditRecord]) -> None:
    record = samples["ensembles"]
    assert "No check is in doubt; 16 of 19 could be made." in said(record)
    assert attack_health.line(record) == ("fine (16 of 19 checks made)", "")
    assert {cells[-1] for cells in rows(record).values()} == {"fine", "not examined"}


def test_what_could_not_be_looked_at_is_not_called_fine(samples: dict[str, AuditRecord]) -> None:
    assert rows(samples["ensembles"])["noise-beats-gradient"] == ("–", "–", "not examined")  # noqa: RUF001


def test_old_records_were_not_examined(samples: dict[str, AuditRecord]) -> None:
    assert "Not examined" in said(samples["clean"])
    assert not any(isinstance(block, Table) for block in attack_health.section(samples["clean"]).blocks)
    assert attack_health.line(samples["clean"]) == ("not examined", "quiet")


def test_old_records_keep_their_doubts(samples: dict[str, AuditRecord]) -> None:
    assert "1 check in doubt: 1 error." in said(samples["findings"])
    assert attack_health.line(samples["findings"])[0] == "1 error; the worst is zero-gradients"


def test_a_row_shows_the_worst_case_and_counts_the_others(samples: dict[str, AuditRecord]) -> None:
    seen = rows(samples["masked"])
    assert len(seen) == len(HEALTH_RULES)
    assert seen["zero-gradients"] == ("68 of 162 robust verdicts", "pgd 8/255 and 7 more", "error")
    assert seen["training-mode"] == ("2 layers in training mode", "the model", "warning")
    assert "inconclusive" in said(samples["masked"])
    assert attack_health.line(samples["masked"])[0].startswith("6 errors, 4 warnings; the worst is random-outputs")


def test_every_result_is_that_of_the_findings(samples: dict[str, AuditRecord]) -> None:
    for name in ("ensembles", "masked"):
        record = samples[name]
        for rule, cells in rows(record).items():
            levels = {found.level for found in record.findings if found.rule == rule}
            assert (cells[-1] in levels) == bool(levels)


def test_the_gravest_level_decides_which_case_is_shown() -> None:
    weak, strong = perturbation("pgd", 0.1), perturbation("pgd", 0.2)
    record = build(
        attacks=(
            attacked(weak, 100, zero_gradient=2, signs=signs()),
            attacked(strong, 100, zero_gradient=90, signs=signs()),
        ),
        health=examined(),
        findings=(finding("zero-gradients", strong.id, "warning"), finding("zero-gradients", weak.id)),
    )
    assert rows(record)["zero-gradients"] == ("2 of 100 robust verdicts", "pgd 0.1 and 1 more", "error")


@pytest.mark.parametrize(
    ("rule", "changes", "words"),
    [
        ("nonfinite-logits", {"nonfinite": 4}, "4 of 200 perturbed images"),
        ("nonfinite-gradients", {"signs": signs(nonfinite_gradient=3)}, "3 of 200 images"),
        (
            "vanishing-gradients",
            {"zero_gradient": 5, "signs": signs(vanishing_gradient=20)},
            "15 of 40 robust verdicts",
        ),
        ("objective-does-not-rise", {}, "60.0 % of the steps raised the objective"),
        ("first-step-only", {}, "15 of 143 fooled images fell after the first step"),
    ],
)
def test_what_a_check_saw_of_an_attack(rule: str, changes: dict[str, Any], words: str) -> None:
    entry = perturbation("pgd", 8 / 255)
    attacks = (attacked(perturbation("fgsm", 8 / 255), 90), attacked(entry, 40, **{"signs": signs(), **changes}))
    assert rows(build(attacks=attacks, health=examined()))[rule] == (words, "pgd 8/255", "fine")


def test_pairs_are_named(samples: dict[str, AuditRecord]) -> None:
    record = samples["clean"]
    first, last = record.attacks[1].perturbation.id, record.attacks[3].perturbation.id
    pair = examined().comparisons[0].model_copy(update={"weaker": first, "stronger": last, "missed": 3})
    seen = rows(record.model_copy(update={"health": examined(comparisons=(pair,))}))
    assert seen["weaker-with-more-steps"][:2] == ("3 of 40 robust verdicts, fooled by fgsm 8/255", "pgd 8/255")


def test_square_inside_an_ensemble_counts_as_black_box() -> None:
    stages = (stage("apgd-ce", 50, 183, 100), stage("square", 1_500, 83, 30))
    record = build(attacks=(attacked(perturbation("cascade", 0.1), 53, stages=stages),), health=examined())
    seen = "30 of 83 robust verdicts, fooled by its member square"
    assert rows(record)["black-box-beats-white-box"] == (seen, "cascade 0.1", "fine")


def test_a_rule_without_a_check_is_shown_all_the_same() -> None:
    record = build(health=examined(), findings=(finding("something-new", "pgd"),))
    assert rows(record)["something-new"] == ("see the findings", "–", "error")  # noqa: RUF001


def test_findings_of_other_groups_are_no_signs() -> None:
    record = build(health=examined(), findings=(finding("clean-accuracy", "resnet20", group="result"),))
    assert "clean-accuracy" not in rows(record)
    assert attack_health.line(record)[0].startswith("fine")
