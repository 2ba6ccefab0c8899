"""What export leaves behind is taken away again."""

from __future__ import annotations

import logging
import sys
import warnings

import pytest
import torch
from torch import nn

from lsa_audit.graph.isolation import without_caches, without_fast_path
from lsa_audit.models.quiet import quiet
from lsa_audit.models.state import restored


def test_attributes_and_containers_come_back_also_after_an_exception():
    module = nn.LSTM(2, 3)
    module.cache = {"a": torch.ones(1)}
    module.names = {"x"}
    weights, cache, held = module._flat_weights, module.cache, module.cache["a"]

    def disturb() -> None:
        with restored(module):
            module._flat_weights[0] = None
            module.cache["b"] = 1
            module.cache["a"] = 2
            module.names.clear()
            module.new = 3
            del module.bias
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        disturb()
    assert module._flat_weights is weights
    assert weights[0] is module.weight_ih_l0
    assert module.cache is cache
    assert list(cache) == ["a"]
    assert cache["a"] is held
    assert module.names == {"x"}
    assert module.bias is True
    assert not hasattr(module, "new")


def test_only_dictionaries_of_tensors_are_emptied():
    module = nn.Linear(2, 2)
    module.cache, module.mixed = {"a": torch.ones(1)}, {"a": torch.ones(1), "b": 2}
    with restored(module), without_caches(module):
        assert module.cache == {}
        assert len(module.mixed) == 2
        assert len(list(module.parameters())) == 2
    assert list(module.cache) == ["a"]


def test_quiet_drops_warnings_log_lines_and_listings(capfd, caplog: pytest.LogCaptureFixture):
    logger = logging.getLogger("torch.export.somewhere")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet():
            warnings.warn("inside", stacklevel=1)
            logger.error("inside")
            print("inside", file=sys.stderr)  # noqa: T201
        warnings.warn("outside", stacklevel=1)
        logger.error("outside")
    assert [str(entry.message) for entry in caught] == ["outside"]
    assert [record.message for record in caplog.records] == ["outside"]
    assert "inside" not in capfd.readouterr().err


@pytest.mark.parametrize("enabled", [True, False])
def test_the_fast_path_comes_back_as_it_was(enabled: bool):
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        with without_fast_path():
            assert torch.backends.mha.get_fastpath_enabled() is False
        assert torch.backends.mha.get_fastpath_enabled() is enabled
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
