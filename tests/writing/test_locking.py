"""One run at a time in a folder; a dead process holds nothing, another host's lock is never broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from lsa_audit.errors import OutputError, UsageError
from lsa_audit.writing.locking import LOCK_NAME, LockHolder, is_held, locked, refuse_if_held

ALIVE = 1
"""The first process of any system."""


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def held_by(folder, holder: LockHolder) -> None:
    (folder / LOCK_NAME).write_text(json.dumps(asdict(holder)))


def test_the_second_is_refused_and_told_who_is_first(tmp_path):
    with locked(tmp_path):
        (entry,) = tmp_path.iterdir()
        assert json.loads(entry.read_text())["process"] == os.getpid()
        with pytest.raises(UsageError, match=rf"is in use by process {os.getpid()} on .* since 20"), locked(tmp_path):
            pytest.fail("two runs in one folder")
        assert entry.exists()
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_the_lock_goes_away_whatever_happens(tmp_path, error):
    with pytest.raises(error), locked(tmp_path):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_dead_process_of_this_host_holds_nothing(tmp_path):
    here = LockHolder.this()
    for gone in (
        replace(here, process=dead_process(), started=None),
        replace(here, started=(here.started or 0) + 1),
        replace(here, process=2**40),
    ):
        held_by(tmp_path, gone)
        assert not is_held(tmp_path)
        with locked(tmp_path):
            assert json.loads((tmp_path / LOCK_NAME).read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_after_a_restart_of_the_machine_nothing_is_held(tmp_path):
    held_by(tmp_path, replace(LockHolder.this(), machine="", boot="of last week"))
    assert is_held(tmp_path)
    held_by(tmp_path, replace(LockHolder.this(), boot="of last week"))
    assert is_held(tmp_path) == (not LockHolder.this().machine)


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"machine": "another"}, {"namespace": "pid:[1]"}])
def test_a_lock_of_another_host_is_never_broken(tmp_path, change):
    held_by(tmp_path, replace(LockHolder.this(), process=2**22 - 1, started=5, **change))
    before = (tmp_path / LOCK_NAME).read_text()
    with pytest.raises(UsageError, match=rf"cannot be seen from here; .* delete \S*{LOCK_NAME}"), locked(tmp_path):
        pytest.fail("the lock of another host was broken")
    assert (tmp_path / LOCK_NAME).read_text() == before


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"host": 1, "process": "x", "since": 2}', "[" * 5000])
def test_what_is_no_lock_is_refused_and_says_what_to_delete(tmp_path, content):
    (tmp_path / LOCK_NAME).write_text(content)
    with pytest.raises(UsageError, match=f"is no lock of a run; delete .*{LOCK_NAME}"):
        refuse_if_held(tmp_path)


def test_a_pipe_in_the_place_of_the_lock_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / LOCK_NAME)
    with pytest.raises(UsageError, match="is no lock"), locked(tmp_path):
        pass


def test_a_lock_that_was_taken_away_meanwhile_is_not_removed(tmp_path):
    with locked(tmp_path):
        held_by(tmp_path, replace(LockHolder.this(), process=ALIVE))
    assert (tmp_path / LOCK_NAME).exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(OutputError, match=r"cannot write to .*gone"), locked(tmp_path / "gone"):
        pass

    def full(*_arguments, **_named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("json.dump", full)
    with pytest.raises(OutputError, match="No space left"), locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_of_many_that_start_at_once_over_a_dead_lock_one_gets_the_folder(tmp_path):
    held_by(tmp_path, replace(LockHolder.this(), process=dead_process()))
    code = f"""
import pathlib, sys, time
from lsa_audit.writing.locking import locked
sys.stdin.read()
with locked(pathlib.Path({str(tmp_path)!r})):
    print("mine")
    time.sleep(3)
"""
    start = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", code], **start) for _ in range(6)]
    for process in processes:
        process.stdin.close()
    assert sum("mine" in process.stdout.read() for process in processes) == 1
    for process in processes:
        process.wait()
    assert list(tmp_path.iterdir()) == []
