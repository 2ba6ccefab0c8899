"""Data that a Python caller holds: arrays, data sets, loaders and streams."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from lsa_audit.data import from_memory
from lsa_audit.data.base import DataRequest, InputSpec, describe
from lsa_audit.errors import DataError, UsageError
from lsa_audit.models import from_module
from lsa_audit.scanning.audit import make_profile
from lsa_audit.scanning.loading import load

IMAGES = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(24) % 3
PAIRS = TensorDataset(IMAGES, LABELS)
SPEC = InputSpec((1, 4, 4))


def loaded(data: object, **choice: object):
    return describe(from_memory(data, SPEC, DataRequest("memory", **choice)))


class Stream(IterableDataset):
    """Never ends."""

    def __iter__(self):
        while True:
            yield from zip(IMAGES, LABELS.tolist(), strict=True)


class Drawing(Dataset):
    """Draws from every global generator, as a transform may."""

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        noise = random.random() + np.random.rand() + float(torch.rand(()))  # noqa: S311
        return (IMAGES[index] + noise / 1e4).clamp(0, 1), int(LABELS[index])


FORMS = {
    "Dataset": PAIRS,
    "DataLoader": DataLoader(PAIRS, batch_size=5),
    "DataLoader that drops the rest": DataLoader(PAIRS, batch_size=5, sampler=None),
    "labels [N, 1]": DataLoader(TensorDataset(IMAGES, LABELS[:, None]), batch_size=7),
    "list": [IMAGES, LABELS],
    "NumPy": (IMAGES.numpy(), LABELS.tolist()),
    "list of items": list(zip(IMAGES, LABELS, strict=True)),
    "a batch as a list": DataLoader(
        PAIRS, collate_fn=lambda items: [torch.stack([i for i, _ in items]), [int(k) for _, k in items]]
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_is_that_of_the_arrays(form):
    assert loaded(FORMS[form]) == loaded((IMAGES, LABELS))


@pytest.mark.parametrize(
    "choice", [{"samples": 7}, {"slice": (3, 9)}, {"samples": 4, "slice": (2, None)}, {"samples": 99}]
)
def test_a_choice_of_a_data_set_is_that_of_the_arrays(choice):
    for data in (PAIRS, DataLoader(PAIRS, batch_size=5)):
        found, direct = loaded(data, **choice), loaded((IMAGES, LABELS), **choice)
        # Only what was read is interpreted.
        assert found.model_copy(update={"interpretation": direct.interpretation}) == direct


def test_of_a_stream_without_an_end_the_first_images_are_taken():
    assert (
        loaded(Stream(), samples=30).sha256
        == loaded((torch.cat([IMAGES, IMAGES[:6]]), (torch.arange(30) % 24) % 3)).sha256
    )
    assert loaded(DataLoader(Stream(), batch_size=4), slice=(2, 5)).samples == 3


def test_a_data_set_that_draws_gives_the_same_images_and_leaves_no_trace():
    def generators() -> tuple[object, ...]:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    model, profile = from_module(nn.Flatten(), input_shape=(1, 4, 4)), make_profile({})
    before = generators()
    first = load(model, profile, Drawing())[1]
    assert generators() == before
    torch.rand(5)
    random.random()  # noqa: S311
    assert torch.equal(load(model, profile, DataLoader(Drawing(), batch_size=256))[1].pixels, first.pixels)


def pictures() -> list[tuple[object, int]]:
    from PIL import Image

    return [(Image.new("L", (4, 4)), label) for label in range(3)]


@pytest.mark.parametrize(
    ("make", "error", "part"),
    [
        (lambda: {"images": IMAGES, "labels": LABELS}, UsageError, r"with the keys images, labels; give \(images"),
        (lambda: IMAGES, UsageError, "without labels"),
        (lambda: (IMAGES, LABELS, LABELS), UsageError, "tuple of 3"),
        (lambda: 7, UsageError, "the data is a int"),
        (lambda: iter(PAIRS), UsageError, "a torch Dataset, or a DataLoader"),
        (lambda: [{"image": IMAGES[0], "label": 1}] * 3, DataError, "mappings with the keys image, label"),
        (lambda: TensorDataset(IMAGES, LABELS, LABELS), DataError, "have 3 parts"),
        (lambda: DataLoader(IMAGES), DataError, "are Tensors, not an image and a label"),
        (pictures, DataError, "PIL images.*ToTensor"),
        (lambda: DataLoader(PAIRS, shuffle=True), DataError, "shuffle=False"),
        (lambda: DataLoader(PAIRS, batch_size=None), DataError, "batch_size"),
        (lambda: TensorDataset((IMAGES - 0.5) / 0.2, LABELS), DataError, r"not within \[0, 1\]"),
        (lambda: TensorDataset(IMAGES[:0], LABELS[:0]), DataError, "no images"),
    ],
)
def test_other_data_are_refused_in_a_sentence(make, error, part):
    for choice in ({}, {"samples": 2}):
        with pytest.raises(error, match=part):
            loaded(make(), **choice)
