"""`lsa-audit repair` as a shell sees it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from torch import nn

from lsa_audit.__main__ import main
from lsa_audit.cli.output import RunFolder
from lsa_audit.cli.repair import _share, command
from lsa_audit.errors import UnsafeError, UsageError
from lsa_audit.progress import Silent
from lsa_audit.records import AuditRecord, DropEffect, Neuron, NeuronTable
from lsa_audit.scanning.audit import audit, make_profile

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(command)
FEW = ("--samples", 90, "--attack", "pgd")

FACTORY = """
from pathlib import Path
from torch import nn
Path("ran").touch()
def make():
    return nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 2))
"""


def called(*arguments: object) -> int:
    return app(args=[str(argument) for argument in arguments], standalone_mode=False)


def network() -> nn.Sequential:
    """Two hidden neurons carry the class, four carry noise."""
    found = nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 2))
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.zero_()
        for neuron, (feature, sign) in enumerate([(0, 1), (0, -1), (1, 1), (1, -1), (2, 1), (2, -1)]):
            found[0].weight[neuron, feature] = sign
            found[0].bias[neuron] = -0.5 * sign
            found[2].weight[1, neuron] = sign * (1 if feature == 0 else 0.5)
        found[2].weight[0] = -found[2].weight[1]
    return found.eval()


def tables(record: AuditRecord) -> tuple[NeuronTable, ...]:
    """The first two hidden neurons fragile, the others robust."""

    def effect(losses: int) -> DropEffect:
        kind = "fragile" if losses > 10 else "robust"
        drop = losses / 100
        figures = {"accuracy_drop": drop, "low": drop, "high": drop, "margin_drop": None, "p_value": 0.0}
        return DropEffect(
            neuron_class=kind,
            measured=100,
            losses=losses,
            gains=0,
            estimated_margin_drop=None,
            p_adjusted=0.0,
            **figures,
        )

    neurons = tuple(
        Neuron(neuron_index=place, clean=effect(losses), adversarial=effect(losses), targeting_score=None)
        for place, losses in enumerate([30, 28, 1, 1, 1, 1])
    )
    name = next(layer.name for layer in record.graph.layers if layer.neurons == 6)
    return (
        NeuronTable(
            layer=name,
            site=name,
            drop_value="zero",
            perturbation="pgd@linf-0.1",
            samples=100,
            neurons=neurons,
            gini=None,
            correlations=(),
        ),
    )


def scanned(folder, subject, **changes):
    settings = {
        "data": str(folder / "data.npz"),
        "samples": 100,
        "epsilon": [0.1],
        "attacks": [{"name": "pgd", "steps": 5}],
        "noises": [],
        "layers": "none",
        "neurons": "none",
        "threads": 1,
        **changes,
    }
    result = audit(str(subject), make_profile({"test": settings}), progress=Silent())
    record = result.record.model_copy(update={"neurons": tables(result.record)})
    return RunFolder.prepare(folder / "run", "m", "d").write(record, result.evidence)


def save_images(folder):
    """600 images whose first feature tells the class."""
    generator = np.random.default_rng(0)
    labels = np.arange(600) % 2
    images = 0.5 + generator.uniform(-0.05, 0.05, (600, 9))
    images[:, 0] = 0.5 + (2 * labels - 1) * generator.uniform(0.05, 0.3, 600)
    np.savez(folder / "data.npz", images=images.astype(np.float32), labels=labels)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The images, a TorchScript file, and a run on them that nobody changes."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        save_images(folder)
        torch.jit.script(network()).save("net.pt")
        scanned(Path(), "net.pt")
    return folder


@pytest.fixture
def folder(prepared, tmp_path, monkeypatch):
    """The current folder, with the images."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(prepared / "data.npz", tmp_path)
    return tmp_path


@pytest.fixture
def run(prepared, folder):
    shutil.copy(prepared / "net.pt", folder)
    return shutil.copytree(prepared / "run", folder / "run")


