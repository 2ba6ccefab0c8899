"""Baseline files that come from strangers: what is read, what is refused, and that what is written is read again."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lsa_audit.errors import AuditError, DataError, OutputError, UnsafeError, UsageError
from lsa_audit.gating.baselines import is_baseline, of_run, read_baseline, read_side, write_baseline
from lsa_audit.gating.snapshot import flags, values
from lsa_audit.records.snapshot import Acceptance, Baseline

from ..reporting.builders import build

FIRST = (Acceptance(day="2026-01-02", run="run", reason="first"),)


@pytest.fixture
def run(tmp_path) -> Path:
    """A run of 200 images."""
    record = build()
    images, random = record.clean.total, np.random.default_rng(0)
    labels = np.arange(images) % 10
    evidence = {
        "labels": labels,
        "clean_predictions": np.where(np.arange(images) < record.clean.count, labels, -1),
        "image_digests": random.integers(0, 256, (images, 8), dtype=np.uint8),
    }
    evidence |= {
        f"right/{entry.perturbation.id}": np.arange(images) < entry.robust_accuracy.count for entry in record.attacks
    }
    evidence |= {
        f"measure/{entry.perturbation}": random.random((len(entry.layers), images), dtype=np.float32)
        for entry in record.sustainability
    }
    (tmp_path / "run").mkdir()
    (tmp_path / "run/record.json").write_text(record.model_dump_json())
    np.savez(tmp_path / "run/evidence.npz", **evidence)
    return tmp_path / "run"


@pytest.fixture
def content(run) -> dict:
    """A baseline as plain data, for a test to spoil."""
    return json.loads(Baseline(snapshot=read_side(run, nothing), history=FIRST).model_dump_json())


def nothing(_record):
    return ()


def everything(record):
    return [entry.perturbation for entry in record.sustainability]


def test_a_baseline_is_the_run_that_was_written(run, tmp_path):
    snapshot = read_side(run, everything)
    assert (snapshot.name, snapshot.clean.count, int(flags(snapshot.clean).sum())) == ("run", 200, 183)
    assert all(values(entry, 200).shape == (len(entry.layers), 200) for entry in snapshot.measured)
    path, size = write_baseline(tmp_path / "new/base", Baseline(snapshot=snapshot, history=FIRST))
    assert path == tmp_path / "new/base/baseline.json"
    assert size == path.stat().st_size
    copy = shutil.copy(path, tmp_path / "resnet.json")
    for named in (path, path.parent, copy):
        assert read_side(named, nothing) == snapshot
        assert read_baseline(named).history == FIRST


def test_a_run_is_known_by_its_record_and_named_after_its_folder(run, monkeypatch):
    monkeypatch.chdir(run)
    for path in (run, run / "record.json", Path(), Path("record.json")):
        assert not is_baseline(path)
        assert read_side(path, nothing).name == "run"


def test_single_images_are_kept_only_where_they_are_needed(run):
    few, many = (read_side(run, measures) for measures in (nothing, everything))
    assert {entry.values for entry in few.measured} == {None}
    assert None not in {entry.values for entry in many.measured}


def spoilt(content: dict, *place: str, value: object) -> bytes:
    at = content
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    return json.dumps(content).encode()


MALFORMED = {
    "nothing": lambda _: b"",
    "cut": lambda content: json.dumps(content).encode()[:-40],
    "a list": lambda _: b"[]",
    "nested": lambda _: b"[" * 100_000,
    "no text": lambda _: b"\xff\xfe\x00",
    "a record": lambda _: build().model_dump_json().encode(),
    "no snapshot": lambda content: spoilt(content, "snapshot", value=3),
    "version as text": lambda content: spoilt(content, "baseline_version", value="1"),
    "true as a version": lambda content: spoilt(content, "baseline_version", value=True),
    "text for a number": lambda content: spoilt(content, "snapshot", "seed", value="7"),
    "an unknown key": lambda content: spoilt(content, "snapshot", "code", value="import os"),
    "no images": lambda content: spoilt(content, "snapshot", "clean", value={"count": 0, "bits": ""}),
    "negative images": lambda content: spoilt(content, "snapshot", "clean", "count", value=-1),
    "other verdicts": lambda content: spoilt(content, "snapshot", "clean", "count", value=10**12),
    "a large seed": lambda content: spoilt(content, "snapshot", "seed", value=2**70),
    "a deep key": lambda content: spoilt(content, "snapshot", "x" * 10**6, value=1),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_baseline_is_refused_in_one_line(case, content, tmp_path):
    (tmp_path / "baseline.json").write_bytes(MALFORMED[case](content))
    with pytest.raises(DataError) as raised:
        read_side(tmp_path, nothing)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("place", [("baseline_version",), ("snapshot", "snapshot_version")])
def test_another_version_is_refused(place, content, tmp_path):
    (tmp_path / "baseline.json").write_bytes(spoilt(content, *place, value=99))
    with pytest.raises(UsageError, match=r"99.*write it again from a run"):
        read_baseline(tmp_path)


def test_a_large_baseline_is_neither_read_nor_written(content, run, tmp_path, monkeypatch):
    (tmp_path / "baseline.json").write_text(json.dumps(content))
    monkeypatch.setattr("lsa_audit.gating.baselines.BASELINE_BYTES", 1000)
    with pytest.raises(UnsafeError, match="larger than 1000 bytes"):
        read_baseline(tmp_path)
    with pytest.raises(OutputError, match="more than 1,000"):
        write_baseline(tmp_path / "new", Baseline(snapshot=read_side(run, nothing), history=FIRST))
    assert not (tmp_path / "new").exists()


def test_what_is_no_baseline_is_named(run, tmp_path):
    with pytest.raises(UsageError, match=r"no baseline .*run/baseline\.json"):
        read_baseline(run)
    with pytest.raises(UsageError, match="is no run"):
        read_side(tmp_path / "nowhere", nothing)
    os.mkfifo(tmp_path / "baseline.json")
    for read in (read_baseline, lambda path: read_side(path, nothing)):
        with pytest.raises(UsageError):
            read(tmp_path)
        with pytest.raises(DataError, match="cannot be read"):
            read(tmp_path / ("x" * 5000))


def test_evidence_that_is_not_the_runs_is_refused(run):
    record = build()
    with pytest.raises(AuditError, match="holds no"):
        of_run(run, record, {}, nothing)


def test_a_folder_that_cannot_be_made_is_one_line(run, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="--to"):
        write_baseline(tmp_path / "file/below", Baseline(snapshot=read_side(run, nothing), history=FIRST))


def test_a_baseline_has_the_rights_of_any_file(content, run, tmp_path):
    path, _ = write_baseline(tmp_path / "base", Baseline(snapshot=read_side(run, nothing), history=FIRST))
    (tmp_path / "plain").write_text("x")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.slow
def test_importing_leaves_torch_out():
    code = "import sys, lsa_audit.gating.baselines; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
