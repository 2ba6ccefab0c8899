"""Ctrl-C and SIGTERM: raised at once, after a few renames, or again where they were swallowed."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest

from lsa_audit.__main__ import main
from lsa_audit.progress import Silent, interrupts
from lsa_audit.progress.interrupts import Terminated

KINDS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]


@pytest.fixture(autouse=True)
def _python_hears_ctrl_c():
    """A shell's background job starts with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "error"), KINDS)
def test_a_signal_is_raised_and_the_handlers_are_as_before(number, error):
    before = signal.getsignal(number)
    with pytest.raises(error), interrupts.listening():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before
    assert interrupts.received() is None


@pytest.mark.parametrize(("number", "error"), KINDS)
def test_what_was_swallowed_is_raised_again_by_the_next_progress(number, error):
    with interrupts.listening():
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        with pytest.raises(error):
            Silent().advance(1)


def test_a_signal_waits_for_renames_that_belong_together():
    done = []

    def renames() -> None:
        with interrupts.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("both")
        done.append("no more")

    with interrupts.listening(), pytest.raises(Terminated):
        renames()
    assert done == ["both"]


def test_a_handler_of_foreign_code_is_taken_back():
    with interrupts.listening():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        interrupts.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts.listening():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_without_listening_nothing_is_known_and_every_interrupt_is_the_users():
    interrupts.check()
    assert interrupts.is_signal(KeyboardInterrupt())
    assert not interrupts.is_signal(SystemExit())
    with interrupts.listening():
        assert not interrupts.is_signal(KeyboardInterrupt())


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
@pytest.mark.parametrize("swallowed", [False, True])
def test_the_exit_code_of_a_command_that_a_signal_ends(capsys, monkeypatch, number, code, word, swallowed):
    def kill(*_arguments, **_named):
        with suppress(KeyboardInterrupt if swallowed else ZeroDivisionError):
            os.kill(os.getpid(), number)
        return 0

    monkeypatch.setattr("lsa_audit.cli.scan.run", kill)
    assert main(["demo"]) == code
    assert capsys.readouterr().err == f"lsa-audit: error: {word}; no report was written\n"


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit(1), GeneratorExit, type("Own", (BaseException,), {})])
def test_what_foreign_code_raises_never_chooses_the_exit_code(capsys, monkeypatch, error):
    def foreign(*_arguments, **_named):
        raise error

    monkeypatch.setattr("lsa_audit.cli.scan.run", foreign)
    assert main(["demo"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lsa-audit: error: the code of the model raised ")
