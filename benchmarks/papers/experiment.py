"""What a published experiment is made of here: data, settings that are trained, and how each result is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from lsa_audit.data import from_arrays
from lsa_audit.data.base import DataRequest, Dataset, InputSpec

Network = Callable[[], nn.Module]
Published = Mapping[str, tuple[float, ...]]


class Parts(NamedTuple):
    """Three data sets without a common image."""

    training: Dataset
    validation: Dataset
    test: Dataset


@dataclass(frozen=True)
class Sizes:
    """How many images each part has; the last two are the first ones of the test images."""

    training: int
    validation: int
    test: int
    scan: int
    autoattack: int


@dataclass(frozen=True)
class Setting:
    """One way to train.

    Attributes:
        recipe: values that replace the experiment's own.
        gammas: layer name -> weight of its relative error; of a LAD setting the keys are the hidden layers.
        row: of the published table that it stands for; None where nothing was published.
        base: name of the setting that it adds something to; None where it stands alone.
    """

    name: str
    network: Network
    recipe: Mapping[str, Any]
    gammas: Mapping[str, float] = field(default_factory=dict)
    row: str | None = None
    base: str | None = None


@dataclass(frozen=True)
class Look:
    """One audit of a trained network.

    Attributes:
        images: the first ones of the test images.
        attacks: as in a profile, epsilons in pixel units.
        layers: whose relative error is measured, as in a profile.
    """

    name: str
    images: int
    attacks: tuple[Mapping[str, Any], ...]
    layers: str = "none"


@dataclass(frozen=True)
class Experiment:
    """A published table, done again.

    Attributes:
        differs: where this differs from the source or the source is silent, one sentence each.
        load: folder of data and sizes -> the parts.
        recipe: what all settings share.
        grid: epsilons of the published table, clean first, in its own units.
        scale: the published unit in pixel units is 1 / scale.
        strong: epsilons, in the published units, of PGD; those of the other strong attacks are among them.
        decisive: of these, the ones of APGD, of the cascade and (the first) of AutoAttack.
        mean, std: of the input normalisation; None leaves pixels as they are.
    """

    name: str
    title: str
    source: str
    differs: tuple[str, ...]
    load: Callable[[Path, Sizes], Parts]
    sizes: Sizes
    settings: tuple[Setting, ...]
    recipe: Mapping[str, Any]
    published: Published
    grid: tuple[float, ...]
    strong: tuple[float, ...]
    decisive: tuple[float, ...]
    scale: float = 1.0
    passes: int = 600
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def looks(self) -> tuple[Look, ...]:
        """The audits of a trained network, weakest attacks first."""
        fgsm = {"name": "fgsm", "epsilon": self.pixels(self.grid[1:])}
        strong, decisive = self.pixels(self.strong), self.pixels(self.decisive)
        white = (
            fgsm,
            {"name": "pgd", "steps": 40, "epsilon": strong},
            {"name": "apgd-ce", "steps": 50, "epsilon": decisive},
        )
        scan = (
            fgsm,
            {"name": "pgd", "epsilon": decisive},
            {"name": "cascade", "steps": self.passes, "epsilon": decisive},
        )
        return (
            Look("white-box", self.sizes.test, white),
            Look("scan", self.sizes.scan, scan, layers="learnable"),
            Look("autoattack", self.sizes.autoattack, ({"name": "autoattack", "epsilon": decisive[:1]},)),
        )

    def pixels(self, epsilons: tuple[float, ...]) -> list[float]:
        """Published epsilons in pixel units."""
        return [epsilon / self.scale for epsilon in epsilons]

    def setting(self, name: str) -> Setting:
        """
        Raises:
            KeyError: there is none of that name.
        """
        return {setting.name: setting for setting in self.settings}[name]


def part(arrays: tuple[Any, Any], bounds: tuple[int, int], name: str, spec: InputSpec) -> Dataset:
    """Images start..stop-1 of images and labels, in their own order.

    Raises:
        DataError: no image lies there, or the arrays are not images and labels.
    """
    start, stop = bounds
    request = DataRequest(spec="memory", slice=(start, stop))
    return from_arrays(*arrays, spec, request, name=name)
