from __future__ import annotations

from typing import Any

import pytest

from lsa_audit.findings import HEALTH_RULES, judged
from lsa_audit.page.view import Table
from lsa_audit.records import AuditRecord, Check, Finding
from lsa_audit.reporting.sections import attack_health

from ..builders import attacked, build, examined, perturbation, signs, stage


def rows(record: AuditRecord) -> dict[str, tuple[str, ...]]:
    (table,) = [block for block in attack_health.section(record).blocks if isinstance(block, Table)]
    return {row.cells[0]: row.cells[1:] for row in table.rows}


def said(record: AuditRecord) -> str:
    return str(attack_health.section(record).blocks[1])


def finding(rule: str, subject: str, level: str = "error", **changes: Any) -> Finding:
    usual = {"rule": rule, "group": "attack-health", "level": level, "subject": subject, "message": "m"}
    return Finding(**{**usual, **changes})


def test_attacks_that_work_are_fine(samples: dict[str, AuditRecord]) -> None:
    record = samples["ensembles"]
    ran = sum(check.outcome == "ran" for check in record.checks if check.group == "attack-health")
    assert f"No check is in doubt; {ran} of {len(HEALTH_RULES)} could be made." in said(record)
    assert attack_health.line(record) == (f"fine ({ran} of {len(HEALTH_RULES)} checks made)", "")
    assert {cells[-1] for cells in rows(record).values()} == {"fine", "not applicable"}


def test_what_could_not_be_looked_at_is_not_called_fine(samples: dict[str, AuditRecord]) -> None:
    seen = rows(samples["ensembles"])["noise-beats-gradient"]
    assert seen == ("no two of the attacks can be compared in this way", "–", "not applicable")  # noqa: RUF001


def test_old_records_never_say_fine(samples: dict[str, AuditRecord]) -> None:
    record = samples["clean"]
    assert record.checks == ()
    assert "Not run: the record does not hold the checks." in said(record)
    assert not any(isinstance(block, Table) for block in attack_health.section(record).blocks)
    assert attack_health.line(record) == ("not run", "quiet")


def test_old_records_keep_their_doubts(samples: dict[str, AuditRecord]) -> None:
    assert "1 check in doubt: 1 error." in said(samples["findings"])
    assert f"{len(HEALTH_RULES) - 1} checks not run" in said(samples["findings"])
    assert attack_health.line(samples["findings"])[0] == "1 error; the worst is zero-gradients"
    assert {cells[-1] for cells in rows(samples["findings"]).values()} == {"error", "not run"}


def test_a_rule_that_the_record_never_met_is_not_run(samples: dict[str, AuditRecord]) -> None:
    record = samples["ensembles"]
    older = record.model_copy(update={"checks": tuple(c for c in record.checks if c.rule != "wrong-gradients")})
    assert rows(older)["wrong-gradients"][-1] == "not run"
    assert rows(record)["wrong-gradients"][-1] == "fine"
    assert "1 check not run" in said(older)


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


def test_nothing_is_computed_again() -> None:
    """What stands in the record is shown, whatever the figures beside it say."""
    check = Check(
        rule="zero-gradients",
        version=7,
        group="attack-health",
        outcome="ran",
        level="warning",
        findings=3,
        subject=perturbation("pgd", 8 / 255).id,
        seen="9 of 9 robust verdicts",
        by="x",
        figure=1.0,
    )
    seen = rows(build(health=examined(), checks=(check,)))
    assert seen["zero-gradients"] == ("9 of 9 robust verdicts, fooled by x", "pgd 8/255 and 2 more", "warning")
    assert {cells[-1] for rule, cells in seen.items() if rule != "zero-gradients"} == {"not run"}


def test_the_gravest_level_decides_which_case_is_shown() -> None:
    weak, strong = perturbation("pgd", 0.1), perturbation("pgd", 0.2)
    record = judged(
        build(
            attacks=(
                attacked(weak, 100, zero_gradient=2, signs=signs()),
                attacked(strong, 100, zero_gradient=90, signs=signs()),
                attacked(perturbation("apgd-t", 0.2), 100, signs=signs()),
            ),
            health=examined(),
        )
    )
    assert rows(record)["zero-gradients"] == ("2 of 100 robust verdicts", "pgd 0.1 and 1 more", "error")


@pytest.mark.parametrize(
    ("rule", "changes", "words"),
    [
        ("nonfinite-logits", {}, "none of the perturbed images"),
        ("nonfinite-gradients", {}, "none of the images"),
        ("vanishing-gradients", {}, "none of the robust verdicts"),
        ("objective-does-not-rise", {}, "60.0 % of the steps raised the objective"),
        ("first-step-only", {}, "15 of 143 fooled images fell after the first step"),
    ],
)
def test_what_a_check_saw_of_an_attack(rule: str, changes: dict[str, Any], words: str) -> None:
    entry = perturbation("pgd", 8 / 255)
    attacks = (attacked(perturbation("fgsm", 8 / 255), 90), attacked(entry, 40, **{"signs": signs(), **changes}))
    seen = rows(judged(build(attacks=attacks, health=examined())))[rule]
    assert seen[0] == words
    assert seen[2] == "fine"


def test_pairs_are_named(samples: dict[str, AuditRecord]) -> None:
    record = samples["clean"]
    first, last = record.attacks[1].perturbation.id, record.attacks[3].perturbation.id
    pair = examined().comparisons[0].model_copy(update={"weaker": first, "stronger": last, "missed": 3})
    seen = rows(judged(record.model_copy(update={"health": examined(comparisons=(pair,))})))
    assert seen["weaker-with-more-steps"][:2] == ("3 of 40 robust verdicts, fooled by fgsm 8/255", "pgd 8/255")


def test_square_inside_an_ensemble_counts_as_black_box() -> None:
    stages = (stage("apgd-ce", 50, 183, 100), stage("square", 1_500, 83, 8))
    record = judged(build(attacks=(attacked(perturbation("cascade", 0.1), 75, stages=stages),), health=examined()))
    seen = "8 of 83 robust verdicts, fooled by its member square"
    assert rows(record)["black-box-beats-white-box"][:2] == (seen, "cascade 0.1")


def test_a_rule_without_a_check_is_shown_all_the_same() -> None:
    record = build(health=examined(), findings=(finding("something-new", "pgd"),))
    assert rows(record)["something-new"] == ("see the findings", "–", "error")  # noqa: RUF001


def test_findings_of_other_groups_are_no_signs() -> None:
    record = build(health=examined(), findings=(finding("clean-accuracy", "resnet20", group="result"),))
    assert all(check.rule != "clean-accuracy" for check in attack_health.checks(record))
    assert all(check.rule != "clean-accuracy" for check in attack_health.checks(judged(record)))
