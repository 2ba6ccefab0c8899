"""Ctrl-C and SIGTERM: raised where the work stands, and once more where something on the way swallowed them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends the work as Ctrl-C does, with another exit code."""


@dataclass
class _State:
    """What has been heard in this process; nothing unless `listening`."""

    before: dict[int, Any] = field(default_factory=dict)
    received: type[KeyboardInterrupt] | None = None
    raised: bool = False
    deferring: int = 0


_STATE = _State()


@contextmanager
def listening() -> Iterator[None]:
    """Both signals are heard inside, and what was there before hears them afterwards.

    A signal that is ignored, as by `nohup` or in a shell's background jobs, stays ignored. Outside of the main thread
    nothing changes.
    """
    if _STATE.before or threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        handler = signal.getsignal(number)
        if handler not in (signal.SIG_IGN, None):
            _STATE.before[number] = handler
            signal.signal(number, _hear)
    try:
        yield
    finally:
        for number, handler in _STATE.before.items():
            signal.signal(number, handler)
        _STATE.before.clear()
        _STATE.received, _STATE.raised, _STATE.deferring = None, False, 0


def received() -> type[KeyboardInterrupt] | None:
    """What has been heard: KeyboardInterrupt, Terminated or None."""
    return _STATE.received


def check() -> None:
    """Raise again what was heard and swallowed; a user's code that took a signal for itself loses it.

    Raises:
        KeyboardInterrupt: a signal was heard earlier, and the work goes on all the same.
    """
    if _STATE.before and threading.current_thread() is threading.main_thread():
        for number in _STATE.before:
            if signal.getsignal(number) is not _hear:
                signal.signal(number, _hear)
    if _STATE.received is not None and not _STATE.deferring:
        _STATE.raised = True
        raise _STATE.received


def is_signal(error: BaseException) -> bool:
    """Whether an exception is an interrupt of the user, and not one that foreign code raised by itself."""
    return isinstance(error, KeyboardInterrupt) and (not _STATE.before or _STATE.received is not None)


def mute() -> None:
    """Hear signals without raising them until `listening` ends: the command is over, and its line is being printed."""
    _STATE.deferring += 1


@contextmanager
def deferred() -> Iterator[None]:
    """Signals wait inside, for a few renames that belong together; they are raised on leaving."""
    _STATE.deferring += 1
    try:
        yield
    finally:
        _STATE.deferring -= 1
    if _STATE.received is not None and not _STATE.raised:
        check()


def _hear(number: int, _frame: FrameType | None) -> None:
    _STATE.received = Terminated if number == signal.SIGTERM else KeyboardInterrupt
    if not _STATE.deferring:
        _STATE.raised = True
        raise _STATE.received
