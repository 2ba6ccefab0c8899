"""Everything that a training needs to go on where it stopped, in one file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError, UnsafeError, UsageError
from ...models.checkpoint import unpickle
from ...settings.limits import GIB, Limits
from ...settings.recipe import Recipe
from ...writing import write_whole

CHECKPOINT_VERSION = 1
CONTENT: dict[str, type | tuple[type, ...]] = {
    "recipe": dict,
    "fingerprint": dict,
    "step": int,
    "model": dict,
    "optimizer": dict,
    "ema": (dict, type(None)),
    "best": (dict, type(None)),
    "rng": dict,
    "log": list,
}
"""What every checkpoint holds beside its version; it may hold more. Plain values and tensors only.

recipe: as JSON; fingerprint: name -> hash of what the training started from (weights, data); step: how many are done;
model, ema, best: weights; optimizer: its state; rng: see `capture_rng`; log: one dict an epoch.
"""
UNKNOWN = "unknown"
ANEW = "train anew in another folder"


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint (see `CONTENT`) so that it is seen complete or not at all.

    Raises:
        OutputError: it cannot be written, e.g. a full disk; the checkpoint before is unchanged.

    Cost: one copy of everything in memory.
    """
    buffer = io.BytesIO()
    torch.save({"checkpoint_version": CHECKPOINT_VERSION, **content}, buffer)
    write_whole(path, buffer.getbuffer())


def load(path: Path) -> dict[str, Any]:
    """What `save` wrote, on the CPU; no code of the file runs.

    Raises:
        UsageError: missing, damaged, of another version, or not a checkpoint of a training.
        UnsafeError: the file carries code or false sizes.
    """
    if not path.is_file():
        raise UsageError(f"there is no checkpoint {path}", "name the folder of the training that was stopped")
    # Weights, averages, the best weights and the optimiser's state together may be larger than any model file.
    largest = max(4 * GIB, 2 * path.stat().st_size)
    try:
        content = unpickle(path, Limits(total_bytes=largest, member_bytes=largest), trusted=False)
    except UnsafeError as error:
        raise UnsafeError(error.what, f"no checkpoint of `lsa-audit harden` is like that: {ANEW}") from error
    except ModelError as error:
        raise UsageError(f"{path} is damaged, or not a checkpoint of a training", ANEW) from error
    if not isinstance(content, dict) or "checkpoint_version" not in content:
        raise UsageError(f"{path} is not a checkpoint of a training", "name one that `lsa-audit harden` wrote")
    version = content["checkpoint_version"]
    if version != CHECKPOINT_VERSION:
        what = f"{path} is a checkpoint of version {version}, and this is for version {CHECKPOINT_VERSION}"
        raise UsageError(what, ANEW)
    wrong = [name for name, kind in CONTENT.items() if not isinstance(content.get(name, UNKNOWN), kind)]
    if wrong:
        raise UsageError(f"{path} is damaged: no usable {', '.join(wrong)}", ANEW)
    return content


def check(content: Mapping[str, Any], recipe: Recipe, fingerprint: Mapping[str, str]) -> None:
    """Refuse to go on with other settings, or from other files, than the training was started with.

    Args:
        recipe: of now.
        fingerprint: name -> hash of what the training starts from.

    Raises:
        UsageError: names everything that differs.
    """
    now, settings, files = recipe.model_dump(mode="json"), content["recipe"], content["fingerprint"]
    found = [
        f"{name} was {settings.get(name, UNKNOWN)!r} and is {now.get(name, UNKNOWN)!r}"
        for name in {**now, **settings}
        if settings.get(name, UNKNOWN) != now.get(name, UNKNOWN)
    ]
    found += [f"{name} is another" for name in {**fingerprint, **files} if fingerprint.get(name) != files.get(name)]
    if found:
        hint = f"give the same settings, model and data, or {ANEW}"
        raise UsageError(f"the training cannot be resumed: {', '.join(found)}", hint)


def capture_rng() -> dict[str, Tensor]:
    """The state of torch's generators: of the CPU, and of the current GPU where one is in use."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_rng(state: Mapping[str, Tensor]) -> None:
    """Put torch's generators back where `capture_rng` found them; the GPU's only where there is one.

    Raises:
        UsageError: that is no state of a generator.
    """
    try:
        torch.set_rng_state(state["cpu"])
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda"])
    except (KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise UsageError("the checkpoint is damaged: no usable state of the random numbers", ANEW) from error
