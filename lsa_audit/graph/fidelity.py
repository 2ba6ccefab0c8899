"""Holds an exported graph against the module that it was made from: values of layers, and the gradient by the images.

What an export loses without changing a single logit (custom backwards, regions without gradients, hooks on gradients)
shows here and nowhere else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..errors import first_line
from ..models.base import PixelModel
from ..models.peeling import Watch
from ..records import GraphCheck
from .hooks import hooked
from .structure import NETWORK, Call, calls_of
from .taps import Visitor, run_graph
from .weights import MODULES

VALUE_TOLERANCE, HALF_TOLERANCE = 1e-4, 2e-2
"""Of the largest absolute value; half precision keeps two or three digits."""

GRADIENT_TOLERANCE = 1e-3
"""Of the length of an image's gradient. What an export loses turns or takes away whole parts of it."""

OWN = "the model's own modules"


class NoGradientError(Exception):
    """The model's own backward fails."""


@dataclass(frozen=True)
class Fidelity:
    """What the comparison showed.

    Attributes:
        checks: for the record.
        wrong_layer: name of a site whose value differs, empty for none.
        lost_gradient: whether the gradient differs.
        no_gradient: whether the module's own logits have none by the images.
    """

    checks: tuple[GraphCheck, ...]
    wrong_layer: str
    lost_gradient: bool
    no_gradient: bool


def compare(graph_module: fx.GraphModule, module: PixelModel, sites: Mapping[str, str], images: Tensor) -> Fidelity:
    """Run the graph and the module on the same images, with one backward of each.

    A layer is compared where its value is what a call of a module returned; what happens between modules shows in
    their values and in the logits.

    Args:
        graph_module: exported from `module`, a PixelModel in eval mode.
        sites: node name of a layer -> name of the layer.
        images: [N, ...]; a few are enough.

    Raises:
        NoGradientError: the module's own backward raises.

    Cost: two forwards and two backwards; the values of all modules are held.
    """
    values, logits, leaf = _of_module(module, images)
    own = _gradient(logits, leaf)
    exits = {**_by_name(module, sites, values), **module_exits(graph_module, values)}
    differences: dict[str, tuple[float, bool]] = {}

    def visitor(site: str) -> Visitor:
        def visit(value: Tensor) -> None:
            differences[site] = _difference(value.detach(), values[exits[site]])

        return visit

    with torch.enable_grad():
        again = images.detach().clone().requires_grad_()
        found = run_graph(graph_module, again, {site: [visitor(site)] for site in exits})
    graphs = _gradient(found, again)
    wrong = [site for site, (_, fits) in differences.items() if not fits]
    wrong.sort(key=lambda site: (site not in sites, -differences[site][0]))
    distance = _distance(own, graphs, images)
    compared = [difference for site, (difference, _) in differences.items() if site in sites]
    checks = (
        GraphCheck(
            what="layer values",
            against=OWN,
            compared=len(compared),
            of=len(sites),
            difference=max(compared, default=None),
            passed=not wrong,
        ),
        GraphCheck(
            what="input gradient", against=OWN, compared=1, of=1, difference=distance, passed=_is_close(distance)
        ),
    )
    name = sites.get(wrong[0], exits[wrong[0]][0]) if wrong else ""
    return Fidelity(checks, name, not _is_close(distance), own is None)


def module_exits(graph_module: fx.GraphModule, values: Mapping[tuple[str, int], Any]) -> dict[str, tuple[str, int]]:
    """Node name -> path and number of the module call that returned its value, of those among `values`."""
    members: dict[Call, list[fx.Node]] = defaultdict(list)
    for node in graph_module.graph.nodes:
        for call in calls_of(node):
            members[call].append(node)
    numbers: dict[str, list[Call]] = defaultdict(list)
    for call in members:
        numbers[call.path].append(call)
    counts: dict[str, int] = defaultdict(int)
    for path, _ in values:
        counts[path] += 1
    found: dict[str, tuple[str, int]] = {}
    for path, calls in numbers.items():
        if counts[path] != len(calls):
            continue
        for number, call in enumerate(calls):
            inside = set(members[call])
            exits = [node for node in members[call] if any(user not in inside for user in node.users)]
            if len(exits) == 1 and isinstance(exits[0].meta.get("val"), Tensor):
                found.setdefault(exits[0].name, (path, number))
    return found


