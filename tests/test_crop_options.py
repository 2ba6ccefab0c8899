"""`crop` and `interpolation` as settings of a scan, and what the record says of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import lsa_audit
from lsa_audit.errors import ProfileError, UsageError

QUICK: dict[str, Any] = {
    "attacks": ["fgsm"],
    "noises": [],
    "epsilon": ["8/255"],
    "neurons": "none",
    "probes": [],
    "layers": "none",
    "threads": 1,
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)).eval()


def arrays() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3


def test_a_crop_of_arrays_is_in_the_record() -> None:
    given = {"crop": 0.5, "interpolation": "bilinear", "input_size": "1x24x24"}
    record = lsa_audit.scan(network(), arrays(), **QUICK, **given)
    assert (record.model.crop_share, record.model.interpolation) == (0.5, "bilinear")
    assert record.data.transforms == (
        "resized 8x8 to 48x48 (bilinear, antialiased), centre crop 24x24",
        "enlarged 6 times: the images hold far less detail than the model's input",
    )
    assert record.data.enlarged is not None


def test_without_a_size_a_crop_means_nothing() -> None:
    with pytest.raises(UsageError, match="give --input-size CxHxW"):
        lsa_audit.scan(network(), arrays(), **QUICK, crop=0.5)


@pytest.mark.parametrize("given", [{"crop": 0.0}, {"crop": 1.5}, {"crop": float("nan")}, {"interpolation": "magic"}])
def test_a_wrong_value_is_a_mistake_in_the_profile(given: dict[str, Any]) -> None:
    with pytest.raises(ProfileError, match=next(iter(given))):
        lsa_audit.scan(network(), arrays(), **QUICK, **given)
