"""Small networks that carry their expected layer tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lsa_audit.models.base import Model, PixelModel, Preprocessing

Row = tuple[str, str, int, tuple[int, ...], int | None]
"""Name, kind, parameters, output shape of one image, neurons."""


def model_of(network: nn.Module, **changes: Any) -> Model:
    """An eval-mode model with a normalisation that is not the identity."""
    preprocessing = Preprocessing(mean=(0.4,), std=(0.3,), **changes)
    module = PixelModel(network, preprocessing).eval()
    return Model("own", "module", type(network).__name__, "random", module, preprocessing)


def images_for(network: nn.Module, count: int = 3, seed: int = 0) -> Tensor:
    """Images in [0, 1] of the network's own input shape."""
    return torch.rand((count, *network.shape), generator=torch.Generator().manual_seed(seed))


def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """No parameter is zero or one any more, norm statistics included, so that equal logits mean something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() <= 1 or parameter.abs().max() == 0:
                draw = torch.rand(parameter.shape, generator=generator) * 0.5
                parameter.copy_(draw - 0.25 if "bias" in name else draw + 0.5)
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.1)
            elif name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return network.eval()


class Unit(nn.Module):
    def __init__(self, planes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.act = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.act(self.bn1(self.conv1(x))))
        out += x
        return self.act(out)


class Residual(nn.Module):
    """In-place residual units, an activation used twice, a functional one, a spatial mean."""

    shape = (3, 6, 6)
    table: tuple[Row, ...] = (
        ("stem", "learnable", 112, (4, 6, 6), 4),
        ("relu", "activation", 0, (4, 6, 6), 4),
        ("layers.0.conv1", "learnable", 144, (4, 6, 6), 4),
        ("layers.0.bn1", "norm", 8, (4, 6, 6), 4),
        ("layers.0.act", "activation", 0, (4, 6, 6), 4),
        ("layers.0.conv2", "learnable", 148, (4, 6, 6), 4),
        ("layers.0.add", "add", 0, (4, 6, 6), 4),
        ("layers.0.act_2", "activation", 0, (4, 6, 6), 4),
        ("layers.0", "block", 0, (4, 6, 6), 4),
        ("layers.1.conv1", "learnable", 144, (4, 6, 6), 4),
        ("layers.1.bn1", "norm", 8, (4, 6, 6), 4),
        ("layers.1.act", "activation", 0, (4, 6, 6), 4),
        ("layers.1.conv2", "learnable", 148, (4, 6, 6), 4),
        ("layers.1.add", "add", 0, (4, 6, 6), 4),
        ("layers.1.act_2", "activation", 0, (4, 6, 6), 4),
        ("layers.1", "block", 0, (4, 6, 6), 4),
        ("mean", "pool", 0, (4,), 4),
        ("fc", "learnable", 25, (5,), 5),
    )

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.layers = nn.Sequential(Unit(4), Unit(4))
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem(x))
        return self.fc(self.layers(x).mean((2, 3)))


class SharedWeights(nn.Module):
    """One linear layer called twice, two whose weights are tied, a parameter without a use."""

    shape = (6,)
    table: tuple[Row, ...] = (
        ("same", "learnable", 42, (6,), 6),
        ("relu", "activation", 0, (6,), 6),
        ("same_2", "learnable", 0, (6,), 6),
        ("relu_2", "activation", 0, (6,), 6),
        ("one", "learnable", 42, (6,), 6),
        ("other", "learnable", 6, (6,), 6),
    )
    unused = 7

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Linear(6, 6)
        self.one = nn.Linear(6, 6)
        self.other = nn.Linear(6, 6)
        self.other.weight = self.one.weight
        self.idle = nn.Parameter(torch.ones(7))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = functional.relu(self.same(x))
        return self.other(self.one(x))


class Attention(nn.Module):
    def __init__(self, width: int, fused: bool) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        n, s, e = x.shape
        q, k, v = self.qkv(x).view(n, s, 3, 2, e // 2).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y = functional.scaled_dot_product_attention(q, k, v)
        else:
            y = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(n, s, e))


class Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class QuickGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Transformer(nn.Module):
    """Class token, position table, fused and plain attention, a layer scale, a hand-written activation."""

    shape = (3, 8, 8)
    table: tuple[Row, ...] = (
        ("patch", "learnable", 392, (8, 2, 2), 8),
        ("norm1", "norm", 64, (5, 8), 8),  # 16, with the 8 of the class token and the 40 of the position table
        ("fused.qkv", "learnable", 216, (5, 24), 24),
        ("fused.scaled_dot_product_attention", "attention", 0, (2, 5, 4), None),
        ("fused.proj", "learnable", 72, (5, 8), 8),
        ("scale", "norm", 8, (5, 8), 8),
        ("add", "add", 0, (5, 8), 8),
        ("plain.qkv", "learnable", 216, (5, 24), 24),
        ("plain.softmax", "attention", 0, (2, 5, 5), None),
        ("plain.proj", "learnable", 72, (5, 8), 8),
        ("act", "activation", 0, (5, 8), 8),
        ("add_2", "add", 0, (5, 8), 8),
        ("head", "learnable", 27, (3,), 3),
    )

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.position = nn.Parameter(torch.randn(1, 5, 8))
        self.norm1 = nn.LayerNorm(8)
        self.fused = Attention(8, True)
        self.scale = Scale(8)
        self.plain = Attention(8, False)
        self.act = QuickGelu()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.position
        x = x + self.scale(self.fused(self.norm1(x)))
        x = x + self.act(self.plain(x))
        return self.head(x[:, 0])


class Mlp(nn.Module):
    """Features [N, 2]; the first linear layer is followed by a batch norm."""

    shape = (2,)
    table: tuple[Row, ...] = (
        ("0", "learnable", 24, (8,), 8),
        ("1", "norm", 16, (8,), 8),
        ("2", "activation", 0, (8,), 8),
        ("3", "learnable", 18, (2,), 2),
    )

    def __new__(cls) -> nn.Sequential:  # type: ignore[misc]
        network = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        network.shape, network.table = cls.shape, cls.table
        return network


class Windows(nn.Module):
    """A layer on [N * 4, 9, C]: four windows of an image, one after the other."""

    shape = (3, 6, 6)
    table: tuple[Row, ...] = (
        ("inner", "learnable", 20, (4, 9, 5), 5),
        ("gelu", "activation", 0, (4, 9, 5), 5),
        ("head", "learnable", 12, (2,), 2),
    )

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        n = len(x)
        x = x.view(n, 3, 2, 3, 2, 3).permute(0, 2, 4, 3, 5, 1).reshape(n * 4, 9, 3)
        x = functional.gelu(self.inner(x))
        return self.head(x.view(n, 36, 5).sum(1))


class SequenceFirst(nn.Module):
    """[S, N, E] tokens through `nn.MultiheadAttention`, whose last projection sees [S * N, E]."""

    shape = (3, 4, 4)
    table: tuple[Row, ...] = (
        ("embed", "learnable", 32, (16, 8), 8),
        ("attention.in_proj", "learnable", 216, (16, 24), 24),
        ("attention.softmax", "attention", 0, (2, 16, 16), None),
        ("attention.out_proj", "learnable", 72, (16, 8), 8),
        ("add", "add", 0, (16, 8), 8),
        ("head", "learnable", 18, (2,), 2),
    )

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.flatten(2).permute(2, 0, 1))
        x = x + self.attention(x, x, x)[0]
        return self.head(x.sum(0))


class BatchCoupled(nn.Module):
    """Images see their batch mates behind the first layer."""

    shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.second(x - x.mean(0, keepdim=True))


class DataDependent(nn.Module):
    """Python control flow on values, which cannot be exported; a module used twice, a functional activation."""

    shape = (3, 6, 6)
    table: tuple[Row, ...] = (
        ("stem", "learnable", 116, (4, 6, 6), 4),  # 112, with the 4 of the offset that the network itself holds
        ("bn", "norm", 8, (4, 6, 6), 4),
        ("act", "activation", 0, (4, 6, 6), 4),
        ("layers.0.0", "learnable", 148, (4, 6, 6), 4),
        ("layers.0.1", "activation", 0, (4, 6, 6), 4),
        ("layers.0", "block", 0, (4, 6, 6), 4),
        ("act_2", "activation", 0, (4, 6, 6), None),
        ("fc", "learnable", 25, (5,), 5),
    )
    unused = 9

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.act = nn.ReLU()
        self.layers = nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True)))
        self.fc = nn.Linear(4, 5)
        self.offset = nn.Parameter(torch.ones(4))
        self.never = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn(self.stem(x)))
        if float(x.detach().numpy().sum()) < 0:
            return self.never(x.flatten(1)[:, :8]).expand(-1, 5)
        x = self.act(self.layers(x) + self.offset.view(1, 4, 1, 1))
        return self.fc(x.mean((2, 3)))


class Caching(nn.Module):
    """Keeps what it made of a parameter in its first eval forward, in a plain dictionary."""

    shape = (4,)
    table: tuple[Row, ...] = (
        ("fc", "learnable", 20, (4,), 4),
        ("head", "learnable", 19, (3,), 3),  # 15, with the 4 of the bias table
    )

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.bias_table = nn.Parameter(torch.randn(4))
        self.head = nn.Linear(4, 3)
        self.cache: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        if str(x.device) not in self.cache:
            self.cache[str(x.device)] = self.bias_table[[3, 2, 1, 0]]
        return self.head(self.fc(x) + self.cache[str(x.device)])


@dataclass(frozen=True)
class Case:
    """A network that exports, by name."""

    name: str
    network: type[nn.Module]


EXPORTED = tuple(
    Case(network.__name__, network)
    for network in (Residual, SharedWeights, Transformer, Mlp, Windows, SequenceFirst, Caching)
)
