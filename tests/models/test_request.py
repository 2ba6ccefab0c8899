from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from lsa_audit.models import ModelRequest


def test_requests_are_frozen_and_share_no_arguments() -> None:
    first, second = ModelRequest("resnet18"), ModelRequest("resnet18")
    assert first == second
    assert first.arguments is not second.arguments
    with pytest.raises(FrozenInstanceError):
        first.seed = 1  # type: ignore[misc]
