"""A small network and plain-hook readings of it, for the slow and obvious versions of the probes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lsa_audit.models.base import Model, PixelModel, Preprocessing
from lsa_audit.models.fitting import fit


class Small(nn.Module):
    """Two convolutions with batch norm, a residual sum, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.fc = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        first = torch.relu(self.bn1(self.conv1(images)))
        return self.fc((first + self.conv2(first)).mean((2, 3)))


def small_model(seed: int = 0) -> Model:
    """Seeded, with batch-norm statistics that are not the identity, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Small().eval()
        for tensor in (network.bn1.running_mean, network.bn1.weight.data, network.bn1.bias.data):
            tensor.normal_(0.3, 0.5)
    preprocessing = Preprocessing(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
    module = PixelModel(network, preprocessing).eval()
    model = Model("small", "module", "Small", "seeded", module, preprocessing)
    return fit(model, torch.full((2, 3, 8, 8), 0.5))


def pixels(count: int, seed: int) -> Tensor:
    """Images [count, 3, 8, 8] in [0, 1]."""
    return torch.rand((count, 3, 8, 8), generator=torch.Generator().manual_seed(seed))


def hooked_outputs(model: Model, images: Tensor, names: list[str]) -> dict[str, Tensor]:
    """Outputs of the named submodules of the network, read with forward hooks."""
    outputs: dict[str, Tensor] = {}
    modules = dict(model.module.network.named_modules())
    handles = [
        modules[name].register_forward_hook(lambda _m, _i, output, name=name: outputs.__setitem__(name, output))
        for name in names
    ]
    with torch.no_grad():
        model.module(images)
    for handle in handles:
        handle.remove()
    return outputs
