"""`lsa-audit explain`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lsa_audit.cli import explain
from lsa_audit.errors import UsageError
from lsa_audit.findings import RULES
from lsa_audit.findings.explanations import page


def test_a_page_goes_to_stdout_as_it_is(capsys):
    assert explain.command("zero-gradients") == 0
    assert capsys.readouterr().out == page("zero-gradients")


def test_a_terminal_gets_it_rendered(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert explain.command("zero-gradients") == 0
    shown = capsys.readouterr().out
    assert "\x1b[1m" in shown
    assert "**What to do.**" not in shown
    assert "What to do." in shown


def test_without_an_id_all_are_listed_with_what_they_are_about(capsys):
    assert explain.command() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(RULES)
    assert any(line.endswith("  robust verdicts without one usable gradient") for line in lines)


@pytest.mark.parametrize(
    ("wrong", "nearest"), [("zero-gradient", "zero-gradients"), ("attack-health", None), ("", None)]
)
def test_an_unknown_id_names_the_nearest(wrong, nearest):
    with pytest.raises(UsageError, match="did you mean") as raised:
        explain.command(wrong)
    assert nearest is None or f"did you mean {nearest}?" in raised.value.hint


def test_torch_is_not_imported():
    code = "import sys; from lsa_audit.cli import explain; explain.command('labels'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
