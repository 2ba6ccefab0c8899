"""Where in files a report points to. Paths are relative or bare names: folders of a machine are nobody's business."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PureWindowsPath

from ..records import AuditRecord
from ..records.gating import GateCheck, Gating

# Of files that are given as the model without anything else that tells a file from a name.
WEIGHTS = {".bin", ".ckpt", ".onnx", ".pkl", ".pt", ".pt2", ".pth", ".safetensors", ".th"}


@dataclass(frozen=True)
class Location:
    """A file, relative with forward slashes, and a line of it from 1 on; None: the whole file."""

    file: str
    line: int | None = None


def of_gate(gating: Gating, check: GateCheck) -> Location | None:
    """The line of the gate in the profile; None where the profile is no file."""
    if gating.profile is None or check.line is None or check.line < 1:
        return None
    return _place(gating.profile, check.line)


def of_profile(gating: Gating | None) -> Location | None:
    """The profile file, which is one where its gates have lines."""
    if gating is None or gating.profile is None or all(check.line is None for check in gating.checks):
        return None
    return _place(gating.profile)


def of_model(record: AuditRecord) -> Location | None:
    """The file of the model, of its weights or of its code; None where the model is only a name."""
    subject, checkpoint = record.subject or "", record.settings.get("checkpoint")
    code, colon, _ = subject.rpartition(":")
    is_file = record.settings.get("arch") or PureWindowsPath(subject).suffix.lower() in WEIGHTS
    if subject and (record.model.conversion is not None or is_file):
        return _place(subject)
    if isinstance(checkpoint, str):
        return _place(checkpoint)
    return _place(code) if colon and code.endswith(".py") else None


def _place(path: str, line: int | None = None) -> Location | None:
    # Paths of Windows take both kinds of slashes, whatever machine wrote the record.
    pure = PureWindowsPath(path)
    file = pure.name if pure.anchor or ".." in pure.parts else pure.as_posix()
    return Location(file, line) if pure.name else None
