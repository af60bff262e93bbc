"""Windows of ONNX convolutions and pools: strides, pads and weights in the graph's layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.operators import Conv2d, DepthwiseConv2d, Padding, Pair, Pool2d
from workloads.shapes import same_padding, windows

if TYPE_CHECKING:
    from workloads.readers.onnx_state import Node
    from workloads.shapes import Shape
    from workloads.tensor import Array


def convolution(node: Node, shape: Shape, weights: Array) -> tuple[Conv2d | DepthwiseConv2d, Array, int]:
    """Return the operator, the weights in its layout, and the weights' axis of output channels."""
    if len(shape) != 4 or weights.ndim != 4:
        raise ValueError(
            f"input of {len(shape)} and weights of {weights.ndim} axes; only two-dimensional images are read"
        )
    kernel = (weights.shape[2], weights.shape[3])
    if node.integers("kernel_shape", kernel) != kernel:
        raise ValueError(f"kernel_shape {node.integers('kernel_shape')} contradicts weights of shape {weights.shape}")
    stride, dilation = _pair(node, "strides"), _pair(node, "dilations")
    padding = window_padding(node, (shape[1], shape[2]), kernel, stride, dilation)
    groups = node.integer("group", 1)
    if groups < 1 or weights.shape[0] % groups or weights.shape[1] * groups != shape[3]:
        raise ValueError(f"weights {list(weights.shape)} in {groups} groups do not fit {shape[3]} input channels")
    if groups == shape[3] and groups > 1:
        arranged = np.ascontiguousarray(weights.transpose(1, 2, 3, 0))
        return DepthwiseConv2d(stride, padding, dilation, weights.shape[0] // groups), arranged, 3
    return Conv2d(stride, padding, dilation, groups), np.ascontiguousarray(weights.transpose(0, 2, 3, 1)), 0


def pooling(node: Node, shape: Shape, kind: str) -> Pool2d:
    """Return the operator of a MaxPool or AveragePool node; a ceiling becomes padding below and right."""
    if len(shape) != 4:
        raise ValueError(f"input of {len(shape)} axes; only two-dimensional images are read")
    image, kernel = (shape[1], shape[2]), _pair(node, "kernel_shape", required=True)
    stride, dilation = _pair(node, "strides"), _pair(node, "dilations")
    if dilation != (1, 1) or node.integer("storage_order", 0):
        raise ValueError("dilated or column-major pooling is not supported")
    padding = window_padding(node, image, kernel, stride, dilation)
    counted = kind == "average" and bool(node.integer("count_include_pad", 0))
    if node.integer("ceil_mode", 0):
        extra = _overhang(image, kernel, stride, padding)
        if counted and extra != (0, 0):
            raise ValueError("ceil_mode together with count_include_pad is not supported")
        padding = (padding[0], padding[1], padding[2] + extra[0], padding[3] + extra[1])
    return Pool2d(kind, kernel, stride, padding, count_padding=counted)


def window_padding(node: Node, image: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Padding:
    """Return explicit padding from ``pads`` or ``auto_pad``."""
    automatic = node.text("auto_pad", "NOTSET")
    if automatic in {"SAME_UPPER", "SAME_LOWER"}:
        top, left, bottom, right = same_padding(image, kernel, stride, dilation)
        return (top, left, bottom, right) if automatic == "SAME_UPPER" else (bottom, right, top, left)
    if automatic == "VALID":
        return (0, 0, 0, 0)
    if automatic != "NOTSET":
        raise ValueError(f"auto_pad is {automatic!r}, expected NOTSET, SAME_UPPER, SAME_LOWER or VALID")
    pads = node.integers("pads", (0, 0, 0, 0))
    if len(pads) != 4 or min(pads) < 0 or max(pads) > 2**16:
        raise ValueError(f"pads are {pads}, expected four numbers from 0 to {2**16}")
    return pads[0], pads[1], pads[2], pads[3]


def normalized(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Return axes counted from the front, each once."""
    if any(not -rank <= axis < rank for axis in axes) or len({axis % rank for axis in axes}) != len(axes):
        raise ValueError(f"axes {axes} do not fit {rank} axes")
    return tuple(axis % rank for axis in axes)


def _overhang(image: Pair, kernel: Pair, stride: Pair, padding: Padding) -> Pair:
    """Return the rows below and columns right that complete the last windows, if these start inside the image."""
    counts = windows(image, kernel, stride, padding, (1, 1))
    extra = []
    for axis in range(2):
        padded = image[axis] + padding[axis] + padding[axis + 2]
        start = counts[axis] * stride[axis]
        partial = start + kernel[axis] - stride[axis] < padded and start < image[axis] + padding[axis]
        extra.append(start + kernel[axis] - padded if partial else 0)
    return extra[0], extra[1]


def _pair(node: Node, name: str, required: bool = False) -> Pair:
    """Read two positive numbers."""
    pair = node.integers(name, None if required else (1, 1))
    if len(pair) != 2 or min(pair) < 1 or max(pair) > 2**16:
        raise ValueError(f"{name} is {pair}, expected two numbers from 1 to {2**16}")
    return pair[0], pair[1]
