"""Which modules are layers, for models that are seen through module hooks. Literal data and three small questions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..records import LayerKind
from . import flops

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CHANNEL_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm)

KINDS: dict[LayerKind, tuple[type[nn.Module], ...]] = {
    "learnable": (*CONVOLUTIONS, *TRANSPOSED, nn.Linear, nn.Bilinear, nn.EmbeddingBag, nn.RNNBase),
    "norm": (*CHANNEL_NORMS, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm),
    "attention": (nn.MultiheadAttention,),
    "activation": (
        nn.ReLU,
        nn.ReLU6,
        nn.LeakyReLU,
        nn.PReLU,
        nn.RReLU,
        nn.ELU,
        nn.SELU,
        nn.CELU,
        nn.SiLU,
        nn.GELU,
        nn.Mish,
        nn.GLU,
        nn.Hardswish,
        nn.Hardsigmoid,
        nn.Hardtanh,
        nn.Sigmoid,
        nn.LogSigmoid,
        nn.Tanh,
        nn.Softplus,
        nn.Softshrink,
        nn.Hardshrink,
        nn.Softmax,
        nn.Softmax2d,
        nn.LogSoftmax,
        nn.Threshold,
    ),
    "pool": (
        nn.modules.pooling._MaxPoolNd,
        nn.modules.pooling._AvgPoolNd,
        nn.modules.pooling._AdaptiveAvgPoolNd,
        nn.modules.pooling._AdaptiveMaxPoolNd,
    ),
}


def module_kind(module: nn.Module) -> LayerKind | None:
    """The kind of one layer; a childless module of unknown class with parameters is a `block`; None for others."""
    known: LayerKind | None = next((kind for kind, classes in KINDS.items() if isinstance(module, classes)), None)
    if known is not None:
        return known
    childless = not any(True for _ in module.children())
    return "block" if childless and any(True for _ in module.parameters(recurse=False)) else None


def is_block(network: nn.Module, path: str, inside: Sequence[LayerKind]) -> bool:
    """Whether the module at a path, in which layers of these kinds ran, is a repeated unit."""
    parent, _, name = path.rpartition(".")
    repeated = bool(name) and isinstance(network.get_submodule(parent), nn.Sequential | nn.ModuleList)
    return repeated and len(inside) > 1 and "learnable" in inside


def neuron_dim(module: nn.Module, before: tuple[Tensor, int] | None, value: Tensor) -> int | None:
    """Dimension of the neurons in a module's output; `before`: its operand and where neurons lie in that, if known."""
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED, *CHANNEL_NORMS)) and value.dim() > 1:
        return 1
    if isinstance(module, nn.Linear | nn.Bilinear | nn.EmbeddingBag | nn.LayerNorm | nn.RMSNorm):
        return value.dim() - 1
    if before is None or before[0].dim() != value.dim() or before[0].shape[before[1]] != value.shape[before[1]]:
        return None
    return before[1]


def module_flops(module: nn.Module, arrived: Sequence[int], left: Sequence[int]) -> int:
    """FLOPs of a convolution, linear or bilinear module for operand and output of these shapes, else 0."""
    if isinstance(module, nn.Linear):
        return flops.linear(tuple(module.weight.shape), tuple(left))
    if isinstance(module, nn.Bilinear):
        return flops.bilinear(tuple(module.weight.shape), tuple(left))
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)):
        weight = tuple(module.weight.shape)
        return flops.convolution(tuple(arrived), weight, tuple(left), isinstance(module, TRANSPOSED))
    return 0
