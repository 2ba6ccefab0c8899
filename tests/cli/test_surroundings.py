"""Environment variables that libraries read must not end a command as a bug of ours, nor after all its work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lsa_audit import __main__ as entry
from lsa_audit.__main__ import main


@pytest.mark.parametrize("stated", ["never", "", "-1", "1e9", "99999999999999999999"])
def test_a_date_that_is_none_is_refused_before_any_work(stated, monkeypatch, capsys):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", stated)
    assert main(["explain", "mvl"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lsa-audit: error: SOURCE_DATE_EPOCH is {stated!r}, not a number of seconds")


def test_a_date_is_taken(monkeypatch, capsys):
    for stated in ("0", "1700000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", stated)
        assert main(["explain", "mvl"]) == 0
    assert capsys.readouterr().err == ""


def test_no_backend_of_matplotlib_is_looked_for(monkeypatch, capsys):
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    assert main(["explain", "mvl"]) == 0
    assert os.environ["MPLBACKEND"] == "agg"
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_settings_that_torch_refuses_at_its_import_are_one_line(tmp_path):
    command = [sys.executable, "-m", "lsa_audit", "layers", "digits-cnn"]
    environment = {**os.environ, "TORCH_LOGS": "bogus", "MPLBACKEND": "nonsense"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("lsa-audit: error: torch cannot be imported (ValueError: Invalid log settings: bogus")


@pytest.mark.parametrize(
    ("folder", "name", "found"), [("site-packages", "broken_library", "broken_library"), ("users", "broken_own", "")]
)
def test_a_library_that_fails_at_its_import_is_named(folder, name, found, tmp_path, monkeypatch):
    home = tmp_path / folder / name
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("int('never')")
    monkeypatch.syspath_prepend(home.parent)
    ours = compile(f"import {name}", str(Path(entry.__file__).with_name("importing.py")), "exec")
    with pytest.raises(ValueError, match="never") as caught:
        exec(ours)  # noqa: S102 - as if a module of the package imported it
    assert entry._failed_library(caught.value) == found


def test_an_error_of_our_own_is_no_librarys(tmp_path):
    ours = compile("int('never')", str(Path(entry.__file__).with_name("failing.py")), "exec")
    with pytest.raises(ValueError, match="never") as caught:
        exec(ours)  # noqa: S102 - as if a module of the package failed
    assert entry._failed_library(caught.value) == ""
