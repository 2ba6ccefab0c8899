"""The figures of all cells of a reproduction, by setting."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scipy import stats

from lsa_audit.stats.statistics import CONFIDENCE, mcnemar_change

from .cells import CELL_VERSION, Cell
from .experiment import Experiment, Setting


class PageError(Exception):
    """The cells that are there do not make one page."""


class Spread(NamedTuple):
    """Over seeds; std is None for a single one."""

    mean: float
    std: float | None
    low: float
    high: float


class Difference(NamedTuple):
    """Setting minus base over the seeds that both have, with a t interval at 95 %; None for a single seed."""

    mean: float
    low: float | None
    high: float | None
    seeds: int


class Pairs(NamedTuple):
    """Verdicts of base and setting on the same images, pooled over seeds."""

    gained: int
    lost: int
    total: int

    @property
    def points(self) -> float:
        return 100 * (self.gained - self.lost) / self.total

    @property
    def p_value(self) -> float:
        """Of the exact two-sided McNemar test."""
        return mcnemar_change(self.gained, self.lost)


@dataclass(frozen=True)
class Figure:
    """Where a figure stands in a cell; epsilon in the published units, 0 for no attack."""

    look: str
    attack: str
    epsilon: float


CLEAN = Figure("white-box", "clean", 0.0)


def fgsm(epsilon: float) -> Figure:
    """The published column."""
    return Figure("white-box", "fgsm", epsilon) if epsilon else CLEAN


class Results:
    """Cells that ran to the end, grouped.

    Raises:
        PageError: there are none, or they were made with other sizes, settings or code.
    """

    def __init__(self, experiment: Experiment, cells: Sequence[Cell]) -> None:
        self.experiment = experiment
        self.failed = [cell for cell in cells if "failed" in cell]
        done = [cell for cell in cells if "failed" not in cell]
        _check(experiment, cells)
        if not done:
            raise PageError(f"no cell of {experiment.name} has run to the end")
        self.first = done[0]
        self._cells = {
            setting.name: {cell["seed"]: cell for cell in done if cell["setting"] == setting.name}
            for setting in experiment.settings
        }
        self.settings = [setting for setting in experiment.settings if self._cells[setting.name]]

    def seeds(self, setting: str) -> list[int]:
        """Those that ran to the end, rising."""
        return sorted(self._cells[setting])

    def cells(self, setting: str) -> list[Cell]:
        """By seed."""
        return [self._cells[setting][seed] for seed in self.seeds(setting)]

    def bits(self, setting: str, seed: int, figure: Figure) -> str:
        """A 1 for each image that is right."""
        (look,) = [look for look in self._cells[setting][seed]["looks"] if look["name"] == figure.look]
        if figure.attack == "clean":
            return str(look["clean"])
        wanted = figure.epsilon / self.experiment.scale
        (found,) = [
            verdict["robust"]
            for verdict in look["verdicts"]
            if verdict["attack"] == figure.attack and math.isclose(verdict["epsilon"], wanted)
        ]
        return str(found)

    def accuracies(self, setting: str, figure: Figure) -> list[float]:
        """In %, by seed."""
        return [_share(self.bits(setting, seed, figure)) for seed in self.seeds(setting)]

    def scores(self, setting: str) -> list[float]:
        """R&G by seed: the sum of the accuracies under FGSM over the grid, clean included."""
        columns = [self.accuracies(setting, fgsm(epsilon)) for epsilon in self.experiment.grid]
        return [sum(column) for column in zip(*columns, strict=True)]

    def pairs(self, setting: Setting, figure: Figure, most: int | None = None) -> Pairs:
        """Against the setting's base; `most`: the first images alone."""
        gained = lost = total = 0
        for seed in self.common(setting):
            before = self.bits(setting.base or "", seed, figure)[:most]
            after = self.bits(setting.name, seed, figure)[:most]
            both = list(zip(before, after, strict=True))
            gained += both.count(("0", "1"))
            lost += both.count(("1", "0"))
            total += len(both)
        return Pairs(gained, lost, total)

    def common(self, setting: Setting) -> list[int]:
        """Seeds that the setting and its base have."""
        return [seed for seed in self.seeds(setting.name) if seed in self._cells[setting.base or ""]]

    def compared(self) -> list[Setting]:
        """Settings whose base ran with a common seed."""
        return [setting for setting in self.settings if setting.base is not None and self.common(setting)]

    def difference(self, setting: Setting, figure: Figure | None) -> Difference:
        """Of accuracies in points, or of R&G where no figure is named, paired by seed."""
        seeds = self.common(setting)
        sides = []
        for name in (setting.name, setting.base or ""):
            values = self.scores(name) if figure is None else self.accuracies(name, figure)
            by_seed = dict(zip(self.seeds(name), values, strict=True))
            sides.append([by_seed[seed] for seed in seeds])
        return difference([after - before for after, before in zip(*sides, strict=True)])


def spread(values: Sequence[float]) -> Spread:
    """Mean, standard deviation of the sample, smallest and largest."""
    std = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.mean(values), std, min(values), max(values))


def difference(values: Sequence[float]) -> Difference:
    """Of paired differences.

    >>> [round(value, 2) for value in difference([1.0, 2.0, 3.0])]
    [2.0, -0.48, 4.48, 3]
    """
    count, mean = len(values), statistics.mean(values)
    if count < 2:
        return Difference(mean, None, None, count)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * statistics.stdev(values) / math.sqrt(count)
    return Difference(mean, mean - half, mean + half, count)


def _share(bits: str) -> float:
    return 100 * bits.count("1") / len(bits)


def _check(experiment: Experiment, cells: Sequence[Cell]) -> None:
    known = {setting.name for setting in experiment.settings}
    for cell in cells:
        name = f"{cell['setting']}-{cell['seed']}"
        if cell["cell_version"] != CELL_VERSION or cell["experiment"] != experiment.name:
            raise PageError(f"cell {name} is of another version or experiment; take it away")
        if cell["setting"] not in known:
            raise PageError(f"cell {name} is of a setting that {experiment.name} does not have; take it away")
        same = (cell["sizes"], cell["recipe"]["epochs"])
        if same != (cells[0]["sizes"], cells[0]["recipe"]["epochs"]):
            raise PageError(f"cell {name} was made with other sizes or epochs than the first one; name another --out")
