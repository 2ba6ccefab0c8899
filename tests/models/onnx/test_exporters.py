"""What torch's two exporters write comes back as the network that they were given."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lsa_audit.models.onnx.importer import Imported, import_graph

from .building import close, runtime

NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
CURRENT = [18, 20, 23]
OLDER = [11, 13, 17]


class Residual(nn.Module):
    """Convolutions with norms of three kinds, activations, a shortcut, padding, pooling, resizing."""

    shape = (3, 16, 16)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.norm = nn.GroupNorm(2, 8)
        self.act = nn.PReLU(8)
        self.pool = nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 5))

    def forward(self, images: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.hardswish(self.bn1(self.conv1(images))), 3, 2, 1, ceil_mode=True)
        x = x + self.act(self.norm(self.conv2(x)))
        x = functional.pad(x[:, :, ::2, 1:], (1, 0, 0, 1)) * torch.sigmoid(x.mean((2, 3), keepdim=True))[:, :, :1]
        x = functional.interpolate(x, scale_factor=2.0, mode="bilinear")
        return self.head(nn.functional.adaptive_avg_pool2d(self.pool(functional.gelu(x)), 1).flatten(1))


class Attention(nn.Module):
    """A class token, positions, attention with a bias table, layer norms, a residual stream."""

    shape = (3, 16, 16)

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 12))
        self.positions = nn.Parameter(torch.randn(1, 17, 12))
        self.table = nn.Parameter(torch.randn(3, 17, 17))
        self.norm1, self.norm2 = nn.LayerNorm(12), nn.LayerNorm(12)
        self.qkv, self.proj = nn.Linear(12, 36), nn.Linear(12, 12)
        self.head = nn.Linear(12, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        count, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(count, length, 3, 3, width // 3).permute(2, 0, 3, 1, 4).unbind(0)
        weights = ((q * (width // 3) ** -0.5) @ k.transpose(-2, -1) + self.table).softmax(-1)
        x = x + self.proj((weights @ v).transpose(1, 2).reshape(count, length, width))
        return self.head(functional.silu(self.norm2(x))[:, 0])


class Fused(Attention):
    """The same with torch's own attention."""

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, 3, 4)).permute(2, 0, 3, 1, 4)
        x = x + self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return self.head(self.norm2(x).mean(1))


def randomised(network: nn.Module) -> nn.Module:
    """The network in eval mode, with norms that do something."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, NORMS[0]):
                module.running_mean.uniform_(-0.5, 0.5, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
            if isinstance(module, NORMS):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.uniform_(-0.5, 0.5, generator=generator)
    return network.eval()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def written(network: nn.Module, images: Tensor, path: Path, opset: int) -> onnx.ModelProto:
    """The file that the exporter of an opset writes, with a free batch."""
    with quiet():
        if opset in CURRENT:
            free = ({0: torch.export.Dim("batch")},)
            torch.onnx.export(
                network, (images,), path, dynamo=True, opset_version=opset, dynamic_shapes=free, external_data=False
            )
        else:
            names = {"input_names": ["images"], "output_names": ["logits"]}
            axes = {"images": {0: "n"}, "logits": {0: "n"}}
            torch.onnx.export(network, (images,), path, dynamo=False, opset_version=opset, dynamic_axes=axes, **names)
    return onnx.load(path)


def compare(network: nn.Module, shape: tuple[int, ...], path: Path, opset: int) -> Imported:
    """Assert that logits and gradients come back."""
    proto = written(network, torch.rand(2, *shape), path, opset)
    imported = import_graph(proto)
    assert imported.batch is None, imported.notes
    for count in (1, 5):
        images = torch.rand(count, *shape)
        with torch.no_grad():
            close(imported.network(images), network(images))
            close(imported.network(images), runtime(proto, images))
    # not on one image: there torch's own backward of levit contradicts finite differences
    gradients = []
    for one in (network, imported.network):
        given = images.clone().requires_grad_()
        gradients.append(torch.autograd.grad(one(given)[:, 0].sum(), given)[0].flatten())
    assert functional.cosine_similarity(*gradients, dim=0) > 0.9999
    return imported


CASES = [
    *[(kind, opset) for kind in (Residual, Attention) for opset in OLDER],
    (Fused, 17),
    (Residual, 20),
    (Attention, 18),
    (Fused, 23),
]
MORE = [(Residual, 18), (Residual, 23), (Attention, 20), (Attention, 23), (Fused, 18), (Fused, 20)]


@pytest.mark.slow_for("Attention-18", "Residual-20")
@pytest.mark.parametrize(("kind", "opset"), [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)])
def test_what_an_exporter_writes_comes_back(kind, opset, tmp_path):
    torch.manual_seed(0)
    names = list(compare(randomised(kind()), kind.shape, tmp_path / "net.onnx", opset).layer_names.values())
    assert len(set(names)) == len(names)
    if opset in OLDER:
        expected = {"/conv1/Conv", "/conv2/Conv"} if kind is Residual else {"/patches/Conv", "/qkv/MatMul"}
    else:
        expected = {"conv1", "conv2"} if kind is Residual else {"patches", "norm1", "qkv", "proj", "norm2"}
    assert expected <= set(names)


TIMM = {
    "resnet18": 64,
    "mobilenetv3_small_100": 64,
    "convnext_atto": 64,
    "vit_tiny_patch16_224": 224,
    "swin_tiny_patch4_window7_224": 224,
    "levit_128s": 224,
    "densenet121": 64,
}


@pytest.mark.slow
@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("name", TIMM)
def test_timm_models_come_back(name, opset, tmp_path):
    import timm

    torch.manual_seed(0)
    network = randomised(timm.create_model(name))
    with torch.no_grad():
        for parameter_name, parameter in network.named_parameters():
            if "gamma" in parameter_name or not parameter.any():
                parameter.uniform_(0.5, 1.5)
        network(torch.rand(1, 3, TIMM[name], TIMM[name]))
    compare(network, (3, TIMM[name], TIMM[name]), tmp_path / "net.onnx", opset)
