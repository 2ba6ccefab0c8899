"""Runs as reports show them: with what gates said, and with the pictures of a gallery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_audit.records import AuditRecord, ClassScore, Flipped
from lsa_audit.reporting.pictures import pictures
from lsa_audit.reporting.shown import Shown

from . import gating_records
from .builders import build

STRONGEST = "pgd@linf-0.0313725"
CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def flipped(place: int, label: int, prediction: int, **changes: Any) -> Flipped:
    """An image whose answer moves from `label` to `prediction`, with the given fields in place of its own."""
    scores = (
        ClassScore(label=prediction, name=CLASSES[prediction], clean=1.25, adversarial=9.5),
        ClassScore(label=label, name=CLASSES[label], clean=8.75, adversarial=4.5),
        ClassScore(label=9, name=CLASSES[9], clean=-0.5, adversarial=0.25),
    )
    usual = {
        "place": place,
        "image_id": str(17 + place),
        "perturbation": STRONGEST,
        "label": label,
        "prediction": prediction,
        "linf": 8 / 255,
        "l2": 1.5,
        "scores": scores,
    }
    return Flipped(**{**usual, **changes})


def arrays(record: AuditRecord) -> Mapping[str, NDArray[Any]]:
    """Pixels for the gallery of a record: a slope, and the same with every second column moved by 8 levels."""
    shape = (len(record.gallery), *record.model.input_shape)
    slope = np.linspace(40, 200, shape[-1]).astype(np.uint8)
    clean = np.broadcast_to(slope, shape).copy()
    moved = clean.astype(np.float32) / 255
    moved[..., ::2] += 8 / 255
    return {"gallery/clean": clean, "gallery/adversarial": moved}


def with_gallery(record: AuditRecord, gallery: tuple[Flipped, ...]) -> tuple[AuditRecord, Mapping[str, NDArray[Any]]]:
    """The record with a gallery, and the evidence that goes with it."""
    changed = record.model_copy(update={"gallery": gallery})
    return changed, arrays(changed)


def failed() -> Shown:
    """A run whose gates failed, with two flipped images."""
    record, evidence = with_gallery(build(), (flipped(0, 3, 5), flipped(1, 0, 8)))
    return Shown(record, gating_records.failed(), pictures(record, evidence))


def hostile(record: AuditRecord, name: str) -> Shown:
    """The record with `name` as every word that gates and the gallery may take from model, data and profile."""
    score = ClassScore(label=3, name=name, clean=1.0, adversarial=0.5)
    scores = (score.model_copy(update={"label": 5}), score)
    entry = flipped(0, 3, 5, image_id=name, perturbation=name, scores=scores)
    data = record.data.model_copy(update={"class_names": (name,) * 10})
    changed, evidence = with_gallery(record.model_copy(update={"data": data}), (entry,))
    return Shown(changed, gating_records.hostile(name), pictures(changed, evidence))


Make = Callable[[dict[str, AuditRecord], str], Shown]
SHOWN: dict[str, Make] = {
    "clean": lambda samples, name: Shown(samples["clean"]),
    "findings": lambda samples, name: Shown(samples["findings"], gating_records.gating()),
    "gates": lambda samples, name: failed(),
    "hostile": lambda samples, name: hostile(samples["hostile"], name),
}
"""By name: how each is made of the sample records and of a name that means something in every format."""
