"""Tensors: shape, element type, affine quantisation, and constants that appear only when asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

Array = npt.NDArray[Any]

ELEMENT_BITS = {
    "float64": 64, "float32": 32, "float16": 16, "int64": 64, "int32": 32, "int16": 16,
    "int8": 8, "uint8": 8, "int4": 4, "bool": 8,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Quantization:
    """Affine quantisation: real = scale * (integer - zero_point).

    Parameters
    ----------
    scale
        float64 or float32, shape (1,) per tensor, (channels,) per channel, all > 0.
    zero_point
        int32, same shape as ``scale``.
    axis
        The channel axis of a per-channel quantisation, None per tensor.
    """

    scale: Array
    zero_point: Array
    axis: int | None = None


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of a graph: an activation, or a constant with ``data``.

    Parameters
    ----------
    shape
        Extents; images are channels last, (batch, height, width, channel).
    dtype
        A key of ``ELEMENT_BITS``.
    quantization
        Absent for float tensors and for integer tensors that are used for costing only.
    data
        A constant: an array, or a function that makes it when a network is executed; None for an activation.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    quantization: Quantization | None = None
    data: Array | Callable[[], Array] | None = field(default=None, repr=False)

    @property
    def is_constant(self) -> bool:
        """Whether the tensor is part of the model file rather than computed."""
        return self.data is not None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Storage. [B]"""
        return (self.elements * ELEMENT_BITS[self.dtype] + 7) // 8

    def materialize(self) -> Array:
        """Return the constant's array, made now if it is lazy; shape ``self.shape``, dtype ``self.dtype``.

        Raises
        ------
        ValueError
            The tensor is an activation, or the data do not have the declared shape.
        """
        if self.data is None:
            raise ValueError(f"tensor {self.name!r} is an activation: it has no data")
        array = self.data() if callable(self.data) else self.data
        if array.shape != self.shape:
            raise ValueError(f"tensor {self.name!r} has data of shape {array.shape}, declared {self.shape}")
        return np.ascontiguousarray(array)
