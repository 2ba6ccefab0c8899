"""Activation patching: how many lost images are right again when a clean activation is put back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..graph import taps
from ..graph.base import Graph, Layer
from ..graph.patching import Patch, patcher
from ..records import NeuronTable, PatchedGroup, PatchedLayer, PatchedNeurons, Patching
from ..stats.statistics import estimate, rank_correlation
from .measures import verdicts

WHOLE_TOLERANCE = 1e-4
"""Of an image's largest clean logit: patched logits that differ by less are the clean ones but for rounding."""


@dataclass(frozen=True)
class NeuronGroup:
    """Neurons of one layer, by index, that are put back together."""

    group: PatchedNeurons
    neurons: tuple[int, ...]


class PatchingProbe:
    """Puts the clean activation of each layer back into the forward of attacked images, batch by batch.

    Only lost images count, those that are right when clean and wrong when attacked; logits that are not finite are
    wrong. The activation is put back where the layer's consumers see it: after the batch norm that follows it, if any,
    and before the activation function. Groups of a layer's neurons are put back in the same way, alone.

    Source: Meng et al., "Locating and editing factual associations in GPT", 2022, arXiv 2202.05262 (clean hidden states
    are put back into a run on a corrupted input).
    Differs from the source: the input is an attacked image, not a prompt with noise; whole layers are put back; what is
    measured is the share of lost verdicts that return; layers through which every path leads are told apart.

    Cost: two forwards an image to find the lost ones; for each of these two more, and one run of what follows the layer
    for each layer and each group.
    """

    def __init__(
        self, graph: Graph, layers: Sequence[Layer], groups: Mapping[str, Sequence[NeuronGroup]], perturbation: str
    ) -> None:
        """Args: graph and the layers of it to patch; groups by layer name; id of the attack."""
        self._graph = graph
        self._layers = tuple(layers)
        self._groups = [tuple(groups.get(layer.info.name, ())) for layer in self._layers]
        self._perturbation = perturbation
        parts = zip(self._layers, self._groups, strict=True)
        patches = [Patch(layer, group.neurons) for layer, some in parts for group in some]
        self._patcher = patcher(graph, [*(Patch(layer) for layer in self._layers), *patches])
        self._lost = 0
        self._returned = np.zeros(len(self._layers) + len(patches), dtype=np.int64)
        self._whole = np.ones(len(self._layers), dtype=np.bool_)

    def observe(self, images: Tensor, adversarial: Tensor, labels: Tensor) -> None:
        """Patch the lost ones of the next n images [n, ...] and their attacked versions; labels [n].

        Raises:
            ValueError: the model runs in a runtime of its own, where values cannot be replaced.
        """
        if not self._layers:
            return
        with torch.no_grad():
            clean, attacked = (taps.run(self._graph, version, {}) for version in (images, adversarial))
        lost = verdicts(clean, labels)[0] & ~verdicts(attacked, labels)[0]
        if not lost.any():
            return
        found = self._patcher.run(images[lost], adversarial[lost])
        patches, count = found.patched.shape[:2]
        right, _ = verdicts(found.patched.flatten(0, 1), labels[lost].repeat(patches))
        self._lost += count
        self._returned += right.reshape(patches, count).sum(1).cpu().numpy()
        moved = (found.patched[: len(self._layers)] - found.clean).abs().amax(-1)
        same = moved <= WHOLE_TOLERANCE * found.clean.abs().amax(-1)
        self._whole &= same.all(1).cpu().numpy()

    def result(self, relative_error: Mapping[str, float | None], seed: int) -> Patching | None:
        """What returned over all images observed; None where no image was lost, or there is no layer.

        Args:
            relative_error: mean of each layer by name, under the same attack.
            seed: of the permutation test.
        """
        if not self._lost:
            return None
        shares = [estimate(int(count), self._lost) for count in self._returned]
        of_groups = iter(shares[len(self._layers) :])
        layers = tuple(
            PatchedLayer(
                layer=layer.info.name,
                returned=shares[position],
                whole=bool(self._whole[position]),
                groups=tuple(
                    PatchedGroup(group=one.group, neurons=len(one.neurons), returned=next(of_groups))
                    for one in self._groups[position]
                ),
            )
            for position, layer in enumerate(self._layers)
        )
        compared = [layer for layer in layers if not layer.whole]
        return Patching(
            perturbation=self._perturbation,
            lost=self._lost,
            layers=layers,
            correlation=rank_correlation(
                ("returned", "relative_error"),
                [layer.returned.value for layer in compared],
                [relative_error.get(layer.layer) for layer in compared],
                seed,
            ),
        )


def groups_of(table: NeuronTable, seed: int) -> tuple[NeuronGroup, ...]:
    """Groups of one size: the fragile neurons, those that the attack moves most and least, and some at random.

    The size is the number of neurons that are fragile on clean images, or a quarter of the layer where none is; then
    there is no fragile group. Nothing where a group would be the whole layer. Neurons without a targeting score are in
    neither targeted group; random ones are drawn from all.

    Random: a generator made of `seed`.
    """
    total = len(table.neurons)
    fragile = tuple(neuron.neuron_index for neuron in table.neurons if neuron.clean.neuron_class == "fragile")
    size = len(fragile) or max(1, total // 4)
    if size >= total:
        return ()
    scored = [(neuron.targeting_score, neuron.neuron_index) for neuron in table.neurons]
    targeted = [index for score, index in sorted((-score, index) for score, index in scored if score is not None)]
    groups = [NeuronGroup("fragile", fragile)] if fragile else []
    if len(targeted) >= size:
        groups += [
            NeuronGroup("most-targeted", tuple(targeted[:size])),
            NeuronGroup("least-targeted", tuple(targeted[-size:])),
        ]
    drawn = np.random.default_rng(seed).choice(total, size, replace=False)
    indices = [table.neurons[place].neuron_index for place in sorted(drawn)]
    return (*groups, NeuronGroup("random", tuple(indices)))
