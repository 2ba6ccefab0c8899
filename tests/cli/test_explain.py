"""`lsa-audit explain`: every id of every catalogue has a page, and a page is found by what a report writes."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import get_args

import pytest

from lsa_audit.attacks import ATTACKS
from lsa_audit.cli import explain
from lsa_audit.errors import UsageError
from lsa_audit.explanations import PAGES, TOPICS, page, title
from lsa_audit.findings import RULES
from lsa_audit.settings.gates import GATES, PRESETS
from lsa_audit.settings.profile import Measure

CATALOGUE = explain.catalogue()
ENTRIES = [(topic, name) for topic, names in CATALOGUE.items() for name in names]
WITH_SOURCES = ("findings", "attacks")


def test_the_catalogue_is_everything_that_a_report_may_name():
    assert tuple(CATALOGUE) == TOPICS
    assert {
        "findings": tuple(RULES),
        "gates": tuple(GATES),
        "presets": tuple(PRESETS),
        "attacks": tuple(ATTACKS),
        "measures": get_args(Measure),
    } == CATALOGUE
    names = [name for _, name in ENTRIES]
    assert len(set(names)) == len(names) > 50


def test_every_page_is_of_an_entry_and_every_entry_has_one():
    pages = {path.relative_to(PAGES).as_posix() for path in PAGES.rglob("*.md")}
    assert pages == {f"{topic}/{name}.md" for topic, name in ENTRIES}


@pytest.mark.parametrize(("topic", "name"), ENTRIES)
def test_a_page_says_what_a_reader_needs(topic, name):
    text = page(topic, name)
    assert text.startswith(f"# {name}: {title(topic, name)}\n")
    assert 6 <= len(text.splitlines()) <= 25
    assert max(len(line) for line in text.splitlines()) <= 145
    headings = re.findall(r"^\*\*([^*]+)\.\*\* \S", text, flags=re.MULTILINE)
    parts = [part for part in headings if part not in ("Sources", "Level and threshold")]
    assert parts == ["What it means", "How it is computed", "What to do"]
    assert headings.count("Sources") == 1 or topic not in WITH_SOURCES
    assert text.count("**") == 2 * len(headings)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_page_of_an_attack_has_its_source_and_its_steps(name):
    text, entry = page("attacks", name), ATTACKS[name]
    assert entry.citation in " ".join(text.split())
    if entry.iterative:
        assert f"{entry.steps:,}" in text


@pytest.mark.parametrize("name", GATES)
def test_a_page_of_a_gate_tells_its_limits_and_no_others(name):
    named = set(re.findall(r"`(min|max|max_drop|max_rise|no_new)(?:: \d+)?`", page("gates", name)))
    assert named == set(GATES[name].limits)


@pytest.mark.parametrize("name", PRESETS)
def test_a_page_of_a_preset_names_its_gates(name):
    gates = set(re.findall(r"`([a-z_]+)`", page("presets", name))) & set(GATES)
    assert gates == (set(PRESETS[name]) if name != "warn" else set())


@pytest.mark.parametrize(("topic", "name"), ENTRIES)
def test_pages_refer_only_to_what_exists(topic, name):
    known = {entry for _, entry in ENTRIES}
    words = {"exp", "training", "dim", "forward", "steps", "restarts", "default", "ci", "eta", "alpha", "budget"}
    limits = {"min", "max", "max_drop", "max_rise", "no_new"}
    # With a target, a value or an option behind it a word is no id.
    named = set(re.findall(r"`([a-z_]+(?:-[a-z0-9]+)*)`", page(topic, name)))
    assert named <= known | words | limits


def test_a_page_goes_to_stdout_as_it_is(capsys):
    assert explain.command("zero-gradients") == 0
    assert capsys.readouterr().out == page("findings", "zero-gradients")


def test_a_terminal_gets_it_rendered(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert explain.command("zero-gradients") == 0
    shown = capsys.readouterr().out
    assert "\x1b[1m" in shown
    assert "**What to do.**" not in shown
    assert "What to do." in shown


@pytest.mark.parametrize(
    ("written", "topic", "name"),
    [
        ("robust_accuracy@linf-8/255:max_drop", "gates", "robust_accuracy"),
        ("relative_error@layer4.0.conv1:max_rise", "gates", "relative_error"),
        ("gate/mvl", "gates", "mvl"),
        ("skipped:max", "gates", "skipped"),
        ("relative_error", "gates", "relative_error"),
        ("relative-error", "measures", "relative-error"),
        ("pgd@linf-8/255", "attacks", "pgd"),
        ("layer-pgd[fc]@linf-8/255", "attacks", "layer-pgd"),
        ("layer-pgd[a:b@c]", "attacks", "layer-pgd"),
        (" speckle ", "attacks", "speckle"),
        ("strict", "presets", "strict"),
        ("clean-accuracy", "findings", "clean-accuracy"),
    ],
)
def test_an_id_may_be_written_as_in_a_report(written, topic, name, capsys):
    assert explain.command(written) == 0
    assert capsys.readouterr().out == page(topic, name)


def test_without_an_id_all_are_listed_with_what_they_are_about(capsys):
    assert explain.command() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [f"{topic}:" for topic in TOPICS]
    assert [line.split()[0] for line in lines if line.startswith(" ")] == [name for _, name in ENTRIES]
    assert any(line.endswith("  robust verdicts without one usable gradient") for line in lines)


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [("zero-gradient", "zero-gradients"), ("robust_acuracy@linf-0.1", "robust_accuracy"), ("pdg", "pgd"), ("", None)],
)
def test_an_unknown_id_names_the_nearest(wrong, nearest):
    with pytest.raises(UsageError, match="did you mean") as raised:
        explain.command(wrong)
    assert nearest is None or f"did you mean {nearest}?" in raised.value.hint


@pytest.mark.parametrize("hostile", ["../../../README", "/etc/passwd", "findings/labels", "labels.md", "labels\x00"])
def test_an_id_is_no_path(hostile):
    with pytest.raises(UsageError):
        explain.command(hostile)


@pytest.mark.slow
def test_torch_is_not_imported():
    code = "import sys; from lsa_audit.cli import explain\n"
    code += "for name in ('labels', 'pgd', 'strict', 'linf', 'mvl', None): explain.command(name)\n"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
