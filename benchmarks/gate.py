"""`python -m benchmarks.gate`: whether the verdicts of the gates keep their word, on simulated pairs of runs.

A pair is the verdicts on the same images before and after: half of the images are right before, a share of them changes
(the discordance), and the share that is right drops by nothing, by the margin, or by twice the margin. Every pair is
judged by the gate and by an unpaired z-test with the same margin. Then numbers of images are announced, from the true
discordance and from pilots, and fresh pairs of that many images are judged. Last the same for means of skewed values.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.gate_page import (
    APART,
    AT_MARGIN,
    FIXED,
    KNOWN,
    MEANS,
    PAIRED,
    POWER,
    SAME,
    UNCHANGED,
    WORSE,
    Row,
    document,
)
from lsa_audit.stats.decision import normal_images
from lsa_audit.stats.means import rise
from lsa_audit.stats.paired import drop, images_needed, p_value
from lsa_audit.writing import write_whole

SEED = 0
MARGIN = 0.02
ALPHA = 0.05
ACCURACY = 0.5
"""Before; with a half a z-test of two samples needs the most images."""
TRUTHS = {UNCHANGED: 0.0, AT_MARGIN: MARGIN, WORSE: 2 * MARGIN}
IMAGES = (50, 200, 770, 2_000)
PILOTS = (50, 200)
RISE_MARGIN = 0.1
RISES = {UNCHANGED: 0.0, AT_MARGIN: RISE_MARGIN, WORSE: 2 * RISE_MARGIN}
RISE_IMAGES = (30, 100, 1_000)
RESAMPLES = 999
SKEWS = {"mildly skewed": 0.5, "strongly skewed": 1.0}
"""Standard deviation of the logarithm of a value."""

Counts = NDArray[np.int64]


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate every point, and write decisions.csv and decisions.md."""
    options = _options(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    begin = time.process_time()
    rows = [*drops(options), *rises(options)]
    page = document(rows, (MARGIN, RISE_MARGIN), ALPHA, time.process_time() - begin)
    table = io.StringIO()
    writer = csv.DictWriter(table, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_whole(options.out / "decisions.csv", table.getvalue().encode())
    write_whole(options.out / "decisions.md", page.encode())
    return 0


def drops(options: argparse.Namespace) -> Iterator[Row]:
    """Every point of a drop."""
    for place, discordance in enumerate(options.discordances):
        for truth, true_drop in TRUTHS.items():
            _say(f"drop: {truth}, discordance {discordance:g}")
            generator = np.random.default_rng([SEED, place, list(TRUTHS).index(truth)])
            scene = Scene(truth, true_drop, discordance, options.pairs, generator)
            for images in options.images:
                counts = scene.same(images)
                yield scene.row(PAIRED, FIXED, images, paired_verdicts(counts))
                yield scene.row(SAME, FIXED, images, unpaired_verdicts(counts))
            if (known := images_needed(scene.discordance, true_drop, MARGIN, ALPHA)) is not None:
                yield scene.row(PAIRED, KNOWN, known, paired_verdicts(scene.same(known)))
            for pilot in PILOTS:
                yield piloted(scene, pilot)
            if truth == UNCHANGED:
                images = unpaired_images(scene.discordance)
                yield scene.row(SAME, KNOWN, images, unpaired_verdicts(scene.same(images)))
                images = unpaired_images(2 * ACCURACY * (1 - ACCURACY))
                yield scene.row(APART, KNOWN, images, unpaired_verdicts(scene.apart(images)))


class Scene:
    """Simulated pairs with one true drop and one discordance."""

    def __init__(
        self, truth: str, true_drop: float, discordance: float, pairs: int, generator: np.random.Generator
    ) -> None:
        self.truth, self.true_drop, self.pairs, self.generator = truth, true_drop, pairs, generator
        self.spread = f"{100 * discordance:g} %"
        self.discordance = max(discordance, true_drop)

    def same(self, images: int | Counts) -> Counts:
        """[pairs, 4]: images right in both runs, lost, gained, wrong in both."""
        lost = (self.discordance + self.true_drop) / 2
        gained = self.discordance - lost
        shares = [ACCURACY - lost, lost, gained, 1 - ACCURACY - gained]
        return self.generator.multinomial(images, shares, size=np.size(images) if np.ndim(images) else self.pairs)

    def apart(self, images: int) -> Counts:
        """The same shape, the runs on images of their own; only what is right in each run counts."""
        before = self.generator.binomial(images, ACCURACY, self.pairs)
        after = self.generator.binomial(images, ACCURACY - self.true_drop, self.pairs)
        both = np.minimum(before, after)
        return np.stack([both, before - both, after - both, images - np.maximum(before, after)], axis=1)

    def row(self, test: str, planned: str, images: int, verdicts: Counter[str]) -> Row:
        """What the verdicts come to."""
        total = verdicts.total()
        return Row(
            "drop", test, self.truth, self.spread, planned, images, total, verdicts["failed"], verdicts["passed"]
        )


@lru_cache(maxsize=100_000)
def verdict(lost: int, gained: int, images: int) -> str:
    """Of the gate. Only the p-value of the side on which the drop lies can be small."""
    if lost - gained > MARGIN * images:
        return "failed" if p_value(lost, gained, images, MARGIN, ALPHA) <= ALPHA else "inconclusive"
    return "passed" if p_value(gained, lost, images, -MARGIN, ALPHA) <= ALPHA else "inconclusive"


@lru_cache(maxsize=100_000)
def announced(lost: int, gained: int, images: int) -> int | None:
    """The number of images that a gate announces; None where it decides, or knows none."""
    return drop(lost, gained, images, MARGIN, ALPHA).needed


def paired_verdicts(counts: Counts) -> Counter[str]:
    """Of the gate, on pairs [P, 4]."""
    return Counter(
        verdict(int(lost), int(gained), int(sum(rest) + lost + gained))
        for lost, gained, *rest in counts[:, [1, 2, 0, 3]]
    )


def unpaired_verdicts(counts: Counts) -> Counter[str]:
    """Of the z-test, which sees how many are right in each run and takes the runs for independent."""
    images = counts.sum(axis=1)
    before, after = (counts[:, 0] + counts[:, 1]) / images, (counts[:, 0] + counts[:, 2]) / images
    error = np.sqrt((before * (1 - before) + after * (1 - after)) / images)
    score = (before - after - MARGIN) / np.maximum(error, 1e-12)
    critical = stats.norm.isf(ALPHA)
    said = np.where(score >= critical, "failed", np.where(score <= -critical, "passed", "inconclusive"))
    return Counter(said.tolist())


def unpaired_images(variance: float) -> int:
    """With which the z-test passes an unchanged model with a probability of 0.8.

    Args:
        variance: of one image's true difference; the test itself believes in that of independent runs.
    """
    believed = 2 * ACCURACY * (1 - ACCURACY)
    spread = stats.norm.isf(ALPHA) * math.sqrt(believed) + stats.norm.ppf(POWER) * math.sqrt(variance)
    return math.ceil((spread / MARGIN) ** 2)


def piloted(scene: Scene, pilot: int) -> Row:
    """Pairs of as many images as a pilot of the same models announces; pilots that decide themselves do not count."""
    numbers = [announced(int(lost), int(gained), pilot) for _, lost, gained, _ in scene.same(pilot)]
    images = np.array([number for number in numbers if number is not None], dtype=np.int64)
    verdicts = paired_verdicts(scene.same(images)) if len(images) else Counter()
    return scene.row(PAIRED, f"announced, pilot of {pilot}", int(np.median(images)) if len(images) else 0, verdicts)


def rises(options: argparse.Namespace) -> Iterator[Row]:
    """Every point of a rise: values before and their changes are both lognormal, the changes moved to the true mean."""
    for skew, deviation in SKEWS.items():
        variance = (math.exp(deviation**2) - 1) * math.exp(deviation**2) / 4
        known = math.ceil(normal_images(variance, RISE_MARGIN, ALPHA))
        for truth, true_rise in RISES.items():
            sizes = dict.fromkeys(options.rise_images, FIXED)
            for images, planned in (sizes if truth == AT_MARGIN else {known: KNOWN}).items():
                _say(f"rise: {truth}, {skew}, {images} images")
                generator = np.random.default_rng([SEED, 1, images, list(RISES).index(truth)])
                said = Counter(_rise_verdict(generator, images, true_rise, deviation) for _ in range(options.pairs))
                yield Row("rise", MEANS, truth, skew, planned, images, options.pairs, said["failed"], said["passed"])


def _rise_verdict(generator: np.random.Generator, images: int, true_rise: float, deviation: float) -> str:
    before = generator.lognormal(0, deviation, images)
    change = (generator.lognormal(0, deviation, images) - math.exp(deviation**2 / 2)) / 2
    decision = rise(before, before + change + true_rise, RISE_MARGIN, ALPHA, int(generator.integers(2**31)), RESAMPLES)
    if decision.p_broken <= ALPHA:
        return "failed"
    return "passed" if decision.p_kept <= ALPHA else "inconclusive"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2_000, help="simulated at each point")
    parser.add_argument("--discordances", type=float, nargs="+", default=(0.01, 0.05, 0.2))
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES)
    parser.add_argument("--rise-images", type=int, nargs="+", default=RISE_IMAGES)
    parser.add_argument("--out", type=Path, default=Path("reports/gate"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
