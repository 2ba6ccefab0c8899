"""The README against the program: options, commands, exit codes, attacks and profiles that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from lsa_audit.cli import app
from lsa_audit.errors import ExitCode

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def options() -> set[str]:
    group = typer.main.get_command(app)
    nested = [inner for command in group.commands.values() for inner in getattr(command, "commands", {}).values()]
    commands = [group, *group.commands.values(), *nested]
    return {name for command in commands for parameter in command.params for name in parameter.opts}


def test_every_option_in_the_readme_exists():
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert len(named) > 10
    assert named <= options()


def test_every_command_in_the_readme_exists():
    named = set(re.findall(r"lsa-audit (scan|layers|demo|init|list|doctor|[a-z]+)\b", README))
    commands = set(typer.main.get_command(app).commands)
    assert {"scan", "layers", "init", "list"} <= named <= commands


def test_exit_codes_of_the_readme_are_those_of_the_program():
    table = README.partition("## Exit codes")[2]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)}
    assert listed == {int(code) for code in ExitCode}


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_are_in_the_makefile(target):
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_every_linked_file_exists():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert all((ROOT / link).is_file() for link in links)
