"""Dropped neurons of a real network: what follows the layer, re-run, against a plain hook in a whole forward."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lsa_audit.graph.suffix import rerun
from lsa_audit.graph.walker import walk
from lsa_audit.models import ModelRequest, fit, load

pytestmark = [pytest.mark.realdata, pytest.mark.slow, pytest.mark.timeout(1200)]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# 200 images take minutes: LSA_AUDIT_DROPOUT_SAMPLES=200.
SAMPLES = int(os.environ.get("LSA_AUDIT_DROPOUT_SAMPLES", "16"))
NETWORKS = Path(__file__).parent / "networks.py"


def hooked(module: nn.Module, site: nn.Module, neuron: int, images: torch.Tensor) -> torch.Tensor:
    """Logits of a whole forward in which one channel of the site's output is zero."""

    def zero(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        changed[:, neuron] = 0
        return changed

    handle = site.register_forward_hook(zero)
    try:
        with torch.no_grad():
            return module(images)
    finally:
        handle.remove()


def test_every_channel_of_every_layer_of_resnet20(shared):
    request = ModelRequest(f"{NETWORKS}:resnet20", shared / "models" / "cifar_resnet20.th", mean=MEAN, std=STD)
    with np.load(shared / "data" / "cifar10" / "cifar10_test_first1000.npz", allow_pickle=False) as arrays:
        pixels = torch.from_numpy(arrays["images"][:SAMPLES]).permute(0, 3, 1, 2).float().div(255).contiguous()
    model = fit(load(request), pixels[:2])
    module = model.module.eval().requires_grad_(False)
    graph = walk(model, pixels[:3])
    modules = dict(module.named_modules())
    dropped = 0
    for layer in graph.layers:
        if layer.info.kind != "learnable":
            continue
        name = layer.info.name
        # A convolution's neurons are dropped where the batch norm that follows it puts them out.
        site = next(found for key, found in modules.items() if key.endswith(name.replace("conv", "bn")))
        runner = rerun(graph, layer)
        kept = runner.keep(pixels)
        for start in range(0, layer.info.neurons, 16):
            neurons = range(start, min(start + 16, layer.info.neurons))
            for neuron, found in zip(neurons, runner.drop(kept, neurons), strict=True):
                expected = hooked(module, site, neuron, pixels)
                scale = expected.abs().amax(1, keepdim=True)
                assert ((found - expected).abs() <= 1e-5 * scale).all(), (name, neuron)
                first, second = expected.topk(2).values.unbind(1)
                clear = first - second > 2e-5 * scale[:, 0]
                assert torch.equal(found.argmax(1)[clear], expected.argmax(1)[clear]), (name, neuron)
                dropped += 1
    assert dropped == 698
