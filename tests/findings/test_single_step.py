"""One step against several in the same ball."""

from __future__ import annotations

import pytest

from lsa_audit.findings import single_step
from lsa_audit.stats.statistics import estimate

from .records import SMALL, attack, record

pytestmark = pytest.mark.filterwarnings("error")


def rules(*attacks, clean: int = 180):
    return single_step.find(record(*attacks, clean=estimate(clean, 200)))


def test_a_step_that_misleads_is_named_with_both_figures():
    (found,) = rules(attack("fgsm", 150), attack("pgd", 10), attack("apgd-ce", 20))
    assert (found.rule, found.level, found.group) == ("single-step-misled", "warning", "attack-health")
    assert all(part in found.message for part in ("75.0 %", "5.0 %", "pgd@"))


@pytest.mark.parametrize(
    "attacks",
    [
        [attack("fgsm", 150)],
        [attack("fgsm", 150), attack("pgd", 10, SMALL)],
        [attack("fgsm", 89), attack("pgd", 0)],
        [attack("fgsm", 150), attack("pgd", 76)],
        [attack("pgd", 150), attack("apgd-ce", 10)],
    ],
    ids=["alone", "another ball", "undefended", "not far apart", "several steps both"],
)
def test_nothing_is_said_where_one_step_does_not_mislead(attacks):
    assert rules(*attacks) == []


def test_thresholds_are_met_at_their_value():
    assert rules(attack("fgsm", 90), attack("pgd", 45))
    assert rules(attack("fgsm", 20), attack("pgd", 10), clean=40)
    assert not rules(attack("fgsm", 18), attack("pgd", 9), clean=36)


def test_an_ensemble_counts_as_several_steps():
    assert rules(attack("fgsm", 150), attack("autoattack", 10))
