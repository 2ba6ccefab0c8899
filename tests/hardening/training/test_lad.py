"""LAD: steps computed by hand, independence of images, layouts, and which layers are hidden states."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from lsa_audit.errors import UsageError
from lsa_audit.graph.taps import per_image
from lsa_audit.graph.training import TrainedGraph
from lsa_audit.hardening.training.atlr import Atlr
from lsa_audit.hardening.training.base import Nothing, Regularizer, TrainingBatch
from lsa_audit.hardening.training.lad import Form, Lad, Scale, hidden_states
from lsa_audit.hardening.training.objectives import CrossEntropy
from lsa_audit.hardening.training.step import TrainingStep

from ...thinning import thin
from .networks import trainee


def batch(images: Tensor, labels: list[int], progress: float = 1.0) -> TrainingBatch:
    return TrainingBatch(images, torch.tensor(labels), lambda _, shape: torch.zeros(shape), 0.1, progress)


def toy() -> TrainedGraph:
    """x1 = relu(diag(2, 4) x0), x2 = relu([[1, 2], [3, 1]] x1), logits = diag(4, 3) x2."""
    network = nn.Sequential(
        nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False)
    )
    weights = ([[2.0, 0.0], [0.0, 4.0]], [[1.0, 2.0], [3.0, 1.0]], [[4.0, 0.0], [0.0, 3.0]])
    for layer, weight in zip(network[::2], weights, strict=True):
        layer.weight.data = torch.tensor(weight)
    return trainee(network, (2,))


# At x0 = (1/2, 1/4): x1 = (1, 1), x2 = (3, 4), logits (12, 12). With label 0 their gradient is (-1/2, 1/2), hence
#   g2 = diag(4, 3)^T (-1/2, 1/2) = (-2, 3/2), of length 5/2, and ||x2|| = 5: relative d2 = (-4, 3);
#   g1 = [[1, 3], [2, 1]] (-2, 3/2) = (5/2, -5/2), of length 5/sqrt(2), and ||x1|| = sqrt(2): relative d1 = (1, -1).
# With e = 1/10:
#   Lie, relative: x1 = (11/10, 9/10), x2 = (29/10, 42/10) + (-4/10, 3/10) = (25/10, 45/10), logits (10, 27/2).
#   Lie, raw: x1 = (5/4, 3/4), x2 = (11/4, 9/2) + (-1/5, 3/20) = (51/20, 93/20), logits (51/5, 279/20).
# Strang moves x1 by e/2 (before block 1), x2 by e/2 (behind block 1) and by another e/2 (before the head):
#   relative: x1 = (21/20, 19/20), x2 = (59/20, 82/20) + (-8/20, 6/20) = (51/20, 88/20), logits (51/5, 66/5);
#   raw: x1 = (9/8, 7/8), x2 = (23/8, 17/4) + (-1/5, 3/20) = (107/40, 22/5), logits (107/10, 66/5).
@pytest.mark.slow_except("strang-relative-first2-logits2")
@pytest.mark.parametrize(
    ("form", "scale", "first", "logits"),
    [
        ("lie", "relative", (11 / 10, 9 / 10), (10, 27 / 2)),
        ("lie", "raw", (5 / 4, 3 / 4), (51 / 5, 279 / 20)),
        ("strang", "relative", (21 / 20, 19 / 20), (51 / 5, 66 / 5)),
        ("strang", "raw", (9 / 8, 7 / 8), (107 / 10, 66 / 5)),
    ],
)
def test_one_step_equals_the_one_by_hand(
    form: Form, scale: Scale, first: tuple[float, ...], logits: tuple[float, ...]
) -> None:
    subject, images = toy(), torch.tensor([[1 / 2, 1 / 4]])
    states = hidden_states(subject.graph, "all")
    assert states == ("1", "3")
    visitors = Lad(form, states, 0.1, scale, 0.0).injections(subject, images, batch(images, [0]))
    seen = subject.forward(images, training=True, layers=("1",), visitors=visitors)
    assert seen.values["1"][0].tolist() == pytest.approx(first)
    assert seen.logits is not None
    assert seen.logits[0].tolist() == pytest.approx(logits)
    assert all(parameter.grad is None for parameter in subject.parameters)


def test_a_step_of_zero_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, images = toy(), torch.tensor([[1 / 2, 1 / 4]])

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a forward was run")

    monkeypatch.setattr(subject, "forward", refuse)
    assert not Lad("lie", ("1", "3"), 0.0, "relative", 0.0).injections(subject, images, batch(images, [0]))
    assert not Lad("lie", ("1", "3"), 0.1, "relative", 2.0).injections(subject, images, batch(images, [0], 0.0))


def shifts(subject: TrainedGraph, method: Lad, images: Tensor, given: TrainingBatch) -> dict[str, Tensor]:
    """What is added to each state [N, D]."""
    found = {}
    for name, visitor in method.injections(subject, images, given).items():
        moved = visitor(torch.zeros(()))
        assert moved is not None
        assert not moved.requires_grad
        found[name] = per_image(subject.layers[name], moved, len(images))
    return found


def test_the_step_rises_with_the_epochs() -> None:
    subject, images = toy(), torch.tensor([[1 / 2, 1 / 4]])
    method = Lad("lie", ("1",), 0.1, "relative", 2.0)
    for progress, step in ((0.5, 0.025), (1.0, 0.05), (2.0, 0.1), (7.0, 0.1)):
        (moved,) = shifts(subject, method, images, batch(images, [0], progress)).values()
        assert moved[0].tolist() == pytest.approx((step, -step))


def test_an_image_without_gradient_is_not_moved() -> None:
    """With x1 = (1, 1) and both rows of W2 negative, the ReLU behind is closed: x2 = (0, 0)."""
    subject, images = toy(), torch.tensor([[1 / 2, 1 / 4], [1 / 2, 1 / 4]])
    subject.module.network[2].weight.data = torch.tensor([[-1.0, -2.0], [-3.0, -1.0]])
    for scale in ("relative", "raw"):
        moved = shifts(subject, Lad("lie", ("1", "3"), 0.1, scale, 0.0), images, batch(images, [0, 1]))
        assert not moved["1"].any()
        assert moved["3"].any() == (scale == "raw")


def test_a_tiny_gradient_still_gives_a_whole_relative_step() -> None:
    """Logits (24, -24) leave label 0 a gradient whose square is 0 in float32."""
    subject, images = toy(), torch.tensor([[1 / 2, 1 / 4]])
    subject.module.network[4].weight.data = torch.tensor([[8.0, 0.0], [0.0, -6.0]])
    (moved,) = shifts(subject, Lad("lie", ("3",), 0.1, "relative", 0.0), images, batch(images, [0])).values()
    assert moved.norm().item() == pytest.approx(0.5, rel=1e-5)


class Residual(nn.Module):
    """A convolution, a residual block with batch norms, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.inner, self.inner_norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.outer, self.outer_norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        value = self.relu(self.norm(self.stem(images)))
        branch = self.outer_norm(self.outer(self.relu(self.inner_norm(self.inner(value)))))
        return self.head(self.relu(value + branch).flatten(1))


