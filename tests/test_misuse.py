"""Ways to get a wrong robustness figure: each is an error or an attack-health finding, and leaves no trace."""

from __future__ import annotations

import importlib
import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import lsa_audit
from lsa_audit.errors import AuditError
from lsa_audit.records import AuditRecord
from lsa_audit.scanning import measuring

from .thinning import thin

SETTINGS = {"epsilon": [0.1], "attacks": ["fgsm", "pgd"], "noises": [], "neurons": "none", "layers": "none"}


class Small(nn.Module):
    """A convolution, a batch norm with statistics of its own, and a classifier that is right on every image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 16, 4)

    def features(self, images: Tensor) -> Tensor:
        return functional.avg_pool2d(torch.relu(self.norm(self.conv(images))), 2).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.features(images))


class Changed(Small):
    """The same with a change of what comes in and one of what goes out."""

    def __init__(self, before: Callable = lambda images: images, after: Callable = lambda logits: logits) -> None:
        super().__init__()
        self.before, self.after = before, after

    def forward(self, images: Tensor) -> Tensor:
        return self.after(super().forward(self.before(images)))


class Spoiled(torch.autograd.Function):
    """Passes values on; the gradient is NaN."""

    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("nan")


def built(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    module = make()
    with torch.no_grad():
        module.norm.running_mean.normal_()
        module.norm.running_var.uniform_(0.5, 2.0)
        module.fc.weight.mul_(4)
    return module.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def labels(images) -> Tensor:
    """The plain model's own answers, so that it is right everywhere."""
    with torch.no_grad():
        return built(Small)(images).argmax(1)


def trace(module: nn.Module) -> list[object]:
    return [
        [child.training for child in module.modules()],
        [(value.requires_grad, value.grad, value.dtype, value.tolist()) for value in module.parameters()],
        [buffer.tolist() for buffer in module.buffers()],
        [
            (len(child._forward_hooks), len(child._forward_pre_hooks), len(child._backward_hooks))
            for child in module.modules()
        ],
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),
        (torch.is_grad_enabled(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()),
    ]


def audited(module: nn.Module, images: Tensor, labels: Tensor, **settings) -> AuditRecord:
    before = trace(module)
    try:
        return lsa_audit.scan(module, (images, labels), threads=1, **{**SETTINGS, **settings})
    finally:
        assert trace(module) == before


def found(record: AuditRecord) -> set[tuple[str, str]]:
    return {(finding.rule, finding.level) for finding in record.findings if finding.group == "attack-health"}


def test_the_plain_model_gives_no_error(images, labels):
    record = audited(built(Small), images, labels, epsilon=[0.1, 0.3])
    assert not record.inconclusive
    assert record.clean.count == 40
    assert record.attacks[-1].robust_accuracy.count < 40


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda images: (images - 0.5) / 0.25, {}, r"not within \[0, 1\]"),
        (lambda images: images * 255, {}, r"not within \[0, 1\]"),
        (lambda images: images, {"epsilon": [8]}, "larger than the whole pixel range"),
        (lambda images: images.index_fill(3, torch.tensor(3), float("nan")), {}, "finite|NaN|nan"),
        (lambda images: images.index_fill(3, torch.tensor(3), float("inf")), {}, "finite|inf"),
    ],
    ids=["normalised images", "images up to 255", "epsilon 8", "a NaN pixel", "an infinite pixel"],
)
def test_images_and_epsilons_outside_the_threat_model_are_errors(images, labels, change, settings, message):
    with pytest.raises(AuditError, match=message):
        audited(built(Small), change(images), labels, **settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Changed(after=lambda logits: logits.round().long()), r"of int64 for 2 images; .*\[N, K\]"),
        (lambda: Changed(before=lambda images: images.double()), "[Dd]ouble|float64"),
        (lambda: Changed(after=lambda logits: logits / 0), "finite|NaN|nan"),
    ],
    ids=["whole numbers", "images made float64", "NaN logits"],
)
def test_models_that_do_not_give_logits_are_errors(images, labels, make, message):
    with pytest.raises(AuditError, match=message):
        audited(built(make), images, labels)


@pytest.mark.slow_except("detached", "random", "batch")
@pytest.mark.parametrize(
    ("make", "rule", "level"),
    [
        (lambda: Changed(before=lambda images: torch.round(images * 20) / 20), "zero-gradients", "error"),
        (lambda: Changed(before=lambda images: images.detach()), "zero-gradients", "error"),
        (lambda: Changed(after=Spoiled.apply), "nonfinite-gradients", "error"),
        (lambda: Changed(after=lambda logits: logits * 1e4), "zero-gradients", "error"),
        (lambda: Changed(after=lambda logits: logits * 1e4), "saturated-logits", "warning"),
        (lambda: Changed(after=lambda logits: logits + torch.randn_like(logits)), "random-outputs", "error"),
        (lambda: Changed(before=lambda images: images - images.mean(0) + 0.5), "batch-coupled", "error"),
    ],
    ids=[
        "rounded",
        "detached",
        "NaN gradients",
        "saturated: gradients",
        "saturated: logits",
        "random",
        "batch",
    ],
)
def test_models_on_which_attacks_fail_are_findings(images, labels, make, rule, level):
    record = audited(built(make), images, labels)
    assert (rule, level) in found(record)
    if level == "error":
        assert record.inconclusive


