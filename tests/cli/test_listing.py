"""`lsa-audit list`."""

from __future__ import annotations

import json
import re
from typing import get_args

import pytest

from lsa_audit.__main__ import main
from lsa_audit.attacks import ATTACKS
from lsa_audit.cli.topics import LAYERS, TOPICS, rows
from lsa_audit.data import LOADERS
from lsa_audit.findings import HEALTH_RULES, RULES
from lsa_audit.records import LayerKind
from lsa_audit.reporting import FORMATS
from lsa_audit.settings.gates import GATES, PRESETS
from lsa_audit.settings.profile import Measure, presets


def names(topic: str) -> list[str]:
    return [row["name"] for row in rows(topic)]


def test_each_topic_lists_its_whole_catalogue():
    assert {topic: names(topic) for topic in TOPICS} == {
        "attacks": list(ATTACKS),
        "data": [name if loader.named else "-" for name, loader in LOADERS.items()],
        "profiles": list(presets()),
        "layers": list(LAYERS),
        "measures": list(get_args(Measure)),
        "findings": list(RULES),
        "gates": list(GATES),
        "presets": list(PRESETS),
        "formats": list(FORMATS),
    }


def test_layers_are_the_kinds_of_the_record_and_two_words():
    assert list(LAYERS) == [*get_args(LayerKind), "all", "none"]


def test_findings_tell_whether_they_are_about_the_attacks():
    about_attacks = [row["name"] for row in rows("findings") if row["group"] == "attack-health"]
    assert about_attacks == list(HEALTH_RULES)


def test_gates_tell_what_they_may_limit():
    (mvl,) = (row for row in rows("gates") if row["name"] == "mvl")
    assert (mvl["limits"], mvl["target"]) == ("no_new, max", "a layer")


@pytest.mark.parametrize("topic", TOPICS)
def test_a_table_and_json_hold_the_same(topic, capsys):
    assert main(["list", topic]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert main(["list", topic, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert header.split() == list(listed[0])
    assert len(lines) == len(listed)
    for line, row in zip(lines, listed, strict=True):
        assert all(value and value in line for value in row.values())


def test_without_a_topic_the_topics_are_listed(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["topic", *TOPICS]
    assert main(["list", "--json"]) == 0
    assert [row["topic"] for row in json.loads(capsys.readouterr().out)] == list(TOPICS)


def test_an_unknown_topic_names_those_that_there_are(capsys):
    assert main(["list", "atacks"]) == 2
    assert "there is attacks, data, profiles" in capsys.readouterr().err


def test_a_terminal_wraps_long_cells_within_its_column(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    assert main(["list", "gates"]) == 0
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 80
    assert len(lines) > len(GATES) + 1
    assert lines[0].split() == ["name", "limits", "what", "target"]
