"""The trial of other readings: what it finds, recomputed by plain torch, and that it leaves no trace."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy
import pytest
import torch
from torch import nn

import lsa_audit
from lsa_audit.data.base import ClassOrder
from lsa_audit.models import fit, from_module
from lsa_audit.models.assembly import RANDOM_NOTE
from lsa_audit.records import LabelInfo
from lsa_audit.scanning.plausibility import FLOOR, IMAGES, SHARE

from .readings import (
    ALL_STATED,
    CLASSES,
    COUNT,
    IMAGENET,
    SIZE,
    WANTED,
    Nearest,
    bright,
    data,
    on_imagenet,
    orders,
    patterned,
    told,
    trial,
)

QUICK = {"epsilon": [0.001], "noises": [], "neurons": "none", "probes": [], "layers": "none", "threads": 1}


@pytest.mark.parametrize("options", WANTED)
def test_what_the_network_wants_is_suggested_with_its_figures(options):
    pictures, prepare = WANTED[options]
    images, labels = data(pictures())
    network = Nearest(prepare(pictures()))
    found = trial(network, images, labels)
    chosen = next(entry for entry in found.alternatives if entry.options == options)
    places = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))[:IMAGES]
    with torch.no_grad():
        now, then = (network(given[places]).argmax(1) == labels[places] for given in (images, prepare(images)))
    assert (chosen.before.count, chosen.after.count) == (int(now.sum()), int(then.sum()))
    assert (chosen.gained, chosen.lost) == (int((then & ~now).sum()), int((now & ~then).sum()))
    (message,) = told(found)
    figures = f"{100 * int(then.sum()) / IMAGES:.1f} % instead of {100 * int(now.sum()) / IMAGES:.1f} %"
    assert message.startswith(f"With {options} clean accuracy would be {figures} (on {IMAGES} images)")


@pytest.mark.parametrize("shift", [[1, 2, 3, 0], [2, 0, 3, 1]])
def test_another_order_of_the_classes_is_found(shift):
    images, labels = data(patterned())
    network = Nearest(patterned()[torch.tensor(shift).argsort()])
    found = trial(network, images, labels, **ALL_STATED)
    (message,) = told(found)
    named = ", ".join(f"{label} is class {to}" for label, to in enumerate(shift[:3]))
    assert message.startswith(
        f"With another order of the classes ({named} ...) clean accuracy would be 100.0 % instead"
    )
    stated = ClassOrder("file", "labels by the order of names.txt", stated=True)
    assert orders(trial(network, images, labels, order=stated, **ALL_STATED)) == []


def test_labels_that_are_shifted_are_named_as_such():
    images, labels = data(patterned())
    network = Nearest(torch.cat([torch.full((1, 3, SIZE, SIZE), 9.0), patterned()]))
    (message,) = told(trial(network, images, labels, **ALL_STATED))
    assert message.startswith("With --label-offset 1 clean accuracy would be 100.0 % instead of 0")


def test_labels_that_are_shifted_are_found_with_one_image_of_each_class():
    """There is nothing to learn an order from."""
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.rand(40, 3, SIZE, SIZE, generator=generator), torch.arange(40)
    network = Nearest(torch.cat([images, torch.full((1, 3, SIZE, SIZE), 9.0)]))
    (message,) = told(trial(network, images, labels + 1, **ALL_STATED))
    assert message.startswith("With --label-offset -1 clean accuracy would be 100.0 % instead of 0")


def test_the_order_is_held_against_images_that_did_not_teach_it():
    """With one image of each class any order fits, and says nothing."""
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.rand(60, 3, SIZE, SIZE, generator=generator), torch.arange(60)
    network = Nearest(images[torch.randperm(60, generator=generator)])
    (order,) = orders(trial(network, images, labels, **ALL_STATED))
    assert order.after.count <= order.before.count


def test_a_label_that_only_one_half_has_is_no_error():
    images, labels = data(patterned())
    shifted = Nearest(patterned()[torch.tensor([1, 2, 3, 0]).argsort()])
    named = labels.clone()
    named[0] = 7
    (order,) = orders(trial(shifted, images, named, **ALL_STATED))
    assert (order.before.count, order.after.count) == (0, len(labels) - 1)


def test_what_is_stated_is_not_tried():
    images, labels = data(bright())
    network = Nearest(on_imagenet(bright()))
    some = trial(network, images, labels, mean=(0.0,), std=(1.0,))
    assert {entry.reading for entry in some.alternatives} >= {"channel order", "layout"}
    assert "normalisation" not in {entry.reading for entry in some.alternatives}
    # Images may have been saved wrongly whatever is stated, which a low accuracy alone is reason to ask.
    saved = {"pixel range", "pixel order", "class order"}
    assert {entry.reading for entry in trial(network, images, labels, **ALL_STATED).alternatives} <= saved
    fits = labels.clone()
    fits[::8] = (fits[::8] + 1) % CLASSES
    none = trial(Nearest(bright()), images, fits, **ALL_STATED)
    assert {entry.reading for entry in none.alternatives} <= {"class order"}
    assert (none.passes, none.note) == (0, "all of it is stated")


def test_labels_of_the_model_random_weights_and_networks_that_fit_cost_nothing():
    images, labels = data(bright())
    network = Nearest(on_imagenet(bright()))
    assert trial(network, images, labels, source=LabelInfo(source="self", reason="r")) is None
    assert trial(network, images, labels, notes=(RANDOM_NOTE,)).passes == 0
    fits = trial(Nearest(bright()), images, labels)
    assert (told(fits), fits.passes, fits.note) == ([], 0, "nearly all images are right")


@pytest.mark.slow
def test_a_network_that_knows_nothing_gets_no_advice():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(COUNT, 3, SIZE, SIZE, generator=generator), torch.arange(COUNT) % CLASSES
    for seed in range(10):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 16), nn.Tanh(), nn.Linear(16, CLASSES))
        assert told(trial(network, images, labels)) == []
        assert told(trial(network, images, labels, passes=2000)) == []


def test_a_network_that_refuses_other_inputs_is_no_error():
    class Picky(Nearest):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if images.shape[1] != 3 or bool((images < -1).any()):
                raise RuntimeError("not for me")
            return super().forward(images)

    images, labels = data(patterned())
    found = trial(Picky(patterned().flip(1)), images, labels)
    assert "layout" not in {entry.reading for entry in found.alternatives}
    assert told(found)[0].startswith("With --channel-order bgr")


def test_a_scan_holds_it_and_leaves_no_trace():
    images, labels = data(patterned())
    network = Nearest(patterned().flip(1)).train()
    before = copy.deepcopy(network.state_dict())
    state = torch.get_rng_state()
    settings = {**QUICK, "attacks": ["fgsm"]}
    record = lsa_audit.scan(network, (images, labels), **settings)
    assert [message[:26] for message in told(record.plausibility)] == ["With --channel-order bgr c"]
    assert "plausibility" in {finding.rule for finding in record.findings}
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network._forward_hooks
    fed = sum(result.forwards + result.backwards for result in record.attacks) + 3 * COUNT
    assert record.plausibility.passes <= record.plausibility.allowed == max(int(SHARE * fed), FLOOR)


def test_the_option_that_is_suggested_does_what_was_said():
    images, labels = data(patterned())
    network = Nearest(patterned().flip(1))
    model = fit(from_module(network.eval(), channel_order="bgr"), images[:2])
    with torch.no_grad():
        assert torch.equal(model.module(images), network(images.flip(1)))
        assert bool((model.module(images).argmax(1) == labels).all())


@pytest.mark.realdata
@pytest.mark.slow
def test_a_forgotten_normalisation_is_found(shared: Path):
    traced = str(shared / "models/cifar_resnet20_traced.pt")
    source = shared / "data/cifar10/cifar10_test_first1000.npz"
    settings = {**QUICK, "attacks": ["pgd"], "slice": "0:200", "samples": None}
    record = lsa_audit.scan(traced, str(source), **settings)
    with numpy.load(source) as held:
        images = torch.from_numpy(held["images"][:200]).permute(0, 3, 1, 2) / 255
        labels = torch.from_numpy(held["labels"][:200].astype("int64"))
    network = torch.jit.load(traced).eval()
    with torch.no_grad():
        now, then = (network(given).argmax(1) == labels for given in (images, on_imagenet(images)))
    chosen = record.plausibility.alternatives[0]
    places = torch.randperm(200, generator=torch.Generator().manual_seed(0))[: chosen.after.total]
    assert record.clean.count == int(now.sum())
    assert (chosen.before.count, chosen.after.count) == (int(now[places].sum()), int(then[places].sum()))
    (message,) = told(record.plausibility)
    assert message.startswith("With --mean .485,.456,.406 --std .229,.224,.225 clean accuracy would be ")
    stated = {"mean": IMAGENET[0], "std": IMAGENET[1]}
    right = lsa_audit.scan(traced, str(source), **settings, **stated)
    assert (right.clean.count, told(right.plausibility)) == (int(then.sum()), [])


@pytest.mark.slow_except("1000:1300")
@pytest.mark.realdata
@pytest.mark.parametrize("chosen", ["0:1000", "1000:1300"])
def test_a_network_that_gains_a_little_by_a_wrong_normalisation_gets_no_advice(shared: Path, chosen):
    source, model = str(shared / "data/mnist/mnist_test.npz"), str(shared / "models/mnist_cnn_a_adv.onnx")
    record = lsa_audit.scan(model, source, **{**QUICK, "attacks": ["fgsm"], "slice": chosen, "samples": None})
    assert told(record.plausibility) == []
