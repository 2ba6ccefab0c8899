"""A short trial of the usual mistakes with images and labels: would another reading make far more images right?

It runs after the attacks, on what nobody stated, and changes nothing: neither the model nor any figure.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .models.assembly import RANDOM_NOTE
from .models.base import Model, PixelModel
from .models.preprocessing import NONE_GIVEN
from .records import AttackResult, LabelInfo
from .records.plausibility import NOTHING_LEFT, Alternative, Plausibility, Reading
from .stages import Scene
from .statistics import estimate, mcnemar_change
from .units import PIXEL_LEVELS

IMAGES = 200
SHARE = 0.05
"""Of the forward and backward passes of the attacks, the clean predictions and the measurement of layers."""
LEAST_IMAGES = 8
"""With fewer no gain is certain."""
FEWEST, PASSES_FOR_ONE = 3, 8
"""Alternatives that are looked at in any case, and the passes that allow one more."""
LEAST_LOOKED_AT, MOST_LOOKED_AT = 2, 12
"""Images of the first look."""
ROOM = 0.05
"""Share of wrong images below which no alternative could gain what the finding asks for."""
OWN_HANDICAP = 1.5
"""Images; figures in common use go before the images' own where these have hardly more right."""
NAMED = 3
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE = ((103.939 / PIXEL_LEVELS, 116.779 / PIXEL_LEVELS, 123.68 / PIXEL_LEVELS), (1 / PIXEL_LEVELS,))

Values = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Candidate:
    """A change of how images reach the network.

    Attributes:
        values: mean and standard deviation, where they change.
        attributes: of `PixelModel`, that change.
        own: made of the images themselves.
    """

    reading: Reading
    change: str
    options: str
    values: Values | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    own: bool = False


def passes_made(scene: Scene, attacks: Sequence[AttackResult], measured: int) -> int:
    """Images that the scan sent forward or backward, at least, when its layers were measured under so many attacks."""
    images = len(scene.dataset)
    # The clean predictions, two more forwards of the first batch, and the clean and the attacked ones for the layers.
    forwards = images + 2 * min(images, scene.batch_size) + (images * (1 + measured) if measured else 0)
    return forwards + sum(result.forwards + result.backwards for result in attacks)


def examine(scene: Scene, labels: LabelInfo, predictions: Tensor, passes: int) -> Plausibility | None:
    """Hold the reading of the scan against the usual others.

    Args:
        predictions: int64 [N], of the clean images.
        passes: that the scan made.

    Returns:
        None where the labels are the model's own: every reading then has them right.

    Cost: at most IMAGES for each alternative, and in all SHARE of `passes`. Random: a generator
    of its own.
    """
    if labels.source == "self":
        return None
    allowed = int(SHARE * passes)
    if RANDOM_NOTE in scene.model.notes:
        return Plausibility(passes=0, allowed=allowed, note="the weights are random")
    if 1 - float(scene.right.float().mean()) < ROOM:
        return Plausibility(passes=0, allowed=allowed, note="nearly all images are right")
    trial = _Trial(scene, allowed)
    order = _other_classes(scene, predictions)
    tried = trial.run(_candidates(scene.model, trial.images(trial.chosen)), also=order is not None)
    if order is not None:
        candidate, right = order
        tried.append(_held(candidate, scene.right, right, trial.tests))
    return Plausibility(alternatives=tuple(tried), passes=trial.passes, allowed=allowed, note=trial.note)