class Untraceable(Residual):
    """The same, read by hooks: what NumPy sees cannot be exported. A module that is called again works in place."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) if images.detach().numpy().size else images


class Tokens(nn.Module):
    """Sequence first: 4 tokens of 4 pixels, flattened to [4 * N, 6], so that the rows of one image alternate."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.act, self.head = nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.reshape(-1, 4, 4).transpose(0, 1)
        flat = self.act(self.embed(tokens.reshape(-1, 4)))
        return self.head(flat.reshape(4, -1, 6).mean(0))


@pytest.mark.slow_except("Untraceable-raw")
@pytest.mark.parametrize(
    ("kind", "scale"),
    thin([(kind, scale) for kind in (Residual, Untraceable, Tokens) for scale in ("relative", "raw")]),
)
def test_an_image_is_moved_the_same_alone_and_among_others(kind: type[nn.Module], scale: Scale) -> None:
    torch.manual_seed(3)
    subject, images = trainee(kind(), (1, 4, 4)), torch.rand(2, 1, 4, 4)
    states = hidden_states(subject.graph, "all")
    method = Lad("strang", states, 0.1, scale, 0.0)

    def moved_values(rows: slice) -> dict[str, Tensor]:
        chosen, labels = images[rows], [0, 2][rows]
        visitors = method.injections(subject, chosen, batch(chosen, labels))
        return subject.forward(chosen, layers=states, visitors=visitors).values

    together, plain = moved_values(slice(0, 2)), subject.forward(images, layers=states).values
    for row in range(2):
        alone = moved_values(slice(row, row + 1))
        for name in states:
            torch.testing.assert_close(together[name][row], alone[name][0], atol=1e-6, rtol=1e-5)
    share = (together[states[0]] - plain[states[0]]).norm(dim=1) / plain[states[0]].norm(dim=1)
    if scale == "relative":
        assert share.tolist() == pytest.approx([0.05, 0.05], rel=1e-4)
    else:
        assert share.min() > 0


@pytest.mark.slow_except("Untraceable")
@pytest.mark.parametrize("kind", [Residual, Untraceable, Tokens])
def test_the_direction_is_the_gradient_of_the_loss(kind: type[nn.Module]) -> None:
    """Along its raw direction a state changes the summed cross-entropy by ||g||^2 a unit of step."""
    torch.manual_seed(4)
    subject = trainee(kind(), (1, 4, 4))
    images, labels, step = torch.rand(3, 1, 4, 4), [0, 1, 2], 0.01

    def loss(name: str, step: float) -> float:
        visitors = Lad("lie", (name,), step, "raw", 0.0).injections(subject, images, batch(images, labels))
        logits = subject.logits(images, visitors=visitors)
        return functional.cross_entropy(logits.double(), torch.tensor(labels), reduction="sum").item()

    for name in hidden_states(subject.graph, "all"):
        (moved,) = shifts(subject, Lad("lie", (name,), 1.0, "raw", 0.0), images, batch(images, labels)).values()
        slope = (loss(name, step) - loss(name, -step)) / (2 * step)
        assert slope == pytest.approx(moved.square().sum().item(), rel=0.02)


