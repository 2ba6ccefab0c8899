from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lsa_audit.errors import ModelError, UnsafeError
from lsa_audit.models.archives import check, opened, sha256
from lsa_audit.settings.limits import Limits

from ..hostile import archives

Maker = Callable[[Path], Path]


def test_a_file_that_fails_while_it_is_read_is_one_line():
    """No device by its kind, but nothing can be read at its start."""

    def head() -> bytes:
        with opened(Path("/proc/self/mem")) as file:
            return file.read(4)

    with pytest.raises(ModelError, match="/proc/self/mem cannot be read"):
        head()


REFUSED: dict[str, tuple[Maker, str]] = {
    "truncated": (archives.truncated, "truncated or malformed"),
    "comment": (archives.comment, "truncated or malformed"),
    "something before it": (archives.prefixed, "truncated or malformed"),
    "traversal": (archives.named("archive/../../evil"), "leads out"),
    "absolute": (archives.named("/etc/evil"), "leads out"),
    "drive": (archives.named("C:/evil"), "leads out"),
    "backslash": (archives.named("archive\\evil"), "leads out"),
    "empty part": (archives.named("archive//evil"), "leads out"),
    "control character": (archives.named("archive/\x1b[31m"), "leads out"),
    "null character": (archives.named("archive/a\x00b"), "second name"),
    "duplicate": (archives.duplicate, "two members named archive/data.pkl"),
    "duplicate but for case": (archives.same_but_for_case, "two members named archive/DATA.pkl"),
    "suffix in capitals": (archives.named("archive/code/x.PY"), "in spite of its capitals"),
    "folder in capitals": (archives.named("archive/Code/x.py"), "in spite of its capitals"),
    "encrypted": (archives.encrypted, "is encrypted"),
    "symbolic link": (archives.symlink, "archive/link is a symbolic link"),
    "ratio": (archives.ratio_bomb, "unpacks to more than 200 times"),
    "claimed size": (archives.claimed_size(2**31), "unpacks to more than 200 times"),
    "a little more than there is": (archives.claimed_size(1000), "described in two ways"),
    "two descriptions": (archives.second_description, "described in two ways"),
    "overlap": (archives.overlapping, "two members named archive/aaaa"),
    "one inside another": (archives.swallowing, "overlaps what follows it"),
    "many members": (archives.many_members, "more than 100000 members"),
    "more members claimed": (archives.claimed_members, "contradict each other"),
    "far end record": (archives.far_end_record, "contradict each other"),
    "empty": (archives.empty, "has no members"),
    "bzip2": (archives.bzip2, "packed in a way that torch cannot read"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_what_no_honest_writer_makes_is_refused(tmp_path: Path, make: Maker, words: str) -> None:
    with pytest.raises(UnsafeError, match=words) as caught:
        check(make(tmp_path), Limits())
    assert "\n" not in str(caught.value)
    assert "model.pth" in str(caught.value)


def test_members_are_read_as_zipfile_reads_them(tmp_path: Path) -> None:
    members = archives.checkpoint_members() | {"archive/code/x.py": b"def f(): pass\n" * 9, "archive/empty": b""}
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        found = check(archives.write(tmp_path / "x.pt", members, compression), Limits())
        assert found.root == "archive"
        assert found.names == tuple(members)
        assert {f"archive/{name}": found.read(name, 10**6) for name in found.sizes} == members
        assert all(found.sizes[name] == len(members[f"archive/{name}"]) for name in found.sizes)


def test_what_torch_writes_passes(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 3)
    torch.save(network.state_dict(), tmp_path / "x.pt")
    torch.export.save(torch.export.export(network, (torch.zeros(1, 2),)), tmp_path / "x.pt2")
    assert "data.pkl" in check(tmp_path / "x.pt", Limits()).sizes
    assert "models/model.json" in check(tmp_path / "x.pt2", Limits()).sizes


def test_checksums_may_be_missing(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"weight": torch.zeros(2)}, tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    assert check(tmp_path / "x.pt", Limits()).read("data.pkl", 10**6).startswith(b"\x80\x02")


def test_members_outside_of_one_folder_have_no_root(tmp_path: Path) -> None:
    found = check(archives.write(tmp_path / "x.pt", {"version": b"1", "code/x.py": b"2"}), Limits())
    assert found.root == ""
    assert found.read("code/x.py", 1) == b"2"


def test_folders_are_no_members(tmp_path: Path) -> None:
    assert check(archives.write(tmp_path / "x.pt", {"a/": b"", "a/b": b"1"}), Limits()).names == ("a/b",)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(total_bytes=500),
        Limits(member_bytes=30),
        Limits(members=3),
        Limits.model_construct(compression_ratio=0.5),
    ],
    ids=["total", "member", "members", "ratio"],
)
def test_every_limit_counts(tmp_path: Path, limits: Limits) -> None:
    path = archives.honest(tmp_path)
    check(path, Limits())
    with pytest.raises(UnsafeError, match="above the limits"):
        check(path, limits)


def test_a_member_is_read_only_up_to_what_is_asked_for(tmp_path: Path) -> None:
    found = check(archives.honest(tmp_path), Limits())
    with pytest.raises(UnsafeError, match="are allowed"):
        found.read("data.pkl", 3)
    with pytest.raises(UnsafeError, match="lacks the member nothing"):
        found.read("nothing", 3)


def test_packed_data_that_is_longer_than_stated_is_refused(tmp_path: Path) -> None:
    path = archives.write(tmp_path / "model.pth", {"archive/aaaa": b"x" * 100}, zipfile.ZIP_DEFLATED)
    content = path.read_bytes().replace((100).to_bytes(4, "little"), (90).to_bytes(4, "little"))
    path.write_bytes(content)
    with pytest.raises(UnsafeError, match="does not unpack to the stated 90 bytes"):
        check(path, Limits()).read("aaaa", 1000)


def test_sha256(tmp_path: Path) -> None:
    path = archives.honest(tmp_path)
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "is a pipe"),
        (Path("/dev/null"), "is a device"),
        (tmp_path / "gone", "does not exist"),
        (tmp_path / "loop", "cannot be read"),
    ):
        with pytest.raises(ModelError, match=words), opened(path):
            pass
