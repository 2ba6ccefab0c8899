"""The committed reports are records that this version reads, and hold nothing of the machine that made them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lsa_audit.reporting import FORMATS, RUN_FILES
from lsa_audit.reporting import json as json_report
from lsa_audit.reporting.shown import Shown

EXAMPLES = Path(__file__).resolve().parent.parent / "reports" / "examples"
FOLDERS = sorted(path.parent for path in EXAMPLES.glob("*/record.json"))


def test_there_are_examples():
    assert len(FOLDERS) >= 3


# Drawing a page takes seconds: one of them by default.
@pytest.mark.slow
@pytest.mark.parametrize(
    "folder",
    [*FOLDERS[:1], *(pytest.param(folder, marks=pytest.mark.slow) for folder in FOLDERS[1:])],
    ids=lambda folder: folder.name,
)
def test_an_example_can_be_read_and_rendered_again(folder):
    record = json_report.read((folder / "record.json").read_text(encoding="utf-8"))
    for name, render in (FORMATS[key] for key in RUN_FILES):
        assert (folder / name).is_file()
        assert record.model.name in render(Shown(record))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_example_names_no_absolute_path(folder):
    for path in folder.glob("re*"):
        assert not re.search(r"[\"' (](/[a-z]+){2,}/", path.read_text(encoding="utf-8")), path.name
