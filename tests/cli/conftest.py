"""What keeps commands cheap whose tests read other things than pictures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lsa_audit.graph import walker  # noqa: F401 - see tests/conftest.py, which shortens it where it is loaded
from lsa_audit.reporting import plots

DRAWN = plots.figures


@pytest.fixture(autouse=True, scope="module")
def _no_pictures() -> Iterator[None]:
    """Pages come without their figures, which take half of a small scan; tests/reporting draws them all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "figures", lambda record: ())
        yield


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages with their figures after all."""
    monkeypatch.setattr(plots, "figures", DRAWN)
