"""What a model's own code raises is one line for the user, whenever it comes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lsa_audit
from lsa_audit.errors import DataError, ExitCode, ModelError
from lsa_audit.models.failures import forward_failures

QUICK = {
    "samples": None,
    "attacks": ["fgsm"],
    "noises": [],
    "epsilon": ["8/255"],
    "neurons": "none",
    "probes": [],
    "layers": "none",
    "threads": 1,
}


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(images.flatten(1))


class BuiltInBatch(Linear):
    def forward(self, images: Tensor) -> Tensor:
        return self.fc(images.reshape(3, 16))


class TooMany(Linear):
    def forward(self, images: Tensor) -> Tensor:
        if len(images) > 8:
            raise KeyError("more than eight")
        return super().forward(images)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return images.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise NotImplementedError("no gradient\nhere")


class NoBackward(Linear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(Once.apply(images))


class Shapeless(torch.autograd.Function):
    """Its backward returns another shape than that of the images, but for the three that are tried first."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return images.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient if len(gradient) == 3 else gradient.sum()


class WrongShape(Linear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(Shapeless.apply(images))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (BuiltInBatch(), "in forward on images of shape|forward failed on images of shape"),
        (TooMany(), "forward failed on images of shape 12 x 1 x 4 x 4: KeyError: 'more than eight'"),
        (NoBackward(), "the gradient of NoBackward by its images fails: NotImplementedError: no gradient"),
        (WrongShape(), "own backward failed: RuntimeError: Function ShapelessBackward returned an invalid gradient"),
    ],
)
def test_a_scan_ends_with_one_line(network: nn.Module, words: str) -> None:
    images, labels = torch.rand(12, 1, 4, 4), torch.arange(12) % 3
    with pytest.raises(ModelError, match=words) as caught:
        lsa_audit.scan(network, (images, labels), **QUICK)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError), forward_failures():
        1 / 0  # noqa: B018 - raises
    with pytest.raises(DataError), forward_failures():
        raise DataError("no images")
