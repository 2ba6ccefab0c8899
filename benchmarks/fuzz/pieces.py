"""Pieces of strangers' networks as source text: bodies, what happens on the way, outputs, and what a factory does."""

from __future__ import annotations

TOP = """import functools
import math
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

{top}

class Net(nn.Module):
    def __init__(self, classes={classes}):
        super().__init__()
        self.calls = 0
        self.classes = classes
        {init}
        self.head = nn.Linear(16, classes)

    def body(self, x):
        {body}

    def forward(self, x):
        self.calls += 1
        {before}
        x = self.body(x)
        {middle}
        z = self.head(x)
        {after}
        return {output}


def build(**arguments):
    torch.manual_seed({seed})
    net = Net(**arguments)
    {factory}
"""
"""The whole file; the pieces below fill it. Every body ends in [N, 16]."""

BODIES: dict[str, tuple[str, str]] = {
    "linear": (
        "self.first = nn.Linear(64, 16)",
        "return torch.tanh(self.first(x.flatten(1)))",
    ),
    "conv": (
        "self.conv = nn.Conv2d(1, 4, 3, padding=1)\nself.bn = nn.BatchNorm2d(4)",
        "return F.adaptive_avg_pool2d(F.relu(self.bn(self.conv(x))), 2).flatten(1)",
    ),
    "strided": (
        "self.conv = nn.Conv2d(1, 4, 4, stride=4)",
        "return self.conv(x).clamp(0, 6).reshape(x.shape[0], -1)",
    ),
    "fixed batch": ("self.conv = nn.Conv2d(1, 4, 4, stride=4)", "return self.conv(x).relu().view(20, 16)"),
    "shared": (
        "self.into = nn.Linear(64, 16)\nself.a = nn.Linear(16, 16)\nself.b = nn.Linear(16, 16)\n"
        "self.b.weight = self.a.weight",
        "x = self.into(x.flatten(1))\nfor layer in (self.a, self.b, self.a):\n    x = layer(x).relu()\nreturn x",
    ),
    "one module thrice": (
        "self.into = nn.Linear(64, 16)\nself.again = nn.Linear(16, 16)\nself.act = nn.ReLU(inplace=True)",
        "x = self.act(self.into(x.flatten(1)))\nfor _ in range(3):\n    x = self.act(self.again(x))\nreturn x",
    ),
    "recursion": (
        "self.into = nn.Linear(64, 16)\nself.again = nn.Linear(16, 16)",
        "def deeper(x, left):\n    return x if left == 0 else deeper(self.again(x).relu(), left - 1)\n"
        "return deeper(self.into(x.flatten(1)), 4)",
    ),
    "endless recursion": ("", "return self.body(x)"),
    "list": (
        "self.blocks = nn.ModuleList([nn.Linear(64, 16), nn.ReLU(), nn.Identity(), nn.Dropout(0.5)])",
        "x = x.flatten(1)\nfor block in self.blocks:\n    x = block(x)\nreturn x",
    ),
    "plain list": (
        "self.hidden = [nn.Linear(64, 16), nn.ReLU()]",
        "x = x.flatten(1)\nfor block in self.hidden:\n    x = block(x)\nreturn x",
    ),
    "lambda": (
        "self.f = lambda x: x.flatten(1) * 2 - 1\nself.into = nn.Linear(64, 16)",
        "return self.into(self.f(x)).relu()",
    ),
    "scripted": (
        "self.into = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU()))",
        "return self.into(x)",
    ),
    "attention": (
        "self.patch = nn.Conv2d(1, 16, 4, stride=4)\nself.attention = nn.MultiheadAttention(16, 2, batch_first=True)",
        "x = self.patch(x).flatten(2).transpose(1, 2)\nreturn self.attention(x, x, x)[0].mean(1)",
    ),
    "encoder": (
        "self.patch = nn.Linear(8, 16)\nself.encoder = nn.TransformerEncoderLayer(16, 2, 16, batch_first=True)",
        "return self.encoder(self.patch(x.squeeze(1)))[:, 0]",
    ),
    "lstm": (
        "self.lstm = nn.LSTM(8, 16, batch_first=True)",
        "return self.lstm(x.squeeze(1))[1][0].squeeze(0)",
    ),
    "complex": (
        "self.into = nn.Linear(64, 16)",
        "return self.into(torch.fft.fft2(x).abs().flatten(1).log1p())",
    ),
    "complex weights": (
        "self.into = nn.Linear(64, 16, dtype=torch.complex64)",
        "return self.into(x.flatten(1).to(torch.complex64)).abs()",
    ),
    "sort": ("self.into = nn.Linear(16, 16)", "return self.into(x.flatten(1).sort(1).values[:, :16])"),
    "argmax": (
        "self.table = nn.Embedding(64, 16)",
        "return self.table(x.flatten(1).argmax(1))",
    ),
    "pixels as words": (
        "self.table = nn.EmbeddingBag(256, 16)",
        "return self.table((x * 255).long().clamp(0, 255).flatten(1))",
    ),
    "sparse": (
        "self.into = nn.Parameter(torch.randn(16, 64).relu())",
        "return torch.sparse.mm(self.into.to_sparse(), x.flatten(1).T).T",
    ),
    "group norm": (
        "self.conv = nn.Conv2d(1, 4, 3, groups=1)\nself.norm = nn.GroupNorm(2, 4)\nself.act = nn.GELU()",
        "return F.adaptive_max_pool2d(self.act(self.norm(self.conv(x))), 2).flatten(1)",
    ),
    "instance norm": (
        "self.norm = nn.InstanceNorm2d(1, track_running_stats=True)\nself.into = nn.Linear(64, 16)",
        "return self.into(self.norm(x).flatten(1)).relu()",
    ),
    "weight norm": (
        "self.into = nn.utils.parametrizations.weight_norm(nn.Linear(64, 16))",
        "return self.into(x.flatten(1)).relu()",
    ),
    "old weight norm": (
        "self.into = nn.utils.weight_norm(nn.Linear(64, 16))",
        "return self.into(x.flatten(1)).relu()",
    ),
    "spectral norm": (
        "self.into = nn.utils.spectral_norm(nn.Linear(64, 16))",
        "return self.into(x.flatten(1)).relu()",
    ),
    "lazy": ("self.into = nn.LazyLinear(16)", "return self.into(x.flatten(1))"),
    "unused": (
        "self.into = nn.Linear(64, 16)\nself.other = nn.Linear(5, 5)\nself.empty = nn.Linear(3, 0)",
        "return self.into(x.flatten(1))",
    ),
    "none at all": ("", "return x.flatten(1)[:, :16]"),
    "nested names": (
        "self.net = nn.Sequential(OrderedDict([('0', nn.Flatten()), ('a b', nn.Linear(64, 16)), ('*', nn.ReLU())]))",
        "return self.net(x)",
    ),
    "checkpointed": (
        "self.into = nn.Linear(64, 16)",
        "from torch.utils.checkpoint import checkpoint\n"
        "return checkpoint(lambda y: self.into(y).relu(), x.flatten(1), use_reentrant=False)",
    ),
    "einsum": (
        "self.w = nn.Parameter(torch.randn(8, 8, 16) / 8)",
        "return torch.einsum('nhw,hwk->nk', x[:, 0], self.w)",
    ),
    "upsampled": (
        "self.conv = nn.ConvTranspose2d(1, 2, 2)\nself.drop = nn.Dropout2d()",
        "x = F.interpolate(self.drop(self.conv(x)), scale_factor=0.5, mode='bilinear')\nreturn x.flatten(1)[:, :16]",
    ),
    "numpy": ("self.into = nn.Linear(64, 16)", "return self.into(torch.from_numpy(x.detach().numpy()).flatten(1))"),
    "per image": (
        "self.into = nn.Linear(64, 16)",
        "return torch.stack([self.into(image.flatten()) for image in x])",
    ),
    "vmap": ("self.into = nn.Linear(64, 16)", "return torch.vmap(lambda image: self.into(image.flatten()))(x)"),
    "half inside": ("self.into = nn.Linear(64, 16).double()", "return self.into(x.flatten(1).double()).float()"),
}
"""Name -> lines of __init__, lines of body."""

