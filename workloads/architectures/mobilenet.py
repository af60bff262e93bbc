"""MobileNets of three generations, by width and resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.architectures.layers import (
    LOGISTIC,
    RELU,
    RELU6,
    add,
    after,
    conv,
    dense,
    depthwise,
    divisible,
    global_mean,
    softmax,
    squeeze_excite,
)
from workloads.builder import GraphBuilder
from workloads.operators import NO_CLAMP, HardSigmoid, HardSwish

if TYPE_CHECKING:
    from workloads.graph import Graph
    from workloads.operators import Clamp, Function

V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
HARD_SWISH = HardSwish()
# kernel, expanded channels, channels, squeezed, activation, stride
V3_LARGE = (
    (3, 16, 16, False, RELU, 1), (3, 64, 24, False, RELU, 2), (3, 72, 24, False, RELU, 1), (5, 72, 40, True, RELU, 2),
    (5, 120, 40, True, RELU, 1), (5, 120, 40, True, RELU, 1), (3, 240, 80, False, HARD_SWISH, 2),
    (3, 200, 80, False, HARD_SWISH, 1), (3, 184, 80, False, HARD_SWISH, 1), (3, 184, 80, False, HARD_SWISH, 1),
    (3, 480, 112, True, HARD_SWISH, 1), (3, 672, 112, True, HARD_SWISH, 1), (5, 672, 160, True, HARD_SWISH, 2),
    (5, 960, 160, True, HARD_SWISH, 1), (5, 960, 160, True, HARD_SWISH, 1),
)  # fmt: skip
V3_SMALL = (
    (3, 16, 16, True, RELU, 2), (3, 72, 24, False, RELU, 2), (3, 88, 24, False, RELU, 1),
    (5, 96, 40, True, HARD_SWISH, 2), (5, 240, 40, True, HARD_SWISH, 1), (5, 240, 40, True, HARD_SWISH, 1),
    (5, 120, 48, True, HARD_SWISH, 1),
    (5, 144, 48, True, HARD_SWISH, 1), (5, 288, 96, True, HARD_SWISH, 2), (5, 576, 96, True, HARD_SWISH, 1),
    (5, 576, 96, True, HARD_SWISH, 1),
)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """An inverted residual: expand, depthwise, squeeze-and-excite to ``squeezed`` channels if any, project."""

    expanded: int
    channels: int
    kernel: int = 3
    stride: int = 1
    activation: Clamp | Function = RELU6
    squeezed: int = 0
    inner: Clamp | Function = RELU
    gate: Function = LOGISTIC


def inverted_residual(net: GraphBuilder, x: str, block: Block, padding: int | str = "centred") -> str:
    """Add a block; the sum where the shape stays. Padding is half the kernel on all sides, or TensorFlow's "same"."""
    channels_in = net.tensors[x].shape[3]
    sides = block.kernel // 2 if padding == "centred" else padding
    inner = x if block.expanded == channels_in else conv(net, x, block.expanded, 1, activation=block.activation)
    inner = depthwise(net, inner, block.stride, sides, block.activation, block.kernel)
    if block.squeezed:
        inner = squeeze_excite(net, inner, block.squeezed, block.inner, block.gate)
    inner = conv(net, inner, block.channels, 1, activation=NO_CLAMP)
    return add(net, x, inner) if block.stride == 1 and channels_in == block.channels else inner


def mobilenet_v1(width: float = 1.0, pixels: int = 224) -> Graph:
    """MobileNetV1 of any width and resolution.

    References
    ----------
    .. [1] A. Howard et al., "MobileNets", arXiv:1704.04861, table 1.
    """
    net = GraphBuilder("mobilenet_v1")
    x = mobilenet_v1_features(net, net.input("image", (1, pixels, pixels, 3)), width)[-1]
    return net.build([softmax(net, dense(net, global_mean(net, x), 1000))])


def mobilenet_v1_features(net: GraphBuilder, x: str, width: float = 1.0) -> list[str]:
    """Add MobileNetV1 without its classifier; return the output of every block."""
    x = conv(net, x, int(32 * width), 3, 2, 1)
    outputs = []
    for channels, stride in V1:
        x = conv(net, depthwise(net, x, stride, 1), int(channels * width), 1)
        outputs.append(x)
    return outputs


