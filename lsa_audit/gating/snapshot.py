"""From a record and its per-image arrays to a snapshot, and back from its packed fields, which may be hostile."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError
from ..records import AuditRecord, Estimate, Sustainability
from ..records.snapshot import Flags, JudgedImages, LayerState, MeasuredLayers, NeuronCount, Snapshot
from ..settings.limits import GIB
from ..stats.statistics import Floats
from ..units import PIXEL_LEVELS

DIGEST_BYTES = 8
LARGEST_SEED = 2**63
LARGEST_COUNT = 2**53
WHOLE_BATCH = "batch-relative-error"
"""The measure that has one value for all images together, and none for the single ones."""
AGAIN = "scan again, or take a baseline that you can trust"

Truths = NDArray[np.bool_]


def snapshot(
    record: AuditRecord, evidence: Mapping[str, NDArray[Any]], name: str, measures: Collection[str] = ()
) -> Snapshot:
    """What of a run is compared.

    Args:
        evidence: the arrays of its `evidence.npz`.
        name: what the run is called.
        measures: ids of the perturbations under which the layers' values on single images are kept.

    Raises:
        DataError: an array that is missing, or not as a scan writes it; a record without images, or one that counts
            other images right than the arrays do.
    """
    images = record.clean.total
    clean = _array(evidence, "clean_predictions", "iu", (images,)) == _array(evidence, "labels", "iu", (images,))
    digests = _array(evidence, "image_digests", "u", (images, DIGEST_BYTES)) if "image_digests" in evidence else None
    found = Snapshot(
        tool_version=record.tool_version,
        name=name,
        subject=record.subject,
        started_at=record.timing.started_at,
        model=record.model,
        data=record.data,
        labels=record.labels,
        seed=_seed(record.settings.get("seed")),
        precision=record.environment.precision,
        digests=None if digests is None else _text(digests.astype(np.uint8).tobytes()),
        clean=_counted(clean, record.clean, "without attack"),
        judged=tuple(
            JudgedImages(
                perturbation=result.perturbation,
                robust=_counted(
                    clean & _array(evidence, f"right/{result.perturbation.id}", "b", (images,)),
                    result.robust_accuracy,
                    f"under {result.perturbation.id}",
                ),
            )
            for result in record.attacks
        ),
        measured=tuple(_measured(entry, evidence, images, measures) for entry in record.sustainability),
        neurons=tuple(
            NeuronCount(
                layer=table.layer,
                fragile=table.neurons.clean.neuron_class.count("fragile"),
                neurons=len(table.neurons),
                drop_value=table.drop_value,
            )
            for table in record.neurons
        ),
        findings=record.findings,
        skipped=record.skipped,
    )
    check(found)
    return found


def check(snapshot: Snapshot) -> None:
    """Refuse a snapshot whose fields contradict each other; the other functions rely on it.

    Raises:
        DataError: it does, or a number of it is out of range.
    """
    images, name = snapshot.clean.count, snapshot.name
    if images < 1:
        raise DataError(f"{name} holds no images", AGAIN)
    _seed(snapshot.seed)
    _unique(name, "perturbation", (entry.perturbation.id for entry in snapshot.judged))
    _unique(name, "measured perturbation", (entry.perturbation for entry in snapshot.measured))
    _unique(name, "layer", (entry.layer for entry in snapshot.neurons))
    for judged in snapshot.judged:
        if not 0 <= judged.perturbation.epsilon * PIXEL_LEVELS < math.inf or judged.robust.count != images:
            raise DataError(f"{name}: {judged.perturbation.id} is not as a scan writes it", AGAIN)
    for measured in snapshot.measured:
        layers = [state.layer for state in measured.layers]
        _unique(name, "layer", layers)
        if not set(measured.mvl) <= set(layers):
            raise DataError(f"{name}: a vulnerable layer under {measured.perturbation} was not measured", AGAIN)
    if any(not 0 <= entry.fragile <= entry.neurons <= LARGEST_COUNT for entry in snapshot.neurons):
        raise DataError(f"{name}: its counts of neurons are not as a scan writes them", AGAIN)


def pack(values: ArrayLike) -> Flags:
    """Truth values [N] as bits."""
    truths = np.asarray(values, dtype=np.bool_)
    return Flags(count=len(truths), bits=_text(np.packbits(truths).tobytes()))


def flags(packed: Flags) -> Truths:
    """Truth values [N] from bits.

    Raises:
        DataError: there are not as many as it says.
    """
    content = _decoded(packed.bits)
    if packed.count < 0 or len(content) != -(-packed.count // 8):
        raise DataError(f"{len(content)} bytes do not hold the verdicts of {packed.count} images", AGAIN)
    return np.unpackbits(np.frombuffer(content, dtype=np.uint8), count=packed.count).astype(np.bool_)


def digests(snapshot: Snapshot) -> NDArray[np.uint64] | None:
    """[N] one number for each image, which tells it from all others; None where the run did not keep them.

    Raises:
        DataError: not as many as images, or the same one twice.
    """
    if snapshot.digests is None:
        return None
    content = _decoded(snapshot.digests)
    if len(content) != snapshot.clean.count * DIGEST_BYTES:
        raise DataError(f"{snapshot.name} does not hold one digest for each image", AGAIN)
    found = np.frombuffer(content, dtype="<u8").astype(np.uint64)
    if len(np.unique(found)) != len(found):
        raise DataError(f"{snapshot.name} holds the same image twice", AGAIN)
    return found


@lru_cache(maxsize=4)
def values(measured: MeasuredLayers, images: int) -> Floats | None:
    """[L, N] the measure of each layer on each image, NaN where undefined, read-only; None where they were not kept.

    Raises:
        DataError: the content is malformed, has another size, or is above 1 GiB.
    """
    if measured.values is None:
        return None
    where = f"the values of the layers under {measured.perturbation}"
    size = 4 * len(measured.layers) * images
    if size > GIB:
        raise DataError(f"{where} are above 1 GiB", AGAIN)
    unpacking = zlib.decompressobj()
    try:
        content = unpacking.decompress(_decoded(measured.values), size + 1)
    except zlib.error:
        raise DataError(f"{where} cannot be unpacked", AGAIN) from None
    if len(content) != size:
        raise DataError(f"{where} are not those of {images} images", AGAIN)
    found = np.frombuffer(content, dtype="<f4").astype(np.float64).reshape(len(measured.layers), images)
    found[~np.isfinite(found)] = np.nan
    found.flags.writeable = False
    return found


def robust(snapshot: Snapshot, ids: Collection[str]) -> Truths:
    """[N] whether an image is right before and after every one of these perturbations."""
    kept = [flags(entry.robust) for entry in snapshot.judged if entry.perturbation.id in ids]
    return np.asarray(np.logical_and.reduce([flags(snapshot.clean), *kept]), dtype=np.bool_)


def measured_layers(snapshot: Snapshot, perturbation: str) -> MeasuredLayers | None:
    """The layers under a perturbation, by its id."""
    return next((entry for entry in snapshot.measured if entry.perturbation == perturbation), None)


def _counted(right: Truths, said: Estimate, where: str) -> Flags:
    """The verdicts as bits; reports show what the record says of them, so that it must say the same."""
    if (found := int(right.sum())) != said.count:
        raise DataError(f"record.json counts {said.count} images right {where}, evidence.npz {found}", AGAIN)
    return pack(right)


def _measured(
    entry: Sustainability, evidence: Mapping[str, NDArray[Any]], images: int, measures: Collection[str]
) -> MeasuredLayers:
    kept = None
    if entry.perturbation in measures and entry.measure != WHOLE_BATCH:
        array = _array(evidence, f"measure/{entry.perturbation}", "f", (len(entry.layers), images))
        kept = _text(zlib.compress(array.astype("<f4").tobytes(), level=9))
    return MeasuredLayers(
        perturbation=entry.perturbation,
        measure=entry.measure,
        eta=entry.eta,
        mvl=entry.mvl,
        layers=tuple(
            LayerState(layer=each.layer, mean=each.mean, low=each.low, high=each.high, mvl_share=each.mvl_share)
            for each in entry.layers
        ),
        values=kept,
    )


def _array(evidence: Mapping[str, NDArray[Any]], name: str, kinds: str, shape: tuple[int, ...]) -> NDArray[Any]:
    if name not in evidence:
        raise DataError(f"evidence.npz holds no {name}", AGAIN)
    array = evidence[name]
    if array.dtype.kind not in kinds or array.shape != shape:
        raise DataError(f"evidence.npz: {name} is {array.dtype} {array.shape}, not as a scan writes it", AGAIN)
    return array


def _seed(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < LARGEST_SEED:
        raise DataError("the seed of the run is no whole number of 0 or above", AGAIN)
    return int(value)


def _unique(name: str, what: str, names: Iterable[str]) -> None:
    listed = list(names)
    if len(set(listed)) != len(listed):
        raise DataError(f"{name} holds the same {what} twice", AGAIN)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DataError("a packed field is not base64", AGAIN) from None
