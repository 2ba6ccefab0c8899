"""A network that relies on one pair of neurons, whose gain is too small against the many that the attack moves."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lsa_audit.progress import Silent
from lsa_audit.records import AuditRecord, DropEffect, Neuron, NeuronTable
from lsa_audit.scanning.audit import audit, make_profile
from lsa_audit.stats.statistics import holm, mcnemar_loss

SIGNAL, NOISES, EPSILON = 0.3, 8, 0.1
PGD = "pgd@linf-0.1"


class Weak(nn.Module):
    """Feature 0 lies up to 0.3 above or below 0.5 and tells the class; the others are noise around 0.5.

    The first two hidden neurons carry the class with weight 1; each pair of the others carries a noise with weight 1/8,
    so all noises together move the logit by as much as the signal when each feature moves by epsilon. Of the images,
    those with a signal above 2 epsilon (but for the noise) withstand; with the pair of the signal at twice its size and
    the others at 0.7 of theirs it is those above 1.35 epsilon.
    """

    def __init__(self) -> None:
        super().__init__()
        features = 1 + NOISES
        self.hidden = nn.Linear(features, 2 * features)
        self.relu = nn.ReLU()
        self.out = nn.Linear(2 * features, 2)
        weights = torch.tensor([1.0, *[1 / NOISES] * NOISES])
        with torch.no_grad():
            self.hidden.weight.copy_(torch.eye(features).repeat_interleave(2, 0))
            self.hidden.weight[1::2] *= -1
            self.hidden.bias.copy_(torch.tensor([-0.5, 0.5]).repeat(features))
            self.out.weight[1] = weights.repeat_interleave(2)
            self.out.weight[1, 1::2] *= -1
            self.out.weight[0] = -self.out.weight[1]
            self.out.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.out(self.relu(self.hidden(images)))


def weak_data(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 9] float32 and labels [N]."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = 0.5 + generator.uniform(-0.1, 0.1, (count, 1 + NOISES))
    images[:, 0] = 0.5 + (2 * labels - 1) * generator.uniform(0, SIGNAL, count)
    return images.astype(np.float32), labels


def effect(losses: int, gains: int, total: int, p_adjusted: float) -> DropEffect:
    """What a drop did, with the class that follows."""
    kind = "null" if losses + gains == 0 else "fragile" if p_adjusted < 0.05 else "robust"
    drop = (losses - gains) / total
    return DropEffect(
        neuron_class=kind,
        measured=total,
        losses=losses,
        gains=gains,
        accuracy_drop=drop,
        low=drop,
        high=drop,
        margin_drop=None,
        estimated_margin_drop=None,
        p_value=p_adjusted,
        p_adjusted=p_adjusted,
    )


def table(layer: str, losses: list[int], gains: list[int], total: int = 100) -> NeuronTable:
    """A table from how many verdicts each neuron's drop changed; the adversarial side says nothing."""
    p_values = [float(mcnemar_loss(*pair)) for pair in zip(losses, gains, strict=True)]
    adjusted = [float(value) for value in holm(p_values)]
    nothing = effect(0, 0, total, 1.0)
    neurons = [
        Neuron(neuron_index=place, clean=effect(*counts, total, p), adversarial=nothing, targeting_score=None)
        for place, (*counts, p) in enumerate(zip(losses, gains, adjusted, strict=True))
    ]
    return NeuronTable(
        layer=layer,
        site=layer,
        drop_value="zero",
        perturbation=PGD,
        samples=total,
        neurons=tuple(neurons),
        gini=None,
        correlations=(),
    )


def dropped(module: nn.Module, layer: str, images: Tensor, labels: Tensor) -> NeuronTable:
    """The table of a layer, by zeroing each neuron in a whole forward."""
    site, neuron = module.get_submodule(layer), -1

    def zero(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        changed = output.clone()
        if neuron >= 0:
            changed[:, neuron] = 0
        return changed

    losses, gains = [], []
    handle = site.register_forward_hook(zero)
    with torch.no_grad():
        whole = module(images)
        right = whole.argmax(1) == labels
        for neuron in range(site.weight.shape[0]):  # noqa: B007 - the hook reads it
            without = module(images).argmax(1) == labels
            losses.append(int((right & ~without).sum()))
            gains.append(int((~right & without).sum()))
    handle.remove()
    return table(layer, losses, gains, len(labels))


class Run(NamedTuple):
    """A scan of the weak network: what `repair` takes."""

    record: AuditRecord
    evidence: dict
    settings: dict


@functools.cache
def scanned(data: str, subject: str, samples: int = 200) -> Run:
    """A scan that drops the neurons of the hidden layer."""
    settings = {
        "data": data,
        "samples": samples,
        "epsilon": [EPSILON],
        "attacks": [{"name": "pgd", "steps": 10}],
        "noises": [],
        "layers": "none",
        "neurons": "hidden",
        "threads": 1,
    }
    result = audit(subject, make_profile({"test": settings}), progress=Silent())
    return Run(result.record, result.evidence, result.record.settings)