def _by_name(
    module: nn.Module, sites: Mapping[str, str], values: Mapping[tuple[str, int], Any]
) -> dict[str, tuple[str, int]]:
    """The same for layers that are one of torch's own modules, called once, by the name of the layer.

    A graph may have lost which module an operation belongs to, as under autocast.
    """
    network = module.get_submodule(NETWORK)
    paths = {path for path, child in network.named_modules() if type(child) in MODULES and not child._forward_hooks}
    return {
        site: (name, 0)
        for site, name in sites.items()
        if name in paths and (name, 0) in values and (name, 1) not in values
    }


def _of_module(module: PixelModel, images: Tensor) -> tuple[dict[tuple[str, int], Tensor], Tensor, Tensor]:
    """What every call of a module returned, the logits, and the images as a leaf."""
    values: dict[tuple[str, int], Tensor] = {}
    counts: dict[str, int] = defaultdict(int)
    # A graph that ends at the logits lacks the activation behind them, and what modules around it return.
    watch = Watch() if module.head.peels else None

    def on_exit(path: str, _: Tensor | None, output: Any) -> None:
        number = counts[path]
        counts[path] += 1
        entry = watch.found(output) if watch is not None and isinstance(output, Tensor) else None
        # Where the outputs decide, the graph holds what makes them.
        if entry is not None and (entry.plain or not module.head.ties):
            return
        # Inside vmap there are no values to keep.
        if (
            isinstance(output, Tensor)
            and output.is_floating_point()
            and not torch._C._functorch.is_batchedtensor(output)
        ):
            # A copy, as what follows may work in place.
            values[path, number] = output.detach().clone()

    with torch.enable_grad(), hooked(module, None, on_exit), watch or nullcontext():
        leaf = images.detach().clone().requires_grad_()
        logits: Tensor = module(leaf)
    return values, logits, leaf


def _gradient(logits: Tensor, leaf: Tensor) -> Tensor | None:
    """Of a seeded mixture of the logits by the images; None where they do not depend on them.

    Raises:
        NoGradientError: the backward raises.
    """
    if not logits.requires_grad:
        return None
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(logits.shape[1], generator=generator).to(logits)
    try:
        return torch.autograd.grad((logits * weights).sum(), leaf, allow_unused=True)[0]
    except Exception as error:
        raise NoGradientError(f"{type(error).__name__}: {first_line(error)}") from error


def _distance(own: Tensor | None, other: Tensor | None, images: Tensor) -> float:
    """Of two gradients, relative to the first; the median of the images, as a kink of an activation may move one."""
    if own is None and other is None:
        return 0.0
    first, second = (torch.zeros_like(images) if one is None else one.detach() for one in (own, other))
    first, second = first.double().flatten(1), second.double().flatten(1)
    apart, length = torch.linalg.vector_norm(first - second, dim=1), torch.linalg.vector_norm(first, dim=1)
    shares = torch.where(apart == 0, 0.0, apart / length)
    same_gaps = (torch.isfinite(first) == torch.isfinite(second)).all(1)
    shares = torch.where(torch.isnan(shares) & same_gaps, 0.0, shares).nan_to_num(nan=torch.inf)
    return float(shares.median())


def _is_close(distance: float) -> bool:
    return distance <= GRADIENT_TOLERANCE


def _difference(value: Tensor, own: Tensor) -> tuple[float, bool]:
    """Relative to the largest, and whether it is rounding."""
    if value.shape != own.shape:
        return float("inf"), False
    tolerance = VALUE_TOLERANCE if own.dtype in (torch.float32, torch.float64) else HALF_TOLERANCE
    value, own = value.double(), own.double()
    finite = torch.isfinite(own)
    if not torch.equal(finite, torch.isfinite(value)):
        return float("inf"), False
    scale = float(own[finite].abs().max()) if finite.any() else 0.0
    apart = float((value[finite] - own[finite]).abs().max()) if finite.any() else 0.0
    return apart / scale if scale else apart, apart <= tolerance * scale
