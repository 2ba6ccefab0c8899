"""Mutations that change nothing that anybody can see, each with the reason. They are not counted."""

from __future__ import annotations

Key = tuple[str, str, str, str]
"""Path, scope, line before, line after: as `Mutation.key`."""

EQUIVALENT: dict[Key, str] = {}
