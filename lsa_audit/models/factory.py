"""Networks that the user's own Python code builds: `path/to/file.py:factory` or `package.module:factory`."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ..errors import ModelError, first_line
from ..progress import interrupts
from .assembly import Built, assemble
from .base import Model
from .given import unwrapped
from .preprocessing import of_module
from .request import ModelRequest
from .seeding import seeded
from .unfilled import check_filled
from .widening import in_float32

USERS: set[Path] = set()
"""Folders of the code that factories were loaded from in this process; an error that comes from it is the user's."""


def load(request: ModelRequest) -> Model:
    """The network that the user's factory returns; this runs the user's code.

    A factory is called with the request's arguments; an attribute that is an nn.Module already is taken as it is.
    Construction is seeded, so two runs give the same weights.

    Raises:
        ModelError: missing file, module or attribute; the user's code raised; the result is not an nn.Module.
        UsageError: a wrong mean, std or input size.
        UnsafeError: the checkpoint carries code.

    Random: a private copy of the generators.
    """
    place, _, attribute = request.spec.rpartition(":")
    if not place or not attribute:
        raise ModelError(f"{request.spec!r} names no factory", "write FILE.py:FACTORY or PACKAGE.MODULE:FACTORY")
    USERS.add(_folder(place))
    with seeded(request.seed), _importable(_folder(place)), contextlib.redirect_stdout(sys.stderr):
        module = _import(place)
        network = unwrapped(_build(module, attribute, request))
    check_filled(network, request.spec)
    built = Built(
        network=network.cpu(),
        name=attribute,
        architecture=type(network).__name__,
        weights="as the factory built them",
        metadata=of_module(network),
        notes=(f"runs the code of {place}",),
        finish=in_float32,
        arguments=_arguments(getattr(module, attribute)),
    )
    return assemble(request, "factory", built)


def _folder(place: str) -> Path:
    return Path(place).resolve().parent if place.endswith(".py") else Path.cwd()


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """The folder comes first on the import path inside; the path is as before afterwards."""
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


def _import(place: str) -> ModuleType:
    if place.endswith(".py"):
        return _import_file(Path(place))
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(f"{error.name}.")):
            raise ModelError(f"there is no Python module {place!r}", "check the name, or run from its folder") from None
        raise _user_error(f"importing {place} failed", error, Path.cwd()) from error
    except BaseException as error:
        if interrupts.is_signal(error):
            raise
        raise _user_error(f"importing {place} failed", error, Path.cwd()) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ModelError(f"there is no file {path}", "check the path of the factory")
    # A name of its own: the user's file may be called timm.py, and classes must find their module again.
    name = f"_lsa_audit_{path.stem}_{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ModelError(f"{path} cannot be imported", "the file must be Python source")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if interrupts.is_signal(error):
            raise
        raise _user_error(f"importing {path} failed", error, path.resolve().parent) from error
    return module


def _build(module: ModuleType, attribute: str, request: ModelRequest) -> nn.Module:
    factory: Any = getattr(module, attribute, None)
    if factory is None:
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        own = [name for name in names if getattr(vars(module)[name], "__module__", None) == module.__name__]
        hint = f"it defines {', '.join(own[:8])}" if own else "check the name after the colon"
        raise ModelError(f"{request.spec}: there is no {attribute!r}", hint)
    if isinstance(factory, nn.Module):
        if request.arguments:
            raise ModelError(f"{request.spec} is a module, not a factory, and takes no --model-arg", "leave it out")
        if request.random_weights:
            raise ModelError(f"{request.spec} is a module that is already built", "--random-weights needs a factory")
        return factory
    if not callable(factory):
        raise ModelError(f"{request.spec} is a {type(factory).__name__}", "name a function that returns an nn.Module")
    try:
        network = factory(**request.arguments)
    except BaseException as error:
        if interrupts.is_signal(error):
            raise
        file = getattr(module, "__file__", None)
        folder = Path(file).resolve().parent if file else Path.cwd()
        raise _user_error(f"{request.spec} failed", error, folder) from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"{request.spec} returned a {type(network).__name__}", "a factory must return an nn.Module")
    return network


def _arguments(factory: Any) -> tuple[str, ...]:
    """Names of what a factory takes; one that takes any is taken to know the usual one."""
    if isinstance(factory, nn.Module):
        return ()
    try:
        taken = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return ()
    anything = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values())
    plain = [name for name, one in taken.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    return (*plain, *(("num_classes",) if anything else ()))


def _user_error(what: str, error: BaseException, folder: Path) -> ModelError:
    """One line for an exception of the user's code: type, message, and the last line of theirs that it passed."""
    text = first_line(error)[:300]
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{Path(error.filename).name}:{error.lineno}"
        text = error.msg
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        own = [frame for frame in frames if folder in Path(frame.filename).resolve().parents]
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    where = f" at {place}" if place else ""
    return ModelError(f"{what}: {type(error).__name__}: {text}{where}", "fix the code, or check --model-arg")
