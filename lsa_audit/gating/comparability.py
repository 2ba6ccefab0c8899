"""Whether two runs can be compared, what forbids it, and what else is different. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from ..records import Perturbation
from ..records.gating import Difference
from ..records.snapshot import Snapshot
from .patterns import listed
from .snapshot import digests, measured_layers

SETTINGS = ("name", "kind", "norm", "epsilon", "steps", "step_size", "restarts", "minimal", "layer", "version")
"""Of a perturbation: all that changes its result."""
MODEL = ("name", "architecture", "weights", "weights_sha256", "parameters", "mean", "std", "input_shape", "classes")
FUNCTION = ("weights_sha256", "mean", "std", "input_shape", "input_layout", "classes")
"""Of a model: what, if it is the same, makes two runs runs of the same weights in the same use."""
MEASURED = "measured"

Rows = NDArray[np.intp]


def refusals(run: Snapshot, baseline: Snapshot, perturbations: Collection[str] | None = None) -> tuple[Difference, ...]:
    """Everything that forbids to compare two runs: images, transforms, labels, and the perturbations asked for.

    Args:
        perturbations: ids; None: all of both.

    Raises:
        DataError: malformed digests.
    """
    return (*missing_images(run, baseline), *other_conditions(run, baseline, perturbations))


def missing_images(run: Snapshot, baseline: Snapshot) -> tuple[Difference, ...]:
    """Images of the run that the baseline lacks; one that has more than the run forbids nothing.

    Raises:
        DataError: malformed digests.
    """
    rows, _ = pair(run, baseline)
    lacking = run.clean.count - len(rows)
    if not lacking:
        return ()
    if run.digests is None or baseline.digests is None:
        return (Difference(what="images (sha256)", run=run.data.sha256, baseline=baseline.data.sha256),)
    said = f"{lacking:,} of {run.clean.count:,} are not in the baseline"
    return (Difference(what="images", run=said, baseline=f"{baseline.clean.count:,} images"),)


def other_conditions(
    run: Snapshot, baseline: Snapshot, perturbations: Collection[str] | None = None
) -> tuple[Difference, ...]:
    """Everything but the images that forbids to compare two runs."""
    if perturbations is None:
        perturbations = dict.fromkeys(entry.perturbation.id for side in (run, baseline) for entry in side.judged)
    found = _differences(
        ("transforms", run.data.transforms, baseline.data.transforms),
        ("label source", run.labels.source, baseline.labels.source),
    )
    if perturbations:
        found += _differences(("precision", run.precision, baseline.precision))
    theirs, ours = (_perturbations(side) for side in (baseline, run))
    for name in perturbations:
        found += _perturbation(name, ours.get(name), theirs.get(name))
    return tuple(found)


def layer_refusals(run: Snapshot, baseline: Snapshot, perturbation: str, *, lists: bool) -> tuple[Difference, ...]:
    """What forbids to compare the layers under a perturbation.

    Args:
        lists: whether the lists of most vulnerable layers are compared, which depend on eta.
    """
    ours, theirs = measured_layers(run, perturbation), measured_layers(baseline, perturbation)
    if ours is None or theirs is None:
        return tuple(
            _differences((f"layers under {perturbation}", _whether(ours, MEASURED), _whether(theirs, MEASURED)))
        )
    found = _differences((f"measure of the layers under {perturbation}", ours.measure, theirs.measure))
    if lists:
        found += _differences((f"eta of the layers under {perturbation}", ours.eta, theirs.eta))
    return tuple(found)


def shown(run: Snapshot, baseline: Snapshot) -> tuple[Difference, ...]:
    """Differences that forbid nothing and that a reader should know: the model, the seed, what only one has."""
    left, right = run.model, baseline.model
    found = _differences(*((f"model {name}", getattr(left, name), getattr(right, name)) for name in MODEL))
    formats = [side.conversion.format if side.conversion else side.source for side in (left, right)]
    found += _differences(
        ("model format", formats[0], formats[1]),
        ("seed", run.seed, baseline.seed),
        ("tool version", run.tool_version, baseline.tool_version),
        ("number of images", run.clean.count, baseline.clean.count),
    )
    for what, ours, theirs in (
        ("perturbations", list(_perturbations(run)), list(_perturbations(baseline))),
        ("layers", _layers(run), _layers(baseline)),
        (
            "layers with dropped neurons",
            [each.layer for each in run.neurons],
            [each.layer for each in baseline.neurons],
        ),
    ):
        found += _only_in_one(what, ours, theirs)
    return tuple(found)


def same_weights(run: Snapshot, baseline: Snapshot) -> bool:
    """Whether two runs are of the same weights, bit by bit and by name, with the same normalisation and input."""
    left, right = run.model, baseline.model
    return bool(left.weights_sha256) and all(getattr(left, name) == getattr(right, name) for name in FUNCTION)


def said(difference: Difference) -> str:
    """One difference in words."""
    return f"{difference.what}: {difference.run}, in the baseline {difference.baseline}"


def pair(run: Snapshot, baseline: Snapshot) -> tuple[Rows, Rows]:
    """The images that both have: their rows in the run, in its order, and their rows in the baseline.

    Raises:
        DataError: malformed digests.
    """
    ours, theirs = digests(run), digests(baseline)
    if ours is None or theirs is None:
        same = run.data.sha256 == baseline.data.sha256 and run.clean.count == baseline.clean.count
        rows = np.arange(run.clean.count if same else 0)
        return rows, rows
    _, left, right = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
    order = np.argsort(left)
    return left[order], right[order]


def _perturbations(snapshot: Snapshot) -> dict[str, Perturbation]:
    return {entry.perturbation.id: entry.perturbation for entry in snapshot.judged}


def _perturbation(name: str, ours: Perturbation | None, theirs: Perturbation | None) -> list[Difference]:
    if ours is None or theirs is None:
        return _differences((name, _whether(ours, "run"), _whether(theirs, "run")))
    return _differences(
        *((f"{name} {setting}", getattr(ours, setting), getattr(theirs, setting)) for setting in SETTINGS)
    )


def _layers(snapshot: Snapshot) -> list[str]:
    return list(dict.fromkeys(state.layer for entry in snapshot.measured for state in entry.layers))


def _only_in_one(what: str, ours: Sequence[str], theirs: Sequence[str]) -> list[Difference]:
    known, other = set(ours), set(theirs)
    only = [name for name in ours if name not in other], [name for name in theirs if name not in known]
    left, right = (listed(names) if names else "none" for names in only)
    return _differences((f"{what} that only one has", left, right))


def _whether(thing: object, done: str) -> str:
    return f"not {done}" if thing is None else done


def _differences(*pairs: tuple[str, object, object]) -> list[Difference]:
    return [
        Difference(what=what, run=_text(ours), baseline=_text(theirs)) for what, ours, theirs in pairs if ours != theirs
    ]


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return "; ".join(str(entry) for entry in value) or "none"
    return "none" if value is None else str(value)
