"""The gates on real weights and real images: each thing that happens to a model gives its own exit code.

docs/gates.md tells the story with the figures.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from lsa_audit.__main__ import main
from lsa_audit.records.gating import GateCheck
from lsa_audit.runs.reading import read_gating

pytestmark = [pytest.mark.realdata, pytest.mark.slow]

MODEL = f"{Path(__file__).parent / 'networks.py'}:mnist_cnn_a"
ATTACKS = ["--attack", "fgsm", "--attack", "pgd", "--steps", "20", "--noise", "none"]
REST = ["--neurons", "none", "--probe", "none", "--threads", "1"]


@pytest.fixture(scope="module")
def weights(shared) -> Path:
    return shared / "models/mnist_cnn_a_adv.model"


@pytest.fixture(scope="module")
def data(shared) -> Path:
    return shared / "data/mnist/mnist_test.npz"


@pytest.fixture(scope="module")
def baseline(weights, data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("baseline")
    assert scan(weights, data, "--out", str(folder / "run")) == 0
    assert main(["baseline", "update", str(folder / "run"), "--to", str(folder / "mnist")]) == 0
    assert (folder / "mnist/baseline.json").stat().st_size < 25_000
    return folder / "mnist"


@pytest.fixture(scope="module")
def wrong(weights, data, baseline, tmp_path_factory) -> tuple[int, Path]:
    """Exit code and folder of a scan with the wrong normalisation."""
    run = tmp_path_factory.mktemp("wrong") / "run"
    command = ["--mean", ".1307", "--std", ".3081", "--out", str(run), "--gate", "--baseline", str(baseline)]
    return scan(weights, data, *command), run


def scan(weights: Path, data: Path, *options: str, images: str = "0:1000", epsilon: str = "0.1,0.3") -> int:
    what = ["--checkpoint", str(weights), "--data", str(data), "--slice", images, "--epsilon", epsilon]
    return main(["scan", MODEL, *what, *ATTACKS, *REST, *options])


def checks(run: Path) -> dict[str, GateCheck]:
    gating = read_gating(run)
    assert gating is not None
    return {check.id: check for check in gating.checks}


def test_the_same_weights_again_pass(weights, data, baseline, tmp_path):
    assert scan(weights, data, "--out", str(tmp_path / "run"), "--gate", "--baseline", str(baseline)) == 0
    found = checks(tmp_path / "run")
    assert found["clean_accuracy:max_drop"].run_value == pytest.approx(0.956)
    assert found["robust_accuracy@linf-0.3:max_drop"].run_value == pytest.approx(0.763, abs=0.005)
    assert {check.outcome for check in found.values()} == {"passed"}


def noisy(weights: Path, folder: Path) -> Path:
    """The weights with 1 % of relative noise."""
    state = torch.load(weights, weights_only=True)
    generator = torch.Generator().manual_seed(0)
    moved = {name: each * (1 + 0.01 * torch.randn(each.shape, generator=generator)) for name, each in state.items()}
    torch.save(moved, folder / "noisy.pth")
    return folder / "noisy.pth"


def test_one_percent_of_noise_on_the_weights_passes(weights, data, baseline, tmp_path):
    """76.3 % robust fell to 75.4 % where it was measured: at most 1.6 points with 95 % confidence, 2.0 are allowed."""
    run = tmp_path / "run"
    assert scan(noisy(weights, tmp_path), data, "--out", str(run), "--gate", "--baseline", str(baseline)) == 0
    strongest = checks(run)["robust_accuracy@linf-0.3:max_drop"]
    assert (strongest.outcome, strongest.images) == ("passed", 1000)
    assert 0 < strongest.seen < strongest.high < 0.02


def test_a_wrong_normalisation_fails_by_its_robust_accuracy_alone(wrong):
    code, run = wrong
    assert code == 1
    found = checks(run)
    assert found["clean_accuracy:max_drop"].outcome == "passed"
    strongest = found["robust_accuracy@linf-0.3:max_drop"]
    assert strongest.outcome == "failed"
    assert strongest.low > 0.6
    assert {entry.what for entry in read_gating(run).differences} == {"model mean", "model std"}


def test_another_epsilon_is_refused(weights, data, baseline, tmp_path, capsys):
    run = tmp_path / "run"
    command = ["--out", str(run), "--gate", "--baseline", str(baseline)]
    assert scan(weights, data, *command, epsilon="0.1,0.25") == 2
    error = capsys.readouterr().err
    assert "pgd@linf-0.25: run, in the baseline not run" in error
    assert "pgd@linf-0.3: not run, in the baseline run" in error
    assert not run.exists()


def test_fifty_images_of_the_same_weights_pass(weights, data, baseline, tmp_path):
    run = tmp_path / "run"
    assert scan(weights, data, "--out", str(run), "--gate", "--baseline", str(baseline), images="0:50") == 0
    assert "nothing changed" in checks(run)["robust_accuracy@linf-0.3:max_drop"].sentence


def test_fifty_images_of_other_weights_do_not_decide(weights, data, baseline, tmp_path):
    run = tmp_path / "run"
    command = ["--out", str(run), "--gate", "--baseline", str(baseline)]
    assert scan(noisy(weights, tmp_path), data, *command, images="0:50") == 3
    undecided = checks(run)["robust_accuracy@linf-0.3:max_drop"]
    assert (undecided.outcome, undecided.images) == ("inconclusive", 50)
    assert 1000 < undecided.images_needed < 2000


def test_weights_that_carry_code_are_unsafe(data, baseline, tmp_path):
    class Calls:
        def __reduce__(self):
            return Path.mkdir, (tmp_path / "canary",)

    (tmp_path / "weights.pth").write_bytes(pickle.dumps(Calls(), protocol=4))
    command = ["--out", str(tmp_path / "run"), "--gate", "--baseline", str(baseline)]
    assert scan(tmp_path / "weights.pth", data, *command) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pth"]


def test_worse_runs_become_the_baseline_only_with_a_reason(wrong, baseline, tmp_path, capsys):
    _, run = wrong
    before = (baseline / "baseline.json").read_bytes()
    assert main(["baseline", "update", str(run), "--to", str(baseline)]) == 2
    assert "robust accuracy at linf-0.3 falls from 76.3 %" in capsys.readouterr().err
    assert (baseline / "baseline.json").read_bytes() == before
    accepted = tmp_path / "accepted"
    accepted.mkdir()
    (accepted / "baseline.json").write_bytes(before)
    assert main(["baseline", "update", str(run), "--to", str(accepted), "--accept", "to see it"]) == 0
    history = json.loads((accepted / "baseline.json").read_text())["history"]
    assert [entry["reason"] for entry in history] == ["first", "to see it"]
