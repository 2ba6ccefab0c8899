"""Outputs that an activation with bounds has made: attacks see what is in front of it, and the outputs decide."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lsa_audit.graph.walker import walk
from lsa_audit.models import Model, fit, from_module
from lsa_audit.models.heads import as_decided
from tests.models.test_heads import IMAGES, Ending


def fitted(end: Callable[[Tensor], Tensor], scale: float = 8.0) -> tuple[Model, Tensor, Tensor]:
    """The model, its logits on the images, and what stands in front of the ending."""
    network = Ending(lambda z: end(scale * z))
    model = fit(from_module(network.eval()), IMAGES, 5)
    with torch.no_grad():
        return model, model.module(IMAGES), scale * network.network(IMAGES)


def normalised(values: Tensor) -> Tensor:
    return values / values.sum(1, keepdim=True)


EXACT: dict[str, tuple[Callable[[Tensor], Tensor], str, float]] = {
    "tanh": (torch.tanh, "a tanh", 1),
    "between 0 and 1": (lambda z: (torch.tanh(z) + 1) / 2, "a rescaled tanh", 1),
    "falling": (lambda z: -torch.tanh(z), "a rescaled tanh", -1),
    "capped": (lambda z: 5 * torch.tanh(z / 5), "a rescaled tanh", 1),
    "2 sigmoid - 1": (lambda z: 2 * torch.sigmoid(z) - 1, "a rescaled sigmoid", 1),
    "by a tensor": (lambda z: torch.tensor(2.0) * torch.sigmoid(z) - torch.ones(1), "a rescaled sigmoid", 1),
    "sigmoids that share 1": (lambda z: normalised(torch.sigmoid(z)), "a normalised sigmoid", 1),
    "their logarithm": (lambda z: normalised(torch.sigmoid(z)).log(), "a normalised sigmoid", 1),
    "of length 1": (lambda z: functional.normalize(torch.tanh(z)), "a normalised tanh", 1),
    "of sum 1": (lambda z: torch.tanh(z) / torch.tanh(z).norm(p=1, dim=1, keepdim=True), "a normalised tanh", 1),
    "erf": (torch.erf, "an erf", 2 / torch.pi**0.5),
    "arctangent": (torch.atan, "an arctangent", 1),
    "softsign": (functional.softsign, "a softsign", 1),
    "a power of a softmax": (lambda z: z.softmax(1) ** 2, "a rescaled softmax", 1),
    "smoothed": (lambda z: 0.9 * z.softmax(1) + 0.02, "a rescaled softmax", 1),
    "a softmax of a tanh": (lambda z: torch.tanh(z).softmax(1), "a softmax of a tanh", 1),
}


@pytest.mark.parametrize(("end", "said", "factor"), EXACT.values(), ids=EXACT)
def test_attacks_see_what_is_in_front(end, said, factor) -> None:
    model, logits, z = fitted(end)
    assert model.outputs.logits == "peeled"
    assert model.outputs.sentence.startswith(said)
    assert "decisions use the outputs" in model.outputs.sentence
    winner = end(z).argmax(1)
    assert torch.equal(logits.argmax(1), winner)
    # Where several outputs are the same to float32, the first of them is lifted above the others.
    kept = (torch.arange(5) != winner[:, None]) | (factor * z.gather(1, winner[:, None]) == (factor * z).amax(1, True))
    assert torch.allclose(logits[kept], factor * z[kept], rtol=1e-3, atol=1e-3)


BY_HAND: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "sigmoids": (lambda z: 1 / (1 + torch.exp(-z)), "sigmoids"),
    "sigmoids through a softplus": (lambda z: torch.exp(-functional.softplus(-z)), "sigmoids"),
    "a softmax": (lambda z: normalised((z - z.amax(1, keepdim=True)).exp()), "softmax"),
}


@pytest.mark.parametrize(("end", "kind"), BY_HAND.values(), ids=BY_HAND)
def test_what_is_written_by_hand_is_known_by_its_values(end, kind) -> None:
    model, logits, z = fitted(end, 1.0)
    assert (model.outputs.kind, model.outputs.logits, model.outputs.squashed_by) == (kind, "peeled", ())
    shifted = logits - z
    if kind == "softmax":
        assert torch.allclose(shifted, shifted[:, :1].expand(-1, 5), atol=1e-5)
    else:
        assert torch.allclose(z / logits, (z / logits)[0, 0].expand(16, 5), rtol=1e-5)


HARD: dict[str, Callable[[Tensor], Tensor]] = {
    "hardtanh": functional.hardtanh,
    "in place": lambda z: functional.hardtanh(z.clone(), inplace=True),
    "hardsigmoid": functional.hardsigmoid,
    "ReLU6": functional.relu6,
    "clip": lambda z: z.clamp(-3, 3),
    "sigmoids cut off": lambda z: z.sigmoid().clamp(0.2, 0.8),
}


@pytest.mark.parametrize("end", HARD.values(), ids=HARD)
def test_where_it_is_flat_the_outputs_decide_and_gradients_go_on(end) -> None:
    model, logits, z = fitted(end)
    outputs = end(z)
    assert model.outputs.kind == "squashed"
    assert not torch.equal(z.argmax(1), outputs.argmax(1))
    assert torch.equal(logits.argmax(1), outputs.argmax(1))
    leaf = IMAGES.clone().requires_grad_()
    loss = functional.cross_entropy(model.module(leaf), outputs.argmax(1), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaf)
    assert (gradient.flatten(1).abs().amax(1) > 0).all()


def test_the_winner_of_a_tie_is_lifted_and_nothing_else() -> None:
    logits = torch.tensor([[5.0, 7.0, -2.0], [1.0, 2.0, 3.0]], requires_grad=True)
    found = as_decided(logits, logits.clamp(-3, 3))
    assert found.argmax(1).tolist() == [0, 2]
    assert torch.equal(found[1], logits[1])
    assert torch.equal(found[0, 1:], logits[0, 1:])
    assert 7 < found[0, 0] < 7.001
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert torch.equal(gradient, torch.ones_like(gradient))


@pytest.mark.slow_except("tanh", "hardtanh")
@pytest.mark.parametrize(
    "end", [torch.tanh, functional.hardtanh, EXACT["of length 1"][0]], ids=["tanh", "hardtanh", "l2"]
)
def test_the_graph_of_such_a_network_is_exported(end) -> None:
    model, _, _ = fitted(end)
    graph = walk(model, IMAGES[:3])
    assert graph.info.walker == "export"
    assert all(check.passed for check in graph.info.checks)
    # Of a hardtanh attacks see its own values within its bounds, of the others nothing.
    assert graph.layers[-1].info.op == ("hardtanh" if end is functional.hardtanh else "linear")


def test_a_factor_that_may_be_negative_hides_the_values() -> None:
    """An image whose factor has the other sign has the opposite order."""
    model, _, _ = fitted(lambda z: torch.tanh(z) * z.sum(1, keepdim=True))
    assert model.outputs.logits == "unchanged"
