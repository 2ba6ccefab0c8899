"""The standard streams as a shell gives them: closed, full, gone, or of an encoding that lacks letters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lsa_audit.__main__ import main
from lsa_audit.cli import streams

COMMAND = f"{sys.executable} -m lsa_audit"


def shell(command: str, **environment: str) -> tuple[int, str, str]:
    """Exit code of the first command of a pipe, stdout, stderr."""
    text = command.replace("lsa-audit", COMMAND)
    found = subprocess.run(
        ["bash", "-c", f"{text}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )
    return found.returncode, found.stdout.decode("latin-1"), found.stderr.decode("latin-1")


def one_line(error: str, part: str) -> bool:
    return len(error.splitlines()) == 1 and error.startswith("lsa-audit: error: ") and part in error


# One light command by default: each process costs as much as many other tests.
SLOW = pytest.mark.slow
PRINTING = [
    "list attacks",
    pytest.param("--help", marks=SLOW),
    pytest.param("--version", marks=SLOW),
    pytest.param("list attacks --json", marks=SLOW),
    pytest.param("schema", marks=SLOW),
    pytest.param("explain", marks=SLOW),
    pytest.param("explain pgd", marks=SLOW),
    pytest.param("doctor", marks=SLOW),
]


@pytest.mark.parametrize("command", PRINTING)
def test_a_reader_that_goes_away_is_141_and_no_message(command):
    _, _, error = shell(f"(sleep 0.3; lsa-audit {command}; echo $? >&2) | true")
    assert error.split() == ["141"]


@pytest.mark.parametrize("command", PRINTING)
def test_a_full_or_closed_standard_output_is_one_line_and_2(command):
    code, _, error = shell(f"lsa-audit {command} >/dev/full")
    assert (code, one_line(error, "cannot use the standard output: No space left")) == (2, True)
    code, _, error = shell(f"lsa-audit {command} >&-")
    assert (code, one_line(error, "cannot use the standard output")) == (2, True)


def test_a_closed_or_full_standard_error_leaves_exit_code_and_output_alone():
    assert shell("lsa-audit list nothing <&- >&- 2>&-") == (2, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_a_standard_error_that_takes_nothing_leaves_exit_code_and_output_alone(stderr):
    assert shell(f"lsa-audit report nowhere {stderr}") == (2, "", "")
    assert shell(f"lsa-audit list data {stderr}")[0] == 0


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("latin-1", marks=SLOW), pytest.param("cp1252", marks=SLOW)])
def test_letters_that_the_encoding_lacks_are_replaced(encoding):
    code, _, error = shell("lsa-audit report 'no\u2192where \u2265 \u6f22'", PYTHONIOENCODING=encoding)
    assert (code, one_line(error, "no->where >= \\u6f22 is no run")) == (2, True)


def test_what_stands_for_a_letter_is_ascii():
    streams.prepare()
    assert all(text.isascii() for text in streams.STAND_INS.values())
    assert "80\u201390\u2026 \U0001f600\udcff".encode("ascii", streams.DEGRADED) == b"80-90... \\U0001f600\\udcff"


def test_long_words_are_cut_and_no_system_error_is_a_bug(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    long = "x" * 5000
    for command in (
        ["report", long],
        ["gate", long],
        ["gate", "run", "--profile", long],
        ["init", long],
        ["schema", "--out", long],
        ["baseline", "update", long, "--to", long],
        ["baseline", "show", long],
        ["diff", long, long],
        ["explain", long],
        ["list", long],
        ["schema", long],
        [long],
    ):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert one_line(error, "lsa-audit: error: ")
        assert len(error) < 1500


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), MemoryError(), PermissionError(13, "no", "f")]
)
def test_what_the_system_refuses_is_2(capsys, monkeypatch, error):
    def refused(*_arguments, **_named):
        raise error

    monkeypatch.setattr("lsa_audit.cli.scan.run", refused)
    assert main(["demo"]) == 2
    assert one_line(capsys.readouterr().err, "")


SCAN = "scan digits-cnn --data digits --samples 40 --attack pgd --steps 100000 --noise none --threads 1 --out run"


def begun(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "lsa_audit", *SCAN.split()], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    assert "clean accuracy" in process.stderr.readline()
    return process


@pytest.mark.slow
def test_sigterm_is_143_and_leaves_nothing_and_a_killed_run_blocks_nothing(tmp_path):
    process = begun(tmp_path)
    second = subprocess.run(
        [sys.executable, "-m", "lsa_audit", *SCAN.split()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert second.returncode == 2
    assert one_line(second.stderr, f"run is in use by process {process.pid} on")
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=60)
    assert (process.returncode, rest) == (143, "lsa-audit: error: terminated; no report was written\n")
    assert list(tmp_path.iterdir()) == []
    process = begun(tmp_path)
    process.kill()
    process.communicate(timeout=60)
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == [".lsa-audit.lock"]
    again = SCAN.replace("pgd --steps 100000", "fgsm").split()
    assert subprocess.run([sys.executable, "-m", "lsa_audit", *again], cwd=tmp_path, check=False).returncode == 0
    assert sorted(entry.name for entry in (tmp_path / "run").iterdir()) == [
        "evidence.npz",
        "record.json",
        "report.html",
        "report.md",
    ]


@pytest.mark.slow
def test_ctrl_c_that_the_models_code_swallows_ends_the_scan_all_the_same(tmp_path):
    (tmp_path / "net.py").write_text(
        "import signal, time\nfrom torch import nn\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "def build():\n    open('built', 'w').close()\n    try:\n        time.sleep(60)\n"
        "    except BaseException:\n        pass\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    command = [sys.executable, "-m", "lsa_audit", "scan", "net.py:build", "--data", "digits", "--out", "run"]
    heard = "import signal, os, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", heard, *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "built").exists():
        time.sleep(0.1)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, one_line(error, "interrupted")) == (130, True)
    assert not (tmp_path / "run").exists()
