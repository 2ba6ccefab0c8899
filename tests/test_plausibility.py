"""The trial of other readings: what it finds, recomputed by plain torch, what it costs, and that it leaves no trace."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy
import pytest
import torch
from torch import nn

import lsa_audit
from lsa_audit.plausibility import IMAGES, SHARE

QUICK = {
    "attacks": ["pgd"],
    "epsilon": [0.001],
    "noises": [],
    "neurons": "none",
    "probes": [],
    "layers": "none",
    "threads": 1,
    "device": "cpu",
}
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CLASSES, SIZE = 4, 6


class Nearest(nn.Module):
    """The class whose picture is nearest; pictures and images are as the network wants them."""

    def __init__(self, pictures: torch.Tensor) -> None:
        super().__init__()
        flat = pictures.flatten(1)
        self.linear = nn.Linear(flat.shape[1], len(flat))
        with torch.no_grad():
            self.linear.weight.copy_(flat)
            self.linear.bias.copy_(-(flat**2).sum(1) / 2)
        self.seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        return self.linear(images.flatten(1))


def pictures(channels: int = 3) -> torch.Tensor:
    """[4, C, 6, 6] in [0, 1], far from each other and dark in the first class, bright in the last."""
    generator = torch.Generator().manual_seed(5)
    base = torch.linspace(0.2, 0.8, CLASSES)[:, None, None, None]
    return (base + 0.2 * (torch.rand(CLASSES, channels, SIZE, SIZE, generator=generator) - 0.5)).clamp(0, 1)


def data(count: int = 160, channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    labels = torch.arange(count) % CLASSES
    noise = 0.05 * torch.randn(count, channels, SIZE, SIZE, generator=generator)
    return (pictures(channels)[labels] + noise).clamp(0, 1), labels


def normalised(images: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    return (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


WANTED = {
    "--mean .485,.456,.406 --std .229,.224,.225": lambda images: normalised(images, *IMAGENET),
    "--mean 0 --std 1/255": lambda images: images * 255,
    "--channel-order bgr": lambda images: images.flip(1),
    "--layout nhwc": lambda images: images.permute(0, 2, 3, 1),
}


def told(record) -> list[str]:
    return [finding.message for finding in record.findings if finding.rule == "plausibility"]


def scan(network, images, labels, **settings):
    return lsa_audit.scan(network, (images, labels), **{**QUICK, **settings})


def hard() -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose class is told by colours and places alone: every picture has the same brightness."""
    generator = torch.Generator().manual_seed(7)
    labels = torch.arange(160) % CLASSES
    base = torch.rand(CLASSES, 3, SIZE, SIZE, generator=generator)
    noise = 0.05 * torch.randn(160, 3, SIZE, SIZE, generator=generator)
    return base, (base[labels] + noise).clamp(0, 1)


@pytest.mark.parametrize("options", WANTED)
def test_what_the_network_wants_is_suggested_with_its_figures(options):
    base, images = hard()
    if options.startswith("--mean"):
        base, images = pictures(), data()[0]
    labels = torch.arange(160) % CLASSES
    network = Nearest(WANTED[options](base))
    record = scan(network, images, labels)
    with torch.no_grad():
        now, then = (int((network(given).argmax(1) == labels).sum()) for given in (images, WANTED[options](images)))
    (message,) = told(record)
    chosen = next(entry for entry in record.plausibility.alternatives if entry.options == options)
    assert message.startswith(f"With {options} clean accuracy would be {100 * then / 160:.1f} % instead of ")
    assert f"instead of {100 * now / 160:.1f} % (on 160 images)" in message
    assert (chosen.before.count, chosen.after.count) == (now, then)
    assert record.clean.count == now


@pytest.mark.parametrize(
    ("order", "part"),
    [
        ([1, 2, 3, 0], "With another order of the classes (0 is class 1, 1 is class 2, 2 is class 3 ...)"),
        ([2, 0, 3, 1], "With another order of the classes (0 is class 2, 1 is class 0, 2 is class 3 ...)"),
    ],
)
def test_another_order_of_the_classes_is_found_without_a_pass(order, part):
    images, labels = data()
    network = Nearest(pictures()[torch.tensor(order).argsort()])
    record = scan(network, images, labels, mean=[0.0], std=[1.0], channel_order="rgb", layout="nchw")
    (message,) = told(record)
    assert message.startswith(f"{part} clean accuracy would be 100.0 % instead of {100 * record.clean.value:.1f} %")
    assert record.plausibility.passes == 0


def test_labels_that_are_shifted_are_named_as_such():
    images, labels = data()
    network = Nearest(torch.cat([torch.full((1, 3, SIZE, SIZE), 9.0), pictures()]))
    record = scan(network, images, labels, labels="dataset", mean=[0.0], std=[1.0])
    (message,) = told(record)
    assert message.startswith("With --label-offset 1 clean accuracy would be 100.0 % instead of 0")


def test_what_is_stated_is_not_tried():
    images, labels = data()
    network = Nearest(normalised(pictures(), *IMAGENET))
    record = scan(network, images, labels, mean=[0.0], std=[1.0], channel_order="rgb", layout="nchw")
    assert told(record) == []
    assert {entry.reading for entry in record.plausibility.alternatives} <= {"class order"}
    record = scan(network, images, labels, mean=[0.0], std=[1.0])
    assert {entry.reading for entry in record.plausibility.alternatives} >= {"channel order", "layout"}


