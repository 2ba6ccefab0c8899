"""Weights that are no numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import ModelError


def check_finite(network: nn.Module, name: str) -> None:
    """Refuse weights that are NaN or infinite; masks, which lie in buffers or in vectors, may hold -inf.

    Args:
        name: of the model, for the message.

    Raises:
        ModelError: names the weight.
    """
    parameters = {own for own, _ in network.named_parameters(remove_duplicate=False)}
    for own, tensor in network.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            continue
        mask = own not in parameters or tensor.squeeze().dim() <= 1
        fine = torch.isfinite(tensor) | (torch.isneginf(tensor) & mask)
        if not fine.all():
            raise ModelError(f"{name}: weight {own} holds NaN or infinite values", "give another checkpoint")
