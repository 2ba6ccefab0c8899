"""Images and labels that a Python caller holds: arrays, a torch Dataset, or a DataLoader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler, Subset

from ..errors import AuditError, DataError, UsageError, first_line
from .arrays import from_arrays, to_numpy
from .base import DataRequest, Dataset, InputSpec
from .labels import contiguous_classes, read_labels
from .subset import select

LOADER_BATCH = 256
FORMS = "give (images, labels), a torch Dataset, or a DataLoader"
ITEMS = "each item must be (image tensor, class index), all images of one shape"
TO_TENSOR = "add torchvision.transforms.ToTensor() to the transform of the data set"

Parts = tuple[NDArray[Any], NDArray[Any]]


def from_memory(given: Any, spec: InputSpec, request: DataRequest) -> Dataset:
    """Data of any form that a caller may hold.

    Args:
        given: (images, labels) as `arrays.from_arrays` takes them, or what `from_loader` takes.

    Raises:
        UsageError: something else.
        DataError: as `arrays.from_arrays` and `from_loader`.
    """
    if isinstance(given, Mapping):
        keys = ", ".join(map(str, islice(given, 5)))
        raise UsageError(f"the data is a mapping with the keys {keys}", FORMS)
    if isinstance(given, Tensor | numpy.ndarray):
        raise UsageError("the data is one array, without labels", "give (images, labels)")
    if _is_pair(given):
        images, labels = given
        return from_arrays(images, labels, spec, request)
    if isinstance(given, tuple):
        raise UsageError(f"the data is a tuple of {len(given)}", FORMS)
    if not isinstance(given, DataLoader | IterableDataset) and not _is_sequence(given):
        raise UsageError(f"the data is a {type(given).__name__}", FORMS)
    return from_loader(given, spec, request)


def from_loader(
    loader: Any,
    spec: InputSpec,
    request: DataRequest | None = None,
    name: str = "memory",
    layout: str | None = None,
) -> Dataset:
    """A torch `Dataset` or an unshuffled `DataLoader` of (image, label), in its own order.

    Args:
        loader: its images are tensors, uint8 or float in [0, 1], not normalised; batches of a loader are [N, ...]. Of a
            stream (`IterableDataset`) the first `samples` images are taken, as nobody knows how many there are.
        request, name, layout: as `arrays.from_arrays`.

    Raises:
        DataError: a loader that shuffles (its order, and so every image id, would change from run to run), items that
            are not (image, label), or images of different shapes; and as `arrays.from_arrays`.

    Cost: every item is read once; where only some are audited, those are read again, and no others are kept.
    """
    request = request or DataRequest(spec="memory")
    if not isinstance(loader, DataLoader):
        loader = DataLoader(loader, batch_size=LOADER_BATCH)
    if isinstance(loader.dataset, IterableDataset):
        images, labels = _joined(_first(_batches(loader, name), _length(request)), name)
        return from_arrays(images, labels, spec, request, name, layout)
    if loader.batch_size is None:
        raise DataError(f"{name}: the DataLoader makes no batches", "give it a batch_size, or give its data set")
    if not isinstance(loader.sampler, SequentialSampler):
        raise DataError(
            f"{name}: the DataLoader draws its images in another order each time", "make it with shuffle=False"
        )
    if request.slice is None and (request.samples is None or request.samples >= _size(loader)):
        images, labels = _joined(_batches(loader, name), name)
        return from_arrays(images, labels, spec, request, name, layout)
    return _chosen(loader, spec, request, name, layout)


def _chosen(loader: Any, spec: InputSpec, request: DataRequest, name: str, layout: str | None) -> Dataset:
    """Some of the items: all labels are read first, then the images that are audited."""
    without_images = ((numpy.empty(len(images)), labels) for images, labels in _batches(loader, name))
    every, _ = read_labels(_joined(without_images, name)[1], name)
    selection = select(every, request.samples, request.slice, request.seed)
    part = DataLoader(
        Subset(loader.dataset, selection.indices.tolist()),
        batch_size=loader.batch_size,
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
    )
    images, labels = _joined(_batches(part, name), name)
    dataset = from_arrays(images, labels, spec, DataRequest(spec="memory"), name, layout)
    return replace(
        dataset,
        selection=selection.sentence,
        image_ids=tuple(str(index) for index in selection.indices.tolist()),
        total=len(every),
        classes=contiguous_classes(every),
        largest_label=int(every.max()),
    )


def _batches(loader: Iterable[Any], name: str) -> Iterator[Parts]:
    """The batches as arrays. The generators of the caller stay as they are, even where the loader seeds workers."""
    with _as_data_error(name), torch.random.fork_rng(devices=[]):
        for batch in loader:
            yield _parts(batch, name)


@contextmanager
def _as_data_error(name: str) -> Iterator[None]:
    try:
        yield
    except AuditError:
        raise
    except Exception as error:  # the data set is the user's code and may raise anything
        if "PIL" in str(error):
            raise DataError(f"{name}: the images are PIL images, not tensors", TO_TENSOR) from error
        what = f"{name}: the loader failed with {type(error).__name__}: {first_line(error)}"
        raise DataError(what, ITEMS) from error


def _parts(batch: Any, name: str) -> Parts:
    """Images [n, ...] and labels [n] or [n, K] of a batch."""
    if isinstance(batch, Mapping):
        keys = ", ".join(map(str, islice(batch, 5)))
        raise DataError(f"{name}: the items are mappings with the keys {keys}", f"{ITEMS}; a collate_fn can do it")
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        found = f"have {len(batch)} parts" if isinstance(batch, tuple | list) else f"are {type(batch).__name__}s"
        raise DataError(f"{name}: the items {found}, not an image and a label", ITEMS)
    images, labels = to_numpy(batch[0]), to_numpy(batch[1])
    return images, labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _joined(batches: Iterable[Parts], name: str) -> Parts:
    images, labels = [], []
    for some, their in batches:
        images.append(some)
        labels.append(their)
    if not sum(map(len, images)):
        raise DataError(f"{name}: the loader yields no images", ITEMS)
    with _as_data_error(name):
        return numpy.concatenate(images), numpy.concatenate(labels)


def _first(batches: Iterable[Parts], count: int | None) -> Iterator[Parts]:
    """Batches with `count` images in all; None: to the end of the stream."""
    if count is None:
        yield from batches
        return
    for images, labels in batches:
        yield images[:count], labels[:count]
        count -= len(images)
        if count <= 0:
            return


def _length(request: DataRequest) -> int | None:
    """How much of a stream is read."""
    return request.samples if request.slice is None else request.slice[1]


def _size(loader: Any) -> int:
    with _as_data_error("memory"):
        return len(loader.dataset)


def _is_pair(given: Any) -> bool:
    """Whether this is (images, labels), and not a data set of two items."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        return False
    return isinstance(given, tuple) or not all(isinstance(item, tuple) for item in given)


def _is_sequence(given: Any) -> bool:
    return hasattr(given, "__getitem__") and hasattr(given, "__len__") and not isinstance(given, str | bytes)
