"""Audits image classifiers layer by layer and neuron by neuron for adversarial robustness."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "scan"]

if TYPE_CHECKING:
    from .scanning.audit import scan


def __getattr__(name: str) -> Any:
    """`lsa_audit.scan` brings in torch on first use, so that importing the package stays light."""
    if name == "scan":
        return import_module(".scanning.audit", __name__).scan
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
