from __future__ import annotations

import subprocess
import sys

import pytest

from lsa_audit.records import AuditRecord
from lsa_audit.reporting import FORMATS, RUN_FILES
from lsa_audit.reporting.shown import Shown


def test_the_formats_and_their_files() -> None:
    assert {name: file_name for name, (file_name, _) in FORMATS.items()} == {
        "json": "record.json",
        "markdown": "report.md",
        "html": "report.html",
        "sarif": "report.sarif",
        "junit": "junit.xml",
        "github": "summary.md",
        "github-annotations": "annotations.txt",
        "model-card": "model-card.md",
    }
    assert set(RUN_FILES) < set(FORMATS)


@pytest.mark.slow_for("every-layer")
def test_every_format_renders_every_record(any_record: AuditRecord, any_page: str) -> None:
    for name, (_, render) in FORMATS.items():
        content = any_page if name == "html" else render(Shown(any_record))
        assert content.endswith("\n")
        content.encode("utf-8")


@pytest.mark.slow
def test_the_same_record_gives_the_same_text(samples: dict[str, AuditRecord]) -> None:
    for _, render in FORMATS.values():
        assert render(Shown(samples["clean"])) == render(Shown(samples["clean"]))


def test_reports_need_no_torch_and_draw_only_for_html() -> None:
    heavy = "torch", "matplotlib", "scipy"
    code = f"import sys, lsa_audit.reporting.terminal; print(*(name in sys.modules for name in {heavy}))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False"] * 3
