"""What the walker hands over: layers that can be read and replaced, and the module in which they live."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..errors import ModelError
from ..records import GraphInfo, LayerInfo


@dataclass(frozen=True)
class Layout:
    """How the images of a batch lie in a tensor.

    Dimension `batch_dim` has size batch_outer * N * k. For token models that flatten [S, N, E] into [S * N, E] the
    images alternate (batch_outer = S); for windows [N * W, ...] the rows of one image are contiguous (batch_outer = 1).
    """

    batch_dim: int
    batch_outer: int = 1


@dataclass(frozen=True)
class Layer:
    """One layer that can be read and replaced.

    Attributes:
        info: what people see.
        site: FX node name (export) or module path, with `@k` for its k-th further call (hooks), whose value is the
            layer's output.
        drop_site: where the consumers see the neurons: the batch norm that alone follows a convolution or linear layer,
            else the same as `site`.
        drop_label: `drop_site` in words.
        batch_dim: dimension along which the images lie; verified on real values.
        batch_outer: see `Layout`; 1 but for flattened sequence-first tokens.
    """

    info: LayerInfo
    site: str
    drop_site: str
    drop_label: str
    batch_dim: int
    batch_outer: int = 1


@dataclass(frozen=True)
class Graph:
    """A walked model.

    Attributes:
        info: for the record.
        layers: in the order of execution, the same as `info.layers`.
        module: what `taps.run` runs: a functional `torch.fx.GraphModule` that shares its parameters with the model
            (export), or the model's own module (hooks).
        unassigned_parameters: parameters that belong to no layer; each group is named in `info.skipped`.
        idle: names within the network of the parameters that the module's own forward gives no gradient.
    """

    info: GraphInfo
    layers: tuple[Layer, ...]
    module: nn.Module
    unassigned_parameters: int = 0
    idle: frozenset[str] = frozenset()


class UnevenRowsError(ModelError):
    """A layer's value has another number of rows than the images give it: how many it has hangs on what they show."""

    def __init__(self, layer: str, rows: int, count: int) -> None:
        what = f"layer {layer} has {rows} rows for {count} images: how many depends on what the images show"
        super().__init__(what, "leave it out with --layers")


def check_rows(layer: Layer, value: Tensor, count: int) -> None:
    """Compare how many rows the value has where the images lie.

    Raises:
        UnevenRowsError: not as many for each of the `count` images as in the walk.
    """
    shape, dim = layer.info.output_shape, layer.batch_dim
    expected = count * (shape[dim] if len(shape) == value.dim() else 1)
    rows = value.shape[dim] if dim < value.dim() else 0
    if rows != expected:
        raise UnevenRowsError(layer.info.name, rows, count)


def split_batch(value: Tensor, layout: Layout, count: int) -> Tensor:
    """The batch dimension as three: repetitions around the batch, the `count` images, the rest of each image."""
    dim = layout.batch_dim
    return value.reshape(*value.shape[:dim], layout.batch_outer, count, -1, *value.shape[dim + 1 :])
