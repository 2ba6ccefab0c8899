"""FLOP formulas against torch's own counter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from lsa_audit.graph.export import export
from lsa_audit.graph.flops import FORMULAS, flops
from lsa_audit.graph.structure import ShapeRecorder, operation


class Function(nn.Module):
    def __init__(self, function, *weights: tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList(torch.rand(shape) for shape in weights)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.weights)


CASES = {
    "conv1d": (lambda x, w: functional.conv1d(x, w, stride=2), (3, 4, 9), [(6, 4, 3)]),
    "conv2d": (lambda x, w: functional.conv2d(x, w, padding=1, groups=2), (3, 4, 5, 5), [(6, 2, 3, 3)]),
    "conv3d": (functional.conv3d, (3, 2, 5, 5, 5), [(4, 2, 2, 3, 3)]),
    "conv_transpose2d": (
        lambda x, w: functional.conv_transpose2d(x, w, stride=2, groups=2),
        (3, 4, 5, 5),
        [(4, 3, 3, 3)],
    ),
    "linear": (functional.linear, (3, 7, 4), [(6, 4)]),
    "matmul": (torch.matmul, (3, 5, 4), [(4, 2)]),
    "mm": (torch.mm, (3, 4), [(4, 2)]),
    "bmm": (lambda x: torch.bmm(x, x.transpose(1, 2)), (3, 5, 4), []),
    "addmm": (lambda x, b, w: torch.addmm(b, x, w, beta=0.5), (3, 4), [(2,), (4, 2)]),
    "baddbmm": (lambda x, b: torch.baddbmm(b, x, x.transpose(1, 2)), (3, 5, 4), [(1, 5, 5)]),
    "einsum": (lambda x, w: torch.einsum("n...c,dc->n...d", x, w), (3, 5, 4), [(6, 4)]),
    "einsum of three": (lambda x, u, w: torch.einsum("nsc,cd,de->nse", x, u, w), (3, 5, 4), [(4, 6), (6, 2)]),
    "scaled_dot_product_attention": (
        lambda x: functional.scaled_dot_product_attention(x, x[..., :3, :], x[..., :3, :2]),
        (3, 2, 5, 4),
        [],
    ),
}


@pytest.mark.slow_except("addmm", "baddbmm", "einsum", "einsum of three")
@pytest.mark.parametrize("name", CASES)
def test_a_formula_equals_the_counter(name: str):
    function, shape, weights = CASES[name]
    module = Function(function, *weights).eval().requires_grad_(False)
    images = torch.rand(shape)
    graph_module = export(module, images)
    recorder = ShapeRecorder(graph_module)
    recorder.run(images)
    found = {operation(node): flops(node, recorder.shapes) for node in graph_module.graph.nodes}
    plain = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with FlopCounterMode(display=False) as counter, plain:
        module(images)
    assert name.split()[0] in FORMULAS
    assert found[name.split()[0]] == counter.get_total_flops() > 0


def spent(module: nn.Module, images: Tensor) -> dict[str, int]:
    graph_module = export(module.eval().requires_grad_(False), images)
    recorder = ShapeRecorder(graph_module)
    recorder.run(images)
    return {operation(node): flops(node, recorder.shapes) for node in graph_module.graph.nodes}


def test_a_bilinear_map_costs_what_its_einsum_costs():
    """torch's counter does not know it."""
    bilinear = Function(lambda x, w: functional.bilinear(x, x[:, :3], w), (6, 4, 3))
    einsum = Function(lambda x, w: torch.einsum("ni,oij,nj->no", x, w, x[:, :3]), (6, 4, 3))
    images = torch.rand(5, 4)
    assert spent(bilinear, images)["bilinear"] == spent(einsum, images)["einsum"] == 2 * 5 * 6 * (4 * 3 + 3)


def test_other_operations_cost_nothing():
    assert flops(fx.Graph().call_function(torch.ops.aten.relu.default), {}) == 0
