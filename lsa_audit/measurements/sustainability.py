"""Layer sustainability analysis: how far every layer moves under every perturbation, and which layers move most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..graph import taps
from ..graph.base import Graph, Layer
from ..records import LayerMeasure, Skipped, Sustainability
from ..stats.statistics import Floats, PooledLayers, finite, pool_layers
from .measures import MEASURES, WHOLE_BATCH, ValuePair, divide, full, pair


class SustainabilityProbe:
    """Reads every layer on clean and perturbed images, batch by batch; keeps one number for each layer and image.

    The clean images and all their perturbations go through the model stacked in one batch, so the clean activations
    are computed once, and a layer's activations are dropped as soon as they have been compared.

    Source: Khalooei, Homayounpour, Amirmazlaghani, arXiv 2202.02626, Algorithms 1 and 2.
    Differs from the source: the comparison measure is a mean of per-image ratios (see `measures.relative_error`);
    intervals and stability come from a bootstrap over the images; Lipschitz estimate and amplification are additions.

    Cost: one forward an image for the clean image and one for each perturbation.
    """

    def __init__(
        self, graph: Graph, layers: Sequence[Layer], perturbations: Sequence[str], measure: str, samples: int
    ) -> None:
        """Args: graph and the layers of it to read; ids of the perturbations; key of `MEASURES`; number of images."""
        self._graph = graph
        self._layers = tuple(layers)
        self._ids = tuple(perturbations)
        self._measure = measure
        self._seen = 0
        shape = (len(self._ids), len(self._layers), samples)
        self.values: Floats = np.full(shape, np.nan)
        self._relative: Floats = self.values if "relative-error" in measure else np.full(shape, np.nan)
        self._input: Floats = np.full((len(self._ids), samples), np.nan)
        self._input_relative: Floats = np.full((len(self._ids), samples), np.nan)
        self._lipschitz: Floats = np.full(shape, np.nan)
        self._squares: Floats = np.zeros((2, len(self._ids), len(self._layers)))

    def observe(self, images: Tensor, perturbed: Mapping[str, Tensor], batch_size: int) -> None:
        """Measure the next images [n, ...] and their perturbed versions (id -> [n, ...]).

        Args:
            batch_size: most images in one forward; clean and perturbed ones count alike.
        """
        if not self._layers:
            return
        chunk = max(1, batch_size // (len(self._ids) + 1))
        for start in range(0, len(images), chunk):
            part = slice(start, start + chunk)
            stacked = torch.stack([images[part], *(perturbed[name][part] for name in self._ids)])
            self._observe_chunk(stacked)

    def _observe_chunk(self, stacked: Tensor) -> None:
        versions, count = stacked.shape[:2]
        columns = slice(self._seen, self._seen + count)
        self._seen += count
        flat_input = stacked.flatten(2)
        inputs = pair(flat_input[0], flat_input[1:])
        self._input[:, columns] = _numbers(MEASURES[self._measure](inputs))
        self._input_relative[:, columns] = _numbers(MEASURES["relative-error"](inputs))

        def visitor(index: int, layer: Layer) -> taps.Visitor:
            def visit(value: Tensor) -> None:
                rows = full(taps.per_image(layer, value, versions * count)).view(versions, count, -1)
                self._record(index, columns, pair(rows[0], rows[1:]), inputs)

            return visit

        visitors = {layer.info.name: visitor(index, layer) for index, layer in enumerate(self._layers)}
        with torch.no_grad():
            taps.run(self._graph, stacked.flatten(0, 1), visitors)

    def _record(self, index: int, columns: slice, outputs: ValuePair, inputs: ValuePair) -> None:
        self.values[:, index, columns] = _numbers(MEASURES[self._measure](outputs))
        if self._relative is not self.values:
            self._relative[:, index, columns] = _numbers(MEASURES["relative-error"](outputs))
        self._lipschitz[:, index, columns] = _numbers(divide(outputs.moved_norm, inputs.moved_norm))
        if self._measure == WHOLE_BATCH:
            self._squares[0, :, index] += _numbers(outputs.moved_norm.square().sum(-1))
            self._squares[1, :, index] += _numbers(outputs.clean_norm.square().sum().expand(len(self._ids)))

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the perturbations; the first dimension of `values`."""
        return self._ids

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The rows of `values`, in order."""
        return tuple(layer.info.name for layer in self._layers)

    def results(self, eta: float, seed: int) -> tuple[Sustainability, ...]:
        """The statistics over all images observed, one for each perturbation; nothing where there is no layer.

        Args:
            eta: a layer is in the MVL list when its mean exceeds mu + eta * sigma.
            seed: of the bootstrap.
        """
        return tuple(self._result(index, eta, seed) for index in range(len(self._ids)) if self._layers)

    def skipped(self) -> tuple[Skipped, ...]:
        """The layers without a value under any perturbation: their output is all zero on every clean image.

        There the relative error (and the cosine) would be 0 / 0, or a number over 0. Where only some images are like
        that, the means leave them out, and `undefined` counts them.
        """
        if not self._seen or not self._ids:
            return ()
        known = [bool(np.isfinite(self.values[:, place]).any()) for place in range(len(self._layers))]
        detail = f"its output is all zero on every clean image, so that {self._measure} does not exist"
        return tuple(
            Skipped(what=f"relative error of {name}", reason="zero-on-clean-images", detail=detail)
            for name, found in zip(self.layer_names, known, strict=True)
            if not found
        )

    def _result(self, index: int, eta: float, seed: int) -> Sustainability:
        values = self._whole_ratio(index) if self._measure == WHOLE_BATCH else self.values[index]
        pooled = pool_layers(values, eta, seed)
        names = self.layer_names
        order = np.argsort(-np.nan_to_num(pooled.means, nan=-np.inf), kind="stable")
        measured = np.isfinite(pooled.means)
        return Sustainability(
            perturbation=self._ids[index],
            measure=self._measure,
            mu=finite(pooled.mu),
            sigma=finite(pooled.sigma),
            eta=eta,
            mvl=tuple(names[position] for position in order if pooled.selected[position]),
            highest=names[order[0]] if measured.any() else None,
            input_mean=_mean(self._input[index]),
            layers=tuple(self._layer_measure(index, position, pooled) for position in range(len(names))),
        )

    def _layer_measure(self, index: int, position: int, pooled: PooledLayers) -> LayerMeasure:
        relative = _mean(self._relative[index, position])
        before = _mean(self._relative[index, position - 1]) if position else _mean(self._input_relative[index])
        return LayerMeasure(
            layer=self._layers[position].info.name,
            mean=finite(pooled.means[position]),
            std=finite(pooled.stds[position]),
            low=finite(pooled.low[position]),
            high=finite(pooled.high[position]),
            undefined=int((~np.isfinite(self.values[index, position])).sum()),
            lipschitz=_mean(self._lipschitz[index, position]),
            amplification=relative / before if relative is not None and before else None,
            mvl_share=finite(pooled.share[position]),
        )

    def _whole_ratio(self, index: int) -> Floats:
        """[L, 1]: one ratio a layer over all images, hence no spread and no interval over images."""
        moved, clean = self._squares[:, index]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio: Floats = np.sqrt(moved / clean)[:, None]
        return ratio


def _mean(values: Floats) -> float | None:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else None


def _numbers(tensor: Tensor) -> Floats:
    return np.asarray(tensor.cpu().double().numpy())
