"""Builders of snapshots: one of 1,000 images, 90 % of them right, under two attacks, with any field changed."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lsa_audit.gating.snapshot import flags, pack
from lsa_audit.gating.verdict import Question, judge
from lsa_audit.records import AuditRecord, Finding, LabelInfo, Perturbation, Skipped
from lsa_audit.records.gating import GateCheck, Gating
from lsa_audit.records.snapshot import JudgedImages, LayerState, MeasuredLayers, NeuronCount, Snapshot
from lsa_audit.settings.gates import Gate, Waiver
from lsa_audit.settings.profile import build as build_profile
from lsa_audit.units import format_epsilon

from ..reporting.builders import build, perturbation

IMAGES = 1_000
LAYERS = ("conv1", "conv2", "fc")
FGSM, PGD, SMALL = "fgsm@linf-8/255", "pgd@linf-8/255", "pgd@linf-2/255"
ROBUST = {FGSM: 700, PGD: 500, SMALL: 800}
TODAY = date(2026, 3, 1)


def attack(identity: str, kind: str = "attack", **changes: Any) -> Perturbation:
    name, _, place = identity.partition("@")
    norm, _, written = place.partition("-")
    above, _, below = written.partition("/")
    epsilon = float(above) / float(below or 1)
    usual = perturbation(name, epsilon, norm, kind)
    return usual.model_copy(update={"id": f"{name}@{norm}-{format_epsilon(epsilon)}", **changes})


def first(count: int, images: int = IMAGES) -> np.ndarray:
    """Truth values: the first `count` images."""
    return np.arange(images) < count


def digests(rows: ArrayLike) -> str:
    """Of images that are told apart by their number."""
    return base64.b64encode((np.asarray(rows, dtype="<u8") * 2_654_435_761).tobytes()).decode()


def judged(robust: Mapping[str, ArrayLike], kind: str = "attack") -> tuple[JudgedImages, ...]:
    return tuple(
        JudgedImages(perturbation=attack(identity, kind), robust=pack(flags)) for identity, flags in robust.items()
    )


def layers(
    means: Mapping[str, float | None],
    mvl: Sequence[str] = (),
    under: str = PGD,
    values: ArrayLike | None = None,
    **changes: Any,
) -> MeasuredLayers:
    """Layers with these means; `values` [L, N] are their single images."""
    states = tuple(
        LayerState(layer=name, mean=mean, low=mean, high=mean, mvl_share=0.97 if name in mvl else 0.02)
        for name, mean in means.items()
    )
    kept = None
    if values is not None:
        kept = base64.b64encode(zlib.compress(np.asarray(values, dtype="<f4").tobytes())).decode()
    fields = {"perturbation": under, "measure": "relative-error", "eta": 0.8, "mvl": tuple(mvl), "layers": states}
    return MeasuredLayers(**{**fields, "values": kept, **changes})


def spread(means: Sequence[float], images: int = IMAGES, seed: int = 0) -> np.ndarray:
    """[L, N] lognormal values with about these means."""
    noise = np.random.default_rng(seed).lognormal(-0.02, 0.2, (len(means), images))
    return np.asarray(means)[:, None] * noise


def snap(images: int = IMAGES, **changes: Any) -> Snapshot:
    """Of a run in which an attack leaves the first images right, as many as `ROBUST` says of 1,000."""
    record = build()
    data = record.data.model_copy(update={"samples": images})
    fields = {
        "tool_version": "0.1.0",
        "name": "run",
        "subject": None,
        "started_at": record.timing.started_at,
        "model": record.model,
        "data": data,
        "labels": record.labels,
        "seed": 0,
        "precision": "float32, TF32 off",
        "digests": digests(np.arange(images)),
        "clean": pack(first(900 * images // IMAGES, images)),
        "judged": judged({name: first(count * images // IMAGES, images) for name, count in ROBUST.items()}),
        "measured": (layers({"conv1": 0.4, "conv2": 0.5, "fc": 0.9}, ["fc"]),),
        "neurons": (NeuronCount(layer="conv1", fragile=3, neurons=16),),
        "findings": (),
        "skipped": (),
    }
    return Snapshot(**{**fields, **changes})


def part(whole: Snapshot, count: int) -> Snapshot:
    """The same run on some of its images, spread over all of them."""
    rows = np.arange(count) * whole.clean.count // count
    kept = [entry.model_copy(update={"robust": pack(flags(entry.robust)[rows])}) for entry in whole.judged]
    changes = {"digests": digests(rows), "clean": pack(flags(whole.clean)[rows]), "judged": tuple(kept)}
    return whole.model_copy(update=changes)


def retrained(run: Snapshot) -> Snapshot:
    """The same run, of other weights."""
    return run.model_copy(update={"model": run.model.model_copy(update={"weights_sha256": "e" * 64})})


def finding(rule: str, level: str = "error", subject: str = PGD) -> Finding:
    return Finding(rule=rule, group="attack-health", level=level, subject=subject, message="The gradient is zero.")


def gates(written: Mapping[str, Any]) -> dict[str, Gate]:
    """Gates as a profile says them."""
    return build_profile({"ci.yaml": {"gates": dict(written)}}, ["fgsm", "pgd", "cascade"], []).gates or {}


def ask(
    written: Mapping[str, Any],
    run: Snapshot | None = None,
    baseline: Snapshot | None = None,
    waivers: Sequence[Waiver] = (),
    today: date = TODAY,
) -> Gating:
    """What gates say of a run."""
    question = Question(gates(written), tuple(waivers), dict.fromkeys(written, 7), "ci.yaml", today)
    return judge(run or snap(), baseline, question)


def only(gating: Gating) -> GateCheck:
    (check,) = gating.checks
    return check


SELF = LabelInfo(source="self", reason="the label set is another one")
ADD = Skipped(what="layer add", reason="no-batch", detail="No batch dimension.")
CLEAN_DROP = {"clean_accuracy": ["error", {"max_drop": 0.02}]}
ROBUST_DROP = {"robust_accuracy@linf-8/255": ["error", {"max_drop": 0.02}]}
VALUES = spread([0.4, 0.5, 0.9])
MEASURED = layers({"conv1": 0.4, "conv2": 0.5, "fc": 0.9}, ["fc"], values=VALUES)
SHIFTED = layers({"conv1": 0.4, "conv2": 1.5, "fc": 0.9}, ["conv2"], values=VALUES * [[1], [3], [1]])
SEEN, MOVED = snap(measured=(MEASURED,)), snap(measured=(SHIFTED,))
"""Runs that kept the layers' values on single images; in `MOVED` conv2 moved three times as far."""


def weak(robust: int) -> Snapshot:
    """Another attack leaves that many of 1,000 images right at 8/255."""
    return snap(judged=judged({FGSM: first(700), PGD: first(robust), SMALL: first(800)}))


def saved(folder: Path, record: AuditRecord | None = None) -> Path:
    """A run folder as a scan leaves it, without rendered reports, of a record that `report.builders.build` made."""
    record = record or build()
    images, layer_count = record.clean.total, len(record.sustainability[0].layers)
    arrays: dict[str, np.ndarray] = {
        "image_ids": np.arange(images).astype(str),
        "image_digests": np.frombuffer(np.arange(images, dtype="<u8").tobytes(), np.uint8).reshape(images, 8),
        "labels": np.arange(images) % 10,
        "clean_predictions": np.where(first(record.clean.count, images), np.arange(images) % 10, -1),
    }
    for result in record.attacks:
        arrays[f"right/{result.perturbation.id}"] = first(result.robust_accuracy.count, images)
        arrays[f"measure/{result.perturbation.id}"] = spread([1.0] * layer_count, images).astype(np.float32)
    folder.mkdir()
    (folder / "record.json").write_text(record.model_dump_json())
    np.savez_compressed(folder / "evidence.npz", **arrays)
    return folder
