"""What an exported graph loses is seen, and the model's own modules serve instead."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lsa_audit.graph import fidelity, walker
from lsa_audit.graph.batch_layout import probe_images
from lsa_audit.graph.export import export
from lsa_audit.graph.fidelity import NoGradientError, compare
from lsa_audit.graph.taps import run
from lsa_audit.graph.walker import no_backward, walk

from .networks import images_for, model_of


def slowly(*values: object):
    return pytest.param(*values, marks=pytest.mark.slow)


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(x * 4) / 4

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class Broken(StraightThrough):
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise NotImplementedError("no backward yet")


class Base(nn.Module):
    shape = (1, 6, 6)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(64, 3)

    def between(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.between(functional.relu(self.conv(x))).flatten(1))


class Quantised(Base):
    def between(self, x: Tensor) -> Tensor:
        return StraightThrough.apply(x)


class OfNoBackward(Base):
    def between(self, x: Tensor) -> Tensor:
        return Broken.apply(x)


class GradientHook(Base):
    def between(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            x.register_hook(lambda gradient: -gradient)
        return x


class FrozenFirst(Base):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = functional.relu(self.conv(x))
        return self.fc(x.flatten(1))


class Frozen(Base):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Detached(Base):
    """The usual straight-through form, which a graph keeps."""

    def between(self, x: Tensor) -> Tensor:
        return x + ((x * 4).round() / 4 - x).detach()


class Checkpointed(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(checkpoint(lambda y: functional.relu(self.conv(y)), x, use_reentrant=False).flatten(1))


class ReentrantCheckpoint(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(checkpoint(lambda y: functional.relu(self.conv(y)), x, use_reentrant=True).flatten(1))


class Bfloat16(Base):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x)


def walked(kind: type[Base]):
    network = kind().eval()
    images = images_for(network)
    return network, images, walk(model_of(network), images)


@pytest.mark.slow_except("FrozenFirst")
@pytest.mark.parametrize("kind", [Quantised, slowly(GradientHook), FrozenFirst, slowly(Frozen)])
def test_a_graph_with_another_gradient_is_not_used(kind):
    _, _, graph = walked(kind)
    assert graph.info.walker == "hooks"
    assert graph.info.skipped[0].reason == "graph-gradients"
    gradients = {check.what: check for check in graph.info.checks}["input gradient"]
    assert not gradients.passed
    assert [layer.info.name for layer in graph.layers] == ["conv", "fc"]


@pytest.mark.slow_except("Bfloat16")
@pytest.mark.parametrize("kind", [Base, slowly(Detached), slowly(Checkpointed), Bfloat16])
def test_a_graph_that_is_the_model_is_used(kind):
    _, _, graph = walked(kind)
    assert graph.info.walker == "export"
    values, gradients = graph.info.checks
    assert values.passed
    assert gradients.passed
    assert (values.compared, values.of) == (2, len(graph.layers)), "the convolution and the linear layer are modules"
    assert values.difference <= 1e-6


def test_the_gradient_at_a_layer_is_the_models_own_where_the_graph_lost_it():
    network, images, graph = walked(Quantised)
    seen: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        seen.append(value)
        return value.clone()

    leaf = images.clone().requires_grad_()
    logits = run(graph, leaf, {"conv": keep})
    (found,) = torch.autograd.grad(logits[:, 0].sum(), seen[0])
    values = network.conv((images - 0.4) / 0.3)
    weights = network.fc.weight[0].view(1, 4, 4, 4).expand_as(values)
    assert torch.allclose(found, weights * (values > 0), atol=1e-6), "rounding lets the gradient through unchanged"


@pytest.mark.parametrize("kind", [OfNoBackward, slowly(ReentrantCheckpoint)])
def test_a_backward_that_fails_is_named(kind):
    _, _, graph = walked(kind)
    assert graph.info.walker == "export", "its values are right"
    assert no_backward(graph)
    assert no_backward(walked(Base)[2]) == ""


def test_another_value_of_a_layer_is_seen_and_named(monkeypatch):
    network = Base().eval()
    module, images = model_of(network).module, probe_images(images_for(network))
    module.requires_grad_(False)
    graph = export(module, images)
    sites = {node.name: node.name for node in graph.graph.nodes if node.op == "call_function"}
    fine = compare(graph, module, sites, images)
    assert (fine.wrong_layer, fine.lost_gradient) == ("", False)
    values = fidelity._of_module

    def shifted(*arguments: Any) -> Any:
        found, logits, leaf = values(*arguments)
        return {key: value + 0.01 if key[0] == "conv" else value for key, value in found.items()}, logits, leaf

    monkeypatch.setattr(fidelity, "_of_module", shifted)
    assert compare(graph, module, sites, images).wrong_layer.startswith("conv")
    walked_again = walker.walk(model_of(network), images_for(network))
    assert (walked_again.info.walker, walked_again.info.skipped[0].reason) == ("hooks", "graph-values")


@pytest.mark.slow
def test_a_module_that_is_called_twice_is_compared_call_by_call():
    class Twice(Base):
        def __init__(self) -> None:
            super().__init__()
            self.same = nn.Conv2d(4, 4, 1)
            self.act = nn.ReLU(inplace=True)

        def between(self, x: Tensor) -> Tensor:
            return self.act(self.same(self.act(self.same(x))))

    _, _, graph = walked(Twice)
    assert graph.info.walker == "export"
    assert graph.info.checks[0].compared == 6, "conv, same and act twice, fc; the functional relu is no module"


@pytest.mark.slow
def test_the_own_backward_that_fails_is_an_error_of_the_comparison():
    network = OfNoBackward().eval()
    module, images = model_of(network).module, images_for(network)
    module.requires_grad_(False)
    with pytest.raises(NoGradientError, match="no backward yet"):
        compare(export(module, images), module, {}, images)
