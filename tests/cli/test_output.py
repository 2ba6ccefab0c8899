"""Files appear whole or not at all."""

from __future__ import annotations

import stat
from datetime import datetime

import pytest

from lsa_audit.cli import output
from lsa_audit.cli.output import RunFolder, write_whole
from lsa_audit.errors import OutputError


def test_a_file_is_replaced_whole_and_has_ordinary_rights(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, b"one")
    write_whole(path, b"two")
    (tmp_path / "plain").write_text("x")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.txt", "plain"]


def test_a_failing_write_keeps_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_whole(path, b"one")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_whole(path, b"two")
    assert path.read_bytes() == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_two_runs_in_one_second_get_folders_of_their_own(tmp_path, monkeypatch):
    class Still(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "datetime", Still)
    first = RunFolder.prepare(None, "a/b:c", "data/x.npz").path
    assert first.as_posix() == "reports/b-c-x-20260102-030405"
    first.mkdir()
    assert RunFolder.prepare(None, "a/b:c", "data/x.npz").path.name == "b-c-x-20260102-030405-2"


def test_preparing_leaves_nothing_but_the_parent(tmp_path):
    RunFolder.prepare(tmp_path / "new" / "run", "m", "d")
    assert [entry.name for entry in tmp_path.rglob("*")] == ["new"]
