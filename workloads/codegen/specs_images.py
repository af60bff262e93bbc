"""Kernel specifications of operators that make larger images."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TransposedSpec:
    """Transposed convolution of int8 (N,H,W,C); ``crop`` is rows and columns cut off above and left of the output."""

    batch: int
    height: int
    width: int
    channels: int
    height_out: int
    width_out: int
    channels_out: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    crop: tuple[int, int] = (0, 0)
    groups: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates, each input with each tap. [MAC]"""
        pixels = self.batch * self.height * self.width
        return pixels * self.channels * math.prod(self.kernel) * self.channels_out // self.groups

    @property
    def outputs(self) -> int:
        """Elements of the output."""
        return self.batch * self.height_out * self.width_out * self.channels_out


@dataclass(frozen=True)
class ResizeSpec:
    """Bilinear resizing of int8 (N,H,W,C); the flags have TensorFlow's meaning."""

    batch: int
    height: int
    width: int
    channels: int
    height_out: int
    width_out: int
    align_corners: bool = False
    half_pixel_centers: bool = False
