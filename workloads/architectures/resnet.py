"""Residual networks: ResNet, ResNeXt, wide ResNet and RegNet, at 224 x 224."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.architectures.layers import RELU, add, conv, dense, global_mean, max_pool, softmax, squeeze_excite
from workloads.builder import GraphBuilder
from workloads.operators import NO_CLAMP

if TYPE_CHECKING:
    from workloads.graph import Graph

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def basic(depth: int, *, projected: bool = False) -> Graph:
    """ResNet-18 or -34: blocks of two 3 x 3 convolutions; ``projected`` has a projection in the first block too.

    References
    ----------
    .. [1] K. He et al., "Deep residual learning for image recognition", CVPR 2016, table 1.
    """
    net = GraphBuilder(f"resnet{depth}")
    x = _stem(net)
    for stage, blocks in enumerate(BLOCKS[depth]):
        for block in range(blocks):
            channels, stride = 64 << stage, 2 if stage and not block else 1
            inner = conv(net, x, channels, 3, stride, 1)
            inner = conv(net, inner, channels, 3, 1, 1, NO_CLAMP)
            x = add(net, inner, _shortcut(net, x, channels, stride, forced=projected and not block), RELU)
    return _classified(net, x)


def bottleneck(depth: int, *, width: int = 64, groups: int = 1, stride_first: bool = False) -> Graph:
    """ResNet-50, -101 or -152, ResNeXt and wide ResNet: blocks of 1 x 1, 3 x 3 and 1 x 1 convolutions.

    The stride is in the 3 x 3 convolutions ("v1.5"), as torchvision and MLPerf Inference have it; with ``stride_first``
    it is in the 1 x 1 convolutions before, as in the original, which has 6 % fewer MACs at depth 50.

    Parameters
    ----------
    width
        Channels of the first stage's 3 x 3 convolutions.
    groups
        Of the 3 x 3 convolutions.

    References
    ----------
    .. [1] K. He et al., "Deep residual learning for image recognition", CVPR 2016, table 1.
    .. [2] P. Goyal et al., "Accurate, large minibatch SGD", arXiv:1706.02677, section 5.1 (place of the stride).
    .. [3] S. Xie et al., "Aggregated residual transformations for deep neural networks", CVPR 2017 (ResNeXt).
    .. [4] S. Zagoruyko, N. Komodakis, "Wide residual networks", BMVC 2016.
    """
    net = GraphBuilder(f"resnet{depth}")
    x = _stem(net)
    for stage, blocks in enumerate(BLOCKS[depth]):
        for block in range(blocks):
            channels, stride = 64 << stage, 2 if stage and not block else 1
            first, second = (stride, 1) if stride_first else (1, stride)
            inner = conv(net, x, width << stage, 1, first)
            inner = conv(net, inner, width << stage, 3, second, 1, groups=groups)
            inner = conv(net, inner, 4 * channels, 1, activation=NO_CLAMP)
            x = add(net, inner, _shortcut(net, x, 4 * channels, stride), RELU)
    return _classified(net, x)


def regnet_y_400m() -> Graph:
    """RegNetY-400MF: groups of 8 channels, squeeze-and-excite to a quarter of the block's input.

    References
    ----------
    .. [1] I. Radosavovic et al., "Designing network design spaces", CVPR 2020.
    """
    net = GraphBuilder("regnet_y_400m")
    x = conv(net, net.input("image", (1, 224, 224, 3)), 32, 3, 2, 1)
    for channels, blocks in ((48, 1), (104, 3), (208, 6), (440, 6)):
        for block in range(blocks):
            stride, channels_in = 1 if block else 2, net.tensors[x].shape[3]
            inner = conv(net, x, channels, 1)
            inner = conv(net, inner, channels, 3, stride, 1, groups=channels // 8)
            inner = squeeze_excite(net, inner, channels_in // 4)
            inner = conv(net, inner, channels, 1, activation=NO_CLAMP)
            x = add(net, inner, _shortcut(net, x, channels, stride), RELU)
    return _classified(net, x)


def _stem(net: GraphBuilder) -> str:
    """7 x 7 convolution and 3 x 3 maximum, both with stride 2."""
    x = conv(net, net.input("image", (1, 224, 224, 3)), 64, 7, 2, 3)
    return max_pool(net, x, 3, 2, 1)


def _shortcut(net: GraphBuilder, x: str, channels: int, stride: int, *, forced: bool = False) -> str:
    """Identity, or a 1 x 1 projection where the shape changes."""
    if stride == 1 and net.tensors[x].shape[3] == channels and not forced:
        return x
    return conv(net, x, channels, 1, stride, 0, NO_CLAMP)


def _classified(net: GraphBuilder, x: str) -> Graph:
    """Mean over the image, 1000 classes, softmax."""
    return net.build([softmax(net, dense(net, global_mean(net, x), 1000))])
