"""What the outputs of a model say about attacks on it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lsa_audit.attacks import health
from lsa_audit.attacks.base import Batch

from .linear import linear_case


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda logits: logits, "logits"),
        (lambda logits: logits.softmax(1), "probabilities"),
        (lambda logits: logits.log_softmax(1), "log-probabilities"),
        (lambda logits: logits.abs(), "logits"),
        (lambda logits: -logits.abs(), "logits"),
        (torch.sigmoid, "logits"),
    ],
)
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_kinds_of_output(change, kind, classes):
    logits = 4 * torch.randn(50, classes, generator=torch.Generator().manual_seed(0))
    assert health.outputs_are(change(logits)) == kind


def test_saturated_images_have_a_softmax_of_one():
    logits = torch.tensor([[0.0, 10.0], [0.0, 40.0], [500.0, -3.0]])
    assert health.saturated(logits).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("change", "saturates"),
    [
        (lambda logits: logits, False),
        (torch.relu, False),
        (functional.softplus, False),
        (lambda logits: 30 * torch.tanh(logits / 30), False),
        (torch.tanh, True),
        (lambda logits: torch.tanh(logits) * torch.arange(1, 1 + logits.shape[1]), True),
    ],
    ids=["logits", "relu", "softplus", "capped", "tanh", "tanh of each class's own scale"],
)
@pytest.mark.parametrize("images", [4, 40, 400])
@pytest.mark.parametrize("classes", [2, 10])
def test_outputs_at_their_bounds_are_counted(change, saturates, images, classes):
    """Of a network that is as sure as trained ones are: one class far above 0, the others below."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(images, classes, generator=generator) - 8
    logits[range(images), torch.arange(images) % min(classes, images // 2)] += 16
    assert (health.at_bounds(change(logits)) > images / 2) is (saturates and images > 4)
    assert health.at_bounds(torch.ones(images, classes)) == 0


def test_two_forwards_of_a_random_model_differ():
    images = torch.rand(4, 3, 8, 8)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    assert health.repeat_difference(plain, images) == 0
    assert health.repeat_difference(nn.Sequential(nn.Dropout(0.5), *plain).train(), images) > 0.01


def test_layers_that_stay_in_training_mode_are_named():
    module = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(4, 2)).eval()
    assert health.training_layers(module) == ()
    module[1].train()
    assert health.training_layers(module) == ("1",)


class Saturated(nn.Module):
    """Logits so far apart that the cross-entropy has no gradient; nothing else is wrong."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return 1e5 * self.network(images)


class Rounded(Saturated):
    """No gradient at all."""

    def forward(self, images: Tensor) -> Tensor:
        return self.network(torch.round(images * 4) / 4)


class Constant(Saturated):
    """Always the same answer: no perturbation can change it."""

    def forward(self, images: Tensor) -> Tensor:
        return functional.one_hot(torch.zeros(len(images)).long(), 4).float() + 0 * images.flatten(1)[:, :4]


@pytest.mark.parametrize(
    ("wrapper", "share"), [(nn.Sequential, 1.0), (Saturated, 1.0), (Rounded, 0.9), (Constant, 0.0)]
)
def test_an_unbounded_attack_reaches_every_image_of_a_model_that_can_be_attacked(wrapper, share):
    case = linear_case((3, 4, 4), 4, 20, seed=0)
    module = wrapper(case.module).eval()
    labels = module(case.images).argmax(1)
    batch = Batch(case.images, labels, tuple(str(index) for index in range(20)))
    trial = health.unbounded(module, [batch], seed=0)
    assert trial.images == 20
    assert trial.fooled == 20 if share == 1 else trial.fooled <= share * 20


def test_nothing_withstood_nothing_to_try():
    case = linear_case((2,), 2, 2, seed=0)
    assert health.unbounded(case.module, [], seed=0).images == 0


class Backward(torch.autograd.Function):
    """The identity, with a gradient of somebody else's choice."""

    @staticmethod
    def forward(context, images, change):
        context.change = change
        return images.clone()

    @staticmethod
    def backward(context, gradient):
        return context.change(gradient), None


class Misled(nn.Module):
    """A network whose input gradient is changed on the way."""

    def __init__(self, network: nn.Module, change) -> None:
        super().__init__()
        self.network = network
        self.change = change

    def forward(self, images: Tensor) -> Tensor:
        return self.network(Backward.apply(images, self.change))


def some_reversed(gradient: Tensor) -> Tensor:
    signs = torch.ones(len(gradient), 1, 1, 1)
    signs[::3] = -1
    return signs * gradient


def one_channel_reversed(gradient: Tensor) -> Tensor:
    return gradient * torch.tensor([-1.0, 1.0, 1.0]).view(1, 3, 1, 1)


def unrelated(gradient: Tensor) -> Tensor:
    return torch.randn(gradient.shape, generator=torch.Generator().manual_seed(4))


CHANGES = {
    "none": (lambda gradient: gradient, 0.0, 0.0),
    "tiny": (lambda gradient: 1e-20 * gradient, 0.0, 0.0),
    "reversed": (torch.neg, 1.0, 1.0),
    "some reversed": (some_reversed, 1 / 3, 1 / 3),
    "one channel reversed": (one_channel_reversed, None, 0.15),
    "unrelated": (unrelated, 0.5, 0.5),
}


@pytest.mark.parametrize("name", CHANGES)
def test_slopes_tell_gradients_that_do_not_lead_uphill(name):
    change, downhill, wrong_parts = CHANGES[name]
    generator = torch.Generator().manual_seed(2)
    plain = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.Softplus(), nn.Flatten(), nn.Linear(6 * 64, 20), nn.ReLU(), nn.Linear(20, 5)
    ).eval()
    with torch.no_grad():
        for values in plain.parameters():
            values.normal_(0, 0.3, generator=generator)
    images = torch.rand(60, 3, 8, 8, generator=generator)
    labels = plain(images).argmax(1)
    trial = health.slopes(Misled(plain, change), Batch(images, labels, tuple(map(str, range(60)))), 0.0)
    assert (trial.images, trial.parts) == (60, 60 * 11)
    assert trial.tested == 60
    assert trial.smooth > 0.8 * trial.parts
    assert trial.tiny == (60 if name == "tiny" else 0)
    if downhill is not None:
        assert trial.downhill / trial.tested == pytest.approx(downhill, abs=0.2 if name == "unrelated" else 0.02)
    assert trial.parts_downhill / trial.smooth == pytest.approx(wrong_parts, abs=0.1 if name == "unrelated" else 0.08)