def test_labels_of_the_model_itself_say_nothing():
    images, labels = data()
    record = scan(Nearest(normalised(pictures(), *IMAGENET)), images, labels, labels="self")
    assert record.plausibility is None


def test_a_network_that_fits_is_left_alone():
    images, labels = data()
    record = scan(Nearest(pictures()), images, labels)
    assert (told(record), record.plausibility.passes) == ([], 0)


def test_a_network_that_knows_nothing_gets_no_advice():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(200, 3, SIZE, SIZE, generator=generator), torch.arange(200) % CLASSES
    for seed in range(5):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 16), nn.Tanh(), nn.Linear(16, CLASSES))
        assert told(scan(network, images, labels)) == []


@pytest.mark.parametrize(("steps", "least"), [(1, 1), (20, 1), (200, 500)])
def test_it_costs_at_most_one_pass_in_twenty(steps, least):
    images, labels = data(160)
    network = Nearest(normalised(pictures(), *IMAGENET))
    attack = {"name": "pgd", "steps": steps}
    record = scan(network, images, labels, attacks=[attack], batch_size=32)
    trial, seen = record.plausibility, network.seen
    forwards = sum(result.forwards for result in record.attacks)
    backwards = sum(result.backwards for result in record.attacks)
    assert trial.passes <= trial.allowed <= SHARE * (seen - trial.passes + backwards)
    assert seen >= forwards + len(labels) + trial.passes
    assert trial.passes >= least
    assert all(entry.after.total <= IMAGES for entry in trial.alternatives)


def test_a_short_scan_looks_first_and_decides_on_other_images():
    images, labels = data(160)
    network = Nearest(normalised(pictures(), *IMAGENET))
    record = scan(network, images, labels, attacks=[{"name": "pgd", "steps": 2}])
    decided = [entry for entry in record.plausibility.alternatives if entry.p_value is not None]
    looked = [entry for entry in record.plausibility.alternatives if entry.p_value is None]
    assert [entry.options for entry in decided] == ["--mean .485,.456,.406 --std .229,.224,.225"]
    assert all(entry.before.count == 0 for entry in looked)
    assert decided[0].after.count == decided[0].after.total < len(labels)


def test_it_leaves_no_trace_and_changes_no_figure(monkeypatch):
    images, labels = data()
    network = Nearest(WANTED["--channel-order bgr"](pictures()))
    network.train()
    before = copy.deepcopy(network.state_dict())
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = scan(network, images, labels)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network._forward_hooks
    again = scan(network, images, labels)
    assert again.plausibility == first.plausibility
    monkeypatch.setattr("lsa_audit.plausibility.examine", lambda *_: None)
    without = scan(network, images, labels)
    assert (without.clean, without.attacks, without.health) == (first.clean, first.attacks, first.health)


def test_a_network_that_refuses_other_inputs_is_no_error():
    class Picky(Nearest):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if images.shape[1] != 3 or bool((images < -1).any()):
                raise RuntimeError("not for me")
            return super().forward(images)

    images, labels = data()
    record = scan(Picky(WANTED["--channel-order bgr"](pictures()) + 0.3), images, labels)
    assert {entry.reading for entry in record.plausibility.alternatives} <= {
        "normalisation",
        "channel order",
        "class order",
    }


CIFAR = {"threads": 1, "device": "cpu", "noises": [], "neurons": "none", "probes": [], "layers": "none"}


@pytest.mark.realdata
def test_a_forgotten_normalisation_is_found(shared: Path):
    traced = str(shared / "models/cifar_resnet20_traced.pt")
    source = shared / "data/cifar10/cifar10_test_first1000.npz"
    record = lsa_audit.scan(traced, str(source), slice="0:200", samples=None, attacks=["pgd"], epsilon=[0.003], **CIFAR)
    with numpy.load(source) as held:
        images = torch.from_numpy(held["images"][:200]).permute(0, 3, 1, 2) / 255
        labels = torch.from_numpy(held["labels"][:200].astype("int64"))
    network = torch.jit.load(traced).eval()
    chosen = record.plausibility.alternatives[0]
    assert chosen.options == "--mean .485,.456,.406 --std .229,.224,.225"
    with torch.no_grad():
        now, then = (network(given).argmax(1) == labels for given in (images, normalised(images, *IMAGENET)))
    assert record.clean.count == int(now.sum())
    places = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    options = {
        int(now[places[~torch.isin(places, places[~now[places]][:few])][: chosen.after.total]].sum())
        for few in range(2, 13)
    }
    assert chosen.before.count in options
    (message,) = told(record)
    assert "--mean .485,.456,.406 --std .229,.224,.225 clean accuracy would be 9" in message
    assert abs(chosen.after.value - float(then.float().mean())) < 0.1


@pytest.mark.realdata
def test_a_network_that_gains_a_little_by_a_wrong_normalisation_gets_no_advice(shared: Path):
    source = str(shared / "data/mnist/mnist_test.npz")
    for chosen in ("0:1000", "1000:1300"):
        record = lsa_audit.scan(
            str(shared / "models/mnist_cnn_a_adv.onnx"), source, slice=chosen, samples=None, attacks=["fgsm"], **CIFAR
        )
        assert told(record) == []
