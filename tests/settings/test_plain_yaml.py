"""Where the keys of a section stand, in files of anybody's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lsa_audit.settings.plain_yaml import MAX_BYTES, PlainYamlError, key_lines, read_mapping

LINES = {
    "block": ("# about\nsamples: 3\ngates:\n  a: 1\n\n  'b@c*': [error, {max: 0}]\n", {"a": 4, "b@c*": 6}),
    "flow": ("gates: {a: 1,\n  b: 2}\n", {"a": 1, "b": 2}),
    "inside another": ("other:\n  gates:\n    a: 1\n", {}),
    "no mapping inside": ("gates: [a, b]\n", {}),
    "no mapping": ("- gates\n", {}),
    "empty": ("", {}),
    "keys that are no text": ("gates:\n  1: x\n  [a]: y\n", {"1": 2}),
}


@pytest.mark.parametrize("case", LINES)
def test_keys_have_lines(case, tmp_path):
    content, expected = LINES[case]
    (tmp_path / "x.yaml").write_text(content)
    found = key_lines(tmp_path / "x.yaml", "gates")
    assert {key: line for key, line in found.items() if key in expected} == expected


@pytest.mark.slow_for("content4")
@pytest.mark.parametrize(
    "content", ["gates: &a {b: 1}\nc: *a\n", "gates: {", "\x00", "x" * (MAX_BYTES + 1), "[" * 9000]
)
def test_what_is_no_plain_yaml_is_refused(content, tmp_path):
    (tmp_path / "x.yaml").write_text(content)
    with pytest.raises(PlainYamlError):
        key_lines(tmp_path / "x.yaml", "gates")
    with pytest.raises(PlainYamlError):
        key_lines(tmp_path / "none.yaml", "gates")


@pytest.mark.slow_for("[[[[[[[[[[[[")
@pytest.mark.parametrize(
    "value", ["2026-02-30", "!!bool x", "!!timestamp x", "9" * 5_000, "[" * 3_000], ids=lambda value: value[:12]
)
def test_values_that_no_constructor_takes_are_refused(tmp_path, value):
    path = tmp_path / "profile.yaml"
    path.write_text(f"day: {value}\n")
    with pytest.raises(PlainYamlError, match="cannot be read"):
        read_mapping(path)


def test_a_pipe_is_not_waited_for_and_a_device_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(PlainYamlError, match="a folder, a pipe or a device"):
            read_mapping(path)
