"""Hardening on the small networks of the cases: whose options and images, and what breaks a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lsa_audit.__main__ import main

pytestmark = [pytest.mark.realdata, pytest.mark.slow]

REST = ["--epsilon", ".1", "--at", "fgsm", "--attack", "fgsm,pgd", "--validation-steps", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def cases(shared) -> Path:
    return shared / "cases"


@pytest.fixture
def scanned(cases, tmp_path, monkeypatch) -> list[str]:
    """The model; its scan with a normalisation of its own lies in reports/."""
    monkeypatch.chdir(tmp_path)
    model = f"{cases / 'nets/nets.py'}:plain"
    what = ["--data", str(cases / "data/digits8_test.npz"), "--mean", ".1", "--std", ".9", "--attack", "fgsm"]
    only = ["--epsilon", ".1", "--noise", "none", "--neurons", "none", "--probe", "none", "--layers", "none"]
    assert main(["scan", model, *what, *only, "--threads", "1"]) == 0
    return ["harden", model, *REST]


def test_the_scan_gives_data_and_options_and_is_what_the_model_is_held_against(scanned, cases, capsys):
    train, test = (str(cases / f"data/digits8_{part}.npz") for part in ("train", "test"))
    capsys.readouterr()
    assert main([*scanned, "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert "so are mean 0.1, std 0.9" in said
    assert "50 of the 128 images of digits8_test are held out and give the verdict" in said
    assert main([*scanned, "--dry-run", "--mean", ".2"]) == 2
    assert "--mean is 0.2 here and 0.1 there" in capsys.readouterr().err
    wrong = ["--mean", ".8", "--std", ".1", "--data", train, "--test", test, "--dry-run"]
    assert main([*scanned, *wrong]) == 2
    said = capsys.readouterr().err
    assert "40.6 % of the 128 images" in said
    assert "in the scan it was 98.4 %" in said


def test_one_image_under_batch_norm_is_refused_and_a_broken_model_is_explained(scanned, cases, tmp_path, capsys):
    data = ["--data", str(cases / "data/digits8_train.npz"), "--test", str(cases / "data/digits8_test.npz")]
    options = [*data, "--mean", ".1", "--std", ".9"]
    assert main([*scanned, *options, "--batch-size", "1"]) == 2
    assert "give --batch-size 2 or more, or --bn frozen" in capsys.readouterr().err
    broken = ["--batch-size", "50", "--lr", ".5", "--epochs", "3", "--out", "broken"]
    assert main([*scanned, *options, *broken]) == 3
    record = json.loads((tmp_path / "broken/hardening.json").read_text())
    assert record["reason"].startswith("the learning rate 0.5 broke the model: clean accuracy fell from 98.3 %")
    assert "try --lr 0.01" in record["reason"]
    assert record["learning_rate"]["clean"] > 0.9
