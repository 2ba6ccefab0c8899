"""Questions about values get the answers of a real run again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.graph.replay import answers, replayed


class Asking(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.max() > 2:
            x = x * x.min().item()
        return x + int(x.sum()) + sum(x[0].tolist()) + torch.equal(x, x)


IMAGES = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


def test_every_question_of_a_forward_is_answered_in_order():
    assert answers(Asking(), IMAGES) == [True, 1.0, 10, [1.0, 2.0], True]
    assert answers(Asking(), IMAGES / 2) == [False, 5, [0.5, 1.0], True]
    assert answers(nn.Linear(2, 2), IMAGES) == []


def test_answers_are_given_again_to_every_forward():
    given = answers(Asking(), IMAGES)
    with replayed(given):
        once, again = Asking()(IMAGES * 0), Asking()(IMAGES * 0)
    assert torch.equal(once, torch.full((2, 2), 14.0))
    assert torch.equal(again, once)
    assert torch.equal(Asking()(IMAGES * 0), torch.ones(2, 2))


def test_a_forward_that_fails_leaves_nothing_behind():
    with pytest.raises(RuntimeError), replayed([True]):
        raise RuntimeError
    assert bool(torch.tensor(0)) is False