@pytest.mark.slow
def test_a_torchscript_file_comes_back_repaired(run, folder, capsys):
    assert called("net.pt", "--record", run, "--out", "fixed", "--attack", "pgd,square") == 0
    streams = capsys.readouterr()
    assert streams.err.endswith("report: fixed\n")
    lines = streams.out.splitlines()
    assert lines[0] == "The repair helped."
    assert max(map(len, lines)) <= 80
    assert {entry.name for entry in (folder / "fixed").iterdir()} == {
        "net-repaired.pt",
        "repair.json",
        "report.md",
        "report.html",
    }
    found = json.loads((folder / "fixed" / "repair.json").read_text())
    assert found["outcome"] == "helped"
    before, after = (torch.jit.load(path) for path in ("net.pt", "fixed/net-repaired.pt"))
    scales = torch.tensor(found["layers"][0]["scales"])
    for name, parameter in after.named_parameters():
        expected = dict(before.named_parameters())[name]
        if name.startswith("0."):
            expected = expected * scales.view(-1, *[1] * (expected.dim() - 1)).float()
        assert torch.allclose(parameter, expected)


def test_an_onnx_file_comes_back_repaired(folder):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        network(), (torch.zeros(2, 9),), "net.onnx", input_names=["x"], dynamic_shapes=({0: batch},), dynamo=True
    )
    run = scanned(folder, folder / "net.onnx")
    assert called("net.onnx", "--record", run, "--out", "fixed", *FEW) == 0
    images = np.load("data.npz")["images"][:20]
    before, after = (runtime.InferenceSession(path) for path in ("net.onnx", "fixed/net-repaired.onnx"))
    # Twice the signal, less of the noise.
    assert np.abs(after.run(None, {"x": images})[0]).sum() > 1.2 * np.abs(before.run(None, {"x": images})[0]).sum()


def test_code_runs_only_where_the_command_line_names_it(folder, capsys):
    (folder / "net.py").write_text(FACTORY)
    torch.save({"state_dict": network().state_dict(), "epoch": 3}, folder / "net.pth")
    run = scanned(folder, "net.pth", arch="net.py:make")
    (folder / "ran").unlink()
    with pytest.raises(UnsafeError, match=r"steers code.*--arch"):
        called("net.pth", "--record", run, *FEW)
    assert not (folder / "ran").exists()
    assert called("net.pth", "--record", run, "--arch", "net.py:make", "--out", "fixed", *FEW) == 0
    again = torch.load(folder / "fixed" / "net-repaired.pth", weights_only=True)
    assert again["epoch"] == 3
    assert torch.equal(again["state_dict"]["2.weight"], network()[2].weight)
    assert not torch.equal(again["state_dict"]["0.weight"], network()[0].weight)


def test_where_nothing_helps_the_report_says_so_and_no_model_is_written(run, folder, capsys):
    content = json.loads((run / "record.json").read_text())
    classes = content["neurons"][0]["neurons"]["clean"]["neuron_class"]
    classes[:] = ["null"] * len(classes)
    (run / "record.json").write_text(json.dumps(content))
    assert called("net.pt", "--record", run, "--out", "fixed", *FEW) == 0
    assert capsys.readouterr().out.startswith("No strength helped: no model was written.\n")
    assert {entry.name for entry in (folder / "fixed").iterdir()} == {"repair.json", "report.md", "report.html"}


@pytest.mark.slow
def test_json_is_the_written_record(run, folder, capsys):
    assert called("net.pt", "--record", run, "--out", "fixed", "--json", *FEW) == 0
    assert capsys.readouterr().out == (folder / "fixed" / "repair.json").read_text()


def test_a_folder_with_other_files_is_left_alone(run, folder):
    with pytest.raises(UsageError, match="holds other files"):
        called("net.pt", "--record", run, "--out", run, *FEW)


def test_the_wrong_model_is_refused_and_nothing_is_written(run, folder):
    other = network()
    with torch.no_grad():
        other[2].bias.add_(1)
    torch.jit.script(other).save("other.pt")
    with pytest.raises(UsageError, match="other weights"):
        called("other.pt", "--record", run, "--out", "fixed", *FEW)
    assert not (folder / "fixed").exists()


