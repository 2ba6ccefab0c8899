"""What was found about the neurons: nodal dropout, and how its figures were come by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, Self, overload

from pydantic import Field, field_validator, model_validator

from .base import Record

NeuronClass = Literal["fragile", "robust", "null"]


class Correlation(Record):
    """Spearman's rank correlation with a two-sided permutation p-value, over neurons or layers."""

    between: tuple[str, str]
    rho: float | None = Field(description="None when one side is constant, or fewer than three pairs are known")
    p_value: float | None
    count: int = Field(description="pairs")


class DropEffect(Record):
    """What the model loses on one set of images when one neuron is dropped."""

    neuron_class: NeuronClass
    measured: int = Field(description="images on which the neuron was dropped; on the others the effect is estimated")
    losses: int = Field(description="of the measured images: right with the neuron, wrong without it")
    gains: int = Field(description="of the measured images: wrong with the neuron, right without it")
    accuracy_drop: float = Field(description="with the neuron minus without; unmeasured images as expected")
    low: float = Field(description="95 % interval of the accuracy drop, wider where images were not measured")
    high: float
    margin_drop: float | None = Field(
        description="mean loss of the true-class margin; unmeasured images by the estimate; None where not finite"
    )
    estimated_margin_drop: float | None = Field(description="the first-order estimate on all images, where it was made")
    p_value: float = Field(description="exact paired McNemar test, one-sided for a loss; unmeasured images unchanged")
    p_adjusted: float = Field(description="Holm over the neurons of the layer")


class Neuron(Record):
    """One neuron, dropped."""

    neuron_index: int
    clean: DropEffect
    adversarial: DropEffect
    targeting_score: float | None


class EffectColumns(Record):
    """The effects of all neurons of a layer, one entry a neuron in each field; see `DropEffect`."""

    neuron_class: tuple[NeuronClass, ...]
    measured: tuple[int, ...]
    losses: tuple[int, ...]
    gains: tuple[int, ...]
    accuracy_drop: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    margin_drop: tuple[float | None, ...]
    estimated_margin_drop: tuple[float | None, ...]
    p_value: tuple[float, ...]
    p_adjusted: tuple[float, ...]

    @staticmethod
    def of(effects: Iterable[DropEffect]) -> EffectColumns:
        """The same effects by field."""
        listed = list(effects)
        return EffectColumns(
            **{name: tuple(getattr(effect, name) for effect in listed) for name in DropEffect.model_fields}
        )

    def rows(self) -> Iterator[DropEffect]:
        """The effects, one by one."""
        names = tuple(DropEffect.model_fields)
        for values in zip(*(getattr(self, name) for name in names), strict=True):
            yield DropEffect.model_construct(**dict(zip(names, values, strict=True)))

    def row(self, place: int) -> DropEffect:
        """The effect of one neuron."""
        return DropEffect.model_construct(**{name: getattr(self, name)[place] for name in DropEffect.model_fields})


class NeuronColumns(Record):
    """The neurons of a layer as columns: a third of the bytes of one object a neuron. Behaves as a sequence of them."""

    neuron_index: tuple[int, ...]
    targeting_score: tuple[float | None, ...]
    clean: EffectColumns
    adversarial: EffectColumns

    @model_validator(mode="after")
    def _one_entry_a_neuron(self) -> NeuronColumns:
        columns = [
            self.targeting_score,
            *(vars(side)[name] for side in self._sides for name in DropEffect.model_fields),
        ]
        if any(len(column) != len(self.neuron_index) for column in columns):
            raise ValueError("the columns have different lengths")
        return self

    @property
    def _sides(self) -> tuple[EffectColumns, EffectColumns]:
        return self.clean, self.adversarial

    @staticmethod
    def of(neurons: Iterable[Neuron]) -> NeuronColumns:
        """The same neurons as columns."""
        listed = list(neurons)
        return NeuronColumns(
            neuron_index=tuple(neuron.neuron_index for neuron in listed),
            targeting_score=tuple(neuron.targeting_score for neuron in listed),
            clean=EffectColumns.of(neuron.clean for neuron in listed),
            adversarial=EffectColumns.of(neuron.adversarial for neuron in listed),
        )

    def __len__(self) -> int:
        return len(self.neuron_index)

    @overload
    def __getitem__(self, place: int) -> Neuron: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Neuron, ...]: ...

    def __getitem__(self, place: int | slice) -> Neuron | tuple[Neuron, ...]:
        if isinstance(place, slice):
            return tuple(self[each] for each in range(*place.indices(len(self))))
        return Neuron.model_construct(
            neuron_index=self.neuron_index[place],
            clean=self.clean.row(place),
            adversarial=self.adversarial.row(place),
            targeting_score=self.targeting_score[place],
        )

    # A sequence of neurons, where pydantic has one of fields.
    def __iter__(self) -> Iterator[Neuron]:  # type: ignore[override]
        sides = zip(self.clean.rows(), self.adversarial.rows(), strict=True)
        for index, score, (clean, adversarial) in zip(self.neuron_index, self.targeting_score, sides, strict=True):
            yield Neuron.model_construct(
                neuron_index=index, clean=clean, adversarial=adversarial, targeting_score=score
            )


class NeuronTable(Record):
    """Nodal dropout of one layer."""

    layer: str
    site: str = Field(description="where the neurons were dropped, e.g. 'bn1 (the batch norm after conv1)'")
    drop_value: Literal["zero", "mean"]
    perturbation: str = Field(description="id of the attack whose images were used")
    samples: int
    neurons: NeuronColumns = Field(description="as columns; in Python a sequence of `Neuron`")
    gini: float | None = Field(
        description="inequality of the accuracy drops, losses only: 0 all alike, near 1 all in one; None without a loss"
    )
    correlations: tuple[Correlation, ...]

    @field_validator("neurons", mode="before")
    @classmethod
    def _as_columns(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and all(isinstance(entry, Neuron) for entry in value):
            return NeuronColumns.of(value)
        return value

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As of every record; neurons may be given one by one, as to the constructor."""
        changes = dict(update or {})
        if "neurons" in changes:
            changes["neurons"] = self._as_columns(changes["neurons"])
        return super().model_copy(update=changes, deep=deep)

    @property
    def fragile_share(self) -> float:
        """Share of the layer's neurons that are fragile on clean images."""
        return self.neurons.clean.neuron_class.count("fragile") / len(self.neurons)


class Screening(Record):
    """How many of the neurons' effects were measured, and how good the estimates of the others are."""

    budget: float | None = Field(description="whole forwards an image that dropout might cost; None: no limit")
    spent: float = Field(description="what it cost, by FLOPs, in whole forwards an image")
    exact: float = Field(description="what measuring every neuron on every image would cost")
    neurons: int
    neurons_measured: int = Field(description="on all images, clean and adversarial")
    pairs: int = Field(description="neurons times images, clean and adversarial")
    pairs_measured: int
    agreement: Correlation = Field(
        description="first-order estimate of the margin drop against the measured one, on all neurons where all were "
        "measured, else on a random sample of them"
    )
