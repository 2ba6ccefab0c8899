"""YAML from strangers as plain data: no objects, no aliases, no repeated keys, no large files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 1 << 20


class PlainYamlError(ValueError):
    """The file is not a plain mapping; the text says why."""


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping with text keys that the file holds; an empty file is an empty mapping.

    Raises:
        PlainYamlError: unreadable, larger than 1 MiB, not YAML, not a mapping, or with aliases or repeated keys.
    """
    values = _read(path, _constructed)
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise PlainYamlError("it is not a mapping of settings")
    return values


def key_lines(path: Path, section: str) -> dict[str, int]:
    """The line, from 1, of each key of the mapping that a top-level key holds; nothing where it holds no mapping.

    Raises:
        PlainYamlError: unreadable, larger than 1 MiB, not YAML, or with aliases.
    """
    top = _read(path, _composed)
    if not isinstance(top, yaml.MappingNode):
        return {}
    return {
        str(key.value): key.start_mark.line + 1
        for name, inner in top.value
        if name.value == section and isinstance(inner, yaml.MappingNode)
        for key, _ in inner.value
    }


def _read(path: Path, load: Callable[[str], Any]) -> Any:
    try:
        # Opening a pipe would wait for whoever writes to it.
        if path.exists() and not path.is_file():
            raise PlainYamlError("it is a folder, a pipe or a device, and no file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise PlainYamlError(f"it is larger than {MAX_BYTES} bytes")
        return load(content.decode("utf-8"))
    except PlainYamlError:
        raise
    except Exception as error:  # noqa: BLE001 - see below
        # PyYAML lets through what its constructors raise on 2026-02-30, on !!bool x, or on a number of 5,000 digits.
        raise PlainYamlError(f"it cannot be read: {error}") from None


def _constructed(content: str) -> Any:
    return yaml.load(content, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader, see below


def _composed(content: str) -> yaml.Node | None:
    return yaml.compose(content, Loader=_PlainLoader)


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without aliases (a few can stand for gigabytes) and without repeated keys (the first would be lost)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        counts = Counter((type(key), str(key)) for key in keys)
        repeated = {key for (_, key), count in counts.items() if count > 1}
        if repeated:
            raise yaml.YAMLError(f"repeated key {', '.join(sorted(repeated))}")
        return super().construct_mapping(node, deep)
