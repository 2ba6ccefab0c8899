"""Networks without usable weights: lazy layers before their first batch, tensors of the meta device or of inference."""

from __future__ import annotations

from torch import nn
from torch.nn.parameter import is_lazy

from ..errors import ModelError


def check_filled(network: nn.Module, label: str) -> None:
    """Refuse a network with a parameter or buffer that holds no values.

    Args:
        network: as it was given or built.
        label: how the user named it.

    Raises:
        ModelError: a parameter or buffer has no size yet, a size and no values, or values that allow no gradients.
    """
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if is_lazy(tensor):
            raise ModelError(f"{label}: {name} has no size yet", "run the lazy layers on one batch first")
        if tensor.is_meta:
            raise ModelError(f"{label}: {name} is on the meta device and holds no values", "load its weights first")
        if tensor.is_inference():
            what = f"{label}: {name} was created under torch.inference_mode, which allows no gradients"
            raise ModelError(what, "build the model outside of it, or give copy.deepcopy(model)")
