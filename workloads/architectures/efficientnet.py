"""Networks of inverted residuals found by search: EfficientNet, MnasNet and ProxylessNAS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workloads.architectures.layers import (
    RELU,
    RELU6,
    add,
    conv,
    dense,
    depthwise,
    divisible,
    global_mean,
    softmax,
)
from workloads.architectures.mobilenet import Block, inverted_residual
from workloads.builder import GraphBuilder
from workloads.operators import NO_CLAMP, Swish

if TYPE_CHECKING:
    from workloads.graph import Graph

SWISH = Swish()
# expansion, channels, repeats, first stride, kernel
B0 = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
      (6, 320, 1, 1, 3))  # fmt: skip
MNASNET = ((3, 24, 3, 2, 3), (3, 40, 3, 2, 5), (6, 80, 3, 2, 5), (6, 96, 2, 1, 3), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))
V2_B0 = ((1, 16, 1, 1, True), (4, 32, 2, 2, True), (4, 48, 2, 2, True), (4, 96, 3, 2, False), (6, 112, 5, 1, False),
         (6, 192, 8, 2, False))  # fmt: skip
LITE = {0: (1.0, 1.0, 224), 1: (1.0, 1.1, 240), 2: (1.1, 1.2, 260), 3: (1.2, 1.4, 280), 4: (1.4, 1.8, 300)}
# expanded channels, channels, kernel, stride: blocks one by one
PROXYLESS_MOBILE = (
    (48, 32, 5, 2), (96, 32, 3, 1), (96, 40, 7, 2), (120, 40, 3, 1), (120, 40, 5, 1), (120, 40, 5, 1), (240, 80, 7, 2),
    (240, 80, 5, 1), (240, 80, 5, 1), (240, 80, 5, 1), (480, 96, 5, 1), (288, 96, 5, 1), (288, 96, 5, 1),
    (288, 96, 5, 1), (576, 192, 7, 2), (1152, 192, 7, 1), (576, 192, 7, 1), (576, 192, 7, 1), (1152, 320, 7, 1),
)  # fmt: skip


def efficientnet_b0(pixels: int = 224) -> Graph:
    """EfficientNet-B0: squeeze-and-excite to a quarter of a block's input, swish.

    References
    ----------
    .. [1] M. Tan, Q. Le, "EfficientNet", ICML 2019, table 1.
    """
    net = GraphBuilder("efficientnet_b0")
    x = conv(net, net.input("image", (1, pixels, pixels, 3)), 32, 3, 2, activation=SWISH)
    for expansion, channels, repeats, first_stride, kernel in B0:
        for repeat in range(repeats):
            channels_in, stride = net.tensors[x].shape[3], 1 if repeat else first_stride
            block = Block(expansion * channels_in, channels, kernel, stride, SWISH, channels_in // 4, SWISH)
            x = inverted_residual(net, x, block, "same")
    return _classified(net, conv(net, x, 1280, 1, activation=SWISH))


def efficientnet_lite(size: int) -> Graph:
    """EfficientNet-Lite 0 to 4: ReLU6, nothing squeezed, first and last convolution the same in all sizes.

    References
    ----------
    .. [1] tensorflow/tpu, models/official/efficientnet/lite (widths, depths and resolutions).
    """
    width, depth, pixels = LITE[size]
    net = GraphBuilder(f"efficientnet_lite{size}")
    x = conv(net, net.input("image", (1, pixels, pixels, 3)), 32, 3, 2, activation=RELU6)
    for expansion, channels, repeats, first_stride, kernel in B0:
        fixed = repeats == 1  # the first and the last stage
        for repeat in range(repeats if fixed else math.ceil(depth * repeats)):
            expanded, stride = expansion * net.tensors[x].shape[3], 1 if repeat else first_stride
            x = inverted_residual(net, x, Block(expanded, divisible(channels * width), kernel, stride), "same")
    return _classified(net, conv(net, x, 1280, 1, activation=RELU6))


def efficientnet_v2_b0() -> Graph:
    """EfficientNetV2-B0: the early blocks expand with 3 x 3 convolutions instead of depthwise ones.

    References
    ----------
    .. [1] M. Tan, Q. Le, "EfficientNetV2: smaller models and faster training", ICML 2021, table 4.
    """
    net = GraphBuilder("efficientnet_v2_b0")
    x = conv(net, net.input("image", (1, 224, 224, 3)), 32, 3, 2, activation=SWISH)
    for expansion, channels, repeats, first_stride, fused in V2_B0:
        for repeat in range(repeats):
            stride = 1 if repeat else first_stride
            x = (_fused if fused else _separated)(net, x, expansion, channels, stride)
    return _classified(net, conv(net, x, 1280, 1, activation=SWISH))


def mnasnet() -> Graph:
    """MnasNet-B1, width 1.0.

    References
    ----------
    .. [1] M. Tan et al., "MnasNet: platform-aware neural architecture search for mobile", CVPR 2019, figure 7.
    """
    net = GraphBuilder("mnasnet")
    x = conv(net, net.input("image", (1, 224, 224, 3)), 32, 3, 2, 1)
    x = conv(net, depthwise(net, x, 1, 1), 16, 1, activation=NO_CLAMP)
    for expansion, channels, repeats, first_stride, kernel in MNASNET:
        for repeat in range(repeats):
            expanded, stride = expansion * net.tensors[x].shape[3], 1 if repeat else first_stride
            x = inverted_residual(net, x, Block(expanded, channels, kernel, stride, RELU))
    return _classified(net, conv(net, x, 1280, 1))


def proxylessnas_mobile() -> Graph:
    """ProxylessNAS for mobile phones.

    References
    ----------
    .. [1] H. Cai et al., "ProxylessNAS: direct neural architecture search on target task and hardware", ICLR 2019,
       figure 4; Tencent/ncnn@a4d2ea1d4422, benchmark/models/proxylessnasnet.param.
    """
    net = GraphBuilder("proxylessnas_mobile")
    x = conv(net, net.input("image", (1, 224, 224, 3)), 32, 3, 2, 1)
    x = conv(net, depthwise(net, x, 1, 1), 32, 1, activation=NO_CLAMP)
    for expanded, channels, kernel, stride in PROXYLESS_MOBILE:
        x = inverted_residual(net, x, Block(expanded, channels, kernel, stride, RELU))
    return _classified(net, conv(net, x, 1280, 1))


def _fused(net: GraphBuilder, x: str, expansion: int, channels: int, stride: int) -> str:
    """Expand with a 3 x 3 convolution, project; without expansion the 3 x 3 convolution is all."""
    channels_in = net.tensors[x].shape[3]
    if expansion == 1:
        return conv(net, x, channels, 3, stride, activation=SWISH)
    inner = conv(net, x, expansion * channels_in, 3, stride, activation=SWISH)
    inner = conv(net, inner, channels, 1, activation=NO_CLAMP)
    return add(net, x, inner) if stride == 1 and channels_in == channels else inner


def _separated(net: GraphBuilder, x: str, expansion: int, channels: int, stride: int) -> str:
    """Add an inverted residual with 3 x 3 windows, squeezed to a quarter of its input."""
    channels_in = net.tensors[x].shape[3]
    block = Block(expansion * channels_in, channels, 3, stride, SWISH, channels_in // 4, SWISH)
    return inverted_residual(net, x, block, "same")


def _classified(net: GraphBuilder, x: str) -> Graph:
    """Mean over the image, 1000 classes, softmax."""
    return net.build([softmax(net, dense(net, global_mean(net, x), 1000))])
