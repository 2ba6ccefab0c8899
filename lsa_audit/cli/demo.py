"""`lsa-audit demo`: a full audit that needs no model, no data and no network."""

from __future__ import annotations

from . import scan


def command(out: scan.Out = None) -> int:
    """Scan the built-in digits-cnn on the built-in digits and write the report."""
    return scan.run("digits-cnn", "demo", {}, out=out)
