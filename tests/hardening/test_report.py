"""What the reports of a repair say, whatever came of it."""

from __future__ import annotations

import numpy as np
import pytest

from lsa_audit.page.text import DASH
from lsa_audit.records import DataInfo, Environment, LabelInfo, ModelInfo, Perturbation, Skipped, Timing
from lsa_audit.records.repair import Repair, RepairedFile, ScaledLayer, Strengths, TriedStrengths
from lsa_audit.repairing.outcome import compare
from lsa_audit.reporting.repair import headline, summary, to_html, to_json, to_markdown
from lsa_audit.stats.statistics import estimate

HOSTILE = "<script>x</script>|`a`\x1b[31m"
NONE = Strengths(fragile=0, robust=0)


def change(name, gained, lost):
    before = np.arange(200) < 100
    after = before.copy()
    after[:lost] = False
    after[100 : 100 + gained] = True
    return compare(name, before, after)


def data(samples):
    return DataInfo(
        name=HOSTILE,
        source="arrays",
        interpretation="",
        selection=f"{samples} that the scan did not use",
        samples=samples,
        total=1000,
        classes=2,
        sha256="0" * 64,
    )


def attack(name):
    return Perturbation(
        id=f"{name}@linf-0.1",
        name=name,
        kind="attack",
        norm="linf",
        epsilon=0.1,
        steps=20,
        step_size=None,
        restarts=1,
        version=1,
        citation="arXiv 1706.06083",
    )


def record(**changes) -> Repair:
    """A repair that helped."""
    chosen = Strengths(fragile=0.3, robust=0.1)
    fields = {
        "tool_version": "0",
        "subject": HOSTILE,
        "model": ModelInfo(
            name=HOSTILE,
            source="torchscript",
            architecture=HOSTILE,
            weights=HOSTILE,
            weights_sha256="0" * 64,
            parameters=1,
            input_shape=(1,),
            classes=2,
            mean=(0.0,),
            std=(1.0,),
            normalization_source="none",
        ),
        "labels": LabelInfo(source="dataset", reason=""),
        "choosing": data(100),
        "judging": data(200),
        "scanned_sha256": "0" * 64,
        "attacks": (attack("pgd"), attack("cascade")),
        "max_clean_drop": 0.01,
        "seed": 0,
        "layers": (ScaledLayer(layer=HOSTILE, weight="w", fragile=1, robust=1, null=1, scales=(1.3, 0.9, 1.0)),),
        "skipped": (Skipped(what=f"repair of {HOSTILE}", reason="not-foldable", detail=HOSTILE),),
        "candidates": (
            TriedStrengths(strengths=NONE, change=0, clean=estimate(90, 100), robust=estimate(40, 100)),
            TriedStrengths(strengths=chosen, change=0.1, clean=estimate(90, 100), robust=estimate(60, 100)),
            TriedStrengths(strengths=Strengths(fragile=1, robust=0), change=0.2, clean=estimate(50, 100), robust=None),
        ),
        "chosen": chosen,
        "changes": (change("clean", 0, 0), change("pgd@linf-0.1", 30, 2), change("cascade@linf-0.1", 20, 1)),
        "outcome": "helped",
        "file": RepairedFile(name=f"{HOSTILE}.pt", sha256="0" * 64, difference=1e-7),
        "environment": Environment(
            python="3", platform="x", device="cpu", threads=1, precision="float32", deterministic=True, packages={}
        ),
        "timing": Timing(started_at="2026-01-01", duration_s=1.0, stages_s={"load": 1.0}),
    }
    return Repair(**{**fields, **changes})


NOTHING = {"outcome": "nothing-chosen", "chosen": NONE, "changes": (), "file": None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "The repair helped."),
        ({"changes": record().changes[:2]}, "gradient masking cannot be ruled out"),
        ({"outcome": "not-helped"}, "no significant gain"),
        ({"outcome": "harmed"}, "Significantly fewer images are right"),
        ({"outcome": "masked"}, "gradient masking"),
        (NOTHING, "Of 2 pairs of strengths none left more images right under pgd"),
        ({**NOTHING, "layers": ()}, "None of the layers can be scaled"),
        ({**NOTHING, "candidates": record().candidates[:1]}, "nothing to scale"),
    ],
    ids=str,
)
def test_every_outcome_is_said_plainly_everywhere(changes, said):
    found = record(**changes)
    for shown in ("\n".join(summary(found)), to_markdown(found), to_html(found)):
        assert said in " ".join(shown.split())
    assert summary(found)[0] == f"{headline(found)}."
    assert max(map(len, summary(found))) <= 80


def test_figures_are_in_the_tables():
    found = to_markdown(record()).replace(DASH, "to")
    assert "| clean | 50.0 % | 43.1to56.9 % | 50.0 % | 43.1to56.9 % | 0.0 % |" in found
    assert "| 30 | 2 | \\< 0.001 |" in found
    assert "| 1 | 0 | 20.0 % | 50.0 % | 40.4to59.6 % | to | to |" in found


def test_names_cannot_break_out():
    assert "<script>" not in to_markdown(record()).replace("\\<script\\>", "")
    page = to_html(record())
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    for shown in (page, to_markdown(record()), "\n".join(summary(record()))):
        assert "\x1b" not in shown


def test_without_figures_there_is_no_empty_section():
    assert "Figures" not in to_html(record())


def test_json_holds_all_of_it():
    assert Repair.model_validate_json(to_json(record())) == record()


def test_rounded_weights_are_named_where_there_are_any():
    (layer,) = record().layers
    rounded = record(layers=(layer.model_copy(update={"rounded_to": ("float16",)}),))
    assert "rounded to float16" in to_markdown(rounded)
    assert "rounded to" not in to_markdown(record())
    assert "cannot be ruled out" not in "\n".join(summary(record()))
