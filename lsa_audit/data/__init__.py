"""Images and labels in [0, 1]. Reading the catalogue does not import torch; a loader is imported when it is used."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import DataError
from .parts import Named, split_name, without_part

if TYPE_CHECKING:
    from .base import DataRequest, Dataset, InputSpec


@dataclass(frozen=True)
class Loader:
    """A source of data.

    Attributes:
        module: the file of this folder whose `load(request, spec)` reads it.
        named: asked for by this name; otherwise by a path.
    """

    summary: str
    module: Literal["builtin", "torchvision", "folder", "arrays"]
    named: bool = True


LOADERS: dict[str, Loader] = {
    "digits": Loader("scikit-learn's 8x8 digits, held-out 30 %; digits:train, the other 70 %", "builtin"),
    "moons": Loader("scikit-learn's two moons, held-out half; moons:train, the other half", "builtin"),
    "mnist": Loader("MNIST test images; mnist:train, the training images", "torchvision"),
    "fashion-mnist": Loader("Fashion-MNIST test images; fashion-mnist:train, the training images", "torchvision"),
    "cifar10": Loader("CIFAR-10 test images; cifar10:train, the training images", "torchvision"),
    "cifar100": Loader("CIFAR-100 test images; cifar100:train, the training images", "torchvision"),
    "svhn": Loader("SVHN test images; svhn:train, the training images", "torchvision"),
    "folder": Loader("FOLDER of class folders, or of images with labels.csv", "folder", named=False),
    "arrays": Loader("FILE.npz with images and labels; FILE.npz:test for one part", "arrays", named=False),
}
ARCHIVE_PART = re.compile(r"\.npz:[A-Za-z]+$", re.IGNORECASE)


def named(spec: str) -> Named | None:
    """The named set that a spec means, and its part; None for a path.

    Raises:
        DataError: the set has no such part.
    """
    return split_name(spec, [name for name, loader in LOADERS.items() if loader.named])


def load(request: DataRequest, spec: InputSpec) -> Dataset:
    """The requested images in the shape that the model wants. A name wins over a path of the same name (`./digits`).

    Of a named set the test part, unless `NAME:train` asks for the other one.

    Raises:
        DataError: nothing there, or what is there is not images and labels for this model.
        UsageError: a choice that makes no sense.
    """
    module = import_module(f".{LOADERS[_loader_name(request.spec)].module}", __name__)
    dataset: Dataset = module.load(request, spec)
    return dataset


def from_arrays(
    images: Any,
    labels: Any,
    spec: InputSpec,
    request: DataRequest | None = None,
    name: str = "memory",
    layout: str | None = None,
) -> Dataset:
    """NumPy arrays or tensors in memory; see `arrays.from_arrays`."""
    from . import arrays

    return arrays.from_arrays(images, labels, spec, request, name, layout)


def from_loader(
    loader: Any,
    spec: InputSpec,
    request: DataRequest | None = None,
    name: str = "memory",
    layout: str | None = None,
) -> Dataset:
    """A torch Dataset or unshuffled DataLoader of (image, label); see `loaders.from_loader`."""
    from . import loaders

    return loaders.from_loader(loader, spec, request, name, layout)


def from_memory(given: Any, spec: InputSpec, request: DataRequest) -> Dataset:
    """Whatever a Python caller holds: (images, labels), a Dataset or a DataLoader; see `loaders.from_memory`."""
    from . import loaders

    return loaders.from_memory(given, spec, request)


def _loader_name(spec: str) -> str:
    if (found := named(spec)) is not None:
        return found.name
    try:
        path = Path(spec).expanduser()
        if spec and path.is_dir():
            return "folder"
        if spec and (path.is_file() or ARCHIVE_PART.search(spec)):
            return "arrays"
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"data {spec!r} cannot be opened: {error}", "give a name, a folder or FILE.npz") from error
    names = [name for name, loader in LOADERS.items() if loader.named]
    whole = without_part(spec)
    if whole is not None and _is_there(whole):
        raise DataError(
            f"{spec}: a folder or file has no parts",
            f"give {whole}; the parts :train and :test are of {', '.join(names)}",
        )
    near = difflib.get_close_matches(whole or spec, names, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"names: {', '.join(names)}; or give a folder or FILE.npz"
    raise DataError(f"data {spec!r} is neither a data set nor a file or folder", hint)


def _is_there(spec: str) -> bool:
    try:
        return Path(spec).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False
