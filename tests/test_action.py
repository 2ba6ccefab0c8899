"""The GitHub action: its scripts run, take nothing but the environment, and end as lsa-audit does."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from lsa_audit.attacks import ATTACKS
from lsa_audit.cli import app
from lsa_audit.reporting import FORMATS
from lsa_audit.settings.profile import build, presets

ACTION = Path(__file__).resolve().parent.parent / ".github" / "actions" / "lsa-audit" / "action.yml"
CONTENT: dict[str, Any] = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = CONTENT["runs"]["steps"]
SCRIPTS = {step["name"]: step for step in STEPS if "run" in step}
SCAN = SCRIPTS["Scan"]["run"]
SCAN_INPUTS = [name.lower() for name in SCRIPTS["Scan"]["env"]]

DOCS = (ACTION.parents[3] / "docs" / "ci.md").read_text(encoding="utf-8")
EXAMPLES = {
    name: yaml.safe_load(body)
    for name, body in re.findall(r"^```yaml\n# (\S+)\n(.*?)^```$", DOCS, flags=re.MULTILINE | re.DOTALL)
}

FAKE = """#!/bin/bash
printf '%s\\n' "$@" > "$RECORD"
echo '::error::a hostile name'
for argument in "$@"; do
  case "$argument" in
    --output=github=*) [ -z "$BROKEN" ] && echo '# a summary' > "${argument#--output=github=}" ;;
    --output=github-annotations=*) [ -z "$BROKEN" ] && echo '::error::a gate' > "${argument#*=*=}" ;;
  esac
