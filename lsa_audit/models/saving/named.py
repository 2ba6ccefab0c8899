"""The weights of a network that has a name instead of a file."""

from __future__ import annotations

from safetensors.torch import save
from torch import Tensor, nn

from ...errors import ModelError

SUFFIX = ".safetensors"


def pack(network: nn.Module, name: str) -> bytes:
    """The network's state as a .safetensors file.

    Raises:
        ModelError: the state holds more than tensors.
    """
    state = network.state_dict()
    others = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise ModelError(
            f"{name} keeps {others[0]}, which is no tensor, in its state", "give it as TorchScript or ONNX"
        )
    # Copies: safetensors takes no tensors that share memory, and loading wants every name.
    return save({key: value.cpu().contiguous().clone() for key, value in state.items()}, {"format": "pt"})
