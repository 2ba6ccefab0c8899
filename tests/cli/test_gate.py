"""`lsa-audit gate` and `scan --gate` as a shell sees them: a story on a built-in network, then each rule by itself."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

from lsa_audit.__main__ import main
from lsa_audit.cli.output import RunFolder
from lsa_audit.cli.question import of_run
from lsa_audit.errors import ProfileError, UsageError
from lsa_audit.progress import Silent
from lsa_audit.records.gating import Gating
from lsa_audit.runs.reading import read_gating, read_run
from lsa_audit.scanning.audit import audit, make_profile
from lsa_audit.settings.gates import preset

IMAGES = ["--data", "digits", "--slice", "0:200"]
QUICK = ["--attack", "fgsm", "--noise", "none", "--threads", "1", "--layers", "none", "--neurons", "none"]
BALL = ["--epsilon", "0.05"]
PLAIN = [*QUICK, "--probe", "none"]
SETTINGS = {
    "data": "digits",
    "slice": "0:200",
    "samples": None,
    "epsilon": [0.05],
    "attacks": ["fgsm"],
    "noises": [],
    "layers": "none",
    "neurons": "none",
    "probes": [],
    "threads": 1,
}


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> Path:
    """A run that nobody changes."""
    result = audit("digits-cnn", make_profile({"test": SETTINGS}), progress=Silent())
    folder = tmp_path_factory.mktemp("runs") / "before"
    return RunFolder.prepare(folder, "digits-cnn", "digits").write(result.record, result.evidence)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(before, here) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(before, here / "run")


def scan(*options: object, model: str = "digits-cnn") -> int:
    return main(["scan", model, *PLAIN, *(str(option) for option in options)])


def gate(*options: object) -> int:
    return main(["gate", *(str(option) for option in options)])


def change(run: Path, **fields: object) -> None:
    content = json.loads((run / "record.json").read_text())
    content["settings"] |= fields.pop("settings", {})
    (run / "record.json").write_text(json.dumps({**content, **fields}))


def finding(rule: str = "zero-gradients", level: str = "error") -> dict[str, str]:
    return {"rule": rule, "group": "attack-health", "level": level, "subject": "fgsm@linf-0.05", "message": "No way."}


def test_the_same_weights_pass(before, here, capsys):
    assert scan(*IMAGES, *BALL, "--out", "after", "--gate", "--baseline", before) == 0
    streams = capsys.readouterr()
    assert "The gates pass: after against before" in streams.out
    assert max(len(line) for line in streams.out.splitlines()) <= 80
    gating = read_gating(here / "after")
    assert (gating.run, gating.baseline, gating.verdict) == ("after", "before", "passed")
    assert (gating.images, gating.images_paired, gating.profile) == (200, 200, "preset default")
    assert {check.id for check in gating.checks} == {
        "clean_accuracy:max_drop",
        "robust_accuracy@linf-0.05:max_drop",
        "attack_health:max",
        "skipped:max",
    }
    assert "The gates pass" in (here / "after/report.html").read_text()
    assert gate("after", "--baseline", before) == 0


def test_a_wrong_normalisation_fails(before, here, capsys):
    wrong = ["--mean", "0.7", "--std", "0.3"]
    assert scan(*IMAGES, *BALL, *wrong, "--out", "wrong", "--gate", "--baseline", before) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "The gates fail" in out
    assert "robust accuracy at linf 0.05 fell from" in out
    assert "before, 0.7 now" in out
    failed = {check.id for check in read_gating(here / "wrong").checks if check.outcome == "failed"}
    assert failed == {"clean_accuracy:max_drop", "robust_accuracy@linf-0.05:max_drop"}


def test_another_epsilon_is_refused_before_the_attacks(before, here, capsys):
    assert scan(*IMAGES, "--epsilon", "0.06", "--out", "other", "--gate", "--baseline", before) == 2
    error = capsys.readouterr().err
    assert error.startswith("lsa-audit: error: the run cannot be compared with before: fgsm@linf-0.06: run,")
    assert len(error.splitlines()) == 1
    assert list(here.iterdir()) == []


def test_other_images_are_refused_and_the_run_is_kept(before, here, capsys):
    few = ["--data", "digits", "--slice", "190:210"]
    reports = ["--output", "junit=junit.xml", "--output", "json=record.json"]
    assert scan(*few, *BALL, *reports, "--out", "other", "--gate", "--baseline", before) == 2
    assert "<testsuites" in (here / "junit.xml").read_text()
    assert (here / "record.json").read_text() == (here / "other/record.json").read_text()
    error = capsys.readouterr().err
    assert "10 of 20 are not in the baseline" in error
    assert "report: other" in error
    assert sorted(path.name for path in (here / "other").iterdir()) == [
        "evidence.npz",
        "record.json",
        "report.html",
        "report.md",
    ]


def test_few_images_do_not_decide(before, here, capsys):
    few = ["--data", "digits", "--slice", "0:50"]
    assert scan(*few, *BALL, "--mean", "0.3041", "--out", "few", "--gate", "--baseline", before) == 3
    out = " ".join(capsys.readouterr().out.split())
    assert "on the 50 of 200 images that the run has" in out
    assert "images would decide: scan so many" in out


def test_few_images_of_the_same_weights_show_that_nothing_changed(before, here, capsys):
    few = ["--data", "digits", "--slice", "0:5"]
    assert scan(*few, *BALL, "--out", "few", "--gate", "--baseline", before) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "on the 5 of 200 images that the run has, with the same weights and the same verdicts: nothing changed" in out
    )


def test_a_file_that_carries_code_is_unsafe(before, here, capsys):
    class Calls:
        def __reduce__(self):
            return Path.mkdir, (here / "canary",)

    (here / "model.pkl").write_bytes(pickle.dumps(Calls(), protocol=4))
    assert scan(*IMAGES, *BALL, "--out", "run", "--gate", "--baseline", before, model="model.pkl") == 4
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [path.name for path in here.iterdir()] == ["model.pkl"]


def test_the_gate_on_attack_health_decides_about_findings(before, run, capsys):
    change(run, findings=[finding()])
    assert gate(run, "--baseline", before) == 3
    assert "attack_health:max" in capsys.readouterr().out
    Path("ci.yaml").write_text("gates:\n  preset: default\n  attack_health: off\n")
    assert gate(run, "--baseline", before, "--profile", "ci.yaml") == 0
    assert "attack_health" not in capsys.readouterr().out
    assert gate(run, "--baseline", before, "--preset", "warn") == 0
    assert "inconclusive (warn)" in capsys.readouterr().out


def test_a_scan_without_working_attacks_passes_where_its_gates_do_not_ask(here):
    body = "from torch import nn, round\nclass Net(nn.Module):\n"
    body += "    def __init__(self):\n        super().__init__()\n        self.fc = nn.Linear(64, 10)\n"
    body += "    def forward(self, x):\n        return self.fc(round(x * 4).flatten(1) / 4)\n"
    (here / "net.py").write_text(body)
    (here / "ci.yaml").write_text("gates:\n  skipped: [error, {max: 9}]\n")
    command = ["--data", "digits", "--slice", "0:20", "--labels", "self", *BALL, "--profile", "ci.yaml"]
    assert scan(*command, "--out", "run", "--gate", model="net.py:Net") == 0
    findings = json.loads((here / "run/record.json").read_text())["findings"]
    assert "error" in {found["level"] for found in findings if found["group"] == "attack-health"}


def test_without_a_baseline_changes_are_not_decided(run, capsys):
    assert gate(run) == 3
    assert "name one with --baseline" in capsys.readouterr().out
    Path("ci.yaml").write_text("gates: {clean_accuracy: [error, {min: 0.9}], skipped: [warn, {max: 0}]}\n")
    assert gate(run / "record.json", "--profile", "ci.yaml") == 0


def test_waivers_hold_until_their_day(before, run, capsys):
    change(run, findings=[finding()])
    Path("waivers.yaml").write_text(
        "waivers:\n"
        "- {gate: 'attack_health:*', reason: known since spring, expires: 2999-01-01}\n"
        "- {gate: 'attack_health:*', reason: forgotten, expires: 2020-01-01}\n"
        "- {gate: 'mvl*', reason: never needed, expires: 2999-01-01}\n"
    )
    assert gate(run, "--baseline", before, "--waivers", "waivers.yaml") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Waived: known since spring" in out
    assert "expired attack_health:*" in out
    assert "unused mvl*" in out


BAD_FILES = {
    "two mistakes": (
        "waivers:\n- {gate: a, reason: ' ', expires: 2030-01-01}\n- {gate: b, reason: c, expires: soon}\n",
        ("waivers[0].reason", "waivers[1].expires"),
    ),
    "something else": ("waivers: []\ngates: {}\n", ("it must hold `waivers` and nothing else",)),
    "no mapping": ("- a\n", ("not a mapping",)),
    "no file": (None, ("cannot be read",)),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_of_waivers_is_one_line(case, run, capsys):
    content, parts = BAD_FILES[case]
    if content is not None:
        Path("waivers.yaml").write_text(content)
    assert gate(run, "--waivers", "waivers.yaml") == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert all(part in error for part in parts)


BAD_OPTIONS = {
    "unknown preset": (["gate", "run", "--preset", "lax"], "there are default, strict, warn"),
    "no such profile": (["gate", "run", "--profile", "nowhere"], "neither a preset nor a file"),
    "unknown gate": (["gate", "run", "--profile", "bad.yaml"], "did you mean clean_accuracy?"),
    "no such baseline": (["gate", "run", "--baseline", "nothing"], "nothing is no run"),
    "a baseline that is no file name": (["gate", "run", "--baseline", "x" * 5000], "cannot be read"),
    "no such run": (["gate", "nothing"], "nothing is no run"),
    "a baseline without gates": (["scan", "digits-cnn", *IMAGES, "--baseline", "run"], "add --gate"),
    "an unreadable baseline": (["scan", "digits-cnn", *IMAGES, "--gate", "--baseline", "bad.yaml"], "no baseline"),
    "bad gates of a scan": (["scan", "digits-cnn", *IMAGES, "--gate", "--profile", "bad.yaml"], "clean_acuracy"),
    "two reports on stdout": (["gate", "run", "--json", "--output", "sarif=-"], "two reports go to"),
    "unknown format": (["scan", "digits-cnn", *IMAGES, "--output", "pdf=x"], "no report format"),
    "a gate that finds nothing": (["gate", "run", "--profile", "far.yaml"], "robust_accuracy@l2-1 finds nothing"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_are_one_line_and_exit_code_2(case, run, capsys):
    arguments, message = BAD_OPTIONS[case]
    Path("bad.yaml").write_text("gates: {clean_acuracy: [error, {min: 0.9}]}\n")
    Path("far.yaml").write_text("gates: {'robust_accuracy@l2-1': [error, {min: 0.1}]}\n")
    assert main(arguments) == 2
    streams = capsys.readouterr()
    assert message in streams.err
    assert len(streams.err.splitlines()) == 1
    assert streams.out == ""


def test_json_is_all_that_stdout_carries(before, run, capsys):
    files = sorted(path.name for path in run.iterdir())
    assert gate(run, "--baseline", before, "--json", "--output", "json=said.json", "--output", "sarif=x.sarif") == 0
    streams = capsys.readouterr()
    gating = Gating.model_validate_json(streams.out)
    assert gating.verdict == "passed"
    assert Path("said.json").read_text() == streams.out
    assert json.loads(Path("x.sarif").read_text())["version"] == "2.1.0"
    assert "The gates pass" in streams.err
    assert sorted(path.name for path in run.iterdir()) == files


def test_a_scan_writes_reports_beside_its_run(here, capsys):
    (here / "ci.yaml").write_text("gates:\n  clean_accuracy: [error, {min: 0.5}]\n")
    command = ["--data", "digits", "--slice", "0:20", *BALL, "--out", "run", "--gate", "--profile", "ci.yaml"]
    assert scan(*command, "--output", "junit=j.xml", "--output", "json=-") == 0
    assert json.loads(capsys.readouterr().out)["clean"]["total"] == 20
    assert "clean_accuracy:min" in (here / "j.xml").read_text()
    gating = read_gating(here / "run")
    assert (gating.profile, gating.checks[0].line) == ("ci.yaml", 2)


def test_what_was_said_of_an_earlier_run_in_the_folder_goes_with_it(before, run):
    (run / "gate.json").write_text("{}")
    record, evidence = read_run(before)
    RunFolder.prepare(run, "digits-cnn", "digits").write(record, evidence)
    assert not (run / "gate.json").exists()


def write_profiles() -> None:
    Path("gated.yaml").write_text(
        "gates:\n  preset: strict\n\n  skipped: [warn, {max: 3}]\n"
        "waivers: [{gate: 'a*', reason: of the profile, expires: 2999-01-01}]\n"
    )
    Path("plain.yaml").write_text("samples: 20\n")


OWN = {
    "gates": {"skipped": {"level": "error", "max": 7.0}},
    "waivers": [{"gate": "b", "reason": "r", "expires": "2999-01-01"}],
}
PRECEDENCE = {
    "the profile's": (OWN, "gated.yaml", None, ("gated.yaml", 3.0, ["of the profile"])),
    "the profile's before a preset": (OWN, "gated.yaml", "warn", ("gated.yaml", 3.0, ["of the profile"])),
    "a preset's": (OWN, None, "warn", ("preset warn", 0.0, [])),
    "a preset's beside a profile without": (OWN, "plain.yaml", "warn", ("preset warn", 0.0, [])),
    "the run's own": (OWN, None, None, (None, 7.0, ["r"])),
    "the run's own beside a profile without": (OWN, "plain.yaml", None, (None, 7.0, [])),
    "the default": ({}, None, None, ("preset default", 0.0, [])),
}


@pytest.mark.parametrize("case", PRECEDENCE)
def test_whose_gates_count(case, here):
    settings, profile, preset_name, expected = PRECEDENCE[case]
    write_profiles()
    question = of_run(settings, profile, preset_name, None)
    assert expected == (
        question.profile,
        question.gates["skipped"].max,
        [waiver.reason for waiver in question.waivers],
    )


def test_gates_of_a_preset_stand_on_its_line(here):
    write_profiles()
    question = of_run({}, "gated.yaml", None, None)
    assert question.lines == {**dict.fromkeys(preset("strict"), 2), "skipped": 4}
    assert of_run({}, str(here / "gated.yaml"), None, None).profile == "gated.yaml"


def test_the_way_to_a_profile_elsewhere_is_not_told(here, monkeypatch):
    write_profiles()
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    assert of_run({}, "../gated.yaml", None, None).profile == "gated.yaml"


def test_settings_of_a_stranger_are_checked_only_where_they_count(here):
    hostile = {"gates": {"skipped": {"max": -1}}, "waivers": "x"}
    with pytest.raises(ProfileError, match=r"the run's settings: gates.*waivers"):
        of_run(hostile, None, None, None)
    assert of_run(hostile, None, "strict", None).gates == preset("strict")
    with pytest.raises(UsageError, match="no preset"):
        of_run(hostile, None, "", None)
