"""Whatever a network ends in, its logits are found, and decide as its outputs do; recomputed by plain PyTorch."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lsa_audit.attacks.objectives import cross_entropy, dlr, margin, targeted_dlr
from lsa_audit.errors import ModelError, UsageError
from lsa_audit.graph.walker import walk
from lsa_audit.models import Model, fit, from_module
from lsa_audit.models.heads import log_odds, logarithm, without_infinities
from lsa_audit.models.outputs import UndecidedError

IMAGES = torch.rand((16, 1, 6, 6), generator=torch.Generator().manual_seed(0))


def scores(classes: int = 5) -> nn.Module:
    """Images -> [N, classes], about half of each column above 0."""
    generator = torch.Generator().manual_seed(classes)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, classes))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        network[3].bias -= network(IMAGES).mean(0)
        network[3].weight *= 0.3
        network[3].bias *= 0.3
    return network.eval()


class Ending(nn.Module):
    def __init__(self, end: Callable[[Tensor], Any], classes: int = 5) -> None:
        super().__init__()
        self.network, self.end = scores(classes), end

    def forward(self, images: Tensor) -> Any:
        return self.end(self.network(images))


def fitted(end: Callable[[Tensor], Any], classes: int = 5, **wishes: Any) -> tuple[Model, Tensor, Tensor]:
    """The model, its logits on the images, and what stands in front of the ending."""
    network = Ending(end, classes)
    model = fit(from_module(network.eval(), **wishes), IMAGES, 2 if classes == 1 else classes)
    with torch.no_grad():
        return model, model.module(IMAGES), network.network(IMAGES)


def by_hand(z: Tensor) -> Tensor:
    """Sigmoids in a form that no rule knows."""
    return (-torch.logaddexp(torch.zeros_like(z), -z)).exp()


PEELED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "softmax": (lambda z: z.softmax(1), "softmax"),
    "nn.functional": (lambda z: functional.softmax(z, dim=-1), "softmax"),
    "log-softmax": (lambda z: functional.log_softmax(z, 1), "log-softmax"),
    "the logarithm of a softmax": (lambda z: z.softmax(1).log(), "log-softmax"),
    "sigmoids": (torch.sigmoid, "sigmoids"),
    "in place": (lambda z: z.clone().sigmoid_(), "sigmoids"),
    "log-sigmoids": (functional.logsigmoid, "log-sigmoids"),
    "a softmax of a softmax": (lambda z: z.softmax(1).softmax(1), "softmax"),
    "[N, K, 1, 1]": (lambda z: z.softmax(1)[:, :, None, None], "softmax"),
    "float16": (lambda z: z.softmax(1).half(), "softmax"),
    "clipped": (lambda z: z.softmax(1).clamp(1e-7, 1 - 1e-7), "softmax"),
    "scaled": (lambda z: 100 * z.softmax(1), "softmax"),
    "labels": (lambda z: z.argmax(1), "labels"),
}


@pytest.mark.slow_except("log-softmax", "the logarithm of a softmax", "float16", "clipped", "scaled", "labels")
@pytest.mark.parametrize(("end", "kind"), PEELED.values(), ids=PEELED)
def test_the_logits_in_front_of_the_last_activation_are_used(end, kind) -> None:
    model, logits, expected = fitted(end)
    assert torch.equal(logits, expected)
    assert (model.outputs.kind, model.outputs.decided_by, model.outputs.logits) == (kind, "graph", "peeled")
    graph = walk(model, IMAGES[:3])
    assert graph.info.walker == "export"
    assert [layer.info.op for layer in graph.layers][-1] == "linear"


VALUES: dict[str, tuple[Callable[[Tensor], Tensor], str, str]] = {
    "a softmax by hand": (lambda z: (z - torch.logsumexp(z, 1, True)).exp(), "probabilities", "logarithm"),
    "a mean of two": (lambda z: (z.softmax(1) + (2 * z).softmax(1)) / 2, "probabilities", "logarithm"),
    "sigmoids by hand": (by_hand, "independent-probabilities", "log-odds"),
    "one-hot": (lambda z: functional.one_hot(z.argmax(1), 5).float(), "probabilities", "logarithm"),
    "logarithms": (lambda z: (z.softmax(1) + 1e-9).log(), "log-probabilities", "unchanged"),
    "capped": (lambda z: 30 * torch.tanh(z / 30), "logits", "unchanged"),
    "softplus": (functional.softplus, "logits", "unchanged"),
    "a tanh of each class's own scale": (lambda z: torch.tanh(z) * torch.arange(1, 6), "logits", "unchanged"),
    "a tanh that is written into": (
        lambda z: torch.tanh(z).index_fill(1, torch.tensor([3]), 0.0),
        "logits",
        "unchanged",
    ),
}


@pytest.mark.parametrize(("end", "kind", "how"), VALUES.values(), ids=VALUES)
def test_values_tell_where_the_graph_does_not(end, kind, how) -> None:
    model, logits, before = fitted(end)
    outputs = end(before)
    assert (model.outputs.kind, model.outputs.decided_by, model.outputs.logits) == (kind, "values", how)
    assert torch.isfinite(logits).all()
    assert torch.equal(logits.argmax(1), outputs.argmax(1))
    if kind == "independent-probabilities":
        assert torch.allclose(logits, torch.logit(outputs.double()).float(), atol=1e-4)
    if kind == "probabilities":
        assert torch.allclose(logits.softmax(1), outputs, atol=1e-6)


SINGLE: dict[str, tuple[Callable[[Tensor], Tensor], float, str]] = {
    "sigmoid": (torch.sigmoid, 0.5, "sigmoids"),
    "[N] of sigmoids": (lambda z: z.sigmoid().squeeze(1), 0.5, "sigmoids"),
    "squeezed whatever the batch": (lambda z: z.sigmoid().squeeze(), 0.5, "sigmoids"),
    "one minus a sigmoid": (lambda z: 1 - z.sigmoid(), 0.5, "sigmoids"),
    "logit": (lambda z: z, 0.0, "logits"),
    "[N] of logits": (lambda z: z[:, 0], 0.0, "logits"),
    "tanh": (torch.tanh, 0.0, "squashed"),
    "a tanh between 0 and 1": (lambda z: (torch.tanh(z) + 1) / 2, 0.5, "squashed"),
    "a hardsigmoid": (functional.hardsigmoid, 0.5, "squashed"),
    "a sigmoid that is decided elsewhere": (lambda z: z.sigmoid() - 0.4, 0.0, "logits"),
}


@pytest.mark.parametrize(("end", "threshold", "kind"), SINGLE.values(), ids=SINGLE)
def test_one_score_is_decided_where_it_should_be(end, threshold, kind) -> None:
    model, logits, before = fitted(end, 1)
    expected = end(before).reshape(-1) > threshold
    assert 2 < int(expected.sum()) < len(IMAGES) - 2
    assert torch.equal(logits.argmax(1) == 1, expected)
    assert (model.classes, model.outputs.kind) == (2, kind)
    with torch.no_grad():
        assert torch.allclose(model.module(IMAGES[:1]), logits[:1], atol=1e-5)
    if kind == "sigmoids":
        assert torch.allclose(logits.softmax(1)[:, 1], end(before).reshape(-1), atol=1e-6)


def test_the_pair_of_one_sigmoid_is_a_softmax_of_two() -> None:
    model, logits, z = fitted(lambda z: torch.cat([1 - z.sigmoid(), z.sigmoid()], 1), 1)
    assert model.outputs.logits == "peeled"
    assert torch.allclose(logits.softmax(1)[:, 1:], z.sigmoid(), atol=1e-6)
    assert torch.allclose(logits[:, 1:] - logits[:, :1], z, atol=1e-6)


def test_a_probability_that_the_graph_shows_is_decided_at_a_half() -> None:
    model, logits, z = fitted(lambda z: z.softmax(1)[:, 1], 2)
    assert (model.outputs.kind, model.outputs.decided_by) == ("independent-probabilities", "graph")
    assert torch.equal(logits.argmax(1) == 1, z[:, 1] > z[:, 0])


def test_a_number_that_can_be_either_is_asked_for() -> None:
    with pytest.raises(
        UsageError, match=r"probability of class 1 .* or its logit .*; say which: --outputs-are"
    ) as caught:
        fitted(by_hand, 1)
    assert caught.value.exit_code == 2
    _, logits, z = fitted(by_hand, 1, outputs_are="probabilities")
    assert torch.equal(logits.argmax(1) == 1, z[:, 0] > 0)
    _, logits, _ = fitted(by_hand, 1, outputs_are="logits")
    assert (logits.argmax(1) == 1).all()
    with pytest.raises(UsageError, match="--outputs-are probabilities: Ending returns values from -"):
        fitted(lambda z: z, 5, outputs_are="probabilities")


def test_an_activation_inside_the_network_is_left_alone() -> None:
    model, logits, z = fitted(lambda z: z * torch.sigmoid(z))
    assert torch.allclose(logits, z * z.sigmoid())
    assert model.outputs.kind == "logits"


def test_a_sigmoid_over_the_wrong_dimension_is_no_head() -> None:
    network = Ending(lambda z: z.softmax(0))
    model = fit(from_module(network.eval()), IMAGES)
    assert model.outputs.logits != "peeled"


@dataclass
class Output:
    logits: Tensor
    loss: Tensor | None = None


Pair = namedtuple("Pair", ["aux", "logits"])
SEVERAL: dict[str, tuple[Callable[[Tensor], Any], str, str]] = {
    "dataclass": (Output, "logits", "only"),
    "ordered dictionary": (
        lambda z: OrderedDict(logits=z.softmax(1), states=(z[:, :, None].expand(-1, -1, 4),)),
        "logits",
        "only",
    ),
    "named tuple": (lambda z: Pair(2 * z, z), "logits", "name"),
    "features first": (lambda z: (z.repeat(1, 3), z), "1", "classes"),
    "nested": (lambda z: [{"a": z, "b": z.repeat(1, 2)}], "0.a", "classes"),
    "label and scores": (lambda z: (z.argmax(1), z.softmax(1)), "1", "only"),
    "loss first": (lambda z: (z.mean(), z), "1", "only"),
}


@pytest.mark.parametrize(("end", "name", "by"), SEVERAL.values(), ids=SEVERAL)
def test_the_output_with_the_logits_is_found_and_said(end, name, by) -> None:
    model, logits, expected = fitted(end)
    assert torch.equal(logits, expected)
    assert (model.outputs.output, model.outputs.chosen_by) == (name, by)


def test_outputs_that_nothing_tells_apart_are_asked_for() -> None:
    with pytest.raises(UndecidedError, match=r"0 \[N, 5\], 1 \[N, 5\]; give --logits NAME or INDEX"):
        fitted(lambda z: (z, -z))
    _, logits, z = fitted(lambda z: (z, -z), logits="1")
    assert torch.equal(logits, -z)
    with pytest.raises(UsageError, match=r"--logits 7: Ending has no such output; it returns 0 \[N, 5\], 1 \[N, 5\]"):
        fitted(lambda z: (z, -z), logits="7")


def test_another_structure_in_training_still_gives_its_logits() -> None:
    """As torchvision's inception, which returns auxiliary logits in training only."""
    network = Ending(lambda z: z)
    model = fit(from_module(network.eval()), IMAGES)
    network.end = lambda z: Pair(z.repeat(1, 2), z)
    assert torch.equal(model.module(IMAGES), network.network(IMAGES))


