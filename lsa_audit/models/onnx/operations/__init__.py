"""Converters of ONNX operations, by the operation's name in the standard domain."""

from __future__ import annotations

from collections.abc import Mapping

from .activation import ACTIVATION
from .arithmetic import ARITHMETIC
from .attention import ATTENTION
from .base import Operation
from .convolution import CONVOLUTION
from .indexing import INDEXING
from .linear import LINEAR
from .making import MAKING
from .normalization import NORMALIZATION
from .padding import PADDING
from .pooling import POOLING
from .quantization import QUANTIZATION
from .reduction import REDUCTION
from .resizing import RESIZING
from .shaping import SHAPING

OPERATIONS: Mapping[str, Operation] = {
    **ACTIVATION,
    **ARITHMETIC,
    **ATTENTION,
    **CONVOLUTION,
    **INDEXING,
    **LINEAR,
    **MAKING,
    **NORMALIZATION,
    **PADDING,
    **POOLING,
    **QUANTIZATION,
    **REDUCTION,
    **RESIZING,
    **SHAPING,
}
