from __future__ import annotations

from lsa_audit.records import AuditRecord
from lsa_audit.reporting.sections import perturbations


def test_settings_and_health(samples: dict[str, AuditRecord]) -> None:
    table = perturbations.table(samples["findings"])
    titles = ("perturbation", "steps", "step size", "restarts", "zero gradient", "not finite", "backwards")
    assert table.pick(*titles).rows[0].cells == ("pgd 8/255", "20", "1/255", "2", "37", "3", "4,000")


def test_noise_has_no_steps(samples: dict[str, AuditRecord]) -> None:
    table = perturbations.table(samples["two-norms"])
    assert table.pick("steps", "step size").rows[2].cells == ("–", "–")  # noqa: RUF001


def test_an_ensemble_without_steps_shows_a_dash(samples: dict[str, AuditRecord]) -> None:
    steps = {row.cells[0]: row.cells[1] for row in perturbations.table(samples["ensembles"]).rows}
    assert (steps["autoattack 8/255"], steps["cascade 8/255"]) == ("–", "3,000")  # noqa: RUF001
    assert "Steps of cascade: the passes that an image may cost" in perturbations.table(samples["ensembles"]).note


def test_inferred_verdicts_are_counted(samples: dict[str, AuditRecord]) -> None:
    table = perturbations.table(samples["ensembles"])
    inferred = {row.cells[0]: row.cells[1] for row in table.pick("perturbation", "inferred").rows}
    # 183 images are right before, and 100 of them were run.
    assert (inferred["cascade 2/255"], inferred["cascade 8/255"], inferred["pgd 2/255"]) == ("83", "0", "0")
    assert "Inferred: 83 verdicts on images that are right before follow from other epsilons" in table.note


def test_without_inferred_verdicts_nothing_is_said_of_them(samples: dict[str, AuditRecord]) -> None:
    table = perturbations.table(samples["clean"])
    assert "inferred" not in {column.title for column in table.columns}
    assert "Inferred" not in table.note


def test_one_search_for_all_epsilons_is_told(samples: dict[str, AuditRecord]) -> None:
    assert "fab-t: one search for the nearest wrong answer" in perturbations.table(samples["ensembles"]).note
    assert "one search" not in perturbations.table(samples["clean"]).note