def test_names_from_a_hostile_record_are_escaped(run, folder, capsys):
    content = json.loads((run / "record.json").read_text())
    content["model"]["name"] = "<script>alert(1)</script>"
    content["neurons"][0]["site"] = "\x1b[31m<b>"
    (run / "record.json").write_text(json.dumps(content))
    assert called("net.pt", "--record", run, "--out", "fixed", *FEW) == 0
    assert "\x1b" not in capsys.readouterr().out
    page = (folder / "fixed" / "report.html").read_text()
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_importing_leaves_torch_out():
    code = "import sys, lsa_audit.cli.repair; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--max-clean-drop", "nan"), "--max-clean-drop"),
        (("--max-clean-drop", "-1"), "--max-clean-drop"),
        (("--max-clean-drop", "2"), "--max-clean-drop"),
        (("--max-clean-drop", "inf"), "--max-clean-drop"),
        (("--samples", "2"), "--samples"),
        (("--passes", "0"), "--passes"),
        (("--attack", "pgd,pgd"), "would run twice"),
        (("--attack", "cw-l2"), "has no linf form"),
        (("--batch-size", "0"), "batch_size"),
    ],
    ids=str,
)
def test_wrong_options_are_usage_errors_and_nothing_is_written(run, folder, capsys, arguments, said):
    assert main(["repair", "net.pt", "--record", str(run), "--out", "fixed", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not (folder / "fixed").exists()


def test_no_number_is_no_share():
    with pytest.raises(UsageError, match="nan is no share"):
        _share(float("nan"))
    assert _share(0.5) == 0.5


def _double(record):
    record["neurons"] *= 2


def _last_twice(record):
    record["neurons"][0]["neurons"]["neuron_index"][5] = 4


def _out_of_range(record):
    record["neurons"][0]["neurons"]["neuron_index"][0] = 10**9


def _elsewhere(record):
    record["neurons"][0]["perturbation"] = "pgd@linf-0.2"


def _no_epsilon(record):
    record["attacks"][0]["perturbation"]["epsilon"] = float("nan")


def _all_epsilon(record):
    record["attacks"][0]["perturbation"]["epsilon"] = float("inf")


def _unknown_setting(record):
    record["settings"]["colour"] = "red"


def _fewer_images(record):
    record["data"]["samples"] = -1


@pytest.mark.slow_for("_out_of_range-does not fit its 6 neurons", "_last_twice-does not fit its 6 neurons")
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_double, "two neuron tables of one layer"),
        (_last_twice, "does not fit its 6 neurons"),
        (_out_of_range, "does not fit its 6 neurons"),
        (_elsewhere, "holds no such attack"),
        (_no_epsilon, "epsilon nan is not a distance"),
        (_all_epsilon, "epsilon inf is not a distance"),
        (_unknown_setting, "colour is not a setting"),
        (_fewer_images, "image_ids is"),
    ],
)
def test_a_damaged_record_is_refused_in_one_line(run, folder, capsys, damage, said):
    content = json.loads((run / "record.json").read_text())
    damage(content)
    (run / "record.json").write_text(json.dumps(content))
    assert main(["repair", "net.pt", "--record", str(run), "--out", "fixed"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not (folder / "fixed").exists()


@pytest.mark.slow
def test_three_images_are_enough_to_run(run, folder):
    assert called("net.pt", "--record", run, "--out", "fixed", "--attack", "pgd", "--samples", 3) == 0
    found = json.loads((folder / "fixed" / "repair.json").read_text())
    assert (found["choosing"]["samples"], found["judging"]["samples"]) == (1, 2)


def test_a_copy_of_the_data_under_another_name_gives_no_used_image(run, folder):
    (folder / "data.npz").rename(folder / "copy.npz")
    used = {str(name) for name in np.load(run / "evidence.npz")["image_ids"]}
    assert called("net.pt", "--record", run, "--data", "copy.npz", "--out", "fixed", "--attack", "pgd") == 0
    found = json.loads((folder / "fixed" / "repair.json").read_text())
    assert found["choosing"]["samples"] + found["judging"]["samples"] == 600 - len(used)


def test_when_interrupted_nothing_is_written(run, folder, monkeypatch, capsys):
    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("lsa_audit.repairing.repair.try_all", interrupted)
    before = {entry.name for entry in folder.iterdir()}
    assert main(["repair", "net.pt", "--record", str(run), "--out", "fixed"]) == 130
    assert {entry.name for entry in folder.iterdir()} == before
