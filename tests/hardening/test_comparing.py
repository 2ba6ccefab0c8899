"""What two audits amount to, from records and verdicts that are made up."""

from __future__ import annotations

import numpy as np
import pytest

from lsa_audit.hardening.comparing import changes, deciding, scores, shifts, verdict
from lsa_audit.records import Finding

from ..reporting.builders import attacked, build, perturbation

EPSILON, TOTAL = 8 / 255, 200
GRID = (("fgsm", 2 / 255), ("fgsm", EPSILON), ("pgd", EPSILON), ("apgd-ce", EPSILON))
FGSM, PGD, APGD = (perturbation(name, EPSILON).id for name in ("fgsm", "pgd", "apgd-ce"))


def record(findings=(), **right):
    """An audit whose attacks leave so many of 200 images right."""
    results = [attacked(perturbation(name, epsilon), right.get(name, 50)) for name, epsilon in GRID]
    return build(attacks=tuple(results), findings=tuple(findings))


def flags(right):
    return np.arange(TOTAL) < right


def evidence(clean, **right):
    labels = np.zeros(TOTAL, dtype=np.int64)
    found = {"labels": labels, "clean_predictions": np.where(flags(clean), 0, 1)}
    for name, epsilon in GRID:
        found[f"right/{perturbation(name, epsilon).id}"] = flags(right.get(name.partition("-")[0], 50))
    return found


def settled(after, before=None, findings=(), drop=0.02):
    """The verdict where so many images are right after, of 180 clean and 50 under each attack before."""
    first = evidence(**{"clean": 180, **(before or {})})
    second = evidence(**{"clean": 180, **after})
    found = changes(record(), first, second)
    return verdict(found, deciding(record(), EPSILON, "pgd"), record(findings), drop)


def test_clean_comes_first_and_every_attack_is_paired():
    before, after = evidence(180, pgd=50), evidence(170, pgd=80)
    after[f"right/{PGD}"] = np.roll(after[f"right/{PGD}"], 20)
    found = changes(record(), before, after)
    assert [entry.id for entry in found] == ["clean", perturbation("fgsm", 2 / 255).id, FGSM, PGD, APGD]
    assert (found[0].gained, found[0].lost, found[0].before.count, found[0].after.count) == (0, 10, 180, 170)
    assert (found[3].gained, found[3].lost) == (50, 20)
    assert found[3].difference == pytest.approx(30 / TOTAL)


def test_the_attacks_at_the_epsilon_of_the_training_decide_its_own_first():
    assert deciding(record(), EPSILON, "pgd") == (PGD, FGSM, APGD)
    assert deciding(record(), EPSILON, "fgsm") == (FGSM, PGD, APGD)
    assert deciding(record(), EPSILON, "square") == (FGSM, PGD, APGD)
    assert deciding(record(), 2 / 255, "pgd") == (perturbation("fgsm", 2 / 255).id,)
    assert deciding(record(), 0.5, "pgd") == ()


MASKING = Finding(rule="black-box-wins", group="attack-health", level="error", subject="pgd", message="")
WARNING = MASKING.model_copy(update={"level": "warning"})
GAIN = {"fgsm": 90, "pgd": 90, "apgd": 90}


@pytest.mark.parametrize(
    ("after", "findings", "expected", "said"),
    [
        (GAIN, (), "helped", "every attack"),
        ({**GAIN, "clean": 177}, (), "helped", "clean 90.0 % to 88.5 %"),
        ({"fgsm": 90, "pgd": 90, "apgd": 50}, (), "masked", f"the gain under {PGD} is not there under every other"),
        (GAIN, (MASKING,), "masked", "cannot be relied on after training (black-box-wins)"),
        (GAIN, (WARNING,), "helped", "every attack"),
        # Nothing was gained: sick attacks hide no gain.
        ({}, (MASKING,), "not-helped", "no significant gain"),
        ({"fgsm": 52, "pgd": 52, "apgd": 52}, (), "not-helped", "no significant gain"),
        ({**GAIN, "clean": 150}, (), "harmed", "significantly worse"),
        ({"fgsm": 20, "pgd": 20, "apgd": 20}, (), "harmed", "significantly worse"),
        ({"clean": 150}, (), "harmed", "significantly worse"),
        # Another attack gains, the own one does not.
        ({"fgsm": 90, "pgd": 50, "apgd": 90}, (), "not-helped", "no significant gain"),
    ],
)
def test_the_verdict_and_its_sentence(after, findings, expected, said):
    outcome, reason = settled(after, findings=findings)
    assert outcome == expected
    assert said in reason
    for name in ("clean", FGSM, PGD, APGD):
        assert name in reason


