"""What a model answers, and whether that is right: one definition for every verdict."""

from __future__ import annotations

import torch
from torch import Tensor

NO_ANSWER = -1


def predicted(logits: Tensor) -> Tensor:
    """[N] int64, the class of the largest logit; -1 where logits [N, K] give no answer.

    An answer needs a finite largest logit: NaN anywhere, plus infinity, or minus infinity throughout is none. Minus
    infinity beside a finite logit is an answer: models mask classes that way.
    """
    largest, classes = logits.max(1)
    return classes.masked_fill(~torch.isfinite(largest), NO_ANSWER)


def is_right(logits: Tensor, labels: Tensor) -> Tensor:
    """[N] bool, whether the answer to each image is its label [N]; never where there is no answer."""
    return predicted(logits) == labels


def has_answer(logits: Tensor) -> Tensor:
    """[N] bool, whether logits [N, K] name a class; see `predicted`."""
    return torch.isfinite(logits.amax(1))
