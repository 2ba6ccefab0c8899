"""What the trial of other readings costs, which images it looks at, and what it finds in a short scan."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import binomtest

from lsa_audit.scanning.plausibility import FLOOR, FLOOR_IMAGES, IMAGES, SHARE
from lsa_audit.scanning.plausibility.trial import BEST, WIDER

from .readings import (
    ALL_STATED,
    CLASSES,
    COUNT,
    ENOUGH,
    SIZE,
    WANTED,
    Nearest,
    bright,
    data,
    on_imagenet,
    patterned,
    told,
    trial,
)


@pytest.mark.parametrize("passes", [0, 100, 300, 600, 1200, 2400, 9600, 27_999, 28_000, ENOUGH])
def test_it_costs_at_most_one_pass_in_twenty_and_200_images(passes):
    """Seven of eight images are right, so that the floor for a low accuracy does not count."""
    images, labels = data(bright())
    labels[::8] = (labels[::8] + 1) % CLASSES
    network = Nearest(bright())
    found = trial(network, images, labels, passes)
    sent = network.seen - COUNT - 2
    assert sent == found.passes <= found.allowed == int(SHARE * passes)
    assert all(entry.after.total <= IMAGES for entry in found.alternatives if entry.reading != "class order")
    assert bool(found.note) == (passes < 2400)
    assert told(found) == []


@pytest.mark.parametrize("count", [16, 48, 100, COUNT])
@pytest.mark.parametrize("options", ["--mean .485,.456,.406 --std .229,.224,.225", "--channel-order bgr"])
def test_a_low_accuracy_allows_more_than_a_short_scan_would(options, count):
    pictures, prepare = WANTED[options]
    images, labels = data(pictures(), count)
    network = Nearest(prepare(pictures()))
    found = trial(network, images, labels, passes=count)
    assert network.seen - count - 2 == found.passes <= found.allowed == min(FLOOR, FLOOR_IMAGES * count)
    (message,) = told(found)
    assert message.startswith(f"With {options} clean accuracy would be 100.0 % instead of ")


def test_a_look_chooses_and_what_is_tested_is_seen_on_all_images():
    images, labels = data(bright())
    network = Nearest(on_imagenet(bright()))
    found = trial(network, images, labels, passes=10)
    assert len({entry.change for entry in found.alternatives}) == len(found.alternatives) >= 12
    looked = [entry for entry in found.alternatives if entry.p_value is None]
    best = found.inputs[0]
    assert best.options == "--mean .485,.456,.406 --std .229,.224,.225"
    assert best.after.total == 136
    first, wide = min(entry.after.total for entry in looked), max(entry.after.total for entry in looked)
    assert (wide, sum(entry.after.total == wide for entry in looked)) == (
        WIDER * first,
        BEST - len(found.inputs),
    )
    places = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))[: best.after.total]
    with torch.no_grad():
        now, then = (network(given[places]).argmax(1) == labels[places] for given in (images, on_imagenet(images)))
    assert (best.before.count, best.after.count) == (int(now.sum()), int(then.sum()))
    gained, lost = int((then & ~now).sum()), int((now & ~then).sum())
    tests = len(found.alternatives)
    assert best.p_value == pytest.approx(min(1.0, tests * binomtest(gained, gained + lost).pvalue))


SAVED_WRONGLY = {
    "the pixels stretched to [0, 1]": lambda images: (images * 15).floor() / 255,
    "inverted pixels, 1 - x": lambda images: 1 - images,
    "rows and columns of the images swapped": lambda images: images.transpose(2, 3),
    "the images' numbers read as one channel after the other": lambda images: images.reshape(-1, SIZE, SIZE, 3).permute(
        0, 3, 1, 2
    ),
    "the images' numbers read as one pixel after the other": lambda images: images.permute(0, 2, 3, 1).reshape(
        images.shape
    ),
}


@pytest.mark.parametrize("change", SAVED_WRONGLY)
def test_images_that_were_saved_wrongly_are_found_in_a_short_scan(change):
    pictures = torch.rand(CLASSES, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(7))
    images, labels = data(pictures, 60)
    network = Nearest(pictures)
    found = trial(network, SAVED_WRONGLY[change](images).contiguous(), labels, passes=10, **ALL_STATED)
    (message,) = told(found)
    assert message.startswith(f"With {change} clean accuracy would be 100.0 % instead of ")


def test_both_a_normalisation_and_bgr_are_found():
    images, labels = data(patterned(), 100)
    network = Nearest(patterned().flip(1) * 255)
    (message,) = told(trial(network, images, labels, passes=10))
    assert message.startswith(
        "With --channel-order bgr --mean 103.939/255,116.779/255,123.68/255 --std 1/255 clean acc"
    )