MASK = torch.tensor([0.0, -torch.inf, 0.0, -torch.inf, -torch.inf])


@pytest.mark.parametrize("end", [lambda z: z + MASK, lambda z: (z + MASK).softmax(1)], ids=["logits", "softmax"])
def test_masked_classes_change_no_figure(end) -> None:
    model, logits, z = fitted(end)
    assert model.outputs.masked == (1, 3, 4)
    assert torch.isfinite(logits).all()
    masked, live = z + MASK, MASK == 0
    labels = masked.argmax(1)
    assert torch.equal(logits.argmax(1), labels)
    assert torch.equal(
        cross_entropy(logits, labels, labels), functional.cross_entropy(masked, labels, reduction="none")
    )
    ranked = masked[:, live].sort(1, descending=True).values
    assert torch.allclose(margin(logits, labels, labels), ranked[:, 0] - ranked[:, 1])
    for objective in (dlr, targeted_dlr, cross_entropy, margin):
        leaf = IMAGES.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(model.module(leaf), labels, (labels + 2) % 5).sum(), leaf)
        assert torch.isfinite(gradient).all()


def test_a_class_that_only_one_image_masks_and_an_image_without_any() -> None:
    logits = torch.tensor([[1.0, 2.0, -torch.inf], [3.0, 1.0, 2.0], [-torch.inf] * 3])
    found = without_infinities(logits)
    assert torch.equal(found[1], logits[1])
    assert found[0, 2] < 1 - 17
    assert not torch.isfinite(found[2]).any()


