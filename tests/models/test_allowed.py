"""The list of allowed operations holds nothing but tensor arithmetic that exists."""

from __future__ import annotations

import pytest
import torch

from lsa_audit.models.allowed import ATEN

KNOWN = {schema.name.removeprefix("aten::") for schema in torch._C._jit_get_all_schemas()}


def test_every_name_is_an_operation_or_the_in_place_form_of_one():
    assert {
        name for name in ATEN if name not in KNOWN and f"{name}_" not in KNOWN and name.rstrip("_") not in KNOWN
    } == set()


@pytest.mark.parametrize(
    "name",
    [
        "from_file",
        "save",
        "_print",
        "set_",
        "set_data",
        "resize_",
        "record_stream",
        "manual_seed",
        "set_grad_enabled",
        "_reshape_alias",
        "_cufft_clear_plan_cache",
        "pin_memory",
    ],
)
def test_what_reaches_beyond_its_tensors_is_not_on_it(name):
    assert name in KNOWN
    assert name not in ATEN
