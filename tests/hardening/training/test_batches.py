"""What a step of training sees depends on the seed and the step alone."""

from __future__ import annotations

import pytest
import torch

from lsa_audit.data.base import Dataset
from lsa_audit.device.ranks import Ranks
from lsa_audit.errors import DataError, UsageError
from lsa_audit.hardening.training.batches import AUGMENTATIONS, Batches, split
from lsa_audit.settings.recipe import Recipe

CPU = torch.device("cpu")
ALL = ("flip", "crop", "erase")


def dataset(count=150, shape=(3, 8, 8), labels=None):
    """Label i on image i, whose pixels say which image it is."""
    pixels = torch.arange(count, dtype=torch.uint8).view(-1, *[1] * len(shape)).expand(count, *shape)
    return Dataset(
        name="data",
        source="arrays",
        interpretation="",
        selection="all",
        transforms=(),
        pixels=pixels,
        labels=torch.arange(count) if labels is None else labels,
        image_ids=tuple(str(place) for place in range(count)),
        total=count,
        classes=None,
        class_names=(),
        largest_label=count - 1,
    )


def batches(data=None, rank=0, size=1, **settings):
    settings = {"batch_size": 64, **settings}
    return Batches(data or dataset(), Recipe(**settings), Ranks(rank, size), CPU)


def joined(pieces, what):
    return torch.cat([what(piece) for piece in pieces])


def drawn(piece):
    return piece.draw("start", (len(piece.labels), 3, 8, 8))


PARTS = (lambda piece: piece.images, lambda piece: piece.labels, drawn)


def test_a_step_is_a_function_of_the_seed_and_the_step():
    one, other = batches(augment=ALL), batches(augment=ALL)
    torch.manual_seed(1)
    straight = [one.step(step)[0] for step in range(5)]
    torch.manual_seed(2)
    for step in (4, 0, 3):
        again = other.step(step)[0]
        assert all(torch.equal(what(straight[step]), what(again)) for what in PARTS)


def test_the_global_generator_stays_where_it_is():
    before = torch.get_rng_state()
    (piece,) = batches(augment=ALL).step(0)
    drawn(piece)
    assert torch.equal(torch.get_rng_state(), before)


def test_steps_epochs_purposes_and_seeds_differ():
    feed = batches()
    first, second, next_epoch = (feed.step(step)[0] for step in (0, 1, 2))
    assert not torch.equal(first.labels, next_epoch.labels)
    assert not torch.equal(drawn(first), drawn(second))
    assert not torch.equal(drawn(first), first.draw("other", (64, 3, 8, 8)))
    assert torch.equal(drawn(first), drawn(first))
    assert not torch.equal(first.labels, batches(seed=1).step(0)[0].labels)


def test_an_epoch_shows_every_image_once_and_drops_the_rest():
    feed = batches(dataset(150))
    assert (feed.batch_size, feed.steps_an_epoch) == (64, 2)
    for epoch in range(2):
        labels = torch.cat([feed.step(2 * epoch + step)[0].labels for step in range(2)])
        assert len(set(labels.tolist())) == 128
    whole = batches(dataset(128))
    labels = torch.cat([whole.step(step)[0].labels for step in range(2)])
    assert sorted(labels.tolist()) == list(range(128))


def test_images_belong_to_their_labels():
    (piece,) = batches().step(1)
    assert piece.images.dtype == torch.float32
    assert piece.labels.dtype == torch.int64
    assert torch.equal(piece.images, (piece.labels / 255).float().view(-1, 1, 1, 1).expand(64, 3, 8, 8))


@pytest.mark.parametrize(("size", "accumulate"), [(1, 4), (2, 1), (2, 4), (4, 2)])
def test_processes_and_micro_batches_see_what_one_sees(size, accumulate):
    alone = batches(augment=ALL)
    others = [batches(rank=rank, size=size, accumulate=accumulate, augment=ALL) for rank in range(size)]
    for step in (0, 3):
        pieces = [piece for feed in others for piece in feed.step(step)]
        assert [len(piece.labels) for piece in pieces] == [64 // (size * accumulate)] * (size * accumulate)
        for what in PARTS:
            assert torch.equal(joined(alone.step(step), what), joined(pieces, what))


@pytest.mark.parametrize(("size", "accumulate", "expected"), [(1, 1, 50), (2, 1, 50), (2, 2, 48), (1, 32, 32)])
def test_fewer_images_than_a_batch_are_one(size, accumulate, expected):
    feeds = [batches(dataset(50), rank, size, accumulate=accumulate) for rank in range(size)]
    assert {(feed.batch_size, feed.steps_an_epoch) for feed in feeds} == {(expected, 1)}
    labels = joined([piece for feed in feeds for piece in feed.step(0)], lambda piece: piece.labels)
    assert len(set(labels.tolist())) == len(labels) == expected


def test_too_few_images_for_the_processes():
    with pytest.raises(DataError, match="3 training images are too few for 2 processes with 2 micro-batches each"):
        batches(dataset(3), size=2, accumulate=2)


def test_a_batch_that_cannot_be_shared():
    with pytest.raises(UsageError, match=r"64 images cannot be shared by 3 processes.* such as 66"):
        batches(size=3)


def test_feature_vectors_are_trained_on_but_not_augmented():
    features = dataset(shape=(5,))
    assert batches(features, channels_last=True).step(0)[0].images.shape == (64, 5)
    with pytest.raises(UsageError, match="feature vectors, which flip cannot augment; leave augment empty"):
        batches(features, augment=("flip",))


def test_channels_last_changes_the_layout_alone():
    (plain,), (last,) = batches(augment=ALL).step(0), batches(augment=ALL, channels_last=True).step(0)
    assert plain.images.is_contiguous()
    assert last.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain.images, last.images)


