"""The folder of a command appears whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import stat
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from lsa_audit.cli import output
from lsa_audit.cli.output import RunFolder
from lsa_audit.errors import OutputError, UsageError
from lsa_audit.progress.interrupts import Terminated, listening
from lsa_audit.runs.reading import read_record_of
from lsa_audit.writing.locking import LOCK_NAME, LockHolder


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


NAMES = ("evidence.npz", "report.md", "report.html", "record.json")


def test_a_folder_in_use_is_refused_to_the_next_run_and_free_afterwards(tmp_path):
    folder = RunFolder.prepare(tmp_path / "run", "m", "d")
    with folder.in_use() as taken:
        for again in (lambda: RunFolder.prepare(tmp_path / "run", "m", "d"), lambda: folder.in_use().__enter__()):
            with pytest.raises(UsageError, match="is in use by process"):
                again()
        taken.write_files({"a.txt": b"one"})
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["a.txt"]


def test_two_runs_that_begin_together_get_default_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = (RunFolder.prepare(None, "m", "d") for _ in range(2))
    with first.in_use() as one, second.in_use() as two:
        assert (one.path, two.path.name) == (first.path, f"{first.path.name}-2")
    assert list((tmp_path / "reports").iterdir()) == []


@pytest.mark.parametrize("killed_before", [1, 2, 3])
def test_what_a_killed_run_has_left_blocks_no_folder_and_is_no_run(tmp_path, monkeypatch, killed_before):
    class Killed(BaseException):
        pass

    path, replace = tmp_path / "run", Path.replace
    path.mkdir()
    for name in NAMES:
        (path / name).write_text("old")
    (path / "notes.txt").write_text("mine")
    placed = []

    def killed(source, to):
        placed.append(to.name)
        if len([name for name in placed if name in NAMES]) > len(NAMES) + killed_before:
            raise Killed
        return replace(source, to)

    monkeypatch.setattr(Path, "replace", killed)
    monkeypatch.setattr(output, "locked", held_for_ever)
    with pytest.raises(Killed), RunFolder.prepare(path, "m", "d").in_use() as folder:
        folder.write_files(dict.fromkeys(NAMES, b"new"))
    (path / ".lsa-audit-left").mkdir()
    (path / ".lsa-audit-left/x").write_text("x")
    assert not (path / "record.json").exists()
    with pytest.raises(UsageError, match=r"run is an unfinished run: it holds no record.json yet; scan again"):
        read_record_of(path)
    monkeypatch.undo()
    with RunFolder.prepare(path, "m", "d").in_use() as folder:
        folder.write_files(dict.fromkeys(NAMES, b"new"))
    assert {entry.name: entry.read_text() for entry in path.iterdir()} == {
        **dict.fromkeys(NAMES, "new"),
        "notes.txt": "mine",
    }


@contextmanager
def held_for_ever(folder):
    """The lock of a process that was killed."""
    gone = dataclasses.replace(LockHolder.this(), process=2**40)
    (folder / LOCK_NAME).write_text(json.dumps(dataclasses.asdict(gone)))
    yield


def test_a_run_that_is_being_written_says_so(tmp_path):
    with RunFolder(tmp_path / "run").in_use() as folder:
        with pytest.raises(UsageError, match=r"unfinished run: .* wait for the scan that writes it"):
            read_record_of(folder.path)
        (tmp_path / "other").mkdir()
        with pytest.raises(UsageError, match="other is no run"):
            read_record_of(tmp_path / "other")


def test_a_signal_between_two_renames_waits_for_the_last(tmp_path, monkeypatch):
    replace, placed = Path.replace, []

    def terminated(source, to):
        placed.append(to.name)
        if placed[-2:] == ["record.json", "a"]:
            os.kill(os.getpid(), signal.SIGTERM)
        return replace(source, to)

    monkeypatch.setattr(Path, "replace", terminated)
    with listening(), pytest.raises(Terminated), RunFolder(tmp_path / "run").in_use() as folder:
        folder.write_files({"a": b"1", "b": b"2", "record.json": b"3"})
    assert sorted(entry.name for entry in (tmp_path / "run").iterdir()) == ["a", "b", "record.json"]


@pytest.mark.parametrize("name", ["a\nb", "with space", "caf\u00e9", "r\udcff"])
def test_folders_of_any_name_are_written(tmp_path, name):
    with RunFolder.prepare(tmp_path / name, "m", "d").in_use() as folder:
        folder.write_files({"a.txt": b"one"})
    assert (tmp_path / name / "a.txt").read_bytes() == b"one"


def test_the_default_folder_of_long_names_is_one_that_file_systems_take(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with RunFolder.prepare(None, "m" * 5000, "d" * 5000).in_use() as folder:
        assert len(folder.path.name) < 255
