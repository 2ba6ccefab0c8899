"""Activation patching of a real network under the project's own attack, against plain hooks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lsa_audit.attacks import pgd
from lsa_audit.attacks.base import Batch, judge
from lsa_audit.attacks.budget import Budget
from lsa_audit.graph.walker import walk
from lsa_audit.measurements.patching import NeuronGroup, PatchingProbe
from lsa_audit.models import ModelRequest, fit, load
from lsa_audit.records import Patching

pytestmark = [pytest.mark.realdata, pytest.mark.slow]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NETWORKS = Path(__file__).parent / "networks.py"
IMAGES = 40
HOOKED = 20


def patched_by_hook(module: nn.Module, site: nn.Module, images: Tensor, adversarial: Tensor) -> Tensor:
    """Logits of attacked images in a whole forward in which one module puts out its clean value; plain hooks."""
    seen: list[Tensor] = []
    with torch.no_grad():
        handle = site.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        module(images)
        handle.remove()
        handle = site.register_forward_hook(lambda _module, _inputs, _output: seen[0])
        logits = module(adversarial)
        handle.remove()
    return logits


def test_every_layer_of_resnet20(shared):
    request = ModelRequest(f"{NETWORKS}:resnet20", shared / "models" / "cifar_resnet20.th", mean=MEAN, std=STD)
    with np.load(shared / "data" / "cifar10" / "cifar10_test_first1000.npz", allow_pickle=False) as arrays:
        images = torch.from_numpy(arrays["images"][:IMAGES]).permute(0, 3, 1, 2).float().div(255).contiguous()
        labels = torch.from_numpy(arrays["labels"][:IMAGES]).long()
    model = fit(load(request), images[:2])
    module = model.module.eval().requires_grad_(False)
    budget = Budget(norm="linf", epsilon=2 / 255, steps=10, spend_all=True)
    ids = tuple(str(place) for place in range(IMAGES))
    adversarial = judge(module, pgd.run, Batch(images, labels, ids), budget, seed=0).final
    graph = walk(model, images[:3])
    layers = [layer for layer in graph.layers if layer.info.kind == "learnable"]
    groups = {layer.info.name: [NeuronGroup("random", tuple(range(0, layer.info.neurons, 2)))] for layer in layers}

    def patched(count: int, step: int) -> Patching | None:
        probe = PatchingProbe(graph, layers, groups, "pgd@linf-0.00784314")
        for start in range(0, count, step):
            part = slice(start, min(start + step, count))
            probe.observe(images[part], adversarial[part], labels[part])
        return probe.result({layer.info.name: float(place) for place, layer in enumerate(layers)}, seed=0)

    whole = patched(IMAGES, IMAGES)
    assert whole is not None
    assert whole.lost > IMAGES // 2
    assert len(whole.layers) == 20
    # The first convolution and the last layer lie on every path.
    assert [layer.layer for layer in whole.layers if layer.whole] == ["conv1", "linear"]
    assert whole.layers[0].returned.value == whole.layers[-1].returned.value == 1
    assert len({layer.returned.count for layer in whole.layers}) > 3
    assert whole == patched(IMAGES, IMAGES) == patched(IMAGES, 7)

    first = patched(HOOKED, HOOKED)
    assert first is not None
    modules = dict(module.network.named_modules())
    known, wrong = images[:HOOKED], adversarial[:HOOKED]
    with torch.no_grad():
        clean, attacked = (module(version).argmax(1) == labels[:HOOKED] for version in (known, wrong))
    lost = clean & ~attacked
    assert first.lost == int(lost.sum())
    for layer in first.layers:
        site = modules[layer.layer.replace("conv", "bn")]
        again = patched_by_hook(module, site, known, wrong).argmax(1) == labels[:HOOKED]
        assert layer.returned.count == int((again & lost).sum()), layer.layer
