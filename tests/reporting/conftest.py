"""Sample records of every shape that a report meets, and the switch that rewrites the gold files."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lsa_audit.records import AuditRecord, Estimate, Finding, LabelInfo, LayerMeasure, Skipped, Sweep
from lsa_audit.reporting import html
from lsa_audit.reporting.shown import Shown

from .attack_records import ensembles, masked
from .builders import (
    RESNET,
    attacked,
    build,
    distances,
    dropped,
    effect,
    examined,
    measured,
    perturbation,
    related,
    signs,
    stage,
    walked,
)
from .neuron_records import every_layer, filters, patching

GOLD = Path(__file__).parent / "gold"
HOSTILE = (
    "a|b<script>alert(1)</script>`c`[x](javascript:alert(1))\n# *d* _e_ ~~f~~ &amp; $g$ "
    "https://evil.example www.evil.example x@evil.example \x1b[31m\u202e{{ 7*7 }} ]]>"
)


def _findings() -> AuditRecord:
    broken = attacked(perturbation("pgd", 8 / 255), 120, zero_gradient=37, nonfinite=3)
    findings = (
        Finding(rule="vulnerable-layers", level="note", subject="linear", message="moves most under pgd@linf-8/255"),
        Finding(
            rule="clean-accuracy", level="warning", subject="resnet20", message="lower than is usual for this data."
        ),
        Finding(
            rule="zero-gradients",
            group="attack-health",
            level="error",
            subject="pgd",
            message="37 of 120 robust verdicts had no gradient.",
        ),
    )
    sustainability = (measured(broken.perturbation.id, RESNET, 0.8, (6,)),)
    neurons = (dropped("conv1", broken.perturbation.id),)
    return build(attacks=(broken,), sustainability=sustainability, neurons=neurons, findings=findings)


def _skipped() -> AuditRecord:
    layer = Skipped(what="layer stem.add", reason="batch-dimension-unknown", detail="No dimension is the batch.")
    probe = Skipped(what="neurons of conv1", reason="no-neuron-dimension", detail="The layer has no neuron dimension.")
    return build(skipped=(layer, probe), graph=walked(RESNET, walker="hooks", skipped=(layer,), batch_independent=None))


def _hostile() -> AuditRecord:
    base = build()
    names = (HOSTILE, "1. first", "- dash", "\u540d\u524d", "x" * 400, 'quote"id="z" url(#a) #010101', "$\\frac{1}{2}$")
    entry = perturbation(HOSTILE, 8 / 255).model_copy(update={"layer": HOSTILE, "minimal": True})
    about = {"distances": distances(), "stages": (stage(HOSTILE, 10, 183, 163),), "signs": signs(), "attacked": 100}
    sweep = Sweep(name=HOSTILE, norm="linf", epsilons=(0.01, 8 / 255), first_fooled=(3, 160), unbroken=20, median=0.01)
    health = examined(training_layers=(HOSTILE,))
    pair = health.comparisons[0].model_copy(update={"weaker": HOSTILE, "stronger": entry.id, "missed": 3})
    wrong = Finding(rule=HOSTILE, group="attack-health", level="error", subject=HOSTILE, message=HOSTILE)
    return build(
        model=base.model.model_copy(update={"name": HOSTILE, "notes": (HOSTILE,), "weights": HOSTILE}),
        data=base.data.model_copy(update={"name": HOSTILE, "selection": HOSTILE, "transforms": (HOSTILE,)}),
        labels=LabelInfo(source="self", reason=HOSTILE),
        settings={HOSTILE: {HOSTILE: [HOSTILE]}},
        attacks=(attacked(entry, 20, **about),),
        sweeps=(sweep,),
        health=health.model_copy(update={"comparisons": (pair,)}),
        graph=walked(names),
        sustainability=(measured(entry.id, names, 0.5, (0, 5)),),
        neurons=(dropped(HOSTILE, entry.id), dropped(names[5], entry.id)),
        patching=patching(entry.id, names),
        filters=filters(entry.id, HOSTILE),
        findings=(wrong, wrong.model_copy(update={"subject": "x" * 400})),
        skipped=(Skipped(what=HOSTILE, reason=HOSTILE, detail=HOSTILE),),
    )


def _empty_mvl() -> AuditRecord:
    base = build()
    return build(sustainability=tuple(entry.model_copy(update={"mvl": ()}) for entry in base.sustainability))


def _large() -> AuditRecord:
    names = tuple(f"features.denseblock{1 + n // 40}.denselayer{1 + n % 40}.conv{1 + n % 2}" for n in range(150))
    tried = (("fgsm", "attack", 90), ("pgd", "attack", 4), ("apgd-ce", "attack", 2))
    tried += (("gaussian", "noise", 170), ("salt", "noise", 160), ("speckle", "noise", 165))
    attacks = tuple(
        attacked(perturbation(name, epsilon, kind=kind), max(0, right - int(900 * epsilon)))
        for name, kind, right in tried
        for epsilon in (1 / 255, 4 / 255)
    )
    ids = [result.perturbation.id for result in attacks][1::2]
    sustainability = tuple(
        measured(id_, names, 0.03 * 2.2**place, (120, 131, 140 + place)) for place, id_ in enumerate(ids)
    )
    return build(
        attacks=attacks,
        graph=walked(names),
        sustainability=sustainability,
        neurons=(dropped("features.conv0", ids[1], 64),),
    )


def _nothing_known() -> AuditRecord:
    blank = LayerMeasure(
        layer="conv1",
        mean=None,
        std=None,
        low=None,
        high=None,
        undefined=200,
        lipschitz=None,
        amplification=None,
        mvl_share=None,
    )
    partly = blank.model_copy(update={"layer": "linear", "mean": 0.2, "undefined": 3})
    base = build()
    entry = base.sustainability[3].model_copy(
        update={"mu": None, "sigma": None, "mvl": (), "highest": None, "input_mean": None, "layers": (blank, partly)}
    )
    table = dropped("conv1", entry.perturbation)
    blind = tuple(
        neuron.model_copy(
            update={
                "targeting_score": None,
                "clean": effect(0.0, margin_drop=None),
                "adversarial": effect(0.0, margin_drop=None),
            }
        )
        for neuron in table.neurons
    )
    unknown = {"neurons": blind, "gini": None, "correlations": (related("accuracy_drop", None, None),)}
    return build(
        data=base.data.model_copy(update={"classes": None, "transforms": ()}),
        model=base.model.model_copy(update={"checkpoint_sha256": None, "notes": (), "mean": (), "std": ()}),
        sustainability=(entry,),
        neurons=(table.model_copy(update=unknown),),
        settings={},
    )


def _not_finite() -> AuditRecord:
    base = build()
    entry = base.sustainability[3]
    layers = (
        entry.layers[0].model_copy(update={"mean": math.inf, "high": math.nan, "lipschitz": math.nan}),
        entry.layers[1].model_copy(update={"amplification": -math.inf, "mean": 0.0, "low": 0.0, "high": 0.0}),
        *entry.layers[2:],
    )
    return build(sustainability=(entry.model_copy(update={"mu": math.nan, "layers": layers}),))


def _self_labels() -> AuditRecord:
    reason = "the data has 10 classes, the model 1,000"
    clean = Estimate(count=200, total=200, value=1.0, low=0.981, high=1.0)
    return build(labels=LabelInfo(source="self", reason=reason), clean=clean)


def _two_norms() -> AuditRecord:
    entries = (perturbation("pgd", 8 / 255), perturbation("pgd", 0.5, norm="l2"))
    entries += (perturbation("uniform", 8 / 255, kind="noise"),)
    attacks = tuple(attacked(entry, right) for entry, right in zip(entries, (3, 40, 170), strict=True))
    return build(attacks=attacks, sustainability=(), neurons=())


def _clean_only() -> AuditRecord:
    return build(attacks=(), sustainability=(), neurons=())


SAMPLES: dict[str, Callable[[], AuditRecord]] = {
    "clean": build,
    "findings": _findings,
    "self-labels": _self_labels,
    "skipped": _skipped,
    "hostile": _hostile,
    "empty-mvl": _empty_mvl,
    "large": _large,
    "nothing-known": _nothing_known,
    "not-finite": _not_finite,
    "two-norms": _two_norms,
    "clean-only": _clean_only,
    "ensembles": ensembles,
    "masked": masked,
    "every-layer": every_layer,
}


@pytest.fixture(scope="session")
def samples() -> dict[str, AuditRecord]:
    """Every sample record by name."""
    return {name: make() for name, make in SAMPLES.items()}


class Pages(dict[str, str]):
    """HTML reports of the sample records by name, each drawn when it is first asked for."""

    def __missing__(self, name: str) -> str:
        self[name] = html.render(Shown(SAMPLES[name]()))
        return self[name]


@pytest.fixture(scope="session")
def pages() -> Pages:
    """The HTML report of each sample record by name."""
    return Pages()


@pytest.fixture(scope="session", params=sorted(SAMPLES))
def any_name(request: pytest.FixtureRequest) -> str:
    """The name of each sample record in turn."""
    return request.param


@pytest.fixture(scope="session")
def any_record(any_name: str, samples: dict[str, AuditRecord]) -> AuditRecord:
    """Each sample record in turn."""
    return samples[any_name]


@pytest.fixture(scope="session")
def any_page(any_name: str, pages: Pages) -> str:
    """The HTML report of each sample record in turn."""
    return pages[any_name]


@pytest.fixture(scope="session")
def hostile_name() -> str:
    """A name that means something in every format."""
    return HOSTILE


@pytest.fixture
def check_gold() -> Callable[[str, str], None]:
    """Compares a text with a gold file; LSA_AUDIT_UPDATE_GOLD=1 rewrites the file instead."""

    def check(file_name: str, text: str) -> None:
        path = GOLD / file_name
        if os.environ.get("LSA_AUDIT_UPDATE_GOLD"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        assert path.read_text(encoding="utf-8") == text

    return check
