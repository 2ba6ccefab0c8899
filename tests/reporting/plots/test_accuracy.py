from __future__ import annotations

import re

from lsa_audit.records import AuditRecord
from lsa_audit.reporting.plots import accuracy


def labels(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_axes_and_legend(samples: dict[str, AuditRecord]) -> None:
    shown = labels(accuracy.figure(samples["clean"]).svg)
    assert {"clean", "fgsm", "pgd", "0", "2/255", "8/255", "epsilon (linf)", "accuracy (%)"} <= set(shown)


def test_one_panel_for_each_norm(samples: dict[str, AuditRecord]) -> None:
    shown = labels(accuracy.figure(samples["two-norms"]).svg)
    assert {"epsilon (linf)", "epsilon (l2)"} <= set(shown)
    assert shown.count("accuracy (%)") == 2
    assert shown.count("pgd") == 1


def test_attacks_on_layers_have_lines_of_their_own(samples: dict[str, AuditRecord]) -> None:
    record = samples["ensembles"]
    first = record.attacks[7]
    other = first.model_copy(update={"perturbation": first.perturbation.model_copy(update={"layer": "fc"})})
    shown = labels(accuracy.figure(record.model_copy(update={"attacks": (first, other)})).svg)
    assert {"layer-…r1.0.conv1]", "layer-pgd[fc]"} <= set(shown)


def test_noise_is_dashed(samples: dict[str, AuditRecord]) -> None:
    assert "stroke-dasharray" in accuracy.figure(samples["two-norms"]).svg
    assert "stroke-dasharray" not in accuracy.figure(samples["clean"]).svg


def test_self_labels_name_the_axis(samples: dict[str, AuditRecord]) -> None:
    figure = accuracy.figure(samples["self-labels"])
    assert "prediction stability (%)" in labels(figure.svg)
    assert "accuracy" not in figure.title + figure.description


def test_close_epsilons_are_not_labelled_over_each_other() -> None:
    assert accuracy._apart([0.0, 0.01, 0.02, 0.5, 1.0], 0.15) == [0.02, 0.5, 1.0]
    assert accuracy._apart([0.0], 0.1) == [0.0]


def test_an_attack_of_epsilon_zero_is_drawn(samples: dict[str, AuditRecord]) -> None:
    record = samples["clean"]
    nothing = record.attacks[0].perturbation.model_copy(update={"epsilon": 0.0})
    attack = record.attacks[0].model_copy(update={"perturbation": nothing})
    assert accuracy.figure(record.model_copy(update={"attacks": (attack,)})).svg


def test_without_attacks_there_is_a_sentence_and_no_axis(samples: dict[str, AuditRecord]) -> None:
    figure = accuracy.figure(samples["clean-only"])
    assert figure.svg == ""
    assert figure.description.startswith("No attack was run")