def mobilenet_v2(width: float = 1.0, pixels: int = 224) -> Graph:
    """MobileNetV2 of any width and resolution; the last convolution never has fewer than 1280 channels.

    References
    ----------
    .. [1] M. Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, table 2.
    """
    net = GraphBuilder("mobilenet_v2")
    x = conv(net, net.input("image", (1, pixels, pixels, 3)), divisible(32 * width), 3, 2, 1, RELU6)
    for expansion, channels, repeats, first_stride in V2:
        for repeat in range(repeats):
            expanded, stride = expansion * net.tensors[x].shape[3], 1 if repeat else first_stride
            x = inverted_residual(net, x, Block(expanded, divisible(channels * width), stride=stride))
    x = conv(net, x, max(1280, divisible(1280 * width)), 1, activation=RELU6)
    return net.build([softmax(net, dense(net, global_mean(net, x), 1000))])


def mobilenet_v2_caffe() -> Graph:
    """MobileNetV2 as converted to Caffe: ReLU, and the first block has an expansion by one.

    References
    ----------
    .. [1] Tencent/ncnn@a4d2ea1d4422, benchmark/models/mobilenet_v2.param.
    """
    net = GraphBuilder("mobilenet_v2_caffe")
    x = mobilenet_v2_expansions(net, net.input("image", (1, 224, 224, 3)), first=True)[-1]
    return net.build([softmax(net, dense(net, global_mean(net, x), 1000))])


def mobilenet_v2_expansions(net: GraphBuilder, x: str, *, first: bool) -> list[str]:
    """Add MobileNetV2 with ReLU and without its classifier; return every block's expansion and the last convolution.

    With ``first`` the first block's expansion, by one, is a convolution too.
    """
    x = conv(net, x, 32, 3, 2, 1)
    expansions = []
    for expansion, channels, repeats, first_stride in V2:
        for repeat in range(repeats):
            channels_in, stride = net.tensors[x].shape[3], 1 if repeat else first_stride
            expanded = conv(net, x, expansion * channels_in, 1) if first or expansion > 1 else x
            expansions.append(expanded)
            inner = conv(net, depthwise(net, expanded, stride, 1), channels, 1, activation=NO_CLAMP)
            x = add(net, x, inner) if stride == 1 and channels_in == channels else inner
    return [*expansions, conv(net, x, 1280, 1)]


def mobilenet_v3(size: str, *, minimalistic: bool = False) -> Graph:
    """MobileNetV3, "large" or "small"; minimalistic: no squeeze-and-excite, no hard-swish, no 5 x 5 convolutions.

    References
    ----------
    .. [1] A. Howard et al., "Searching for MobileNetV3", ICCV 2019, tables 1 and 2.
    .. [2] tensorflow/models@03cdc5fecfb6, research/slim/nets/mobilenet/mobilenet_v3.py (minimalistic).
    """
    net = GraphBuilder(f"mobilenet_v3_{size}")
    swish: Clamp | Function = RELU if minimalistic else HARD_SWISH
    x = conv(net, net.input("image", (1, 224, 224, 3)), 16, 3, 2, 1, swish)
    for kernel, expanded, channels, squeezed, activation, stride in V3_LARGE if size == "large" else V3_SMALL:
        if minimalistic:
            block = Block(expanded, channels, 3, stride, RELU)
        else:
            reduced = divisible(expanded / 4) if squeezed else 0
            block = Block(expanded, channels, kernel, stride, activation, reduced, gate=HardSigmoid())
        x = inverted_residual(net, x, block)
    x = conv(net, x, 6 * net.tensors[x].shape[3], 1, activation=swish)
    x = dense(net, global_mean(net, x), 1280 if size == "large" else 1024, swish)
    return net.build([softmax(net, dense(net, x, 1000))])


def mobilenet_v3_unrounded() -> Graph:
    """MobileNetV3-Large before its paper's second version: other last blocks, squeezed channels not rounded.

    References
    ----------
    .. [1] Tencent/ncnn@a4d2ea1d4422, benchmark/models/mobilenet_v3.param.
    """
    net = GraphBuilder("mobilenet_v3_unrounded")
    x = conv(net, net.input("image", (1, 224, 224, 3)), 16, 3, 2, 1, HARD_SWISH)
    changed = (
        (5, 672, 160, True, HARD_SWISH, 1),
        (5, 672, 160, True, HARD_SWISH, 2),
        (5, 960, 160, True, HARD_SWISH, 1),
    )
    for kernel, expanded, channels, squeezed, activation, stride in (*V3_LARGE[:-3], *changed):
        reduced = expanded // 4 if squeezed else 0
        x = inverted_residual(
            net, x, Block(expanded, channels, kernel, stride, activation, reduced, gate=HardSigmoid())
        )
    x = after(net, global_mean(net, conv(net, x, 960, 1, activation=HARD_SWISH)), HARD_SWISH)
    return net.build([softmax(net, dense(net, dense(net, x, 1280, HARD_SWISH), 1000))])
