"""The one shape that vector code generators see: every product with constant weights as a grouped convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.specs import ConvSpec, MatrixSpec

if TYPE_CHECKING:
    from workloads.operands import Operands
    from workloads.tensor import Array

Pair = tuple[int, int]


@dataclass(frozen=True)
class Convolution:
    """A convolution of int8 (batch, height, width, channels); ``padding`` is rows above and columns left.

    A depthwise one has as many groups as channels; a fully connected layer has a 1x1 kernel and a row of pixels.
    """

    batch: int
    height: int
    width: int
    channels: int
    height_out: int
    width_out: int
    channels_out: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates. [MAC]"""
        window = self.kernel[0] * self.kernel[1] * (self.channels // self.groups)
        return self.batch * self.height_out * self.width_out * self.channels_out * window

    @property
    def padded_height(self) -> int:
        """Rows of the padded image that the windows touch."""
        return (self.height_out - 1) * self.stride[0] + (self.kernel[0] - 1) * self.dilation[0] + 1

    @property
    def padded_width(self) -> int:
        """Columns of the padded image that the windows touch."""
        return (self.width_out - 1) * self.stride[1] + (self.kernel[1] - 1) * self.dilation[1] + 1

    @property
    def copied_rows(self) -> int:
        """Rows of the image that the windows touch."""
        return max(0, min(self.height, self.padded_height - self.padding[0]))

    @property
    def copied_columns(self) -> int:
        """Columns of the image that the windows touch."""
        return max(0, min(self.width, self.padded_width - self.padding[1]))

    @property
    def pads(self) -> bool:
        """Whether a window reaches outside the image."""
        return (self.copied_rows, self.copied_columns) != (self.padded_height, self.padded_width)

    @property
    def spec(self) -> ConvSpec:
        """The same layer as a specification."""
        return ConvSpec(
            self.batch, self.height, self.width, self.channels, self.height_out, self.width_out, self.channels_out,
            self.kernel, self.stride, self.padding, self.dilation, self.groups,
        )  # fmt: skip

    def filters(self, operands: Operands) -> Array:
        """Return the weights as int8 (O, KH, KW, C/groups).

        Raises
        ------
        ValueError
            There are no weights, or their zero point is not 0.
        """
        if operands.weight_zero_point:
            raise ValueError(f"weights have zero point {operands.weight_zero_point}; vector kernels need 0")
        return self.arranged(operands.weights)

    def arranged(self, weights: Array | None) -> Array:
        """Return weights of any layer as (O, KH, KW, C/groups).

        Raises
        ------
        ValueError
            There are no weights.
        """
        if weights is None:
            raise ValueError("the layer has no weights")
        channels_last = weights.ndim == 4 and weights.shape[0] == 1 and weights.shape[-1] == self.channels_out
        if self.groups == self.channels and channels_last:
            weights = weights.transpose(3, 1, 2, 0)  # depthwise weights hold their channels last
        return weights.reshape(self.channels_out, *self.kernel, self.channels // self.groups)

    def bias(self, operands: Operands, zero_point: int) -> Array:
        """Return int32 biases per output channel with the input's zero point folded in, wrapped."""
        sums = self.filters(operands).astype(np.int64).sum(axis=(1, 2, 3))
        own = np.zeros(self.channels_out, np.int64) if operands.bias is None else operands.bias.astype(np.int64)
        return np.asarray(own - zero_point * sums).astype(np.int32)


def product(spec: ConvSpec | MatrixSpec) -> Convolution:
    """Return a specification as a convolution; 1x1 kernels see all pixels of all images as one row.

    Raises
    ------
    NotImplementedError
        A batched product of two activations.
    """
    if isinstance(spec, MatrixSpec):
        if spec.batch != 1:
            raise NotImplementedError("no kernel is generated for operator 'matmul' with a batch of matrices")
        return Convolution(1, 1, spec.rows, spec.depth, 1, spec.rows, spec.columns)
    groups = spec.channels if spec.depthwise else spec.groups
    pointwise = (spec.kernel, spec.stride, spec.padding) == ((1, 1), (1, 1), (0, 0))
    if pointwise and (spec.height, spec.width) == (spec.height_out, spec.width_out):
        pixels = spec.batch * spec.height * spec.width
        return Convolution(1, 1, pixels, spec.channels, 1, pixels, spec.channels_out, groups=groups)
    return Convolution(
        spec.batch, spec.height, spec.width, spec.channels, spec.height_out, spec.width_out, spec.channels_out,
        spec.kernel, spec.stride, spec.padding, spec.dilation, groups,
    )  # fmt: skip
