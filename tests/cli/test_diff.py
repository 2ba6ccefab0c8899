"""`lsa-audit diff` as a shell sees it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer

from lsa_audit.cli.diff import command
from lsa_audit.errors import AuditError, DataError, OutputError, UnsafeError, UsageError
from lsa_audit.gating.baselines import read_side, write_baseline
from lsa_audit.records import AuditRecord
from lsa_audit.records.snapshot import Baseline
from lsa_audit.stats.statistics import estimate

from ..reporting.builders import RESNET, attacked, build, measured, perturbation

FGSM, PGD = perturbation("fgsm", 8 / 255), perturbation("pgd", 8 / 255)
app = typer.Typer(pretty_exceptions_enable=False)
app.command()(command)


def called(*arguments: object) -> int:
    return app(args=[str(argument) for argument in arguments], standalone_mode=False)


def written(folder: Path, record: AuditRecord, robust: int, start: int = 0) -> Path:
    """A run whose images are those from `start` on, and whose attacks leave the first `robust` of all right."""
    images = np.arange(start, start + record.clean.total)
    labels = images % 10
    evidence = {
        "image_ids": np.asarray([f"img-{image}" for image in images]),
        "image_digests": images.astype("<u8").view(np.uint8).reshape(-1, 8),
        "labels": labels,
        "clean_predictions": np.where(images % 20 == 0, 10, labels),
    }
    right, correct = images < robust, images % 20 != 0
    for result in record.attacks:
        evidence[f"right/{result.perturbation.id}"] = right
    left = estimate(int((right & correct).sum()), len(images))
    attacks = tuple(result.model_copy(update={"robust_accuracy": left}) for result in record.attacks)
    record = record.model_copy(update={"clean": estimate(int(correct.sum()), len(images)), "attacks": attacks})
    for entry in record.sustainability:
        means = np.asarray([layer.mean for layer in entry.layers])
        noise = np.random.default_rng(start).lognormal(0, 0.1, (len(means), len(images)))
        evidence[f"measure/{entry.perturbation}"] = (means[:, None] * noise).astype(np.float32)
    folder.mkdir()
    (folder / "record.json").write_text(record.model_dump_json())
    np.savez_compressed(folder / "evidence.npz", **evidence)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, the baseline made of it, and runs of another normalisation, of fewer images, and of another epsilon."""
    folder = tmp_path_factory.mktemp("runs")
    attacks = attacked(FGSM, 120), attacked(PGD, 120)
    moved = (measured(PGD.id, RESNET, 0.5, (5,)),)
    main = build(attacks=attacks, sustainability=moved)
    written(folder / "main", main, 120)
    shifted = main.model.model_copy(update={"mean": (0.1, 0.2, 0.3)})
    further = (measured(PGD.id, RESNET, 0.9, (6,)),)
    written(folder / "shifted", build(attacks=attacks, sustainability=further, model=shifted), 40)
    more = (*attacks, attacked(perturbation("pgd", 2 / 255), 120))
    written(folder / "fewer", build(attacks=more, sustainability=moved), 120, start=150)
    written(folder / "other", build(attacks=more[2:], sustainability=()), 120)
    write_baseline(folder / "baseline", Baseline(snapshot=read_side(folder / "main", lambda _: ()), history=()))
    return folder


def test_a_run_and_itself(runs, capsys):
    assert called(runs / "main", runs / "main" / "record.json") == 0
    shown = capsys.readouterr().out
    assert "No difference shown. Of 4 shares of right images none shows a difference." in " ".join(shown.split())
    assert "Also different" not in shown


