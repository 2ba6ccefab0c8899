"""Images that an attack flipped, chosen for people to look at, with what the model says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..attacks.norms import lengths
from ..models.answers import has_answer
from ..records import ClassScore, Flipped
from .stages import Evaluation
from .verdicts import Verdicts

AT_ONCE = 8
CLASSES = 5
CHANNELS = (1, 3)


@dataclass(frozen=True)
class ChosenImages:
    """What the record says of the chosen images, and their pixels, `gallery/clean` and `gallery/adversarial`."""

    flipped: tuple[Flipped, ...] = ()
    evidence: dict[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Pair:
    """One image of the data: clean and adversarial pixels [C, H, W], logits [K], all on the CPU."""

    place: int
    clean: Tensor
    adversarial: Tensor
    clean_logits: Tensor
    logits: Tensor


def gallery(evaluation: Evaluation, logits: Tensor, verdicts: Verdicts, adversarial: Tensor, size: int) -> ChosenImages:
    """Up to `size` images that are right before the attack and wrong after it.

    The first image of every class comes first, then the second of every class, and so on, always in the order of
    the data. An image whose last adversarial version is right again, as an earlier step alone fooled the model, is left
    out, and so is one without an answer; masked classes are not listed.

    Args:
        logits: of the clean images, [N, K] on the CPU.
        verdicts: of the attack.
        adversarial: what the attack ended with, [N, ...] on the CPU.
        size: 0 or more.

    Returns:
        Nothing for inputs that are no pictures of 1 or 3 channels. The adversarial pixels are float32 [G, C, H, W], the
        clean ones of the data's own type (uint8 or float32).

    Cost: one forward for each image shown; more where attacked images are right again, at most one for each flipped.
    """
    pixels = evaluation.dataset.pixels
    if not size or pixels.dim() != 4 or pixels.shape[1] not in CHANNELS:
        return ChosenImages()
    pairs: list[_Pair] = []
    for pair in _pairs(evaluation, logits, adversarial, _candidates(evaluation, verdicts)):
        if int(pair.logits.argmax()) != int(evaluation.labels[pair.place]):
            pairs.append(pair)
        if len(pairs) == size:
            break
    if not pairs:
        return ChosenImages()
    flipped = tuple(_flipped(evaluation, verdicts, row, pair) for row, pair in enumerate(pairs))
    evidence = {
        "gallery/clean": pixels[[pair.place for pair in pairs]].numpy(),
        "gallery/adversarial": torch.stack([pair.adversarial for pair in pairs]).numpy().astype(np.float32),
    }
    return ChosenImages(flipped, evidence)


def _candidates(evaluation: Evaluation, verdicts: Verdicts) -> list[int]:
    """The flipped images, those that are the first of their class first."""
    flipped = np.flatnonzero(evaluation.right.numpy() & ~verdicts.right).tolist()
    seen: Counter[int] = Counter()
    rounds = {}
    for place in flipped:
        label = int(evaluation.labels[place])
        rounds[place] = seen[label]
        seen[label] += 1
    return sorted(flipped, key=lambda place: rounds[place])


def _pairs(evaluation: Evaluation, logits: Tensor, adversarial: Tensor, places: list[int]) -> Iterator[_Pair]:
    """The images at `places` with their logits, a few forwards at a time, where everything is finite."""
    step = min(AT_ONCE, evaluation.batch_size)
    for start in range(0, len(places), step):
        some = places[start : start + step]
        attacked = adversarial[some]
        with torch.no_grad():
            after = evaluation.model.module(attacked.to(evaluation.device)).cpu()
        for place, image, found in zip(some, attacked, after, strict=True):
            answers = torch.stack([found, logits[place]])
            if bool(image.isfinite().all()) and bool(has_answer(answers).all()):
                clean = evaluation.dataset.images(place, place + 1)[0]
                yield _Pair(place, clean, image, logits[place], found)


def _flipped(evaluation: Evaluation, verdicts: Verdicts, row: int, pair: _Pair) -> Flipped:
    label = int(evaluation.labels[pair.place])
    names = evaluation.dataset.class_names
    ranked = pair.logits.argsort(descending=True, stable=True).tolist()
    others = [number for number in ranked[1:] if number != label]
    shown = {ranked[0], label, *others[: CLASSES - 2]}
    delta = (pair.adversarial - pair.clean)[None]
    return Flipped(
        place=row,
        image_id=evaluation.dataset.image_ids[pair.place],
        perturbation=verdicts.perturbation.id,
        label=label,
        prediction=ranked[0],
        linf=float(lengths(delta, "linf")),
        l2=float(lengths(delta, "l2")),
        scores=tuple(
            ClassScore(
                label=number,
                name=names[number] if number < len(names) else str(number),
                clean=float(pair.clean_logits[number]),
                adversarial=float(pair.logits[number]),
            )
            for number in ranked
            if number in shown and pair.clean_logits[number].isfinite() and pair.logits[number].isfinite()
        ),
    )
