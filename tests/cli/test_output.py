"""The folder of a command appears whole or not at all."""

from __future__ import annotations

import stat
from datetime import datetime
from pathlib import Path

import pytest

from lsa_audit.cli import output
from lsa_audit.cli.output import RunFolder
from lsa_audit.errors import OutputError, UsageError


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


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to(path.parent / "other")])
def test_an_empty_folder_is_filled_and_not_replaced(tmp_path, make):
    (tmp_path / "other").mkdir()
    make(tmp_path / "out")
    (tmp_path / "out").chmod(0o750)
    place = (tmp_path / "out").stat().st_ino
    assert RunFolder.prepare(tmp_path / "out", "m", "d").write_files({"a.txt": b"one"}) == tmp_path / "out"
    assert ((tmp_path / "out").stat().st_ino, stat.S_IMODE((tmp_path / "out").stat().st_mode)) == (place, 0o750)
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["a.txt"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["other", "out"]


def test_the_current_folder_can_be_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    RunFolder.prepare(Path(), "m", "d").write_files({"a.txt": b"one"})
    assert Path("a.txt").read_bytes() == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_new_folder_has_ordinary_rights(tmp_path):
    (tmp_path / "plain").mkdir()
    RunFolder.prepare(tmp_path / "out", "m", "d").write_files({"a.txt": b"one"})
    rights = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("out", "plain")]
    assert rights[0] == rights[1]


def test_a_name_that_no_folder_can_have_is_no_internal_error(tmp_path):
    with pytest.raises(OutputError, match="too long"):
        RunFolder.prepare(tmp_path / ("x" * 300), "m", "d")


def test_when_interrupted_nothing_is_left(tmp_path, monkeypatch):
    def interrupted(_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        RunFolder.prepare(tmp_path / "out", "m", "d").write_files({"a.txt": b"one"})
    assert list(tmp_path.iterdir()) == []


def test_files_below_come_into_a_folder_in_use_in_the_order_given(tmp_path, monkeypatch):
    folder = RunFolder.prepare(tmp_path / "out", "m", "d", may_replace=False)
    placed = []
    with folder.in_use():
        (tmp_path / "out" / "checkpoint").write_text("x")
        replace = Path.replace
        monkeypatch.setattr(Path, "replace", lambda path, to: placed.append(path.name) or replace(path, to))
        folder.write_files({"before/b.txt": b"two", "a.txt": b"one"})
    assert (tmp_path / "out/before/b.txt").read_bytes() == b"two"
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == ["a.txt", "before", "checkpoint"]
    assert placed[-2:] == ["b.txt", "a.txt"]


def test_a_folder_in_use_goes_away_only_where_it_is_new_and_empty(tmp_path):
    (tmp_path / "old").mkdir()
    for name in ("new", "old"):
        with RunFolder(tmp_path / name).in_use():
            assert (tmp_path / name).is_dir()
    assert [entry.name for entry in tmp_path.iterdir()] == ["old"]
    with pytest.raises(OutputError, match="cannot write to"), RunFolder(tmp_path / "no/new").in_use():
        pass


def test_work_is_taken_up_only_where_its_file_is(tmp_path):
    (tmp_path / "begun").write_text("x")
    assert RunFolder.begun(tmp_path, "begun").path == tmp_path
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(UsageError, match="holds no other"):
            RunFolder.begun(path, "other")
    with pytest.raises(OutputError, match="too long"):
        RunFolder.begun(tmp_path / ("x" * 300), "begun")
