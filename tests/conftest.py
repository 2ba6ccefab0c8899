"""Fixtures that more than one test file needs."""

from __future__ import annotations

import functools
import gc
import os
import sys
from pathlib import Path

# Before torch is imported, and passed on to the processes that tests start: as many workers as cores run side by side,
# and the small tensors here gain nothing from a second thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import typer.main

PROJECT = Path(__file__).resolve().parent.parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Variants that `slow_for` names, or that `slow_except` does not, are slow."""
    whole = not any("::" in argument for argument in config.args)
    named: dict[str, set[str]] = {}
    for item in items:
        if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
            continue
        for name, listed_are_slow in (("slow_for", True), ("slow_except", False)):
            for mark in item.iter_markers(name):
                named.setdefault(item.nodeid.split("[")[0], set(mark.args)).discard(item.callspec.id)
                if (item.callspec.id in mark.args) == listed_are_slow:
                    item.add_marker("slow")
    unknown = sorted(f"{test}[{name}]" for test, left in named.items() for name in left)
    if whole and unknown:
        raise pytest.UsageError(f"slow_for or slow_except names variants that do not exist: {', '.join(unknown)}")


def pytest_collection_finish() -> None:
    """What the imports made lives as long as the tests: looking for garbage there took a sixth of their time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    # The commands with all their options are built anew at every call otherwise.
    typer.main.get_command = functools.cache(typer.main.get_command)
    walker = sys.modules.get("lsa_audit.graph.walker")
    if walker is not None:
        from .exports import once, remember_operations

        walker.export = once(walker.export)  # type: ignore[attr-defined]
        remember_operations()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and real trained weights; the test is skipped where it is missing."""
    folder = Path(os.environ.get("LSA_AUDIT_SHARED", PROJECT.parent / "shared"))
    if not (folder / "models").is_dir():
        pytest.skip(f"needs the shared folder ({folder.name}/ beside the project, or LSA_AUDIT_SHARED)")
    return folder