def test_what_got_worse_per_attack_class_image_and_layer(runs, capsys):
    assert called(runs / "main", runs / "shifted", "--format", "json", "--images", "2") == 0
    found = json.loads(capsys.readouterr().out)
    changes = {entry["id"]: (entry["gained"], entry["lost"], entry["trend"]) for entry in found["accuracy"]}
    # Every twentieth image is wrong before and after; of the images 40 to 119 those are four.
    worse = (0, 76, "worse")
    assert changes == {"clean": (0, 0, "no-difference-shown"), "linf-8/255": worse, FGSM.id: worse, PGD.id: worse}
    clean, hardest = found["flipped"]
    assert (clean["newly_wrong"], hardest["newly_wrong"], hardest["wrong_images"]) == (0, 76, ["img-41", "img-42"])
    table = found["classes"][1]
    assert (table["under"], {entry["lost"] for entry in table["classes"]}) == ("linf-8/255", {8, 4})
    (layers,) = found["layers"]
    assert layers["paired"]
    assert (layers["mvl_before"], layers["mvl_after"]) == (["layer3.0.conv1"], ["linear"])
    assert {entry["layer"]: entry["trend"] for entry in layers["layers"]}["linear"] == "worse"
    assert [entry["what"] for entry in found["differences"]] == ["model mean"]


def test_what_only_one_run_has_is_listed_first(runs, capsys):
    assert called(runs / "main", runs / "fewer") == 0
    shown = capsys.readouterr().out
    assert "images that only one run has (150 of 200 before, 150 of 200 after)" in shown
    assert shown.index("(not run before, run after)") < shown.index("Of 4 shares")


def test_a_baseline_on_either_side(runs, capsys):
    for pair in ((runs / "baseline", runs / "shifted"), (runs / "shifted", runs / "baseline" / "baseline.json")):
        assert called(*pair, "--format", "json") == 0
        found = json.loads(capsys.readouterr().out)
        assert {found["before"]["kind"], found["after"]["kind"]} == {"run", "baseline"}
        assert (found["named_by"], found["environment_known"]) == ("image-id", False)
        assert not found["layers"][0]["paired"]
    assert called(runs / "baseline", runs / "baseline", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["named_by"], found["classes"]) == ("digest", [])


@pytest.mark.slow_except("terminal-before: ", "json-{")
@pytest.mark.parametrize(
    ("form", "start"),
    [("terminal", "before: "), ("markdown", "# From main"), ("html", "<!doctype html>"), ("json", "{")],
)
def test_every_format_goes_into_a_file_or_out(runs, tmp_path, capsys, form, start):
    file = tmp_path / "diff"
    assert called(runs / "main", runs / "shifted", "--format", form, "--out", file) == 0
    assert capsys.readouterr().out == ""
    assert file.read_text().startswith(start)
    assert called(runs / "main", runs / "shifted", "--format", form) == 0
    assert capsys.readouterr().out == file.read_text()


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("main", "other"), UsageError, "no perturbation can be compared"),
        (("main", "nowhere"), UsageError, "nowhere"),
        (("main", "shifted", "--format", "pdf"), UsageError, "--format pdf is not known"),
    ],
)
def test_incomparable_runs_and_wrong_options_exit_with_2(runs, monkeypatch, arguments, error, said):
    monkeypatch.chdir(runs)
    with pytest.raises(error, match=said) as raised:
        called(*arguments)
    assert raised.value.exit_code == 2


def test_a_file_that_cannot_be_written(runs, tmp_path):
    with pytest.raises(OutputError):
        called(runs / "main", runs / "main", "--out", tmp_path / "missing" / "diff.md")


@pytest.mark.parametrize(
    ("file", "content", "error"),
    [
        ("record.json", b"{}", UsageError),
        ("evidence.npz", b"PK\x03\x04", UnsafeError),
        ("baseline.json", b"[]", DataError),
    ],
)
def test_damaged_files_are_refused_on_one_line(runs, tmp_path, file, content, error):
    run = shutil.copytree(runs / "main", tmp_path / "run")
    (run / file).write_bytes(content)
    with pytest.raises(error) as raised:
        called(runs / "main", run)
    assert isinstance(raised.value, AuditError)
    assert "\n" not in str(raised.value)
