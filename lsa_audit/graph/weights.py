"""The weights of a layer, and what scales its neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from ..models.base import Opaque
from .base import Graph, Layer
from .modules import TRANSPOSED
from .structure import NETWORK, arguments, operation

CONVOLUTIONS = frozenset(
    {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution"}
)

NEURONS_FIRST = frozenset(
    {
        "linear",
        "bilinear",
        "batch_norm",
        "_native_batch_norm_legit_functional",
        "group_norm",
        "native_group_norm",
        "instance_norm",
    }
)
"""Their neurons lie along the first dimension of `weight`."""

NEURONS_LAST = frozenset({"layer_norm", "native_layer_norm", "rms_norm"})

PRODUCTS: dict[str, tuple[str, str]] = {
    "matmul": ("other", ""),
    "mm": ("mat2", ""),
    "bmm": ("mat2", ""),
    "addmm": ("mat2", "self"),
}
"""Names of the arguments that are weight and bias; the neurons lie along the weight's last dimension."""

MOVES = frozenset({"t", "transpose", "permute"})

MODULES: frozenset[type[nn.Module]] = frozenset(
    {
        nn.Conv1d,
        nn.Conv2d,
        nn.Conv3d,
        nn.ConvTranspose1d,
        nn.ConvTranspose2d,
        nn.ConvTranspose3d,
        nn.Linear,
        nn.BatchNorm1d,
        nn.BatchNorm2d,
        nn.BatchNorm3d,
        nn.SyncBatchNorm,
        nn.InstanceNorm1d,
        nn.InstanceNorm2d,
        nn.InstanceNorm3d,
        nn.GroupNorm,
        nn.LayerNorm,
        nn.RMSNorm,
    }
)
"""Only these classes themselves: the forward of a subclass may do anything with the weight."""


@dataclass(frozen=True)
class Weights:
    """The tensors that make the neurons of a layer.

    Attributes:
        name: of the weight, as the model calls it, e.g. `conv1.weight`.
        weight, bias: the model's own tensors, mostly parameters: an edit in place changes the model.
        neuron_dim: dimension of `weight` along which the neurons lie; `bias` is [U].
    """

    name: str
    weight: Tensor
    bias: Tensor | None
    neuron_dim: int


def layer_weights(graph: Graph, layer: Layer) -> Weights | None:
    """The weights of the layer's own operation: convolution, linear, matrix product or norm.

    Row i of weight and bias times s is neuron i of the layer's value times s, and changes nothing else directly.
    None where no tensor does that: the operation has no weight, the weight is computed from others, another operation
    reads it too, or the neurons are not one dimension of it (a transposed convolution in groups).

    Cost: a pass over the nodes of the graph.
    """
    return _weights(graph, layer, layer.site)


def drop_site_weights(graph: Graph, layer: Layer) -> Weights | None:
    """The same where the layer's consumers see its neurons: those of the batch norm, if one alone follows the layer."""
    return _weights(graph, layer, layer.drop_site)


def _weights(graph: Graph, layer: Layer, site: str) -> Weights | None:
    if layer.info.neurons is None:
        return None
    found = _of_node(graph.module, site) if isinstance(graph.module, fx.GraphModule) else _of_module(graph, site)
    if found is None or found.weight.shape[found.neuron_dim] != layer.info.neurons:
        return None
    if found.bias is not None and found.bias.shape != (layer.info.neurons,):
        # one that is broadcast does not belong to single neurons
        return None
    return found


def _of_node(module: fx.GraphModule, site: str) -> Weights | None:
    node = next(node for node in module.graph.nodes if node.name == site)
    if operation(node) == "getitem" and node.args[1] == 0:
        (node,) = node.all_input_nodes
    name, named = operation(node), arguments(node)
    weight_name, bias_name = PRODUCTS.get(name, ("weight", "bias"))
    source, moves = _behind_moves(named.get(weight_name))
    bias = named.get(bias_name)
    if not _is_own(module, source) or (bias is not None and not _is_own(module, bias)):
        return None
    weight = _tensor(module, source)
    dims = _moved(moves, weight.dim())
    dim = _neuron_dim(name, named, [weight.shape[dim] for dim in dims])
    if dim is None:
        return None
    label = str(source.target).removeprefix(f"{NETWORK}.")
    return Weights(label, weight, None if bias is None else _tensor(module, bias), dims[dim])


