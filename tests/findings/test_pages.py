"""Every rule has a page, and pages and table state the thresholds of the code."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from lsa_audit import explanations
from lsa_audit.findings import (
    HEALTH_RULES,
    RULES,
    attack_health,
    comparisons,
    determinism,
    gradients,
    outputs,
    plausibility,
    progress,
    single_step,
    slopes,
)
from lsa_audit.scanning import plausibility as trial

page, title = partial(explanations.page, "findings"), partial(explanations.title, "findings")

TABLE = Path(__file__).resolve().parents[2] / "docs" / "attack-health.md"
PAIR = (comparisons.NOTED_IMAGES, comparisons.NOTED_SHARE, comparisons.MISSED_IMAGES)
THRESHOLDS: dict[str, tuple[float, ...]] = {
    "random-outputs": (determinism.REPEAT_TOLERANCE, determinism.REPEAT_LIMIT),
    "saturated-logits": (outputs.SATURATED_SHARE,),
    "saturated-outputs": (outputs.BOUNDS_SHARE,),
    "nonfinite-gradients": (gradients.NONFINITE_SHARE,),
    "zero-gradients": (gradients.ZERO_SHARE,),
    "vanishing-gradients": (gradients.VANISHING_NOTED, gradients.VANISHING_SHARE),
    "wrong-gradients": (
        slopes.DOWNHILL_IMAGES,
        slopes.DOWNHILL_SHARE,
        slopes.SMOOTH_SHARE,
        slopes.WRONG_PARTS,
        slopes.WRONG_PARTS_SHARE,
    ),
    "objective-does-not-rise": (progress.RISING_STEPS,),
    "first-step-only": (progress.FALLEN_IMAGES,),
    "unbounded-attack-fails": (progress.SURVIVORS, progress.SURVIVING_SHARE),
    "weaker-with-more-steps": (*PAIR, comparisons.MISSED_SHARE),
    "weaker-with-larger-epsilon": (*PAIR, comparisons.MISSED_SHARE),
    "black-box-beats-white-box": (*PAIR, comparisons.BLACK_BOX_SHARE),
    "noise-beats-gradient": (*PAIR, comparisons.MISSED_SHARE),
    "single-step-misled": (single_step.STANDING_SHARE, single_step.MISLED_SHARE, single_step.MISLED_IMAGES),
}


OF_THE_TRIAL = (
    *(plausibility.GAIN, plausibility.SIGNIFICANCE, plausibility.LOW, plausibility.FEW, plausibility.HINT),
    *(trial.SUSPICIOUS, trial.FLOOR, trial.FLOOR_IMAGES, trial.IMAGES, trial.SHARE),
)
STATED_ON_PAGES = {**THRESHOLDS, "plausibility": OF_THE_TRIAL}


def rows() -> dict[str, str]:
    """Id -> threshold cell."""
    lines = re.findall(r"^\| `([a-z-]+)` \|.*\| ([^|]+) \|$", TABLE.read_text(encoding="utf-8"), re.M)
    return dict(lines)


def numbers(text: str) -> list[float]:
    """The numbers of a text in order; those with a % are shares."""
    return [
        round(float(number) / (100 if percent else 1), 9)
        for number, percent in re.findall(r"(?<![\w.-])(\d+(?:\.\d+)?(?:e-\d+)?)( %)?", text)
    ]


def test_the_table_has_all_health_rules_in_order():
    assert list(rows()) == list(HEALTH_RULES)


def test_the_table_states_the_thresholds_of_the_code():
    stated = {rule: tuple(numbers(cell)) for rule, cell in rows().items() if cell != "-"}
    assert stated == {rule: tuple(map(float, values)) for rule, values in THRESHOLDS.items()}


@pytest.mark.parametrize("rule", STATED_ON_PAGES)
def test_the_pages_state_the_thresholds_of_the_code(rule):
    assert set(STATED_ON_PAGES[rule]) <= set(numbers(page(rule)))


@pytest.mark.parametrize("rule", [rule for rule in RULES if "below 5 %" in page(rule)])
def test_the_pages_state_when_a_figure_is_negligible(rule):
    assert attack_health.NEGLIGIBLE == 0.05
    assert rule in HEALTH_RULES


@pytest.mark.parametrize("rule", RULES)
def test_pages_say_what_a_reader_needs(rule):
    text = page(rule)
    assert text.startswith(f"# {rule}: {title(rule)}\n")
    assert 10 <= len(text.splitlines()) <= 25
    for part in ("What it means", "How it is computed", "Level and threshold", "What to do", "Sources"):
        assert text.count(f"**{part}.**") == 1
    assert re.search(r"arXiv\s\d{4}\.\d{5}", text)


@pytest.mark.parametrize("rule", RULES)
def test_pages_name_only_rules_that_exist(rule):
    attacks = {"fgsm", "pgd", "apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square", "ddn", "cascade", "autoattack"}
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", page(rule)))
    assert named <= set(RULES) | attacks | {"exp", "training", "dim", "forward"}
