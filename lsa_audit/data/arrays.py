"""Images and labels as arrays: FILE.npz, or NumPy arrays and tensors in memory."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import AuditError, DataError
from .archive_parts import LAYOUT_KEY, chosen_pair, split_part, wanted_keys
from .base import DataRequest, Dataset, InputSpec, Naming
from .labels import read_labels
from .layouts import check_values, find_layout, interpret, to_channels_first
from .source import Source, assemble
from .transforms import to_input

LONGEST_NUMBER = 18


@dataclass(frozen=True)
class Arrays:
    """Images and labels as they were found, not yet checked.

    Attributes:
        images: [N, ...] in one of `layouts.LAYOUTS`.
        labels: [N], or one-hot [N, K].
        where: named in errors.
        layout: where the owner states it.
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    name: str
    loader: str
    where: str
    layout: str | None = None
    classes: int | None = None
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def load(request: DataRequest, spec: InputSpec) -> Dataset:
    """Images and labels of FILE.npz, or of one part of it (`FILE.npz:test`), under a pair of names in common use.

    Raises:
        DataError: not an .npz file, damaged, holding Python objects, without one clear pair, or with values that are
            not pixels and labels.
        UsageError: a choice that makes no sense, or several parts of which none is named.

    Cost: the whole arrays are read and checked; only the chosen images are resized.
    """
    path, part = split_part(request.spec)
    if path.suffix.lower() != ".npz":
        raise DataError(f"{request.spec} is not an .npz file", "save images and labels with numpy.savez(FILE.npz, ...)")
    found = _read_archive(path, part)
    pair = chosen_pair(tuple(found), path, part)
    layout = "".join(map(str, found[LAYOUT_KEY].flat)) or None if LAYOUT_KEY in found else None
    remarks = (f"images and labels are {pair.images} and {pair.labels} of {path.name}",) if pair.several else ()
    arrays = Arrays(
        images=found[pair.images],
        labels=found[pair.labels],
        name=path.stem if part is None else f"{path.stem}-{pair.part}",
        loader="arrays",
        where=path.name,
        layout=layout,
        remarks=remarks,
    )
    return build(arrays, request, spec)


def from_arrays(
    images: Any,
    labels: Any,
    spec: InputSpec,
    request: DataRequest | None = None,
    name: str = "memory",
    layout: str | None = None,
) -> Dataset:
    """Data that is already in memory; it is copied.

    Args:
        images: NumPy array or tensor, uint8 0..255 or float in [0, 1], [N, H, W], [N, H, W, C], [N, C, H, W] or [N, F].
        labels: NumPy array, tensor or list, [N] or one-hot [N, K]; numbers or class names.
        request: `samples`, `slice` and `seed` are used; the rest is not.
        layout: `NHWC` or `NCHW` where the shape allows both.

    Raises:
        DataError, UsageError: as `load`.
    """
    arrays = Arrays(to_numpy(images), to_numpy(labels), name=name, loader="memory", where=name, layout=layout)
    return build(arrays, request or DataRequest(spec="memory"), spec)


def build(arrays: Arrays, request: DataRequest, spec: InputSpec) -> Dataset:
    """Check arrays as a whole, choose, and bring the chosen images to the model's input.

    Raises:
        DataError: other lengths, types, values or layouts than images and labels have, or a mismatch with `spec`.
    """
    images = arrays.images
    if images.ndim == 0:
        raise DataError(f"{arrays.where}: images are a single value", "give an array of images")
    if images.shape[0] == 0:
        raise DataError(f"{arrays.where}: the data holds no images", "give at least one image")
    layout = find_layout(images.shape, spec, arrays.where, arrays.layout)
    levels = check_values(images, arrays.where)
    numbers, naming = _named(arrays.labels, arrays.where)
    labels, label_note = read_labels(numbers, arrays.where)
    if naming is not None:
        label_note = f"{len(naming.names)} class names as labels"
    if len(labels) != len(images):
        raise DataError(f"{arrays.where}: {len(images)} images and {len(labels)} labels", "give one label per image")

    def read(indices: Tensor) -> tuple[Tensor, tuple[str, ...]]:
        chosen = to_channels_first(images[indices.numpy()], layout, levels=levels)
        return to_input(torch.from_numpy(chosen), spec)

    source = Source(
        name=arrays.name,
        loader=arrays.loader,
        interpretation=f"{interpret(images, layout, levels=levels)}; {label_note}",
        labels=labels,
        image_ids=[str(index) for index in range(len(labels))],
        read=read,
        classes=arrays.classes if naming is None else len(naming.names),
        class_names=arrays.class_names if naming is None else naming.names,
        naming=naming,
        remarks=arrays.remarks,
    )
    return assemble(source, request)


def _named(labels: NDArray[Any], where: str) -> tuple[NDArray[Any], Naming | None]:
    """Labels that are text, as positions in their sorted names; text that holds numbers is read as these."""
    if labels.dtype.kind not in "US" or labels.size == 0:
        return labels, None
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim != 1:
        return labels, None
    if flat.dtype.kind == "S":
        flat = numpy.char.decode(flat, "utf-8", "replace")
    names, places = numpy.unique(flat, return_inverse=True)
    texts = [str(name) for name in names]
    if all(text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER for text in texts):
        return numpy.array([int(text) for text in texts], dtype=numpy.int64)[places], None
    return places, Naming(tuple(texts), where, folders=False)


def _read_archive(path: Path, part: str | None) -> dict[str, NDArray[Any]]:
    """Every array of the file that may be wanted. Files with pickled objects are refused before any of them loads."""
    if not path.is_file():
        raise DataError(f"{path} does not exist", "check the path")
    try:
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path.name} is not an .npz archive", "save it with numpy.savez")
        with numpy.load(path, allow_pickle=False) as archive:
            # Other arrays stay on disk: they are named in errors, and may be large.
            wanted = wanted_keys(archive.files, part)
            found = {key: _array(archive, key) if key in wanted else numpy.empty(0) for key in archive.files}
    except AuditError:
        raise
    except Exception as error:
        # The header of an array is a Python literal: the parsers of numpy and Python fail on it in many ways.
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path.name} holds Python objects", "save plain arrays: numpy.savez with uint8 or float"
            ) from error
        raise DataError(
            f"{path.name} cannot be read: {error or type(error).__name__}", "save it again with numpy.savez"
        ) from error
    for key, value in found.items():
        if not isinstance(value, numpy.ndarray):
            raise DataError(f"{path.name}: {key} is not an array", "save it with numpy.savez")
    return found


def _array(archive: Any, key: str) -> Any:
    """One array of the file; a layout of Python objects is somebody else's and says nothing."""
    try:
        return archive[key]
    except ValueError as error:
        if key == LAYOUT_KEY and "allow_pickle" in str(error):
            return numpy.empty(0)
        raise


def to_numpy(values: Any) -> NDArray[Any]:
    """A NumPy array, tensor or list as an array.

    Raises:
        DataError: it has no regular array form: a ragged list, a sparse or quantised tensor.
    """
    try:
        if isinstance(values, Tensor):
            values = values.detach().cpu()
            values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
        result: NDArray[Any] = numpy.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{type(values).__name__} is not an array: {error}", "give a NumPy array or a tensor"
        ) from error
    return result