def test_a_sick_attack_that_does_not_decide_hides_no_gain():
    other = MASKING.model_copy(update={"subject": perturbation("fgsm", 2 / 255).id})
    own = MASKING.model_copy(update={"subject": FGSM})
    assert settled(GAIN, findings=(other,))[0] == "helped"
    assert settled(GAIN, findings=(own,))[0] == "masked"


def test_the_floor_counts_images():
    assert settled({**GAIN, "clean": 176}, drop=0.02)[0] == "helped"
    assert settled({**GAIN, "clean": 175}, drop=0.02)[0] != "helped"
    assert settled({**GAIN, "clean": 100}, drop=1.0)[0] == "helped"


def test_without_a_kept_epoch_there_is_no_checkpoint():
    assert verdict((), (PGD,), None, 0.015) == ("no-checkpoint", "no epoch kept the clean accuracy within 1.5 %")


def test_every_layer_shifts_by_itself():
    before, after = record(), record()
    measured = before.sustainability[0]
    second = measured.model_copy(
        update={
            "layers": tuple(
                entry.model_copy(update={"mean": None if place == 1 else 0.1 * place})
                for place, entry in enumerate(measured.layers)
            ),
            "mvl": (measured.layers[2].layer,),
        }
    )
    after = after.model_copy(update={"sustainability": (second,)})
    chosen = [measured.layers[0].layer]
    found = shifts(before, after, measured.perturbation, chosen)
    assert [entry.layer for entry in found] == [entry.layer for entry in measured.layers]
    assert [entry.before for entry in found] == [entry.mean for entry in measured.layers]
    assert [entry.after for entry in found] == [entry.mean for entry in second.layers]
    assert [entry.layer for entry in found if entry.chosen] == chosen
    assert [entry.layer for entry in found if entry.in_mvl_before] == [
        entry.layer for entry in measured.layers if entry.layer in measured.mvl
    ]
    assert [entry.layer for entry in found if entry.in_mvl_after] == list(second.mvl)


def test_layers_without_an_audit_after_or_without_a_measure():
    before = record()
    attack = before.sustainability[0].perturbation
    assert all(entry.after is None and not entry.in_mvl_after for entry in shifts(before, None, attack, ()))
    assert shifts(before, None, None, ()) == ()
    assert shifts(before, before, "square@linf-1", ()) == ()


def published(accuracies, name="fgsm", total=10_000):
    """An audit of as many images as give these accuracies, in %, the first without attack."""
    from lsa_audit.stats.statistics import estimate

    clean, *others = [round(total * value / 100) for value in accuracies]
    entries = [
        attacked(perturbation(name, epsilon), right, total, fooled=0)
        for epsilon, right in zip((0.1, 0.2, 0.3, 0.4, 0.5), others, strict=True)
    ]
    # Not in the order of the grid.
    return build(clean=estimate(clean, total), attacks=(*entries[::-1], attacked(perturbation("pgd", 0.3), 10)))


def test_the_score_of_the_grid_is_that_of_the_published_rows():
    """MNIST, model B, of arXiv 2202.02626: AT-APGD and AT-APGD-LR-L0."""
    before = published((99.36, 98.54, 97.67, 96.97, 71.72, 33.73))
    after = published((98.97, 98.11, 97.36, 97.17, 94.60, 55.52))
    (found,) = scores(before, after)
    assert found.attack == "fgsm"
    assert found.epsilons == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    assert found.score_before == pytest.approx(497.99, abs=0.005)
    assert found.score_after == pytest.approx(541.73, abs=0.005)
    assert found.before[0] == pytest.approx(0.9936)


def test_no_score_without_a_grid_or_an_audit_after():
    one = build(attacks=(attacked(perturbation("pgd", 0.3), 10),))
    assert scores(one, one) == ()
    assert scores(record(), None) == ()