@pytest.mark.parametrize("scale", ["relative", "raw"])
def test_operations_in_place_behind_a_state_do_not_change_its_step(scale: Scale) -> None:
    torch.manual_seed(6)
    network, images = Residual(), torch.rand(2, 1, 4, 4)
    hooked = Untraceable()
    hooked.load_state_dict(network.state_dict())
    found = []
    for subject, walker in ((trainee(network, (1, 4, 4)), "export"), (trainee(hooked, (1, 4, 4)), "hooks")):
        assert subject.graph.info.walker == walker
        method = Lad("lie", hidden_states(subject.graph, "norm,inner_norm"), 0.1, scale, 0.0)
        found.append(shifts(subject, method, images, batch(images, [0, 2])))
    for name in ("norm", "inner_norm"):
        assert found[0][name].any()
        torch.testing.assert_close(found[0][name], found[1][name], atol=1e-7, rtol=1e-5)


def trained(regularizer: Regularizer) -> list[Tensor]:
    """All weights and statistics after three steps."""
    torch.manual_seed(0)
    subject, images = trainee(Residual(), (1, 4, 4)), torch.rand(6, 1, 4, 4)
    given = batch(images, [0, 1, 2, 0, 1, 2])
    optimizer = torch.optim.SGD(subject.parameters, 0.1)
    step = TrainingStep(subject, CrossEntropy(), regularizer, clean_training=True)
    for _ in range(3):
        optimizer.zero_grad()
        visitors = regularizer.injections(subject, images + 0.1, given)
        step(images, images + 0.1, given.labels, visitors).total.backward()
        optimizer.step()
    return [value.detach().clone() for value in subject.module.state_dict().values()]


@pytest.mark.slow
def test_without_weight_or_step_the_training_is_that_of_the_base_bit_for_bit() -> None:
    states = ("relu", "relu_2", "relu_3")
    plain = trained(Nothing())
    for idle in (Atlr(dict.fromkeys(states, 0.0)), Lad("lie", states, 0.0, "relative", 1.0)):
        assert all(map(torch.equal, plain, trained(idle)))
    for active in (Atlr(dict.fromkeys(states, 0.1)), Lad("strang", states, 0.01, "relative", 1.0)):
        assert not all(map(torch.equal, plain, trained(active)))


def test_frozen_first_layers_are_moved_as_well() -> None:
    subject, images = toy(), torch.tensor([[1 / 2, 1 / 4]])
    subject.module.network[0].weight.requires_grad_(False)
    (moved,) = shifts(subject, Lad("lie", ("1",), 0.1, "raw", 0.0), images, batch(images, [0])).values()
    assert moved[0].tolist() == pytest.approx((1 / 4, -1 / 4))


@pytest.mark.slow
def test_hidden_states_of_a_residual_network() -> None:
    graph = trainee(torchvision.models.resnet18(num_classes=4), (3, 32, 32)).graph
    blocks = [f"layer{stage}.{block}.{relu}" for stage in "1234" for block in "01" for relu in ("relu", "relu_2")]
    assert hidden_states(graph, "all") == ("relu", *blocks) == hidden_states(graph, "mvl")
    # A block and its last activation are one value.
    assert hidden_states(graph, "layer1.0,layer1.0.relu_2,fc") == ("layer1.0.relu_2",)


@pytest.mark.slow
def test_hidden_states_of_a_transformer() -> None:
    network = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, depth=3, num_classes=4)
    subject = trainee(network, (3, 16, 16))
    states = hidden_states(subject.graph, "all")
    assert states == tuple(f"blocks.{block}.mlp.act" for block in range(3))
    images = torch.rand(2, 3, 16, 16)
    visitors = Lad("lie", states[:1], 0.1, "relative", 0.0).injections(subject, images, batch(images, [0, 1]))
    plain = subject.forward(images, layers=states[:1]).values[states[0]]
    moved = subject.forward(images, layers=states[:1], visitors=visitors).values[states[0]]
    assert ((moved - plain).norm(dim=1) / plain.norm(dim=1)).tolist() == pytest.approx([0.1, 0.1], rel=1e-4)


@pytest.mark.slow
def test_hidden_states_end_before_the_head() -> None:
    convolutional = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    assert hidden_states(trainee(convolutional, (1, 4, 4)).graph, "all") == ("1",)
    linear = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3))
    assert hidden_states(trainee(linear, (4,)).graph, "all") == ("0", "1")


def test_no_hidden_state_is_a_usage_error() -> None:
    graph = trainee(nn.Sequential(nn.Linear(4, 3)), (4,)).graph
    for pattern in ("all", "0"):
        with pytest.raises(UsageError, match="no hidden layer"):
            hidden_states(graph, pattern)
    with pytest.raises(UsageError, match="no layer matches"):
        hidden_states(graph, "missing")
