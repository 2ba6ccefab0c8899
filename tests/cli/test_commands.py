"""The command line as a shell sees it: exit codes, streams, files."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_audit.__main__ import main
from lsa_audit.cli.scan import tuned
from lsa_audit.errors import UsageError
from lsa_audit.settings.profile import presets

FAST = ["--samples", "40", "--attack", "fgsm", "--epsilon", "0.1", "--noise", "uniform", "--threads", "1"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_factory(folder: Path, body: str) -> str:
    (folder / "net.py").write_text(f"import torch\nfrom torch import nn\n{body}")
    return "net.py:make"


LINEAR = "def make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"


def test_scan_writes_a_run_and_prints_the_summary_on_stdout(here, capsys, drawn):
    assert main(["scan", "digits-cnn", "--data", "digits", *FAST, "--out", "run"]) == 0
    streams = capsys.readouterr()
    assert "100.0 %" in streams.out or "9" in streams.out
    assert max(len(line) for line in streams.out.splitlines()) <= 80
    assert "clean accuracy" in streams.err
    assert sorted(path.name for path in (here / "run").iterdir()) == [
        "evidence.npz",
        "record.json",
        "report.html",
        "report.md",
    ]
    record = json.loads((here / "run/record.json").read_text())
    assert record["clean"]["total"] == 40
    with np.load(here / "run/evidence.npz", allow_pickle=False) as evidence:
        right = evidence["right/fgsm@linf-0.1"]
        clean = evidence["labels"] == evidence["clean_predictions"]
        assert evidence["measure/fgsm@linf-0.1"].shape == (len(evidence["layers"]), 40)
    assert record["attacks"][0]["robust_accuracy"]["count"] == int((right & clean).sum())


def test_default_folder_names_model_data_and_time(here):
    assert main(["scan", "digits-cnn", "--data", "digits", *FAST, "--neurons", "none"]) == 0
    (folder,) = (here / "reports").iterdir()
    assert folder.name.startswith("digits-cnn-digits-20")


def test_a_run_folder_is_replaced_but_other_files_are_safe(here, capsys):
    command = ["scan", "digits-cnn", "--data", "digits", *FAST, "--neurons", "none", "--out"]
    assert main([*command, "run"]) == 0
    first = (here / "run/record.json").read_text()
    (here / "run/notes.txt").write_text("mine")
    assert main([*command, "run", "--seed", "5"]) == 0
    assert (here / "run/record.json").read_text() != first
    assert (here / "run/notes.txt").read_text() == "mine"
    (here / "other").mkdir()
    (here / "other/precious.txt").write_text("x")
    assert main([*command, "other"]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert [path.name for path in (here / "other").iterdir()] == ["precious.txt"]


BAD_INPUT = {
    "unknown model": (["scan", "resnet81", "--data", "digits"], "did you mean"),
    "missing factory file": (["scan", "nowhere.py:make", "--data", "digits"], "no file nowhere.py"),
    "unknown data": (["scan", "digits-cnn", "--data", "digit"], "did you mean digits"),
    "missing data file": (["scan", "digits-cnn", "--data", "nowhere.npz"], "nowhere.npz"),
    "no data": (["scan", "digits-cnn"], "no data given"),
    "epsilon above 1": (["scan", "digits-cnn", "--data", "digits", "--epsilon", "8"], "did you mean 8/255"),
    "negative epsilon": (["scan", "digits-cnn", "--data", "digits", "--epsilon", "-0.1"], "epsilon"),
    "epsilon that is no number": (["scan", "digits-cnn", "--data", "digits", "--epsilon", "big"], "not a number"),
    "unknown attack": (["scan", "digits-cnn", "--data", "digits", "--attack", "pdg"], "did you mean pgd"),
    "steps for fgsm": (
        ["scan", "digits-cnn", "--data", "digits", "--attack", "fgsm", "--steps", "3"],
        "no attack here takes it",
    ),
    "unknown option": (["scan", "digits-cnn", "--dta", "digits"], "No such option"),
    "unknown command": (["scna"], "No such command"),
    "unknown profile": (["scan", "digits-cnn", "--profile", "quik"], "did you mean quick"),
    "empty glob": (["scan", "digits-cnn", "--data", "digits", "--layers", "layer9.*"], "layer9.*"),
    "empty neuron glob": (["scan", "digits-cnn", "--data", "digits", "--neurons", "layer9.*"], "layer9.*"),
    "bad mean": (["scan", "digits-cnn", "--data", "digits", "--mean", "a,b"], "--mean a,b"),
    "mean in 0..255": (["scan", "digits-cnn", "--data", "digits", "--mean", "123.7", "--std", "58.4"], "255"),
    "bad model argument": (["scan", "digits-cnn", "--data", "digits", "--model-arg", "x"], "KEY=VALUE"),
    "bad slice": (["scan", "digits-cnn", "--data", "digits", "--slice", "9"], "slice"),
    "empty slice": (["scan", "digits-cnn", "--data", "digits", "--slice", "9:9"], "9:9"),
    "no samples": (["scan", "digits-cnn", "--data", "digits", "--samples", "0"], "samples"),
    "cuda absent": (["scan", "digits-cnn", "--data", "digits", "--device", "cuda"], "cuda is not available"),
    "unknown device": (["scan", "digits-cnn", "--data", "digits", "--device", "tpu"], "device"),
    "out is a file": (["scan", "digits-cnn", "--data", "digits", "--out", "file.txt"], "is a file"),
    "wrong rank": (["scan", "moons-mlp", "--data", "digits"], "the model wants 2 features"),
    "unknown topic": (["list", "atacks"], "there is attacks"),
}


@pytest.mark.slow_for("empty neuron glob")
@pytest.mark.parametrize("case", sorted(BAD_INPUT))
def test_bad_input_is_one_line_and_exit_code_2(case, here, capsys):
    arguments, message = BAD_INPUT[case]
    if case == "cuda absent":
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has CUDA")
    (here / "file.txt").write_text("x")
    assert main(arguments) == 2
    streams = capsys.readouterr()
    assert message in streams.err
    errors = [line for line in streams.err.splitlines() if line.startswith("lsa-audit: error: ")]
    assert streams.err.splitlines()[-1:] == errors
    assert streams.out == ""
    assert [path.name for path in here.iterdir() if path.name != "reports"] == ["file.txt"]


BAD_MODELS = {
    "raises in forward": (
        "class Net(nn.Module):\n    def forward(self, x):\n        raise KeyError('lost')\nmake = Net\n",
        "failed in forward",
    ),
    "not [N, K]": ("def make():\n    return nn.Conv2d(1, 4, 3)\n", "must return logits [N, K]"),
    "a dict without scores": (
        "class Net(nn.Module):\n    def forward(self, x):\n        return {'maps': x.repeat(1, 2, 1, 1)}\nmake = Net\n",
        "returns no scores [N, K]: maps [N, 2, 8, 8]; a classifier must return logits [N, K]",
    ),
    "two outputs": (
        "class Net(nn.Module):\n    def forward(self, x):\n        return x.flatten(1), x.flatten(1)\nmake = Net\n",
        "0 [N, 64], 1 [N, 64]; give --logits NAME or INDEX",
    ),
    "NaN weights": (
        LINEAR.replace("return ", "net = ") + "    nn.init.constant_(net[1].bias, float('nan'))\n    return net\n",
        "NaN",
    ),
    "wrong size": ("def make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(65, 10))\n", "--input-size"),
    "raises when built": ("def make():\n    return 1 / 0\n", "ZeroDivisionError"),
    "not a module": ("def make():\n    return 'net'\n", "str"),
}


@pytest.mark.parametrize("case", sorted(BAD_MODELS))
def test_models_that_are_no_classifiers_are_refused_in_one_line(case, here, capsys):
    body, message = BAD_MODELS[case]
    assert main(["scan", write_factory(here, body), "--data", "digits", *FAST]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


BAD_ARRAYS = {
    "outside [0, 1]": ({"images": np.full((4, 8, 8), 3.5, np.float32), "labels": np.arange(4)}, "3.5"),
    "NaN pixel": ({"images": np.full((4, 8, 8), np.nan, np.float32), "labels": np.arange(4)}, "NaN"),
    "empty": ({"images": np.zeros((0, 8, 8), np.uint8), "labels": np.zeros(0, int)}, "no images"),
    "labels out of range": ({"images": np.full((2, 8, 8), 9, np.uint8), "labels": np.array([0, 77])}, "out of range"),
    "negative label": ({"images": np.full((2, 8, 8), 9, np.uint8), "labels": np.array([0, -1])}, "-1"),
    "another channel count": ({"images": np.full((2, 8, 8, 5), 9, np.uint8), "labels": np.array([0, 1])}, "data.npz"),
    "rank": ({"images": np.full((2, 8, 8, 1, 1), 9, np.uint8), "labels": np.array([0, 1])}, "data.npz"),
    "no labels": ({"images": np.full((2, 8, 8), 9, np.uint8)}, "images"),
}


@pytest.mark.parametrize("case", sorted(BAD_ARRAYS))
def test_arrays_that_are_no_images_are_refused_in_one_line(case, here, capsys):
    arrays, message = BAD_ARRAYS[case]
    np.savez(here / "data.npz", **arrays)
    assert main(["scan", "digits-cnn", "--data", "data.npz", *FAST]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_an_unwritable_folder_is_found_before_the_work(here, capsys, monkeypatch):
    blocker = here / "blocker"
    blocker.write_text("a file where a folder is needed")
    assert main(["scan", "digits-cnn", "--data", "digits", *FAST, "--out", "blocker/run"]) == 2
    streams = capsys.readouterr()
    assert "cannot write" in streams.err
    assert "clean accuracy" not in streams.err


def test_a_full_disk_leaves_nothing_behind(here, capsys, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert main(["scan", "digits-cnn", "--data", "digits", *FAST, "--neurons", "none", "--out", "run"]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_zero_gradients_are_inconclusive_and_still_reported(here, capsys):
    body = (
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.fc = nn.Linear(64, 10)\n"
        "    def forward(self, x):\n        return self.fc(torch.round(x * 4).flatten(1) / 4)\n"
        "def make():\n    return Net()\n"
    )
    command = ["scan", write_factory(here, body), "--data", "digits", "--labels", "self", "--out", "run", *FAST]
    assert main([*command, "--epsilon", "0.01"]) == 3
    assert "prediction stability" in capsys.readouterr().out
    record = json.loads((here / "run/record.json").read_text())
    errors = {(finding["rule"], finding["subject"]) for finding in record["findings"] if finding["level"] == "error"}
    assert errors >= {("zero-gradients", "fgsm@linf-0.1"), ("zero-gradients", "fgsm@linf-0.01")}


@pytest.mark.slow
def test_ctrl_c_is_130_and_leaves_no_run(here):
    command = [
        sys.executable,
        "-m",
        "lsa_audit",
        "scan",
        "digits-cnn",
        "--data",
        "digits",
        "--steps",
        "100000",
        "--out",
        "run",
    ]
    # A shell's background jobs ignore the signal, and what they start inherits that.
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    line = process.stderr.readline()
    assert "clean accuracy" in line
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.strip().splitlines() == ["lsa-audit: error: interrupted; no report was written"]
    assert list(here.iterdir()) == []


def test_an_internal_error_is_70_and_no_traceback(here, capsys, monkeypatch):
    monkeypatch.setattr("lsa_audit.cli.scan.run", lambda *_a, **_k: 1 / 0)
    assert main(["demo"]) == 70
    assert capsys.readouterr().err.startswith("lsa-audit: error: internal error: ZeroDivisionError")


def test_layers_as_table_and_as_json(here, capsys):
    assert main(["layers", "digits-cnn"]) == 0
    table = capsys.readouterr().out
    assert max(len(line) for line in table.splitlines()) <= 80
    assert main(["layers", "digits-cnn", "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["walker"] == "export"
    assert all(layer["name"] for layer in info["layers"])


def test_layers_of_a_factory_without_a_size_asks_for_it(here, capsys):
    assert main(["layers", write_factory(here, LINEAR)]) == 2
    assert "--input-size" in capsys.readouterr().err
    assert main(["layers", "net.py:make", "--input-size", "1x8x8"]) == 0


def test_init_writes_a_profile_that_scan_takes_and_never_overwrites(here, capsys):
    assert main(["init"]) == 0
    path = here / "lsa-audit.yaml"
    assert path.read_bytes() == presets()["standard"].read_bytes()
    command = ["scan", "digits-cnn", "--data", "digits", *FAST, "--neurons", "none", "--probe", "none"]
    assert main([*command, "--profile", "lsa-audit.yaml", "--out", "run"]) == 0
    assert main(["init"]) == 2
    assert main(["init", "--force"]) == 0
    assert main(["init", "nowhere/x.yaml"]) == 2


def test_slice_takes_its_whole_range(here):
    command = ["scan", "digits-cnn", "--data", "digits", *FAST[2:], "--neurons", "none", "--out", "run"]
    assert main([*command, "--slice", "10:25"]) == 0
    assert json.loads((here / "run/record.json").read_text())["clean"]["total"] == 15


@pytest.mark.parametrize("topic", ["attacks", "data", "profiles", "measures"])
def test_lists(topic, capsys):
    assert main(["list", topic]) == 0
    plain = capsys.readouterr().out.splitlines()
    assert main(["list", topic, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(plain) - 1


@pytest.mark.slow
def test_listing_and_help_do_not_import_torch():
    for arguments in (["list", "attacks"], ["--help"], ["list", "data"]):
        code = f"import sys; from lsa_audit.__main__ import main; main({arguments!r}); sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m lsa_audit list attacks | true"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False, env=environment
    )
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("attacks", "tuning", "expected"),
    [
        (["fgsm", "pgd"], {"steps": {"steps": 7}}, [{"name": "fgsm"}, {"name": "pgd", "steps": 7}]),
        (
            ["pgd", "square", "cascade", "autoattack"],
            {"steps": {"restarts": 2}, "queries": {"queries": 30}, "passes": {"passes": 500}},
            [
                {"name": "pgd", "restarts": 2},
                {"name": "square", "steps": 30},
                {"name": "cascade", "steps": 500},
                {"name": "autoattack"},
            ],
        ),
        (
            ["layer-pgd[layer3.2.conv2]", {"name": "pgd", "steps": 5}],
            {"steps": {"step_size": "1/255"}},
            [
                {"name": "layer-pgd", "layer": "layer3.2.conv2", "step_size": "1/255"},
                {"name": "pgd", "steps": 5, "step_size": "1/255"},
            ],
        ),
    ],
)
def test_steps_queries_and_passes_go_to_the_attacks_that_count_them(attacks, tuning, expected):
    assert tuned(attacks, tuning) == expected


@pytest.mark.parametrize("kind", ["steps", "queries", "passes"])
def test_a_setting_that_no_attack_takes_is_an_error(kind):
    with pytest.raises(UsageError, match=f"{kind}: no attack here takes it"):
        tuned(["fgsm"], {kind: {kind: 5}})


def test_stored_images_are_verified_and_one_changed_pixel_is_found(here, capsys):
    command = ["scan", "digits-cnn", "--data", "digits", "--samples", "20", "--attack", "pgd", "--noise", "none"]
    assert main([*command, "--layers", "none", "--neurons", "none", "--save-adversarials", "--out", "run"]) == 0
    assert main(["verify", "run"]) == 0
    assert "verified" in capsys.readouterr().out
    path = here / "run" / "evidence.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    name = next(key for key in arrays if key.startswith("adversarial/"))
    arrays[name][3, 0, 2, 2] += 1 if arrays[name].dtype == np.uint8 else 1e-3
    np.savez_compressed(path, **arrays)
    assert main(["verify", "run"]) == 1


INSIDE = ["scan", "digits-cnn", "--data", "digits", *FAST, "--out", "run"]


def record_of(*arguments: str) -> dict[str, Any]:
    """What a scan with these options wrote; the neurons of one layer are dropped unless they say otherwise."""
    assert main([*INSIDE, "--neurons", "conv1", *arguments]) == 0
    return json.loads(Path("run/record.json").read_text())


@pytest.mark.slow_except("25/2-12.5")
@pytest.mark.parametrize(
    ("text", "budget"), [("none", None), ("25/2", 12.5), pytest.param("1e3", 1000.0, marks=pytest.mark.slow)]
)
def test_a_budget_is_a_number_of_forwards_or_none(here, text, budget):
    record = record_of("--budget", text, "--probe", "none")
    assert record["settings"]["budget"] == record["screening"]["budget"] == budget
    assert budget is None or record["screening"]["spent"] <= budget


@pytest.mark.slow
def test_options_of_dropping_come_into_the_record_and_the_report(here):
    record = record_of("--neurons", "conv1,linear", "--drop-value", "mean")
    assert [(table["layer"], table["drop_value"]) for table in record["neurons"]] == [
        ("conv1", "mean"),
        ("linear", "mean"),
    ]
    page = (here / "run/report.md").read_text()
    assert "its mean" in page


def test_no_neurons_and_no_probes(here):
    record = record_of("--neurons", "none", "--probe", "none")
    assert (record["neurons"], record["screening"], record["patching"], record["filters"]) == ([], None, None, None)
    assert record["skipped"] == []


@pytest.mark.parametrize(
    "probes",
    [
        pytest.param(["--probe", "patching", "--probe", "filters"], marks=pytest.mark.slow),
        ["--probe", "patching, filters"],
    ],
)
def test_both_probes_run(here, probes):
    (here / "few.yaml").write_text("filter_samples: 3\n")
    command = [*INSIDE, "--profile", "few.yaml", "--neurons", "none", "--layers", "linear"]
    assert main([*command, *probes]) == 0
    record = json.loads((here / "run/record.json").read_text())
    assert [layer["layer"] for layer in record["patching"]["layers"]] == ["linear"]
    assert (record["filters"]["samples"], record["filters"]["layers"][0]["layer"]) == (3, "linear")


@pytest.mark.slow_for("arguments10-the nearest are conv", "arguments11-lienar")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "0"], "budget"),
        (["--budget", "-1"], "budget"),
        (["--budget", "nan"], "budget"),
        (["--budget", "inf"], "budget"),
        (["--budget", "abc"], "--budget abc is not a number"),
        (["--budget", "1/0"], "--budget 1/0 is not a number"),
        (["--budget", ""], "is not a number"),
        (["--drop-value", "median"], "'zero' or 'mean'"),
        (["--probe", "pathcing"], "'patching' or 'filters'"),
        (["--probe", "none", "--probe", "filters"], "'patching' or 'filters'"),
        (["--neurons", "conv9"], "the nearest are conv"),
        (["--neurons", "conv1,lienar"], "lienar"),
        (["--neurons", ""], "neurons"),
    ],
)
def test_bad_options_of_dropping_are_one_line_and_nothing_is_attacked(here, capsys, arguments, message, monkeypatch):
    monkeypatch.setattr("lsa_audit.scanning.audit.attack_and_measure", lambda *_a, **_k: pytest.fail("attacked"))
    assert main([*INSIDE, *arguments]) == 2
    streams = capsys.readouterr()
    last = streams.err.splitlines()[-1]
    assert last.startswith("lsa-audit: error: ")
    assert message in last
    assert streams.out == ""
    assert list(here.iterdir()) == []
