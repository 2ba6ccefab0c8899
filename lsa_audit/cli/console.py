"""The terminal of a command: results on stdout, progress and messages on stderr."""

from __future__ import annotations

from ..progress import Console, TerminalProgress

__all__ = ["Console", "TerminalProgress"]
