"""`lsa-audit harden` as a shell sees it."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import typer
from pydantic_core import PydanticUndefined

from lsa_audit.__main__ import main
from lsa_audit.cli import app
from lsa_audit.cli.harden import MAX_CLEAN_DROP
from lsa_audit.cli.harden_source import GIVEN_ONLY, OF_THE_SCAN
from lsa_audit.cli.output import RunFolder
from lsa_audit.errors import OutputError
from lsa_audit.hardening.checks import Checks
from lsa_audit.hardening.harden import Hardened
from lsa_audit.hardening.training.loop import CHECKPOINT_NAME as CHECKPOINT
from lsa_audit.hardening.training.trial import TimingTrial
from lsa_audit.records import Finding
from lsa_audit.reporting import FORMATS
from lsa_audit.reporting.hardening import to_json
from lsa_audit.runs import latest
from lsa_audit.runs.latest import latest_run
from lsa_audit.runs.reading import read_run
from lsa_audit.scanning.audit import Audit, make_profile
from lsa_audit.settings.profile import Profile
from lsa_audit.settings.recipe import Augmentation, Base, Recipe, Regularizer

from ..reporting.hardening_records import hardening, masked, without_checkpoint

REPORT = ["hardening.json", "report.html", "report.md"]
EMPTY_ZIP = b"PK\5\6" + bytes(18)
RUN = ["evidence.npz", "record.json", "report.html", "report.md"]


class Trainer:
    """Stands for the training: keeps what it was asked, leaves what is told in the folder."""

    def __init__(self):
        self.record = hardening()
        self.fails: BaseException | None = None
        self.leaves: tuple[str, ...] = ()
        self.calls = []

    def __call__(self, subject, profile, wishes, folder, progress, *, resume=False):
        self.calls.append((subject, profile, wishes, folder, resume))
        for name in self.leaves:
            (folder / name).write_bytes(b"x")
        if self.fails:
            raise self.fails
        if os.environ.get("RANK", "0") != "0":
            return None
        before, after = self.record.before, self.record.after
        return Hardened(self.record, Audit(before, {}), after and Audit(after, {}))

    @property
    def wishes(self):
        return self.calls[-1][2]

    @property
    def recipe(self):
        return self.wishes.recipe

    @property
    def profile(self):
        return self.calls[-1][1]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trainer(here, monkeypatch):
    """The training is stood for, and pages with plots, which take a second each; the current folder is empty."""
    stand_in = Trainer()
    monkeypatch.setattr("lsa_audit.hardening.harden.harden", stand_in)
    monkeypatch.setattr("lsa_audit.reporting.hardening.to_html", lambda record: "page")
    monkeypatch.setitem(FORMATS, "html", ("report.html", lambda shown: "page"))
    return stand_in


def harden(*arguments: object, data: str | None = "digits", out: str | None = "out") -> int:
    given = [*(("--data", data) if data else ()), *(("--out", out) if out else ())]
    return main(["harden", "digits-cnn", *given, *map(str, arguments)])


@functools.cache
def parameters() -> dict[str, typer.models.ParameterInfo]:
    return {entry.name: entry for entry in typer.main.get_command(app).commands["harden"].params}


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# --- options -------------------------------------------------------------------------------------


def test_every_setting_of_a_recipe_is_an_option_of_its_name():
    known = parameters()
    for name in Recipe.model_fields:
        assert f"--{name.replace('_', '-')}" in known[name].opts


def test_the_help_states_the_defaults_of_the_recipe():
    stated = {}
    for name, field in Recipe.model_fields.items():
        found = re.search(r"[dD]efault: ([\w./]+)", parameters()[name].help or "")
        if found and field.default not in (None, ()) and name not in ("epsilon", "max_clean_drop"):
            stated[name] = found[1].rstrip(".")
    assert len(stated) > 25
    for name, text in stated.items():
        default = Recipe.model_fields[name].default
        assert default is not PydanticUndefined
        if isinstance(default, bool):
            assert text == ("yes" if default else "no"), name
        elif isinstance(default, int | float):
            assert float(text) == default, name
        else:
            assert text == default, name
    assert f"default: {MAX_CLEAN_DROP}." in parameters()["max_clean_drop"].help


@pytest.mark.parametrize(
    ("name", "kinds"), [("at", Base), ("reg", Regularizer), ("augment", Augmentation)], ids=["at", "reg", "augment"]
)
def test_the_help_names_every_choice(name, kinds):
    assert set(get_args(kinds)) <= set(parameters()[name].metavar.split("|"))


def test_help_is_grouped(here, capsys):
    assert main(["harden", "--help"]) == 0
    shown = capsys.readouterr().out
    for panel in ("Training", "Regulariser", "Recipe", "Checks", "Data", "Model", "Run"):
        assert re.search(rf"─ {panel} ─", shown), panel


def test_nothing_given_is_the_default_recipe(trainer):
    assert harden() == 0
    assert trainer.recipe == Recipe(max_clean_drop=MAX_CLEAN_DROP)
    assert (trainer.wishes.test, trainer.wishes.samples, trainer.wishes.eta) == (None, None, 0.8)
    assert trainer.wishes.checks == Checks()
    assert trainer.calls[-1][0] == "digits-cnn"


def test_options_become_settings(trainer):
    training = (
        "--at trades --reg atlr --epsilon 4/255 --steps 3 --step-size .01 --beta 2 --gamma conv1=2 --gamma a=b=.5"
    )
    recipe = (
        "--augment flip,crop --augment erase --bn frozen --no-deterministic --channels-last --precision bf16 --seed 7"
    )
    checks = "--max-clean-drop .05 --attack pgd,square --passes 50 --grid 1/255,2/255 --eta 0.5"
    rest = "--test moons --samples 90 --test-samples 40 --audit-batch-size 16 --threads 1 --device cpu --allow-code"
    assert harden(*f"{training} {recipe} {checks} {rest}".split()) == 0
    found = trainer.recipe
    assert (found.at, found.reg, found.epsilon, found.steps, found.step_size) == ("trades", "atlr", 4 / 255, 3, 0.01)
    assert (found.beta, found.gamma) == (2, {"conv1": 2, "a=b": 0.5})
    assert (found.augment, found.bn, found.precision) == (("flip", "crop", "erase"), "frozen", "bf16")
    assert (found.deterministic, found.channels_last, found.compile) == (False, True, False)
    assert (found.seed, found.max_clean_drop) == (7, 0.05)
    wishes = trainer.wishes
    assert (wishes.test, wishes.samples, wishes.test_samples, wishes.eta) == ("moons", 90, 40, 0.5)
    assert wishes.checks == Checks(("pgd", "square"), 50, (1 / 255, 2 / 255))
    profile = trainer.profile
    assert (profile.seed, profile.batch_size, profile.threads, profile.allow_code) == (7, 16, 1, True)


@pytest.mark.parametrize(("given", "found"), [(["auto"], "auto"), (["1/2"], 0.5), (["c1=3"], {"c1": 3.0})])
def test_gamma_is_a_word_a_number_or_one_for_each_layer(trainer, given, found):
    assert harden(*[part for value in given for part in ("--gamma", value)]) == 0
    assert trainer.recipe.gamma == found


def test_a_recipe_file_is_used_and_the_command_line_goes_before_it(trainer, here):
    (here / "r.yaml").write_text(
        "epochs: 3\nstep-size: 2/255\naugment: [flip]\nlr: 1e-3\nseed: 5\ndeterministic: no\nmax_clean_drop: 1\n"
    )
    assert harden("--recipe", "r.yaml", "--epochs", 4, "--augment", "none", "--deterministic") == 0
    found = trainer.recipe
    assert (found.epochs, found.step_size, found.augment, found.lr) == (4, 2 / 255, (), 0.001)
    assert (found.seed, found.deterministic, found.max_clean_drop) == (5, True, 1)
    assert trainer.profile.seed == 5


def test_a_profile_gives_data_and_seed(trainer, here):
    (here / "p.yaml").write_text("data: moons\nseed: 9\neta: 1.5\n")
    assert harden("--profile", "p.yaml", data=None) == 0
    assert (trainer.wishes.data, trainer.recipe.seed, trainer.wishes.eta) == ("moons", 9, 1.5)
    assert harden("--profile", "p.yaml", "--seed", 2, out="other") == 0
    assert (trainer.wishes.data, trainer.recipe.seed) == ("digits", 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--at", "magic"), "at: input should be 'none'"),
        (("--at", "pgd", "--epsilon", "0"), "epsilon 0 leaves pgd nothing"),
        (("--epsilon", "nan"), "epsilon"),
        (("--epsilon", "8"), "above 1"),
        (("--reg", "atlr", "--at", "none"), "needs perturbed images"),
        (("--epochs", "0", "--lr", "0"), "epochs: input should be greater than or equal to 1; lr: "),
        (("--max-clean-drop", "nan"), "max_clean_drop"),
        (("--gamma", "1", "--gamma", "2"), "--gamma 1 2 is not one weight"),
        (("--gamma", "c=1", "--gamma", "auto"), "is not one weight"),
        (("--gamma", "c=x"), "--gamma x is not a number"),
        (("--gamma", "-1"), "gamma"),
        (("--augment", "spin"), "augment"),
        (("--attack", "pdg"), "did you mean pgd?"),
        (("--grid", "2"), "larger than the whole pixel range"),
        (("--eta", "nan"), "eta"),
        (("--samples", "0"), "--samples"),
        (("--passes", "0"), "--passes"),
        (("--mean", "x"), "--mean"),
        (("--recipe", "no.yaml"), "recipe no.yaml"),
        (("--profile", "no.yaml"), "neither a preset nor a file"),
        (("--resume", "nowhere"), "--out out is not the folder of --resume nowhere"),
    ],
    ids=str,
)
def test_wrong_options_are_usage_errors_on_one_line(trainer, here, capsys, arguments, said):
    assert harden(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert trainer.calls == []
    assert names(here) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("colour: red\nepochs: 2\nflavour: 1\n", "colour, flavour: no such setting; there are at, reg"),
        ("epochs: many\nlr: -1\n", "epochs: .*; lr: "),
        ("a: &x 1\nb: *x\n", "aliases are not allowed"),
        ("epochs: 1\nepochs: 2\n", "repeated key epochs"),
        ("- 1\n", "not a mapping"),
        ("!!python/object/apply:os.system [touch ran]\n", "cannot be read"),
    ],
)
def test_a_wrong_recipe_file_is_refused_with_every_mistake(trainer, here, capsys, content, said):
    (here / "r.yaml").write_text(content)
    assert harden("--recipe", "r.yaml") == 2
    assert re.search(said, capsys.readouterr().err)
    assert names(here) == ["r.yaml"]


def test_the_guide_names_options_that_exist_and_a_recipe_that_works(trainer, here):
    guide = (Path(__file__).parents[2] / "docs/harden.md").read_text(encoding="utf-8")
    commands = typer.main.get_command(app).commands.values()
    known = {name for command in commands for entry in command.params for name in (*entry.opts, *entry.secondary_opts)}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", guide))
    assert named - known == {"--nproc-per-node"}
    assert {f"--{name.replace('_', '-')}" for name in Recipe.model_fields} - named <= {"--deterministic"}
    (example,) = re.findall(r"```yaml\n(.+?)```", guide, flags=re.DOTALL)
    (here / "r.yaml").write_text(example)
    assert harden("--recipe", "r.yaml") == 0
    assert trainer.recipe.gamma == {"layer1.0.conv1": 0.5, "layer2.0.conv1": 0.5}


# --- data of the latest scan ---------------------------------------------------------------------


def scanned(
    folder: Path,
    when: float,
    data: object = "digits",
    subject: str = "digits-cnn",
    settings: dict[str, object] | None = None,
    **model: object,
) -> Path:
    """A run of that model on that data, written at that time."""
    record = hardening().before
    changes = {
        "subject": subject,
        "settings": {**record.settings, "data": data, **(settings or {})},
        "model": record.model.model_copy(update=model),
    }
    # The reports of a scan would cost a second each.
    content = record.model_copy(update=changes).model_dump_json().encode()
    files = {"evidence.npz": EMPTY_ZIP, "record.json": content}
    run = RunFolder.prepare(folder, "m", "d").write_files(files)
    os.utime(run / "record.json", (when, when))
    return run


def test_without_any_data_the_error_names_three_ways(trainer, capsys):
    assert harden(data=None) == 2
    said = capsys.readouterr().err
    assert all(way in said for way in ("--data", "--profile", "scan the model first"))


def test_the_latest_scan_of_the_model_names_the_data(trainer, here, capsys):
    scanned(here / "reports/old", 100, "moons")
    scanned(here / "reports/new", 200, "digits")
    scanned(here / "reports/other", 300, "mnist", subject="resnet50")
    scanned(here / "reports/arrays", 400, None)
    assert harden(data=None) == 0
    assert trainer.wishes.data == "digits"
    said = capsys.readouterr().err
    assert "data: digits, as in the scan reports/new" in said
    assert "trained on" not in said
    assert trainer.wishes.scanned.name == "reports/new"
    assert trainer.wishes.scanned.taken


def test_of_a_folder_or_file_the_scanned_images_are_trained_on_and_that_is_said(trainer, here, capsys):
    scanned(here / "reports/new", 200, "photos/train")
    assert harden(data=None) == 0
    assert "most of its images are trained on: scan the result on others" in capsys.readouterr().err


@pytest.mark.slow_except("digits:train")
@pytest.mark.parametrize("spec", ["digits", "digits:test", "digits:train"])
def test_a_scan_of_either_part_means_the_whole_set(trainer, here, spec):
    scanned(here / "reports/new", 200, spec)
    assert harden(data=None) == 0
    assert trainer.wishes.data == "digits"
    assert trainer.wishes.scanned.profile.data == spec


OPTIONS = {
    "mean": [0.5, 0.25, 0.5],
    "std": [0.2],
    "input_size": "3x8x8",
    "layout": "nhwc",
    "classes": 10,
    "arch": "resnet18",
    "checkpoint": "weights/a.pth",
    "data_root": "/images",
}


def test_every_option_of_the_model_comes_from_the_scan(trainer, here, capsys):
    rest = {"samples": 7, "epsilon": [0.3], "attacks": ["fgsm"], "batch_size": 3, "device": "cpu", "eta": 2.0}
    scanned(here / "reports/new", 200, "digits", settings={**OPTIONS, **rest})
    assert harden(data=None) == 0
    profile, usual = trainer.profile, make_profile({})
    for name, value in OPTIONS.items():
        found = getattr(profile, name)
        assert (list(found) if isinstance(found, tuple) else found) == value, name
    for name in rest:
        assert getattr(profile, name) == getattr(usual, name), name
    assert profile.offline is True
    said = capsys.readouterr().err
    for part in ("mean 0.5,0.25,0.5", "input-size 3x8x8", "layout nhwc", "checkpoint weights/a.pth"):
        assert part in said, part


def test_what_a_scan_does_is_a_setting_and_all_else_is_of_the_model():
    names = set(Profile.model_fields)
    assert names >= OF_THE_SCAN
    assert names >= GIVEN_ONLY
    assert set(OPTIONS) | {"random_weights", "offline", "model_args"} <= names - OF_THE_SCAN - GIVEN_ONLY


def test_random_weights_keep_the_seed_that_made_them(trainer, here):
    scanned(here / "reports/new", 200, "digits", settings={"random_weights": True, "seed": 11})
    assert harden(data=None) == 0
    assert (trainer.profile.random_weights, trainer.profile.seed, trainer.recipe.seed) == (True, 11, 11)
    assert harden("--seed", 3, data=None, out="other") == 0
    assert trainer.recipe.seed == 3
    scanned(here / "reports/newer", 300, "digits", settings={"seed": 11})
    assert harden(data=None, out="third") == 0
    assert trainer.recipe.seed == 0


@pytest.mark.slow_except(
    "settings0-arguments0---mean is 0.4 here and 0.5 there",
    "settings6-arguments6---model-arg is a=2 here and a=1 there",
)
@pytest.mark.parametrize(
    ("settings", "arguments", "said"),
    [
        ({"mean": [0.5]}, ("--mean", ".4"), "--mean is 0.4 here and 0.5 there"),
        ({}, ("--std", ".4,.4,.4"), "--std is 0.4,0.4,0.4 here and not given there"),
        ({"checkpoint": "a.pth"}, ("--checkpoint", "b.pth"), "--checkpoint is b.pth here and a.pth there"),
        ({"classes": 10}, ("--classes", 11), "--classes is 11 here and 10 there"),
        ({"layout": "nchw"}, ("--layout", "nhwc"), "--layout is nhwc here and nchw there"),
        ({}, ("--random-weights",), "--random-weights is true here and false there"),
        ({"model_args": {"a": 1}}, ("--model-arg", "a=2"), "--model-arg is a=2 here and a=1 there"),
    ],
)
def test_an_option_against_the_scan_is_refused(trainer, here, capsys, settings, arguments, said):
    scanned(here / "reports/new", 200, "digits", settings=settings)
    assert harden(*arguments, data=None) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"data come from the scan reports/new, and {said}" in line
    assert trainer.calls == []
    assert harden(*arguments) == 0


@pytest.mark.slow_except("settings3-arguments3")
@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({"mean": [0.5, 0.5, 0.5]}, ("--mean", ".5")),
        ({"std": [0.5]}, ("--std", ".5,.5,.5")),
        ({"checkpoint": "w/a.pth"}, ("--checkpoint", "./w/a.pth")),
        ({"model_args": {"a": 1}}, ("--model-arg", "a=1")),
    ],
)
def test_the_same_option_written_otherwise_is_no_contradiction(trainer, here, settings, arguments):
    scanned(here / "reports/new", 200, "digits", settings=settings)
    assert harden(*arguments, data=None) == 0


def test_a_profile_that_contradicts_the_scan_is_refused_and_one_with_defaults_is_not(trainer, here, capsys):
    scanned(here / "reports/new", 200, "digits", settings={"mean": [0.5]})
    (here / "p.yaml").write_text("mean: null\nstd: null\ncheckpoint: null\n")
    assert harden("--profile", "p.yaml", data=None) == 0
    assert trainer.profile.mean == (0.5,)
    (here / "p.yaml").write_text("mean: [0.4]\n")
    assert harden("--profile", "p.yaml", data=None, out="other") == 2
    assert "--mean is 0.4 here and 0.5 there" in capsys.readouterr().err


def test_a_scan_of_the_same_data_is_what_named_data_are_held_against(trainer, here):
    scanned(here / "reports/new", 200, "digits", settings={"mean": [0.5]})
    assert harden("--std", "2") == 0
    found = trainer.wishes.scanned
    assert not found.taken
    assert found.unlike == ("--mean is not given here and 0.5 there", "--std is 2 here and not given there")
    assert trainer.profile.mean is None
    assert harden(data="digits:train", out="second") == 0
    assert trainer.wishes.scanned is not None
    assert harden("--test", "./digits", data="moons", out="third") == 0
    assert trainer.wishes.scanned is None
    assert harden("--test", "digits:test", data="moons", out="fourth") == 0
    assert trainer.wishes.scanned is not None


def test_data_on_the_command_line_goes_before_the_scan(trainer, here, capsys):
    scanned(here / "reports/new", 200, "moons")
    assert harden() == 0
    assert trainer.wishes.data == "digits"
    assert "as in the scan" not in capsys.readouterr().err


def test_a_file_is_known_by_its_bytes_under_any_name(here):
    (here / "net.pth").write_bytes(b"weights")
    assert latest_run(here / "reports", "net.pth") is None
    digests = [hashlib.sha256(content).hexdigest() for content in (b"weights", b"others")]
    scanned(here / "reports/a", 2, subject="before.pth", checkpoint_sha256=digests[1])
    assert latest_run(here / "reports", "net.pth") is None
    scanned(here / "reports/b", 1, subject="x.pth", checkpoint_sha256=digests[0])
    run, _ = latest_run(here / "reports", "net.pth")
    assert run.name == "b"


def test_what_cannot_be_read_is_passed_over(here, monkeypatch):
    for place, content in enumerate(["", "{", "[]", '{"schema_version": 99}', "[" * 100_000, "\x00"]):
        (here / f"reports/bad{place}").mkdir(parents=True)
        (here / f"reports/bad{place}/record.json").write_text(content)
    (here / "reports/gone").mkdir()
    (here / "reports/gone/record.json").symlink_to("nowhere")
    (here / "reports/large").mkdir()
    (here / "reports/large/record.json").write_text("x" * 2000)
    good = scanned(here / "reports/good", 100)
    monkeypatch.setattr("lsa_audit.runs.reading.RECORD_BYTES", max((good / "record.json").stat().st_size, 1000))
    run, _ = latest_run(here / "reports", "digits-cnn")
    assert run.name == "good"
    monkeypatch.setattr(latest, "RUNS", 3)
    assert latest_run(here / "reports", "digits-cnn") is None


@pytest.mark.slow_except("settings2-repeat it with --model-arg")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"arch": "evil.py:make"}, "repeat it with --arch"),
        ({"arch": "hf_hub:evil/net"}, "repeat it with --arch"),
        ({"model_args": {"a": "b"}}, "repeat it with --model-arg"),
    ],
)
def test_what_steers_code_is_repeated_on_the_command_line_or_refused(trainer, here, capsys, settings, said):
    scanned(here / "reports/bad", 100, settings=settings)
    assert harden(data=None) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert trainer.calls == []
    (name, value), *_ = settings.items()
    option = ("--arch", value) if name == "arch" else ("--model-arg", "a=b")
    assert harden(*option, data=None) == 0
    assert getattr(trainer.profile, name) == value


def test_a_record_lets_no_code_run_and_says_nothing_of_the_run(trainer, here, capsys):
    settings = {
        "data": "\x1b[31mdigits",
        "allow_code": True,
        "trusted": ["0" * 64],
        "device": "cuda",
        "limits": {"total_bytes": 1},
        "checkpoint": "\x1b[31mweights",
    }
    scanned(here / "reports/bad", 100, settings=settings)
    assert harden(data=None) == 0
    profile, usual = trainer.profile, make_profile({})
    for name in ("allow_code", "trusted", "device", "limits"):
        assert getattr(profile, name) == getattr(usual, name), name
    assert trainer.wishes.data == "\x1b[31mdigits"
    assert "\x1b" not in capsys.readouterr().err


def test_settings_of_another_version_are_one_line(trainer, here, capsys):
    scanned(here / "reports/bad", 100, settings={"colour": "red"})
    assert harden(data=None) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "scan reports/bad: colour is not a setting" in line
    assert harden() == 0


# --- folders and streams -------------------------------------------------------------------------


def test_the_folder_holds_the_report_and_both_audits(trainer, here, capsys):
    trainer.leaves = (CHECKPOINT, "training.jsonl", "net-hardened.pt")
    assert harden() == 0
    assert names(here / "out") == sorted([*REPORT, *trainer.leaves, "before", "after"])
    for when in ("before", "after"):
        assert names(here / "out" / when) == RUN
        record, _ = read_run(here / "out" / when)
        assert record == getattr(trainer.record, when)
    streams = capsys.readouterr()
    assert streams.err.endswith("report: out\n")
    assert max(map(len, streams.out.splitlines())) <= 80
    assert json.loads((here / "out/hardening.json").read_text())["verdict"] == trainer.record.verdict


def test_json_is_the_written_record(trainer, here, capsys):
    assert harden("--json") == 0
    assert capsys.readouterr().out == (here / "out/hardening.json").read_text() == to_json(trainer.record)


def test_the_default_folder_names_model_and_time(trainer, here):
    assert harden(out=None) == 0
    (folder,) = (here / "reports").iterdir()
    assert folder.name.startswith("digits-cnn-harden-20")
    assert trainer.calls[-1][3].resolve() == folder.resolve()


def test_a_folder_with_other_files_is_left_alone(trainer, here, capsys):
    (here / "out").mkdir()
    (here / "out/record.json").write_text("x")
    assert harden() == 2
    assert "holds other files" in capsys.readouterr().err
    (here / "out" / CHECKPOINT).write_text("x")
    assert harden() == 2
    assert "--resume out" in capsys.readouterr().err
    assert trainer.calls == []


def test_what_fails_before_anything_was_kept_leaves_no_folder(trainer, here):
    trainer.fails = OutputError("no space")
    assert harden() == 2
    assert names(here) == []
    (here / "mine").mkdir()
    assert harden(out="mine") == 2
    assert names(here) == ["mine"]


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (OutputError("no space left"), 2)], ids=str)
def test_when_cut_the_way_to_go_on_is_said_and_works(trainer, here, capsys, error, code):
    trainer.fails, trainer.leaves = error, (CHECKPOINT,)
    assert harden() == code
    assert "the same command with --resume out" in capsys.readouterr().err
    assert names(here / "out") == [CHECKPOINT]
    trainer.fails = None
    assert harden("--resume", "out") == 0
    assert trainer.calls[-1][4] is True
    assert "hardening.json" in names(here / "out")
    assert harden("--resume", "out", out=None) == 0


def test_nothing_is_resumed_where_no_checkpoint_is(trainer, here, capsys):
    for folder in ("out", "none"):
        (here / "out").mkdir(exist_ok=True)
        assert harden("--resume", folder, out=None) == 2
        assert f"{folder} holds no {CHECKPOINT}" in capsys.readouterr().err
    assert names(here) == ["out"]


def test_the_other_processes_of_torchrun_neither_print_nor_write(trainer, here, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    scanned(here / "reports/new", 200, "digits")
    assert harden(data=None) == 0
    assert len(trainer.calls) == 1
    assert capsys.readouterr() == ("", "")
    assert names(here) == ["reports"]
    assert harden("--dry-run") == 0
    assert capsys.readouterr() == ("", "")


# --- exit codes ----------------------------------------------------------------------------------


def with_doubt(when: str, subject: str):
    record = hardening()
    audit = getattr(record, when)
    doubt = Finding(rule="zero-gradients", group="attack-health", level="error", subject=subject, message="none")
    return record.model_copy(update={when: audit.model_copy(update={"findings": (doubt,)})})


def undecided() -> str:
    """An attack of the audits that has no say."""
    record = hardening()
    return next(
        entry.perturbation.id for entry in record.before.attacks if entry.perturbation.id not in record.strongest
    )


@pytest.mark.slow_except("no-checkpoint")
@pytest.mark.parametrize(
    ("make", "code"),
    [
        (hardening, 0),
        (lambda: hardening(verdict="not-helped"), 0),
        (lambda: hardening(verdict="harmed"), 0),
        (masked, 3),
        (without_checkpoint, 3),
        (lambda: with_doubt("before", "the model"), 0),
        (lambda: with_doubt("after", "the model"), 3),
        (lambda: with_doubt("after", hardening().strongest[0]), 3),
        (lambda: with_doubt("after", undecided()), 0),
    ],
    ids=["helped", "not-helped", "harmed", "masked", "no-checkpoint", "before", "model", "decides", "does not decide"],
)
def test_the_exit_code_says_whether_the_figures_can_be_relied_on(trainer, here, make, code):
    trainer.record = make()
    assert harden() == code
    assert set(REPORT) <= set(names(here / "out"))
    assert ("after" in names(here / "out")) == (trainer.record.after is not None)


def test_importing_leaves_torch_out():
    code = "import sys, lsa_audit.cli.harden, lsa_audit.runs.latest; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the real thing ------------------------------------------------------------------------------

SHORT = "--epochs 1 --epsilon 0.1 --steps 2 --batch-size 64 --validation-steps 2 --threads 1 --device cpu"
SHORT += " --samples 300 --test-samples 60"


def test_a_dry_run_tells_time_and_memory_and_writes_nothing(here, capsys):
    assert harden("--dry-run", *SHORT.split()) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^3 steps an epoch, .* s each", shown)
    assert re.search(r"memory: about .*B", shown)
    assert names(here) == []


def test_a_dry_run_as_json(here, capsys, monkeypatch):
    monkeypatch.setattr("lsa_audit.hardening.harden.dry_run", lambda *_: TimingTrial(2, 0.5, 1.0, 10.0, 1000))
    assert harden("--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "steps_an_epoch": 2,
        "seconds_a_step": 0.5,
        "seconds_a_validation": 1.0,
        "seconds_total": 10.0,
        "memory_bytes": 1000,
    }
    assert names(here) == []


def test_one_epoch_on_digits(here, capsys):
    arguments = [*SHORT.split(), "--reg", "atlr", "--attack", "fgsm,pgd"]
    assert harden(*arguments) in (0, 3)
    streams = capsys.readouterr()
    assert "epoch 1 of 1" in streams.err
    assert streams.err.endswith("report: out\n")
    record = json.loads((here / "out/hardening.json").read_text())
    assert record["recipe"]["reg"] == "atlr"
    assert record["chosen"]
    assert len(record["log"]["epochs"]) == 1
    name = record["file"]["name"]
    assert {name, CHECKPOINT, "training.jsonl", "before", "after", *REPORT} <= set(names(here / "out"))
    after, _ = read_run(here / "out/after")
    assert after.model.weights_sha256 != record["model"]["weights_sha256"]
    assert harden("--resume", "out", *arguments, "--lr", "0.5") == 2
    assert "lr was 0.01 and is 0.5" in capsys.readouterr().err


@pytest.mark.slow
def test_resumed_when_done_it_gives_the_same_file(here):
    arguments = [*SHORT.split(), "--attack", "pgd"]
    assert harden(*arguments) in (0, 3)
    first = json.loads((here / "out/hardening.json").read_text())
    assert harden("--resume", "out", *arguments) in (0, 3)
    again = json.loads((here / "out/hardening.json").read_text())
    assert again["file"] == first["file"]
    assert (first["log"]["resumed"], again["log"]["resumed"]) == (0, 1)


@pytest.mark.slow
def test_two_processes_of_torchrun_write_one_report(here):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "lsa_audit", "harden"]
    arguments = ["digits-cnn", "--data", "digits", "--out", "out", *SHORT.split(), "--attack", "pgd"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("report: out") == done.stderr.count("epoch 1 of 1") == 1
    assert set(REPORT) <= set(names(here / "out"))
