"""Finds out quickly and quietly whether pretrained weights can be had from the Hugging Face hub."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ModelError

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
CONFIG_FILE = "config.json"
PROBE_TIMEOUT_S = 5.0
CLIENTS = ("huggingface_hub", "httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib", "urllib3", "ssl")


@contextmanager
def quiet_hub() -> Iterator[None]:
    """No progress bars and no retry messages of the hub client and of timm inside; as before afterwards."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    loggers = [logging.getLogger(name) for name in ("huggingface_hub", "timm")]
    levels = [logger.level for logger in loggers]
    bars = not are_progress_bars_disabled()
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        if bars:
            disable_progress_bars()
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            enable_progress_bars()


def require(repository: str, files: tuple[str, ...], hint: str, cache_dir: str | None = None) -> None:
    """Return if one of the files is in the local cache or the hub answers for the repository; raise otherwise.

    The hub client itself retries for 23 s per file before it gives up; this asks once.

    Args:
        repository: `owner/name` or `owner/name@revision`.
        files: any of them will do; the first is the one that is asked for.
        hint: what to do when the weights cannot be had.
        cache_dir: another cache than the hub client's own.

    Raises:
        ModelError: unknown or gated repository, or no connection.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import RemoteEntryNotFoundError

    name, _, revision = repository.partition("@")
    try:
        for file in files:
            if isinstance(try_to_load_from_cache(name, file, cache_dir=cache_dir, revision=revision or None), str):
                return
        get_hf_file_metadata(hf_hub_url(name, files[0], revision=revision or None), timeout=PROBE_TIMEOUT_S)
    except RemoteEntryNotFoundError:
        return  # the repository answers; timm may know another file in it
    except Exception as error:
        raise failure(repository, error, hint) from error


def failure(repository: str, error: BaseException, hint: str) -> ModelError:
    """The one-line error for weights that could not be downloaded."""
    return ModelError(f"the weights {repository} cannot be downloaded: {_reason(error)}", hint)


def is_download_error(error: BaseException) -> bool:
    """Whether the error came from the network rather than from building the network's modules."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in CLIENTS


def _reason(error: BaseException) -> str:
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return "access is gated: accept its terms on the hub and log in (HF_TOKEN)"
    if isinstance(error, HFValidationError):
        return "a repository is named owner/name, or owner/name@revision"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub knows no such repository, or it is private"
    if isinstance(error, RevisionNotFoundError):
        return "the hub knows no such revision"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set and they are not in the local cache"
    if isinstance(error, LocalEntryNotFoundError):
        return "the hub cannot be reached and they are not in the local cache"
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else 'no message'}"
