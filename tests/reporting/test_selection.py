from __future__ import annotations

from lsa_audit.records import AuditRecord
from lsa_audit.reporting import selection


def test_the_strongest_attack_has_the_lowest_accuracy_and_is_no_noise(samples: dict[str, AuditRecord]) -> None:
    large = selection.strongest(samples["large"])
    assert large is not None
    assert large.perturbation.kind == "attack"
    # Three attacks leave nothing; the largest epsilon leads.
    assert (large.robust_accuracy.count, large.perturbation.id) == (0, "pgd@linf-0.0156863")
    assert selection.strongest(samples["clean-only"]) is None


def test_noise_leads_only_where_no_attack_was_run(samples: dict[str, AuditRecord]) -> None:
    record = samples["two-norms"]
    noise = record.attacks[2]
    assert selection.strongest(record.model_copy(update={"attacks": (noise,)})) == noise


def test_the_leading_measurements_are_those_of_the_strongest_attack_that_has_any(
    samples: dict[str, AuditRecord],
) -> None:
    record = samples["clean"]
    first = selection.leading(record)
    assert first is not None
    assert first.perturbation == "pgd@linf-0.0313725"
    without = record.model_copy(update={"sustainability": record.sustainability[:3]})
    second = selection.leading(without)
    assert second is not None
    assert second.perturbation == "fgsm@linf-0.0313725"
    assert selection.leading(samples["clean-only"]) is None


def test_attacks_without_layer_measurements_leave_the_lead_to_the_next(samples: dict[str, AuditRecord]) -> None:
    record = samples["ensembles"]
    strongest, lead = selection.strongest(record), selection.leading(record)
    assert strongest is not None
    assert lead is not None
    assert (strongest.perturbation.name, lead.perturbation) == ("autoattack", "pgd@linf-0.0313725")


def test_labels_tell_the_norm_only_where_there_are_several(samples: dict[str, AuditRecord]) -> None:
    assert set(selection.labels(samples["clean"]).values()) == {"fgsm 2/255", "fgsm 8/255", "pgd 2/255", "pgd 8/255"}
    assert "pgd l2 0.5" in selection.labels(samples["two-norms"]).values()


def test_colliding_labels_fall_back_to_the_ids(samples: dict[str, AuditRecord]) -> None:
    record = samples["clean"]
    first = record.attacks[0]
    renamed = first.perturbation.model_copy(update={"id": "fgsm@linf-other"})
    twice = record.model_copy(update={"attacks": (first, first.model_copy(update={"perturbation": renamed}))})
    labels = selection.labels(twice)
    assert labels["fgsm@linf-other"] == "fgsm@linf-other"
    assert len(set(labels.values())) == len(labels)


def test_what_the_walker_and_the_scan_both_skipped_is_listed_once(samples: dict[str, AuditRecord]) -> None:
    record = samples["skipped"]
    assert len(record.skipped) + len(record.graph.skipped) == 3
    assert len(selection.skipped(record)) == 2
