"""Which candidates are run on which images, so that few passes tell much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...records.plausibility import NOTHING_LEFT, Alternative
from ...stats.statistics import estimate, mcnemar_change
from ..stages import Evaluation
from .candidates import Candidate, changed

IMAGES = 200
LEAST_IMAGES = 8
"""With fewer no gain is certain."""
FEWEST, PASSES_FOR_ONE = 3, 8
"""Alternatives that are looked at in any case, and the passes that allow one more."""
LEAST_LOOKED_AT, MOST_LOOKED_AT = 2, 8
"""Images of the first look."""
BEST, WIDER = 4, 3
"""So many of the first look get a second one, which makes it so many times as wide."""
ENOUGH = 100
"""Images that tell well enough, so that a second one is tested rather than the first on more."""
HANDICAP = 1.5
"""Images; one change in common use goes before two, or the images' own figures, that have hardly more right."""
NEARLY = 4
"""Images that an alternative may have fewer in the last look and still be the better one."""


@dataclass
class _Lane:
    """How far a candidate has come.

    Attributes:
        seen: int64 [n], which of the images it was run on.
        right: [n] bool, which of these it makes right.
    """

    candidate: Candidate
    seen: Tensor
    right: Tensor

    def score(self, now: Tensor) -> float:
        """How many of these images would be right, had they as large a part of right ones as all; `now` is of all."""
        whole = share = 0.0
        for part in (True, False):
            inside = self.right[now[self.seen] == part]
            if len(inside):
                weight = float((now == part).float().mean())
                whole, share = whole + weight, share + weight * float(inside.float().mean())
        return len(self.seen) * share / max(whole, 1e-9) - HANDICAP * self.candidate.rare

    def extend(self, seen: Tensor, right: Tensor | None) -> None:
        if right is not None:
            self.seen, self.right = torch.cat([self.seen, seen]), torch.cat([self.right, right])


def _unseen(lane: _Lane, places: Tensor) -> Tensor:
    rest = torch.ones(len(places), dtype=torch.bool)
    rest[lane.seen] = False
    return torch.nonzero(rest)[:, 0]