done
exit "$CODE"
"""


def ended(tmp_path: Path, code: int = 0, broken: bool = False, **inputs: str) -> dict[str, Any]:
    """The Scan step with a program in the place of lsa-audit."""
    program = tmp_path / "lsa-audit" / "bin" / "lsa-audit"
    program.parent.mkdir(parents=True)
    program.write_text(FAKE)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    defaults = {name: str(entry.get("default", "")) for name, entry in CONTENT["inputs"].items()}
    given = {name: (defaults | inputs)[name] for name in SCAN_INPUTS}
    files = {name: str(tmp_path / name) for name in ("RECORD", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    environment = {name.upper(): value for name, value in given.items()} | files
    environment |= {"PATH": os.environ["PATH"], "RUNNER_TEMP": str(tmp_path), "CODE": str(code)}
    environment["BROKEN"] = "1" if broken else ""
    done = subprocess.run(
        ["bash", "-c", SCAN], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    read = {name: Path(path).read_text() if Path(path).is_file() else "" for name, path in files.items()}
    return {"rc": done.returncode, "log": done.stdout, "arguments": read["RECORD"].splitlines(), **read}


def test_every_input_reaches_a_step_and_every_output_comes_from_one():
    text = ACTION.read_text(encoding="utf-8")
    used = set(re.findall(r"inputs\.([a-z-]+)", text))
    assert used == set(CONTENT["inputs"])
    assert set(CONTENT["outputs"]) == {"exit-code", "verdict", "run"}
    assert all(entry["value"] == f"${{{{ steps.scan.outputs.{name} }}}}" for name, entry in CONTENT["outputs"].items())
    assert CONTENT["inputs"]["profile"]["default"] in presets()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_bash_and_holds_no_expression(name):
    script = SCRIPTS[name]["run"]
    assert SCRIPTS[name]["shell"] == "bash"
    assert script.startswith("set -euo pipefail\n")
    assert "${{" not in script
    assert "eval" not in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_every_option_in_the_script_is_one_of_scan():
    named = set(re.findall(r'"?(--[a-z][a-z-]*)(?==|\))', SCAN))
    options = {name for parameter in typer.main.get_command(app).commands["scan"].params for name in parameter.opts}
    assert {"--profile", "--out", "--output", "--data", "--baseline", "--gate"} == named <= options
    assert set(re.findall(r"--output=([a-z-]+)=", SCAN)) == {"github", "github-annotations", "sarif", "junit"}
    assert set(FORMATS) >= {"github", "github-annotations", "sarif", "junit"}


def test_only_what_was_given_is_passed_on(tmp_path):
    run = ended(tmp_path, model="digits-cnn")
    assert run["rc"] == 0
    assert run["arguments"] == [
        "scan",
        "--profile=ci",
        "--out=lsa-audit-run",
        f"--output=github={tmp_path}/lsa-audit-summary.md",
        f"--output=github-annotations={tmp_path}/lsa-audit-annotations.txt",
        "--gate",
        "--",
        "digits-cnn",
    ]


def test_hostile_inputs_stay_arguments(tmp_path):
    run = ended(
        tmp_path,
        model="--allow-code",
        data="$(touch owned)",
        baseline="a b; touch owned",
        args="--samples=5\n\n`touch owned`\n--noise=none",
        sarif="out $HOME.sarif",
        junit="*.xml",
        gate="no",
        run="x\nverdict=passed",
    )
    assert run["arguments"][-9:] == [
        "--data=$(touch owned)",
        "--baseline=a b; touch owned",
        "--output=sarif=out $HOME.sarif",
        "--output=junit=*.xml",
        "--samples=5",
        "`touch owned`",
        "--noise=none",
        "--",
        "--allow-code",
    ]
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(0, "passed"), (1, "failed"), (2, "refused"), (3, "inconclusive"), (4, "unsafe"), (70, "error"), (130, "error")],
)
def test_the_step_ends_as_lsa_audit_does_and_reports_first(tmp_path, code, verdict):
    run = ended(tmp_path, code, model="m")
    assert run["rc"] == code
    assert run["GITHUB_OUTPUT"].startswith(f"exit-code={code}\nverdict={verdict}\n")
    assert run["GITHUB_STEP_SUMMARY"] == "# a summary\n"
    assert run["log"].endswith("\n::error::a gate\n")


def test_the_output_names_the_folder_also_where_it_looks_like_another_output(tmp_path):
    lines = ended(tmp_path, model="m", run="x\nverdict=mine")["GITHUB_OUTPUT"].splitlines()
    token = lines[2].removeprefix("run<<")
    assert len(token) == 32
    assert lines[3:] == ["x", "verdict=mine", token]


def test_what_is_printed_cannot_command_the_runner(tmp_path):
    lines = ended(tmp_path, model="m")["log"].splitlines()
    token = lines[0].removeprefix("::stop-commands::")
    assert len(token) == 32
    assert lines[1:3] == ["::error::a hostile name", f"::{token}::"]


def test_an_end_without_a_report_is_said(tmp_path):
    run = ended(tmp_path, 2, broken=True, model="m")
    said = "lsa-audit ended with exit code 2 (refused) before there was a report"
    assert run["rc"] == 2
    assert f"::error title=lsa-audit::{said}" in run["log"]
    assert said in run["GITHUB_STEP_SUMMARY"]


def test_the_summary_can_be_left_out(tmp_path):
    assert ended(tmp_path, model="m", summary="false")["GITHUB_STEP_SUMMARY"] == ""


def test_the_examples_of_the_docs_use_only_what_the_action_has():
    workflows = [content for name, content in EXAMPLES.items() if name.startswith(".github/")]
    steps = [step for content in workflows for job in content["jobs"].values() for step in job["steps"]]
    ours = [step for step in steps if "/lsa-audit@" in step.get("uses", "")]
    assert len(ours) == 2
    for step in ours:
        assert set(step["with"]) <= set(CONTENT["inputs"])
        assert "model" in step["with"]
    for step in steps:
        assert "${{" not in step.get("run", "")
        subprocess.run(["bash", "-n"], input=step.get("run", ""), text=True, check=True)
    assert set(re.findall(r"steps\.gate\.outputs\.([a-z-]+)", DOCS)) <= set(CONTENT["outputs"])


def test_the_table_of_the_docs_has_every_input():
    table = DOCS.partition("| input |")[2].partition("\n\n")[0]
    rows = [cell for line in table.splitlines() if line.startswith("| `") for cell in [line.split("|")[1]]]
    assert set(re.findall(r"`([a-z-]+)`", " ".join(rows))) == set(CONTENT["inputs"])


def test_the_profile_of_the_docs_is_one():
    profile = build({"docs": EXAMPLES["robustness/profile.yaml"]}, ATTACKS, ATTACKS)
    assert profile.gates is not None
    assert len(profile.gates) == 6
    assert [waiver.gate for waiver in profile.waivers] == ["robust_accuracy@linf-2/255:max_drop"]


def test_every_option_in_the_docs_exists():
    group = typer.main.get_command(app)
    commands = [*group.commands.values(), *group.commands["baseline"].commands.values()]
    options = {name for command in commands for parameter in command.params for name in parameter.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", DOCS))
    assert {"--gate", "--baseline", "--output", "--accept", "--to", "--waivers"} <= named <= options
    assert set(re.findall(r"lsa-audit (scan|gate|diff|list|explain|schema|baseline)\b", DOCS)) <= set(group.commands)