class _Trial:
    """Runs candidates on clean images and counts what that costs.

    Attributes:
        chosen: int64 [n], places of the images, in random order.
        passes: images sent forward so far.
        tests: tests that are made in all; p-values are multiplied by it.
        note: why some or all candidates did not run.
    """

    def __init__(self, scene: Scene, allowed: int) -> None:
        self.scene = scene
        self.allowed = allowed
        self.chosen = torch.randperm(len(scene.dataset), generator=torch.Generator().manual_seed(0))[:IMAGES]
        self.passes = 0
        self.tests = 1
        self.note = ""

    def images(self, places: Tensor) -> Tensor:
        """Float32 [n, ...] on the CPU."""
        return torch.cat([self.scene.dataset.images(at, at + 1) for at in places.tolist()])

    def run(self, candidates: Sequence[Candidate], *, also: bool) -> list[Alternative]:
        """Every candidate on all images where the passes allow that; else a first look, and the best one on the rest.

        Args:
            also: one more test is made, which needs no passes.
        """
        self.tests += also
        if not candidates:
            self.note = NOTHING_LEFT
            return []
        if len(candidates) * len(self.chosen) <= self.allowed:
            self.tests = len(candidates) + also
            before = self.scene.right[self.chosen]
            found = [(candidate, self._right(candidate, self.chosen)) for candidate in candidates]
            return [_held(one, before, right, self.tests) for one, right in found if right is not None]
        return self._race(candidates)

    def _race(self, candidates: Sequence[Candidate]) -> list[Alternative]:
        """A first look is at a few images that are wrong now; what counts is seen on others, so one test is made."""
        few = candidates[: max(FEWEST, self.allowed // PASSES_FOR_ONE)]
        look = min(MOST_LOOKED_AT, max(LEAST_LOOKED_AT, self.allowed // (3 * len(few))))
        wrong = self.chosen[~self.scene.right[self.chosen]][:look]
        if self.allowed - len(few) * len(wrong) < LEAST_IMAGES:
            self.note = f"the scan makes too few passes: {self.allowed} are allowed for {len(candidates)} alternatives"
            return []
        if len(few) < len(candidates):
            self.note = f"{len(candidates) - len(few)} rarer alternatives were left out: {self.allowed} passes allowed"
        seen = [(candidate, self._right(candidate, wrong)) for candidate in few]
        looked = [(candidate, right) for candidate, right in seen if right is not None]
        before = torch.zeros(len(wrong), dtype=torch.bool)
        found = [_held(candidate, before, right, None) for candidate, right in looked]
        if not looked:
            return found
        best, first = max(looked, key=lambda one: int(one[1].sum()) - OWN_HANDICAP * one[0].own)
        others = self.chosen[~torch.isin(self.chosen, wrong)][: self.allowed - self.passes]
        rest = self._right(best, others) if first.any() else None
        if rest is None:
            return found
        result = _held(best, self.scene.right[others], rest, self.tests)
        if len(others) + len(wrong) == len(self.scene.dataset):
            # All images were seen: the figures are of all, the test is of those that chose nothing.
            both, right = torch.cat([others, wrong]), torch.cat([rest, first])
            whole = _held(best, self.scene.right[both], right, None)
            result = whole.model_copy(update={"p_value": result.p_value})
        return [result, *(one for one in found if one.change != best.change)]

    def _right(self, candidate: Candidate, places: Tensor) -> Tensor | None:
        """[n] bool, which of these images the changed input makes right; None where the network cannot take it."""
        scene = self.scene
        module = _changed(scene.model.module, candidate)
        found = []
        for part in (places[at : at + scene.batch_size] for at in range(0, len(places), scene.batch_size)):
            self.passes += len(part)
            try:
                with torch.no_grad():
                    logits = module(self.images(part).to(scene.device)).cpu()
            except Exception:  # noqa: BLE001 - the network may fail in any way on an input that it was not made for
                return None
            if tuple(logits.shape) != (len(part), scene.model.settled[1]):
                return None
            found.append((logits.argmax(1) == scene.labels[part]) & ~logits.isnan().any(1))
        return torch.cat(found) if found else None


def _candidates(model: Model, images: Tensor) -> list[Candidate]:
    """What nothing states, in the order in which it is common. A normalisation from metadata comes with RGB."""
    wanted = model.preprocessing
    colour = images.dim() == 4 and images.shape[1] == 3
    unstated = wanted.source == NONE_GIVEN
    from_user = unstated or "given by the user" in wanted.source
    turned = {"channel_order": "bgr"}
    found = []
    if unstated:
        if colour:
            found.append(_normalised("mean and standard deviation of ImageNet", IMAGENET))
        found.append(_normalised("pixels in [-1, 1]", ((0.5,), (0.5,))))
    channels_unstated = colour and from_user and "channel order" not in model.provenance
    if channels_unstated:
        found.append(Candidate("channel order", "channels as BGR", "--channel-order bgr", attributes=turned))
    if unstated:
        found.append(_normalised("pixels in 0..255", ((0.0,), (1 / PIXEL_LEVELS,)), "--mean 0 --std 1/255"))
        found.append(_normalised("the images' own mean and standard deviation", _own(images), own=True))
    if unstated and channels_unstated:
        options = "--channel-order bgr --mean 103.939/255,116.779/255,123.68/255 --std 1/255"
        what = "channels as BGR in 0..255 less the mean of ImageNet"
        found.append(Candidate("channel order", what, options, CAFFE, turned))
    if colour and wanted.layout == "nchw" and wanted.network_shape is None and "layout" not in model.provenance:
        found.append(Candidate("layout", "images laid out as NHWC", "--layout nhwc", attributes={"layout": "nhwc"}))
    return found


def _normalised(change: str, values: Values, options: str | None = None, *, own: bool = False) -> Candidate:
    mean, std = (",".join(f"{value:.4g}".replace("0.", ".", 1) for value in part) for part in values)
    return Candidate("normalisation", change, options or f"--mean {mean} --std {std}", values, own=own)


def _own(images: Tensor) -> Values:
    """Mean and standard deviation per channel, rounded as the options show them; of vectors one number for all."""
    flat = images.transpose(0, 1).flatten(1) if images.dim() == 4 else images.reshape(1, -1)
    mean, std = flat.double().mean(1), flat.double().std(1).clamp_min(0.001)
    return tuple(round(value, 3) for value in mean.tolist()), tuple(round(value, 3) for value in std.tolist())


def _changed(module: PixelModel, candidate: Candidate) -> PixelModel:
    """A second front of the same network; the first and the network itself stay as they are."""
    changed = copy.copy(module)
    changed.__dict__ = {**module.__dict__, "_buffers": dict(module._buffers), **candidate.attributes}
    if candidate.values is not None:
        for name, value in zip(("mean", "std"), candidate.values, strict=True):
            changed._buffers[name] = torch.tensor(value, dtype=module.mean.dtype, device=module.mean.device)
    return changed


def _other_classes(scene: Scene, predictions: Tensor) -> tuple[Candidate, Tensor] | None:
    """The order of classes that fits the predictions best, learned on half of each class and held against the other.

    None where the order is stated, or the best one is the present one. No passes.
    """
    order = scene.dataset.class_order
    if order is not None and order.stated:
        return None
    labels = scene.labels
    half = _halves(labels)
    expected = labels.clone()
    # A label or a class may be in one half alone.
    count = int(max(labels.max(), predictions.max())) + 1
    for side in (False, True):
        mapping = _assigned(labels[half != side], predictions[half != side], count)
        expected[half == side] = mapping[labels[half == side]]
    mapping = _assigned(labels, predictions, count)
    moved = [(label, int(mapping[label])) for label in torch.unique(labels).tolist() if int(mapping[label]) != label]
    if not moved:
        return None
    names = scene.dataset.class_names
    steps = {to - label for label, to in moved}
    if len(steps) == 1 and len(moved) == len(torch.unique(labels)):
        (step,) = steps
        candidate = Candidate("class order", f"labels {step:+d}", f"--label-offset {step}")
    else:
        shown = [f"{names[label] if label < len(names) else label} is class {to}" for label, to in moved[:NAMED]]
        change = f"another order of the classes ({', '.join(shown)}{' ...' if len(moved) > NAMED else ''})"
        candidate = Candidate("class order", change, "--class-order FILE" if order is not None else "")
    return candidate, predictions == expected


def _halves(labels: Tensor) -> Tensor:
    """[N] bool: every second image of each class."""
    order = labels.argsort(stable=True)
    _, counts = torch.unique(labels, return_counts=True)
    places = torch.cat([torch.arange(count) for count in counts.tolist()])
    half = torch.empty(len(labels), dtype=torch.bool)
    half[order] = places % 2 == 1
    return half


def _assigned(labels: Tensor, predictions: Tensor, count: int) -> Tensor:
    """Label -> class, [count], one to one, that makes most predictions right; one that fits none keeps itself."""
    rows, row_of = torch.unique(labels, return_inverse=True)
    columns, column_of = torch.unique(predictions, return_inverse=True)
    counts = torch.zeros(len(rows), len(columns))
    counts.index_put_((row_of, column_of), torch.ones(len(labels)), accumulate=True)
    mapping = torch.arange(count)
    for row, column in zip(*linear_sum_assignment(counts.numpy(), maximize=True), strict=True):
        if counts[row, column] > 0:
            mapping[rows[row]] = columns[column]
    return mapping


def _held(candidate: Candidate, before: Tensor, after: Tensor, tests: int | None) -> Alternative:
    """What the change did; `tests` as in `_Trial`, None for images on which nothing can be tested."""
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return Alternative(
        reading=candidate.reading,
        change=candidate.change,
        options=candidate.options,
        before=estimate(int(before.sum()), len(before)),
        after=estimate(int(after.sum()), len(after)),
        gained=gained,
        lost=lost,
        p_value=None if tests is None else min(1.0, tests * mcnemar_change(gained, lost)),
    )