def test_a_step_against_the_reversed_gradient_raises_the_loss():
    """The right value by hand: a linear model, of which the loss is known in closed form."""
    weights = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 0.0]])
    plain = nn.Linear(3, 2, bias=False).eval()
    plain.weight.data = weights
    images = torch.full((4, 3), 0.5)
    labels = torch.tensor([1, 1, 0, 0])
    for change, expected in ((lambda gradient: gradient, 0), (torch.neg, 4)):
        trial = health.slopes(Misled(plain, change), Batch(images, labels, tuple("abcd")), 0.0)
        assert (trial.tested, trial.downhill) == (4, expected)


def test_a_model_that_rounds_and_passes_the_gradient_on_is_not_called_wrong():
    class Rounding(nn.Module):
        def forward(self, images):
            return images + (torch.round(images * 16) / 16 - images).detach()

    case = linear_case((1, 8, 8), 5, 40, seed=3)
    module = nn.Sequential(Rounding(), case.module).eval()
    labels = module(case.images).argmax(1)
    trial = health.slopes(module, Batch(case.images, labels, tuple(map(str, range(40)))), 0.0)
    assert trial.downhill <= 0.1 * trial.tested
    assert trial.smooth < 0.5 * trial.parts or trial.parts_downhill <= 0.05 * trial.smooth


def test_slopes_leave_nothing_behind_and_do_not_depend_on_chance():
    case = linear_case((1, 4, 4), 4, 12, seed=0)
    labels = case.module(case.images).argmax(1)
    batch = Batch(case.images, labels, tuple(map(str, range(12))))
    state = torch.random.get_rng_state()
    before = case.images.clone()
    first, second = (health.slopes(case.module, batch, 0.0) for _ in range(2))
    assert first == second
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(before, case.images)
    assert all(values.grad is None for values in case.module.parameters())


def test_the_unbounded_attack_tells_what_chance_alone_does():
    case = linear_case((3, 4, 4), 4, 20, seed=0)
    labels = case.module(case.images).argmax(1)
    batch = Batch(case.images, labels, tuple(map(str, range(20))))
    trial = health.unbounded(case.module, [batch], seed=0)
    assert trial.fooled == 20
    assert 0 < trial.by_chance < 20


def test_an_unbounded_attack_starts_where_a_reversed_gradient_leads_nowhere():
    plain = nn.Linear(3, 2, bias=False).eval()
    plain.weight.data = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 0.0]])
    images = torch.tensor([[0.1, 0.9, 0.2], [0.9, 0.1, 0.8]]).repeat(10, 1)
    batch = Batch(images, plain(images).argmax(1), tuple(map(str, range(20))))
    found = [health.unbounded(Misled(plain, change), [batch], seed=0) for change in (lambda same: same, torch.neg)]
    assert [trial.fooled for trial in found] == [20, 0]
    assert 0 < found[0].by_chance == found[1].by_chance < 20