@pytest.mark.parametrize("end", [lambda z: z * torch.nan, lambda z: z + torch.inf, lambda z: z - torch.inf])
def test_scores_that_are_no_numbers_are_refused(end) -> None:
    with pytest.raises(ModelError, match="returned NaN or infinite logits"):
        fitted(end)


def test_whole_numbers_are_no_scores() -> None:
    with pytest.raises(ModelError, match=r"returned \(2, 5\) of int64 for 2 images"):
        fitted(lambda z: z.round().long())


def test_functions_of_probabilities_rise_everywhere_and_stay_finite() -> None:
    values = torch.cat([torch.tensor([-0.5, 0.0, 1e-38, 1e-30]), torch.linspace(0.01, 1, 100), torch.tensor([1.5])])
    for function in (logarithm, log_odds):
        leaf = values.clone().requires_grad_()
        found = function(leaf)
        (slope,) = torch.autograd.grad(found.sum(), leaf)
        assert torch.isfinite(found).all()
        assert (found.diff() >= 0).all()
        assert (torch.isfinite(slope) & (slope > 0)).all()
    assert torch.allclose(log_odds(values[4:-2]), torch.logit(values[4:-2]), atol=1e-4)


def test_a_saturated_sigmoid_keeps_its_gradient() -> None:
    """sigmoid(200) is 1 in float32, and log(p) would have lost the logit."""
    network = Ending(lambda z: (200 * z).sigmoid(), 1)
    model = fit(from_module(network.eval()), IMAGES)
    leaf = IMAGES.clone().requires_grad_()
    logits = model.module(leaf)
    assert torch.allclose(logits[:, 1] - logits[:, 0], 200 * network.network(IMAGES)[:, 0], rtol=1e-4)
    (gradient,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), leaf)
    assert (gradient.flatten(1).abs().amax(1) > 1e-3).all()
