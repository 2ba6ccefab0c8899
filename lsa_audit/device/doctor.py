"""What of the surroundings works: packages, devices, runtimes, cache folders. Nothing is changed."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from .. import __version__

DISTRIBUTION = "lsa-audit"
ADDITIONS = ("onnx", "onnx-gpu")
"""Extras of the package that a user may want; the others are for its developers."""

IMPORT_NAMES = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn", "onnxruntime-gpu": "onnxruntime"}
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)>=(?P<floor>[\d.]+)(; extra == ['\"](?P<extra>[\w-]+)['\"])?")
GIB = 2**30

Section = Literal["packages", "devices", "onnxruntime", "caches"]
State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at.

    Attributes:
        state: `note` is something missing that only some commands want; `problem` something that must be mended.
        hint: what to do, or empty.
    """

    section: Section
    name: str
    value: str
    state: State = "ok"
    hint: str = ""


def examine() -> tuple[Diagnosis, ...]:
    """Look at everything.

    Cost: imports every package that is required, so some seconds.
    """
    return (*_packages(), *_devices(), *_onnxruntime(), *_caches())


def _packages() -> Iterator[Diagnosis]:
    yield Diagnosis("packages", "Python", platform.python_version())
    yield Diagnosis("packages", DISTRIBUTION, __version__)
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        hint = "pip install -e . in its folder"
        yield Diagnosis("packages", DISTRIBUTION, "runs from a folder, not installed", "problem", hint)
        return
    for text in requirements:
        parts = REQUIREMENT.fullmatch(text)
        if parts is None:
            continue
        name, floor, extra = parts["name"], parts["floor"], parts["extra"]
        if extra is None or (extra in ADDITIONS and _version(name) is not None):
            yield _package(name, floor)


def _package(name: str, floor: str) -> Diagnosis:
    """Whether it is there, recent enough, and can be imported."""
    install = f"pip install '{name}>={floor}'"
    version = _version(name)
    if version is None:
        return Diagnosis("packages", name, "is not installed", "problem", install)
    if _numbers(version) < _numbers(floor):
        return Diagnosis("packages", name, f"{version} is too old", "problem", install)
    module, error = _imported(IMPORT_NAMES.get(name, name))
    if module is None:
        return Diagnosis(
            "packages", name, f"{version} cannot be imported: {error}", "problem", f"{install} --force-reinstall"
        )
    return Diagnosis("packages", name, version)


def _devices() -> Iterator[Diagnosis]:
    yield Diagnosis("devices", "CPU", f"{_cores()} cores for this process, {platform.machine()}")
    torch, _ = _imported("torch")
    if torch is None:
        return
    yield Diagnosis("devices", "threads", f"{torch.get_num_threads()} that torch would use")
    built = torch.version.cuda
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            value = f"{card.name}, {card.total_memory / GIB:.0f} GiB, capability {card.major}.{card.minor}"
            yield Diagnosis("devices", f"cuda:{index}", f"{value}, CUDA {built}")
    else:
        why = "no usable GPU or driver" if built else "this torch is built without CUDA"
        yield Diagnosis("devices", "cuda", f"none: {why}", "note")
    if torch.backends.mps.is_available():
        yield Diagnosis("devices", "mps", "Apple GPU")


def _onnxruntime() -> Iterator[Diagnosis]:
    both = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version(name) is not None]
    if not both:
        value = "is not installed: ONNX files load without a comparison, and without operations that only it can run"
        yield Diagnosis("onnxruntime", "onnxruntime", value, "note", f"pip install '{DISTRIBUTION}[onnx]'")
        return
    if len(both) == 2:
        hint = f"pip uninstall {' '.join(both)}, then install one of them"
        yield Diagnosis("onnxruntime", "packages", "two that fill the same folder are installed", "problem", hint)
    runtime, error = _imported("onnxruntime")
    if runtime is None:
        yield Diagnosis(
            "onnxruntime", "onnxruntime", f"cannot be imported: {error}", "problem", f"pip install -U {both[0]}"
        )
        return
    yield Diagnosis("onnxruntime", "providers", ", ".join(runtime.get_available_providers()))


def _caches() -> Iterator[Diagnosis]:
    torch, _ = _imported("torch")
    if torch is not None:
        yield _folder("torch hub", Path(torch.hub.get_dir()))
    hub, _ = _imported("huggingface_hub.constants")
    if hub is not None:
        yield _folder("Hugging Face, timm", Path(hub.HF_HUB_CACHE))
    dirs, _ = _imported("platformdirs")
    if dirs is not None:
        yield _folder(DISTRIBUTION, dirs.user_cache_path(DISTRIBUTION))


def _folder(name: str, path: Path) -> Diagnosis:
    """Whether files can be put there, and how much room there is; what is missing is made when it is needed."""
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    room = f"{shutil.disk_usage(there).free / GIB:.1f} GiB free"
    if not os.access(there, os.W_OK):
        return Diagnosis("caches", name, f"{_short(path)}, not writable", "note", "downloads need it; see its rights")
    return Diagnosis("caches", name, f"{_short(path)}, {room}" + ("" if there == path else ", not made yet"))


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.match(r"[\d.]*", version)[0].split(".") if part)  # type: ignore[index]


def _imported(name: str) -> tuple[Any, str]:
    """The module and no error, or None and why it cannot be imported, in one line."""
    try:
        return importlib.import_module(name), ""
    except Exception as error:  # noqa: BLE001 - a broken binary package may raise anything
        return None, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
