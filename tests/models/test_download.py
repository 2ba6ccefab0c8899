from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from urllib.error import URLError

import huggingface_hub
import pytest
from huggingface_hub import errors as hub_errors
from huggingface_hub.utils import are_progress_bars_disabled

from lsa_audit.errors import ModelError
from lsa_audit.models.download import failure, is_download_error, quiet_hub, require


def hub_error(kind: type[Exception]) -> Exception:
    """The real exception type without the HTTP response that its constructor asks for."""
    error = kind.__new__(kind)
    Exception.__init__(error, "404 Client Error.\nmore lines")
    return error


REASONS: dict[str, tuple[Exception, str]] = {
    "gated": (hub_error(hub_errors.GatedRepoError), "gated"),
    "unknown": (hub_error(hub_errors.RepositoryNotFoundError), "no such repository"),
    "revision": (hub_error(hub_errors.RevisionNotFoundError), "no such revision"),
    "offline": (hub_errors.OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set"),
    "not cached": (hub_errors.LocalEntryNotFoundError("no connection"), "not in the local cache"),
    "server": (hub_error(hub_errors.HfHubHTTPError), "HfHubHTTPError: 404 Client Error"),
    "no name": (URLError("Name or service not known"), "URLError: .*Name or service not known"),
    "timeout": (TimeoutError(), "TimeoutError: no message"),
}


def answer(monkeypatch: pytest.MonkeyPatch, error: Exception | None, cached: str | None = None) -> list[str]:
    asked: list[str] = []

    def ask(url: str, **options: Any) -> None:
        asked.append(url)
        if error is not None:
            raise error

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", ask)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: cached)
    return asked


@pytest.mark.parametrize(("error", "words"), REASONS.values(), ids=REASONS)
def test_every_reason_is_one_line_with_the_hint(monkeypatch: pytest.MonkeyPatch, error: Exception, words: str) -> None:
    answer(monkeypatch, error)
    with pytest.raises(ModelError, match=f"the weights owner/net cannot be downloaded: .*{words}.*; do this") as caught:
        require("owner/net", ("model.safetensors",), "do this")
    assert "\n" not in str(caught.value)
    assert is_download_error(error)


def test_a_cached_file_needs_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, TimeoutError(), cached="somewhere/model.safetensors")
    require("owner/net", ("model.safetensors",), "do this")
    assert asked == []


def test_one_request_for_the_first_file_at_the_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, None)
    require("owner/net@v2", ("model.safetensors", "pytorch_model.bin"), "do this")
    assert len(asked) == 1
    assert "owner/net/resolve/v2/model.safetensors" in asked[0]


def test_a_repository_with_other_files_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, hub_error(hub_errors.RemoteEntryNotFoundError))
    require("owner/net", ("model.safetensors",), "do this")


def test_errors_of_building_are_not_taken_for_downloads() -> None:
    assert not is_download_error(TypeError("unexpected keyword"))
    assert not is_download_error(RuntimeError("size mismatch"))
    assert str(failure("x", TypeError("a\nb"), "c")) == "the weights x cannot be downloaded: TypeError: a; c"


def test_quiet_hub_restores_everything() -> None:
    logger = logging.getLogger("huggingface_hub")
    before = logger.level, are_progress_bars_disabled()
    with quiet_hub():
        assert are_progress_bars_disabled()
        assert not logger.isEnabledFor(logging.WARNING)
    assert (logger.level, are_progress_bars_disabled()) == before


def test_a_closed_port_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A real attempt by the real client, on an address of this machine where nobody listens."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{filename}"
    )
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    with pytest.raises(ModelError, match=r"cannot be downloaded: .*refused"):
        require("owner/net", ("model.safetensors",), "do this", cache_dir=str(tmp_path))
    assert sum(waits) < 8


@pytest.mark.parametrize("name", ["", "///", "../..", "a b/c d/e", "@x@y", "x" * 5000, "a/b/c"])
def test_what_is_no_name_of_a_repository_is_one_line(name: str) -> None:
    with pytest.raises(ModelError, match="a repository is named owner/name"):
        require(name, ("config.json",), "hint")