class ReadingTrial:
    """Runs candidates on clean images and counts what that costs.

    Attributes:
        chosen: int64 [n], places of the images, in random order.
        passes: images sent forward so far.
        tests: tests that are made in all; p-values are multiplied by it.
        note: why some or all candidates did not run.
    """

    def __init__(self, evaluation: Evaluation, allowed: int) -> None:
        self.evaluation = evaluation
        self.allowed = allowed
        self.chosen = torch.randperm(len(evaluation.dataset), generator=torch.Generator().manual_seed(0))[:IMAGES]
        self.passes = 0
        self.tests = 1
        self.note = ""

    def images(self, places: Tensor) -> Tensor:
        """Float32 [n, ...] on the CPU."""
        return torch.cat([self.evaluation.dataset.images(at, at + 1) for at in places.tolist()])

    def run(self, candidates: Sequence[Candidate], *, also: int) -> list[Alternative]:
        """Every candidate on all images where the passes allow that; else a first look, and the best ones on all.

        Args:
            also: further tests, which need no passes.
        """
        self.tests = max(1, len(candidates) + also)
        if not candidates:
            self.note = NOTHING_LEFT
            return []
        if len(candidates) * len(self.chosen) <= self.allowed:
            before = self.evaluation.right[self.chosen]
            found = [(candidate, self._right(candidate, self.chosen)) for candidate in candidates]
            return [held(one, before, right, self.tests) for one, right in found if right is not None]
        few = candidates[: max(FEWEST, self.allowed // PASSES_FOR_ONE)]
        look = min(MOST_LOOKED_AT, max(LEAST_LOOKED_AT, self.allowed // (3 * len(few))))
        wide = WIDER * look if len(few) > BEST else look
        left = self.allowed - len(few) * look - BEST * (wide - look)
        # Those that go on need no second pass for the images that they were looked at on.
        count = min(len(self.chosen), wide + (left // 2 if left >= 2 * ENOUGH else left))
        if count < LEAST_IMAGES:
            self.tests = max(1, also)
            self.note = f"the scan makes too few passes: {self.allowed} are allowed for {len(candidates)} alternatives"
            return []
        if len(few) < len(candidates):
            self.note = f"{len(candidates) - len(few)} rarer alternatives were left out: {self.allowed} passes allowed"
        self.tests = len(few) + also
        return self._race(few, self.chosen[:count], (look, wide))

    def _race(self, few: Sequence[Candidate], places: Tensor, looks: tuple[int, int]) -> list[Alternative]:
        """A look at some images that are wrong now, a wider one for the best, then all of `places` while passes last.

        Each test is of all of `places`, and corrected for every candidate, whether it came so far or not: so the
        looks may choose by the same images.
        """
        now = self.evaluation.right[places]
        lanes = self._looked(few, places, now, looks)
        widest = max((len(lane.seen) for lane in lanes), default=0)
        # Those of the wider look go first.
        rows = [(len(lane.seen), lane.score(now), lane) for lane in lanes]
        ranked = sorted(rows, key=lambda row: (-row[0], -row[1]))
        tested: dict[str, Alternative] = {}
        for width, score, lane in ranked:
            others = _unseen(lane, places)
            behind = width < widest or score < ranked[0][1] - NEARLY
            if self.passes + len(others) > self.allowed or (behind and any(one.clear for one in tested.values())):
                break
            lane.extend(others, self._right(lane.candidate, places[others]))
            if len(lane.seen) == len(places):
                after = torch.zeros(len(places), dtype=torch.bool)
                after[lane.seen] = lane.right
                tested[lane.candidate.change] = held(lane.candidate, now, after, self.tests)
        return [
            tested.get(lane.candidate.change) or held(lane.candidate, now[lane.seen], lane.right, None)
            for lane in lanes
        ]

    def _looked(self, few: Sequence[Candidate], places: Tensor, now: Tensor, looks: tuple[int, int]) -> list[_Lane]:
        """Every candidate on some images that are wrong now, and the best on more of all kinds."""
        wrong = torch.nonzero(~now)[: looks[0], 0]
        tried = ((candidate, self._right(candidate, places[wrong])) for candidate in few)
        lanes = [_Lane(candidate, wrong, right) for candidate, right in tried if right is not None]
        for lane in sorted(lanes, key=lambda lane: -lane.score(now))[:BEST]:
            more = _unseen(lane, places)[: looks[1] - looks[0]]
            if len(more):
                lane.extend(more, self._right(lane.candidate, places[more]))
        return lanes

    def _right(self, candidate: Candidate, places: Tensor) -> Tensor | None:
        """[n] bool, which of these images the changed input makes right; None where the network cannot take it."""
        evaluation = self.evaluation
        module = changed(evaluation.model.module, candidate)
        found = []
        for part in (places[at : at + evaluation.batch_size] for at in range(0, len(places), evaluation.batch_size)):
            self.passes += len(part)
            images = self.images(part)
            if candidate.pixels is not None:
                images = candidate.pixels(images).contiguous()
            try:
                with torch.no_grad():
                    logits = module(images.to(evaluation.device)).cpu()
            except Exception:  # noqa: BLE001 - the network may fail in any way on an input that it was not made for
                return None
            if tuple(logits.shape) != (len(part), evaluation.model.settled[1]):
                return None
            found.append((logits.argmax(1) == evaluation.labels[part]) & ~logits.isnan().any(1))
        return torch.cat(found) if found else None


def held(candidate: Candidate, before: Tensor, after: Tensor, tests: int | None) -> Alternative:
    """What the change did; `tests` as in `Trial`, None for images on which nothing can be tested."""
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
