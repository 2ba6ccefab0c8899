"""What `lsa_audit.scan` takes from Python, and what it leaves behind."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lsa_audit
from lsa_audit.errors import ProfileError, UnsafeError, UsageError
from lsa_audit.models import from_script
from lsa_audit.models.request import ModelRequest
from lsa_audit.progress import Silent, shown
from lsa_audit.records import AuditRecord
from lsa_audit.scanning.audit import make_profile

SETTINGS = {"attacks": ["fgsm"], "noises": [], "neurons": "none", "layers": "none", "probes": [], "threads": 1}
README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def linear() -> nn.Module:
    torch.manual_seed(20)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()


IMAGES = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(1))
LABELS = linear()(IMAGES).argmax(1)
PAIRS = TensorDataset(IMAGES, LABELS)


def right_under_fgsm(epsilon: float) -> int:
    """Images that a linear model keeps right under one signed step, computed beside the tool."""
    leaf = IMAGES.clone().requires_grad_(True)
    torch.nn.functional.cross_entropy(linear()(leaf), LABELS, reduction="sum").backward()
    moved = (IMAGES + epsilon * leaf.grad.sign()).clamp(0, 1)
    return int((linear()(moved).argmax(1) == LABELS).sum())


@pytest.mark.parametrize(
    "around",
    [
        torch.inference_mode,
        pytest.param(torch.no_grad, marks=pytest.mark.slow),
        pytest.param(torch.enable_grad, marks=pytest.mark.slow),
    ],
)
def test_a_loader_is_audited_and_the_modes_of_caller_and_model_are_as_before(around):
    module = linear().train()
    module[1].requires_grad_(False)
    settings = {**SETTINGS, "labels": "dataset"}
    with around():
        before = (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
        record = lsa_audit.scan(module, DataLoader(PAIRS, batch_size=6), epsilon=0.05, **settings)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    assert record.attacks[0].robust_accuracy.count == right_under_fgsm(0.05) < 24
    assert module.training
    assert not module[1].weight.requires_grad


@pytest.mark.parametrize("kind", [torch.jit.script, lambda module: torch.jit.trace(module, IMAGES[:2])])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_module_of_torchscript_becomes_the_network_that_it_was_made_from(kind):
    module = kind(linear()).train()
    model = from_script(module, ModelRequest(""))
    assert torch.equal(model.module(IMAGES), linear()(IMAGES))
    assert (model.name, model.weights) == ("Sequential", "as given in memory")
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_module_of_torchscript_is_audited():
    settings = {**SETTINGS, "labels": "dataset", "layers": "learnable"}
    record = lsa_audit.scan(torch.jit.script(linear()), PAIRS, epsilon="0.05", **settings)
    assert record.attacks[0].robust_accuracy.count == right_under_fgsm(0.05)
    assert (record.subject, record.graph.walker) == (None, "export")
    assert [layer.name for layer in record.graph.layers] == ["1"]


@pytest.mark.parametrize("epsilon", [8 / 255, "8/255", ["8/255"], (8 / 255,), np.float32(8 / 255), "8 / 255"])
def test_an_epsilon_is_a_number_a_text_or_a_list(epsilon):
    of_all, of_one = {"epsilon": epsilon}, {"attacks": [{"name": "pgd", "epsilon": epsilon}]}
    assert make_profile({"arguments": of_all}).epsilon == pytest.approx((8 / 255,))
    assert make_profile({"arguments": of_one}).attacks[0].epsilon == pytest.approx((8 / 255,))


def test_several_epsilons_in_one_text():
    assert make_profile({"arguments": {"epsilon": "2/255, 8/255"}}).epsilon == (2 / 255, 8 / 255)


@pytest.mark.parametrize("epsilon", ["big", True, [], {}, [[0.1]], "", None])
def test_other_epsilons_are_one_mistake(epsilon):
    with pytest.raises(ProfileError, match=r"^arguments: epsilon") as caught:
        make_profile({"arguments": {"epsilon": epsilon}})
    assert caught.value.what.count("arguments:") == 1


class Listener:
    def stage(self, name: str, total: int) -> None: ...

    def advance(self, units: int) -> None: ...

    def message(self, text: str) -> None: ...


def test_progress_is_true_false_none_or_an_object(capsys):
    listener = Listener()
    with shown(None) as first, shown(False) as second, shown(listener) as third, shown(True) as terminal:
        assert (type(first), type(second), third) == (Silent, Silent, listener)
        terminal.stage("attack", 7)
        terminal.advance(3)
        terminal.message("a line")
    assert capsys.readouterr() == ("", "a line\n")
    for wrong in (1, "yes", Listener, object()):
        with pytest.raises(UsageError, match="give True, False, or an object"):
            shown(wrong)


def test_without_a_terminal_a_long_stage_says_a_line_a_minute(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("lsa_audit.progress.time.monotonic", lambda: now[0])
    with shown(True) as terminal:
        terminal.stage("attack", 1000)
        for _ in range(5):
            now[0] += 25
            terminal.advance(100)
    assert capsys.readouterr().err == "attack: 300 of 1,000\n"


def test_a_profile_alone_lets_no_code_run(tmp_path):
    profile = tmp_path / "p.yaml"
    for line, given in (
        ("arch: net.py:build", {"arch": "net.py:build"}),
        ("allow_code: true", {"allow_code": True}),
        (f"trusted: ['{'0' * 64}']", {"trusted": ["0" * 64]}),
    ):
        profile.write_text(f"{line}\n")
        with pytest.raises(UnsafeError, match=r"profile p.yaml .* give --"):
            lsa_audit.scan("digits-cnn", "nowhere.npz", profile=profile)
        with pytest.raises(Exception, match=r"--arch goes with|nowhere.npz"):
            lsa_audit.scan("digits-cnn", "nowhere.npz", profile=profile, **given)
    profile.write_text("arch: hf_hub:owner/name\nallow_code: false\ntrusted: []\n")
    with pytest.raises(UsageError, match="--arch goes with a checkpoint"):
        lsa_audit.scan("digits-cnn", "nowhere.npz", profile=profile)


@pytest.fixture(scope="module")
def printed() -> tuple[AuditRecord, str]:
    """The record that the README's snippet makes, and what it prints."""
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    here = {"model": linear(), "images": IMAGES, "labels": LABELS}
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        exec(code, here)  # noqa: S102 - the README is ours
    return here["record"], stream.getvalue()


def test_the_snippet_of_the_readme_prints_the_strongest_attacks_figure(printed):
    record, text = printed
    attacks = [result for result in record.attacks if result.perturbation.kind == "attack"]
    lowest = min(result.robust_accuracy.value for result in attacks)
    strongest, figure, layers = text.strip().split(maxsplit=2)
    assert lowest < max(result.robust_accuracy.value for result in record.attacks)
    assert float(figure) == lowest
    assert strongest in [result.perturbation.id for result in attacks if result.robust_accuracy.value == lowest]
    assert layers == str(record.mvl)


def test_the_strongest_attack_is_no_noise_and_the_layers_are_those_that_it_moves(printed):
    record, _ = printed
    assert record.attacks[-1].perturbation.kind == "noise"
    fewest = min((result for result in record.attacks[:2]), key=lambda result: result.robust_accuracy.count)
    layers = {entry.perturbation: entry.mvl for entry in record.sustainability}
    assert record.mvl == layers[fewest.perturbation.id]
    noise = record.model_copy(update={"attacks": record.attacks[-1:]})
    assert (noise.strongest, noise.mvl) == (None, ())
