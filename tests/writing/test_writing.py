"""Files appear whole or not at all; pipes, devices and links are written to."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from lsa_audit import writing
from lsa_audit.errors import OutputError
from lsa_audit.writing import descriptor_of, write_whole


def test_a_file_is_replaced_whole_and_has_ordinary_rights(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, b"one")
    write_whole(path, b"two")
    (tmp_path / "plain").write_text("x")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.txt", "plain"]


def test_a_file_keeps_its_rights(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("secret")
    path.chmod(0o600)
    write_whole(path, b"two")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"two", 0o600)


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


def test_an_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a.txt", b"one")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_target_is_written_whole(tmp_path, there):
    target, link = tmp_path / "target", tmp_path / "link"
    if there:
        target.write_text("before")
    link.symlink_to("target")
    before = target.stat().st_ino if there else None
    write_whole(link, b"new")
    assert (link.readlink(), target.read_bytes()) == (Path("target"), b"new")
    assert target.stat().st_ino != before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link", "target"]


def test_a_named_pipe_is_written_to(tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        found = []
        reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))  # noqa: B023
        reader.start()
        write_whole(path, b"x" * 200_000)
        reader.join()
        assert found == [b"x" * 200_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert link.is_symlink()


def test_a_pipe_that_nobody_reads_is_not_waited_for_without_end(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(writing, "PATIENCE_S", 0.1)
    with pytest.raises(OutputError, match="nobody reads this pipe"):
        write_whole(tmp_path / "pipe", b"x")


def test_a_reader_that_goes_away_is_a_broken_pipe(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(BrokenPipeError):
            write_whole(Path(f"/proc/self/fd/{writer}"), b"x")
    finally:
        os.close(writer)


def test_an_open_stream_goes_on_where_it_is(tmp_path):
    """What a shell does with `(echo head; lsa-audit report RUN --out /dev/stdout; echo tail) > FILE`."""
    link = tmp_path / "link"
    with (tmp_path / "file").open("wb", buffering=0) as stream:
        link.symlink_to(f"/proc/self/fd/{stream.fileno()}")
        for path in (Path(f"/dev/fd/{stream.fileno()}"), link):
            stream.write(b"head ")
            assert descriptor_of(path) == stream.fileno()
            write_whole(path, b"report ")
            stream.write(b"tail ")
        assert (tmp_path / "file").read_bytes() == b"head report tail " * 2
        assert os.fstat(stream.fileno()).st_ino == (tmp_path / "file").stat().st_ino
    assert descriptor_of(tmp_path / "file") is None
    assert descriptor_of(tmp_path / "7") is None


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    main, other = os.openpty()
    link = tmp_path / "terminal"
    link.symlink_to(os.ttyname(other))
    try:
        write_whole(link, b"seen")
        assert os.read(main, 99) == b"seen"
    finally:
        os.close(main)
        os.close(other)
    assert link.is_symlink()


def test_a_full_device_is_one_line(tmp_path):
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left on device"):
        write_whole(tmp_path / "full", b"x")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda path: path.mkdir(), "it is a folder"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.symlink_to("gone/away"), "No such file or directory"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_stays(tmp_path, make, part):
    path = tmp_path / "out"
    make(path)
    with pytest.raises(OutputError, match=part):
        write_whole(path, b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["x" * 5000, "no/folder", "a\0b"])
def test_names_that_no_file_can_have_are_one_line(tmp_path, name):
    with pytest.raises(OutputError, match="cannot write"):
        write_whole(tmp_path / name, b"x")
    assert list(tmp_path.iterdir()) == []
