"""Audits image classifiers layer by layer and neuron by neuron for adversarial robustness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "scan"]

if TYPE_CHECKING:
    from .audit import scan


def __getattr__(name: str) -> Any:
    """`lsa_audit.scan` brings in torch on first use, so that importing the package stays light."""
    if name == "scan":
        from .audit import scan

        return scan
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
