"""What counts as an answer, and as a right one."""

from __future__ import annotations

import pytest
import torch

from lsa_audit.attacks.base import Batch, judge
from lsa_audit.attacks.budget import Budget
from lsa_audit.measurements.measures import verdicts
from lsa_audit.models.answers import NO_ANSWER, has_answer, is_right, predicted
from lsa_audit.models.parity import relative_difference

NAN, INF = torch.nan, torch.inf
CASES = [
    ([1.0, 3.0, 2.0], 1),
    ([NAN, 3.0, 2.0], NO_ANSWER),
    ([1.0, NAN, 2.0], NO_ANSWER),
    ([1.0, INF, 2.0], NO_ANSWER),
    ([INF, 3.0, 2.0], NO_ANSWER),
    ([-INF, 3.0, 2.0], 1),
    ([1.0, -INF, -INF], 0),
    ([-INF, -INF, -INF], NO_ANSWER),
]


@pytest.mark.parametrize(("logits", "expected"), CASES)
def test_one_definition_of_right(logits, expected):
    rows = torch.tensor([logits])
    assert predicted(rows).tolist() == [expected]
    assert has_answer(rows).tolist() == [expected != NO_ANSWER]
    for label in range(3):
        labels = torch.tensor([label])
        assert is_right(rows, labels).tolist() == verdicts(rows, labels)[0].tolist() == [label == expected]
        image = Batch(torch.zeros(1, 3), labels, ("0",))
        module = torch.nn.Module()
        module.forward = lambda images: rows + 0 * images
        outcome = judge(module, lambda target, where, draws: target.images[where], image, Budget("linf", 0.1), seed=0)
        assert outcome.right.tolist() == [label == expected]
        assert outcome.nonfinite.tolist() == [expected == NO_ANSWER]


def test_the_same_masked_class_is_no_difference():
    first = torch.tensor([[1.0, -INF], [2.0, -INF]])
    assert relative_difference(first, first) == 0
    assert relative_difference(first + 0.5, first) == 0.25
    assert relative_difference(first.nan_to_num(neginf=0.0), first) == INF
    assert relative_difference(torch.tensor([[NAN, 1.0]]), torch.tensor([[0.0, 1.0]])) == INF