def _neuron_dim(name: str, named: Mapping[str, Any], shape: Sequence[int]) -> int | None:
    """The dimension of the weight, of this shape as the operation sees it, that holds the neurons."""
    if name in CONVOLUTIONS:
        transposed = name.startswith("conv_transpose") or named.get("transposed", False)
        return _transposed_dim(shape, named.get("groups", 1)) if transposed else 0
    if name in NEURONS_FIRST:
        return 0
    if name in NEURONS_LAST:
        return 0 if len(shape) == 1 else None
    if name in PRODUCTS and len(shape) > 1:
        return len(shape) - 1
    return None


def _transposed_dim(shape: Sequence[int], groups: int) -> int | None:
    """A transposed convolution holds [inputs, outputs / groups, ...]."""
    if groups == 1:
        return 1
    return 0 if (shape[0], shape[1]) == (groups, 1) else None


def _behind_moves(node: Any) -> tuple[Any, list[fx.Node]]:
    """What an argument is before its dimensions change their order, and the changes, the last first."""
    moves = []
    while isinstance(node, fx.Node) and operation(node) in MOVES and len(node.users) == 1:
        moves.append(node)
        node = node.args[0]
    return node, moves


def _moved(moves: Sequence[fx.Node], count: int) -> list[int]:
    """The stored tensor's dimension for each dimension of the argument."""
    dims = list(range(count))
    for move in reversed(moves):
        named = arguments(move)
        if operation(move) == "permute":
            dims = [dims[dim] for dim in named["dims"]]
        else:
            one, other = named.get("dim0", 0), named.get("dim1", -1)
            dims[one], dims[other] = dims[other], dims[one]
    return dims


def _is_own(module: fx.GraphModule, node: Any) -> bool:
    """Whether a node is a tensor of the network, not a constant made by the export, that one operation reads, once."""
    if not isinstance(node, fx.Node) or node.op != "get_attr" or not str(node.target).startswith(f"{NETWORK}."):
        return False
    place = _tensor(module, node).data_ptr()
    stored = [_tensor(module, other) for other in module.graph.nodes if other.op == "get_attr"]
    if sum(isinstance(other, Tensor) and other.data_ptr() == place for other in stored) > 1 or len(node.users) != 1:
        return False
    (reader,) = node.users
    return reader.all_input_nodes.count(node) == 1


def _tensor(module: fx.GraphModule, node: fx.Node) -> Any:
    holder, _, name = str(node.target).rpartition(".")
    return getattr(module.get_submodule(holder), name)


def _of_module(graph: Graph, site: str) -> Weights | None:
    network = graph.module.get_submodule(NETWORK)
    if isinstance(network, Opaque) or any(layer.site.startswith(f"{site}@") for layer in graph.layers):
        return None
    if "@" in site or type(network.get_submodule(site)) not in MODULES:
        return None
    module = network.get_submodule(site)
    own = dict(module.named_parameters(recurse=False))
    bias = getattr(module, "bias", None)
    places = [tensor.data_ptr() for _, tensor in network.named_parameters(remove_duplicate=False)]
    if "weight" not in own or (bias is not None and "bias" not in own):
        return None
    if any(places.count(tensor.data_ptr()) > 1 for tensor in own.values()):
        return None
    dim: int | None = 0
    if isinstance(module, TRANSPOSED):
        dim = _transposed_dim(module.weight.shape, module.groups)
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
        dim = 0 if own["weight"].dim() == 1 else None
    return None if dim is None else Weights(f"{site}.weight", own["weight"], own.get("bias"), dim)
