"""Fixtures that more than one test file needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and real trained weights; the test is skipped where it is missing."""
    folder = Path(os.environ.get("LSA_AUDIT_SHARED", PROJECT.parent / "shared"))
    if not (folder / "models").is_dir():
        pytest.skip(f"needs the shared folder ({folder.name}/ beside the project, or LSA_AUDIT_SHARED)")
    return folder