def test_the_data_are_never_written_to():
    data = dataset()
    floats = Dataset(**{**vars(data), "pixels": data.pixels.float().div(255).contiguous()})
    before = floats.pixels.clone()
    (piece,) = batches(floats, augment=ALL).step(0)
    piece.images.zero_()
    assert torch.equal(floats.pixels, before)
    (bytes_piece,), (float_piece,) = batches(data, augment=ALL).step(0), batches(floats, augment=ALL).step(0)
    assert torch.equal(bytes_piece.images, float_piece.images)


def augmented(name, images):
    numbers, function = AUGMENTATIONS[name]
    return function(images, torch.rand(len(images), numbers, generator=torch.Generator().manual_seed(5)))


def test_flip_turns_half_of_the_images():
    images = torch.rand(1000, 1, 4, 6)
    result = augmented("flip", images)
    turned = (result == images.flip(-1)).flatten(1).all(1)
    kept = (result == images).flatten(1).all(1)
    assert (turned ^ kept).all()
    assert 400 < turned.sum() < 600


@pytest.mark.parametrize(("height", "width", "down", "right"), [(32, 32, 4, 4), (28, 16, 4, 2), (5, 8, 1, 1)])
def test_crop_shifts_by_up_to_an_eighth_and_fills_with_black(height, width, down, right):
    image = torch.rand(1, 2, height, width) + 0.1
    result = augmented("crop", image.expand(1500, -1, -1, -1))
    padded = torch.nn.functional.pad(image[0], (right, right, down, down))
    windows = {
        (top, left): padded[:, top : top + height, left : left + width]
        for top in range(2 * down + 1)
        for left in range(2 * right + 1)
    }
    seen = [next(place for place, window in windows.items() if torch.equal(window, one)) for one in result]
    assert set(seen) == set(windows)


@pytest.mark.slow_except("32-32")
@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 40)])
def test_erase_greys_one_rectangle_of_2_to_20_percent(height, width):
    images = torch.zeros(400, 2, height, width)
    result = augmented("erase", images)
    assert set(result.unique().tolist()) == {0.0, 0.5}
    grey = result[:, 0] == 0.5
    assert (result == result[:, :1]).all()
    rows, columns = grey.any(2), grey.any(1)
    assert torch.equal(grey, rows[:, :, None] & columns[:, None, :])
    for edge in (rows, columns):
        assert ((edge[:, 1:] & ~edge[:, :-1]).sum(1) + edge[:, 0] == 1).all()
    # Sides are rounded to pixels: half a pixel each way, seen from the smallest and the largest rectangle.
    tall, wide = rows.sum(1), columns.sum(1)
    assert ((tall - 0.5) * (wide - 0.5) <= 0.2 * height * width).all()
    assert ((tall + 0.5) * (wide + 0.5) >= 0.02 * height * width).all()
    share = tall * wide / (height * width)
    assert share.min() < 0.03
    assert share.max() > 0.18
    assert rows.any(0).all()
    assert columns.any(0).all()


def test_a_one_pixel_image_can_be_augmented():
    for name in ALL:
        assert augmented(name, torch.rand(4, 1, 1, 1)).shape == (4, 1, 1, 1)


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [(20, None, 10), (60, None, 30), (150, None, 50), (3000, None, 300), (20_000, None, 1000), (100, 7, 7)],
)
def test_sizes_of_a_split(total, count, expected):
    labels = torch.arange(total) % 10
    training, validation = split(Dataset(**_resized(total, labels)), count, seed=0)
    assert (len(training), len(validation)) == (total - expected, expected)


def _resized(total, labels):
    parts = {"pixels": torch.arange(total).float().view(-1, 1), "labels": labels, "total": total}
    return {**vars(dataset()), **parts, "image_ids": tuple(str(place) for place in range(total))}


def test_a_split_is_disjoint_balanced_and_seeded():
    data = Dataset(**_resized(1000, torch.arange(1000) % 10))
    training, validation = split(data, None, seed=3)
    assert torch.bincount(validation.labels).tolist() == [10] * 10
    assert sorted([*training.image_ids, *validation.image_ids], key=int) == list(data.image_ids)
    for one in (training, validation):
        assert one.pixels.flatten().long().tolist() == [int(name) for name in one.image_ids]
        assert torch.equal(one.labels, one.pixels.flatten().long() % 10)
    assert split(data, None, seed=3)[1].image_ids == validation.image_ids
    assert split(data, None, seed=4)[1].image_ids != validation.image_ids
    assert validation.selection == "all; 100 for validation, class-balanced, seed 3"
    assert split(data, None, 3, "the test")[0].selection == "all; 900 that are not for the test, seed 3"


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_class_stays_in_training(seed):
    labels = torch.zeros(1000, dtype=torch.int64)
    labels[::250] = 1
    training, validation = split(Dataset(**_resized(1000, labels)), None, seed)
    assert (training.labels == 1).sum() == (validation.labels == 1).sum() == 2


def test_splits_that_cannot_be():
    with pytest.raises(DataError, match=r"too few images for a split .* data has 19; give at least 20"):
        split(dataset(19), None, seed=0)
    for count in (0, 11):
        with pytest.raises(UsageError, match=f"{count} of 20 images cannot be for validation; give 1 to 10"):
            split(dataset(20), count, seed=0)
