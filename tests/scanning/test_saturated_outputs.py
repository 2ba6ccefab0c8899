"""A trained network whose outputs saturate has the robust accuracy of its logits, or a finding that says why not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import lsa_audit
from lsa_audit import models
from lsa_audit.models.request import ModelRequest
from lsa_audit.records import AuditRecord

SETTINGS = {"samples": 100, "threads": 1, "epsilon": [0.15], "attacks": ["pgd"], "noises": [], "layers": "none"}


class Ending(nn.Module):
    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.end = models.load(ModelRequest("digits-cnn")).module, end

    def forward(self, images: Tensor) -> Tensor:
        return self.end(self.network(images))


def scanned(end: Callable[[Tensor], Tensor]) -> AuditRecord:
    return lsa_audit.scan(Ending(end).eval(), "digits", neurons="none", **SETTINGS)


def robust(record: AuditRecord) -> int:
    return record.attacks[0].robust_accuracy.count


def health_findings(record: AuditRecord) -> set[tuple[str, str]]:
    return {(finding.rule, finding.level) for finding in record.findings if finding.group == "attack-health"}


@pytest.fixture(scope="module")
def logits() -> AuditRecord:
    record = scanned(lambda z: z)
    assert robust(record) < 30
    return record


ENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "2 sigmoid - 1": lambda z: 2 * torch.sigmoid(z) - 1,
    "sigmoids that share 1": lambda z: torch.sigmoid(z) / torch.sigmoid(z).sum(1, keepdim=True),
    "hardtanh": functional.hardtanh,
    "ReLU": torch.relu,
}


@pytest.mark.slow_except("tanh")
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_figure_is_that_of_the_logits(end, logits) -> None:
    """With a hardtanh fewer are right before, as several classes share the largest value and the first of them wins."""
    record = scanned(end)
    assert robust(record) <= robust(logits) + 1
    assert health_findings(record) == set()


def test_where_nothing_can_be_removed_a_finding_tells(logits) -> None:
    record = scanned(lambda z: torch.tanh(z) + torch.tanh(2 * z))
    assert robust(record) > robust(logits) + 50
    assert health_findings(record) == {("saturated-outputs", "warning")}