TRICKS: dict[str, str] = {
    "raises on the 1st call": "if self.calls == 1:\n    raise RuntimeError('not ready')",
    "raises on the 3rd call": "if self.calls == 3:\n    raise ValueError('third\\ncall')",
    "raises late": "if self.calls == 12:\n    raise KeyError('late')",
    "raises on one image": "if x.shape[0] == 1:\n    raise ValueError('expected more than 1 value')",
    "raises on a smaller batch": "assert x.shape[0] not in (2, 6, 13), x.shape",
    "raises without a word": "if self.calls == 5:\n    raise Exception",
    "raises oddly": "if self.calls == 2:\n    raise StopIteration('\\x1b[31m' + 'x' * 3000)",
    "out of memory": "if self.calls == 4:\n    raise torch.OutOfMemoryError('tried to allocate 2.00 GiB')",
    "memory error": "if self.calls == 4:\n    raise MemoryError",
    "prints": "print('batch', x.shape, '\\u2603', 'y' * 1000)",
    "warns": "import warnings\nwarnings.warn(f'call {self.calls}')",
    "logs": "import logging\nlogging.warning('call %s', self.calls)",
    "random": "x = x + torch.randn_like(x) * 0.3",
    "dropout always": "x = F.dropout(x, 0.5, training=True)",
    "other with each call": "x = x * (1 + self.calls % 3)",
    "no_grad": "with torch.no_grad():\n    x = x * 1",
    "inference mode": "with torch.inference_mode():\n    x = x * 1",
    "detach": "x = x.detach()",
    "half detached": "x = torch.where(x > 0.5, x.detach(), x)",
    "rounds": "x = torch.round(x * 8) / 8",
    "straight through": "x = x + (x.sign() - x).detach()",
    "in place": "x.mul_(0.5)",
    "in place index": "x[0] = 0",
    "branch": "if x.sum() > 0:\n    x = x * 2\nelse:\n    x = -x",
    "branch on size": "if x.shape[0] > 10:\n    x = x + 1",
    "branch per image": "for i in range(x.shape[0]):\n    if x[i].mean() > 0.3:\n        x = x * 1.01",
    "while": "n = 0\nwhile x.abs().max() > 0.1 and n < 5:\n    x = x / 2\n    n += 1",
    "item": "x = x * (1 + float(x.max().item()))",
    "of the whole batch": "x = x - x.mean(0, keepdim=True)",
    "batch flipped": "x = x.flip(0) + x",
    "NaN": "x = x / (x - x)",
    "NaN of some": "x = torch.where(x > 0.9, torch.full_like(x, math.nan), x)",
    "infinite": "x = torch.exp(x * 1e4)",
    "overflow back": "x = torch.sqrt(x * 0) + x",
    "wrong backward": "x = Wrong.apply(x)",
    "raising backward": "x = Raising.apply(x)",
    "shapeless backward": "x = Shapeless.apply(x)",
    "no backward": "x = Nothing.apply(x)",
    "autocast": "with torch.autocast('cpu', dtype=torch.bfloat16):\n    x = F.linear(x, torch.eye(x.shape[-1]))",
    "bfloat16": "x = x.bfloat16().float()",
    "float64": "x = x.double()",
    "contiguous": "x = x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x.contiguous()",
    "unique": "x = x * len(torch.unique(x))",
    "nonzero": "x = x + x.nonzero().shape[0]",
    "topk": "x = x + x.topk(2, -1).values.sum(-1, keepdim=True)",
    "cumsum": "x = x.cumsum(-1)",
    "own grad": "with torch.enable_grad():\n    y = x.detach().requires_grad_()\n"
    "    x = x + torch.autograd.grad((y**2).sum(), y)[0] * 0.1",
    "buffer": "if not hasattr(self, 'seen'):\n    self.register_buffer('seen', torch.zeros(()))\n"
    "self.seen += x.shape[0]",
    "weights": "with torch.no_grad():\n    self.head.weight.mul_(1.01)",
    "new parameter": "self.extra = nn.Parameter(torch.ones(1))\nx = x * self.extra",
    "keeps all": "self.kept = getattr(self, 'kept', [])[-3:] + [x]",
    "training left on": "self.train()",
    "own seed": "torch.manual_seed(0)\nx = x + torch.rand_like(x) * 0.1",
    "numpy random": "import numpy\nx = x + float(numpy.random.rand())",
    "time": "import time\nx = x * (1 + time.perf_counter() % 1e-3)",
    "sqrt of none": "x = x[:0] if self.calls == 6 else x",
    "size checked": "assert x.dtype == torch.float32 and x.min() >= 0, 'pixels must lie in [0, 1]'",
}
"""Name -> lines on x, before the body or after it."""

FUNCTIONS = """
class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return -g


class Raising(Wrong):
    @staticmethod
    def backward(ctx, g):
        raise NotImplementedError("no backward")


class Shapeless(Wrong):
    @staticmethod
    def backward(ctx, g):
        return g.sum()


class Nothing(Wrong):
    @staticmethod
    def backward(ctx, g):
        return None


Pair = namedtuple("Pair", "logits features")


@dataclass
class Output:
    logits: Any
    loss: Any = None
    hidden_states: Any = ()


class Slots:
    __slots__ = ("logits",)

"""
