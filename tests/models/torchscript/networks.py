"""Small networks that use what TorchScript files are made of, and how to save them.

TorchScript reads the annotations themselves, so they are not postponed here.
"""

import math
import warnings
from pathlib import Path
from typing import Dict, List, Optional, Tuple  # noqa: UP035 - the names that TorchScript reads

import torch
from torch import Tensor, nn
from torch.nn import functional

from lsa_audit.models.base import Model
from lsa_audit.models.request import ModelRequest
from lsa_audit.models.torchscript import load

from ...graph.networks import images_for

KINDS = ("traced", "scripted", "traced-frozen", "scripted-frozen")


def save(network: nn.Module, kind: str, path: Path) -> Path:
    """The network as a TorchScript file of one kind."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        made, _, frozen = kind.partition("-")
        script = torch.jit.script(network) if made == "scripted" else torch.jit.trace(network, images_for(network, 2))
        torch.jit.save(torch.jit.freeze(script.eval()) if frozen else script, path)
    return path


def loaded(network: nn.Module, kind: str, folder: Path, **request: object) -> Model:
    """The network saved and loaded again."""
    return load(ModelRequest(str(save(network, kind, folder / "model.pt")), **request))


class Unit(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn(self.conv(x))
        out += x
        return self.act(out)


class Residual(nn.Module):
    """Convolutions of several kinds, batch norm, in-place additions, repeated units."""

    shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding="valid")
        self.units = nn.Sequential(Unit(4), Unit(4))
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(self.units(self.stem(x)))
        return self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Sizes(nn.Module):
    """Arithmetic on sizes, which tracing writes as tensors."""

    shape = (4, 6, 6)

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(4, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        tokens = x.view(n, c, h * w).transpose(1, 2)
        tokens = self.proj(tokens).reshape(n, (h // 2) * 2 * w, 2, -1).flatten(2)
        pooled = tokens.sum(1) / (tokens.size(1) - 1)
        table = torch.zeros(n, 6, dtype=x.dtype, device=x.device) + torch.arange(6)
        return self.head(pooled + table * math.sqrt(2.0))


class Recurrent(nn.Module):
    """An LSTM and a GRU over the rows of an image."""

    shape = (1, 5, 4)

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 6, num_layers=2, batch_first=True)
        self.gru = nn.GRU(6, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        rows, _ = self.lstm(x[:, 0])
        states, _ = self.gru(rows.transpose(0, 1))
        return self.head(states[-1])


class Attention(nn.Module):
    """Plain and fused attention, a class token, layer norm, constants."""

    shape = (3, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 2, stride=2)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.norm = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)
        self.head = nn.Linear(8, 3)
        self.register_buffer("mask", torch.ones(5, 5).tril())

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = self.norm(torch.cat([self.token.expand(x.size(0), -1, -1), x], dim=1))
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        weights = (q @ k.transpose(-2, -1) / math.sqrt(8)).masked_fill(self.mask == 0, float("-inf")).softmax(-1)
        x = x + weights @ v + functional.scaled_dot_product_attention(q, k, v)
        return self.head(x[:, 0] * torch.tensor([1.0, 2.0] * 4) + torch.tensor(3))


class Encoder(nn.Module):
    """PyTorch's own attention and encoder layers, which it fuses where no gradient is asked for."""

    shape = (3, 4)

    def __init__(self) -> None:
        super().__init__()
        first = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, norm_first=True, activation="gelu")
        self.layers = nn.Sequential(first, nn.TransformerEncoderLayer(4, 2, 8, batch_first=True))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(x)
        y, weights = self.attention(x, x, x)
        assert weights is not None
        return self.head(y[:, 0]) * weights.square().mean((1, 2)).unsqueeze(1)


class InPlace(nn.Module):
    shape = (2, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.head = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        y = x.clone()
        y[:, 0].mul_(2).add_(1)
        y[:, :, 1:3] += x[:, :, 1:3]
        y[:, 1, ::2] = 0.5
        y.view(-1, 32).clamp_(-1, 1)
        return self.head(y.flatten(1))


class Shared(nn.Module):
    """One weight under two names, one module called twice, a numbered list."""

    shape = (6,)

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(6, 6)
        self.other = nn.Linear(6, 6)
        self.other.weight = self.one.weight
        self.steps = nn.ModuleList([nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.other(self.one(torch.tanh(self.one(x))))
        for step in self.steps:
            x = step(x)
        return x


ORDINARY = (Residual, Sizes, Recurrent, Attention, Encoder, InPlace, Shared)
"""Can be traced and scripted alike."""


def scaled(x: Tensor, by: float = 2.0) -> Tensor:
    return x * by + torch.tensor([0.5, -0.5, 0.25])


class Values(nn.Module):
    """Loops, branches, numbers, strings, lists, tuples and dictionaries of a script."""

    shape = (3,)
    sizes: List[int]  # noqa: UP006
    tables: Dict[str, Tensor]  # noqa: UP006

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.sizes = [1, 2, 3]
        self.tables = {"shift": torch.tensor([0.1, 0.2, 0.3]), "weight": self.fc.weight}
        self.plain = torch.tensor([1.0, 0.5, 2.0])
        self.limit: Optional[int] = None  # noqa: UP045

    def pair(self, x: Tensor) -> Tuple[Tensor, int]:  # noqa: UP006
        return x + 1, x.dim()

    def forward(self, x: Tensor, extra: Optional[Tensor] = None) -> Dict[str, Tensor]:  # noqa: UP006, UP045
        if x.dim() != 2:
            raise ValueError(f"expected 2 dimensions, got {x.dim()}")
        found: List[Tensor] = []  # noqa: UP006
        for index, size in enumerate(self.sizes):
            if size % 2 == 0:
                continue
            found.append(self.fc(x) * size + index // 2 - (-7 // 2) + 2**size)
        total, step = found[0], 0
        while step < len(found) and step < 10:
            total = total + found[step] / (step + 1.5)
            step += 1
        shifted, dims = self.pair(total)
        counts: Dict[str, int] = {"a": 1}  # noqa: UP006
        counts["b"] = counts["a"] + dims
        if "b" in counts and self.limit is None and extra is None:
            shifted = shifted * min(counts["b"], 5) + abs(-3) + int(2.9) + round(1.6) + math.floor(1.5)
        with torch.no_grad():
            level = float(self.plain.sum())
        out = scaled(shifted, by=3.0) + self.tables["shift"] * level + torch.stack(found[::-1])[0].mul(self.plain)
        return {"features": x, "logits": out @ self.tables["weight"].t()}


class Pair(nn.Module):
    """Returns a tuple, logits last."""

    shape = (2, 3, 3)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        features = self.conv(x)
        return features, self.head(features.flatten(1))


class Branching(nn.Module):
    """Takes one of two ways, by the values of its input."""

    shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Linear(4, 3)
        self.high = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if bool(x.sum() > 0):
            return self.high(x).relu()
        return self.low(x)


class Caching(nn.Module):
    """Keeps a table that it made of a parameter in its first forward."""

    shape = (4,)
    cache: Dict[str, Tensor]  # noqa: UP006

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.rand(4))
        self.fc = nn.Linear(4, 3)
        self.cache = {}

    def forward(self, x: Tensor) -> Tensor:
        key = str(x.device)
        if key not in self.cache:
            self.cache[key] = self.table.flip(0) * 2
        return self.fc(x + self.cache[key])