ENDINGS = {
    "a dict": lambda logits: {"logits": logits},
    "classes": lambda logits: logits.argmax(1),
    "softmax": lambda logits: logits.softmax(1),
    "sigmoids": torch.sigmoid,
    "tanh": torch.tanh,
    "sigmoids that share 1": lambda logits: logits.sigmoid() / logits.sigmoid().sum(1, keepdim=True),
    "labels too": lambda logits: (logits.argmax(1), logits),
}


@pytest.mark.slow_except("classes", "labels too")
@pytest.mark.parametrize("after", ENDINGS.values(), ids=ENDINGS)
def test_what_stands_behind_the_logits_changes_no_figure(images, labels, after):
    plain, record = (audited(built(make), images, labels) for make in (Small, lambda: Changed(after=after)))
    assert [entry.robust_accuracy for entry in record.attacks] == [entry.robust_accuracy for entry in plain.attacks]
    assert record.clean == plain.clean
    assert found(record) == found(plain)


def test_probabilities_that_nothing_can_be_removed_from_are_attacked_and_told(images, labels):
    """As `logsumexp` is no activation that is looked for."""

    def by_hand() -> nn.Module:
        return Changed(after=lambda logits: (logits - logits.logsumexp(1, keepdim=True)).exp())

    plain, record = (audited(built(make), images, labels) for make in (Small, by_hand))
    assert ("probability-outputs", "note") in found(record)
    assert record.attacks[-1].robust_accuracy.count <= plain.attacks[-1].robust_accuracy.count + 1


@pytest.mark.slow
def test_a_model_in_training_mode_is_audited_in_eval_mode_and_told_so(images, labels):
    plain = audited(built(Small), images, labels)
    training = audited(built(Small).train(), images, labels)
    assert ("training-mode", "note") in found(training)
    assert [attack.robust_accuracy for attack in training.attacks] == [
        attack.robust_accuracy for attack in plain.attacks
    ]


@pytest.mark.slow
def test_a_frozen_batch_norm_in_a_training_model_stays_as_it_is(images, labels):
    module = built(Small).train()
    module.norm.eval()
    module.norm.requires_grad_(False)
    record = audited(module, images, labels)
    assert ("training-mode", "note") in found(record)
    assert record.clean.count == 40


@pytest.mark.slow
@pytest.mark.parametrize("mode", [pytest.param(torch.no_grad, marks=pytest.mark.slow), torch.inference_mode])
def test_a_caller_without_gradients_gets_the_same_record(images, labels, mode):
    plain = audited(built(Small), images, labels)
    module = built(Small)
    with mode():
        record = audited(module, images, labels)
    assert [attack.robust_accuracy for attack in record.attacks] == [attack.robust_accuracy for attack in plain.attacks]
    assert found(record) == set()


INSIDE = {
    **{"epsilon": [0.3], "attacks": ["fgsm"], "neurons": "all", "layers": "learnable", "budget": 20.0},
    **{"probes": ["patching", "filters"], "filter_samples": 3, "drop_value": "mean"},
}


class Hooked(Small):
    """Cannot be exported, as it looks at values; its modules are hooked."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * (1.0 if float(images.detach().numpy().sum()) >= 0 else 2.0)


def in_use(make: Callable[[], nn.Module], images: Tensor, labels: Tensor) -> nn.Module:
    """In the middle of training: flags, frozen parameters, gradients and a hook of its own."""
    module = built(make)
    functional.cross_entropy(module(images), labels).backward()
    module.train()
    module.norm.eval()
    module.norm.requires_grad_(False)
    module.fc.register_forward_hook(lambda *_: None)
    return module


@pytest.mark.slow_except("Hooked")
@pytest.mark.parametrize("make", [Small, Hooked])
def test_dropping_patching_and_filtering_leave_no_trace(images, labels, make):
    record = audited(in_use(make, images, labels), images, labels, **INSIDE)
    assert record.graph.walker == ("hooks" if make is Hooked else "export")
    assert record.screening.pairs_measured > 0
    assert record.patching.lost > 0
    assert record.filters.samples == 3


BREAKS = itertools.product(
    ("survey", "dropout", "patching", "filters"), (RuntimeError("broken"), KeyboardInterrupt()), (Small, Hooked)
)


@pytest.mark.slow_for("patching-error8-Small", "dropout-error6-Small")
@pytest.mark.parametrize(("where", "error", "make"), thin(BREAKS))
def test_a_probe_that_breaks_off_leaves_no_trace(images, labels, monkeypatch, where, error, make):
    probe = importlib.import_module(f"lsa_audit.measurements.{where}")
    judge, calls = probe.verdicts, []

    def broken(*arguments):
        calls.append(where)
        if len(calls) == 3:
            raise error
        return judge(*arguments)

    monkeypatch.setattr(probe, "verdicts", broken)
    with pytest.raises(type(error)):
        audited(in_use(make, images, labels), images, labels, **INSIDE, batch_size=20)
    assert len(calls) == 3


def test_an_attack_that_breaks_off_on_a_filtered_model_leaves_its_weights(images, labels, monkeypatch):
    judge, calls = measuring.judge_run, []

    def broken(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return judge(*arguments)

    monkeypatch.setattr(measuring, "judge_run", broken)
    with pytest.raises(KeyboardInterrupt):
        audited(in_use(Small, images, labels), images, labels, **INSIDE)
    assert len(calls) == 5
