"""ImageNet classifiers at 224 x 224, batch normalisation folded, as torchvision defines them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.architectures.layers import (
    RELU,
    RELU6,
    add,
    conv,
    dense,
    depthwise,
    global_mean,
    max_pool,
    softmax,
)
from workloads.builder import GraphBuilder
from workloads.operators import NO_CLAMP, Concat, Reshape

if TYPE_CHECKING:
    from workloads.graph import Graph


def resnet18() -> Graph:
    """ResNet-18.

    References
    ----------
    .. [1] K. He et al., "Deep residual learning for image recognition", CVPR 2016, table 1.
    """
    net = GraphBuilder("resnet18")
    x = _resnet_stem(net)
    for stage, blocks in enumerate((2, 2, 2, 2)):
        for block in range(blocks):
            channels, stride = 64 << stage, 2 if stage and not block else 1
            inner = conv(net, x, channels, 3, stride, 1)
            inner = conv(net, inner, channels, 3, 1, 1, NO_CLAMP)
            x = add(net, inner, _shortcut(net, x, channels, stride), RELU)
    return net.build([softmax(net, dense(net, global_mean(net, x), 1000))])


def resnet50() -> Graph:
    """ResNet-50 with the stride in the 3 x 3 convolutions ("v1.5"), as torchvision and MLPerf Inference use it.

    The original network strides in the first 1 x 1 convolutions and has 6 % fewer MACs.

    References
    ----------
    .. [1] K. He et al., "Deep residual learning for image recognition", CVPR 2016, table 1.
    .. [2] P. Goyal et al., "Accurate, large minibatch SGD", arXiv:1706.02677, section 5.1 (place of the stride).
    """
    net = GraphBuilder("resnet50")
    x = _resnet_stem(net)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            channels, stride = 64 << stage, 2 if stage and not block else 1
            inner = conv(net, x, channels, 1)
            inner = conv(net, inner, channels, 3, stride, 1)
            inner = conv(net, inner, 4 * channels, 1, activation=NO_CLAMP)
            x = add(net, inner, _shortcut(net, x, 4 * channels, stride), RELU)
    return net.build([softmax(net, dense(net, global_mean(net, x), 1000))])


def mobilenet_v2() -> Graph:
    """MobileNetV2, width 1.0.

    References
    ----------
    .. [1] M. Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, table 2.
    """
    net = GraphBuilder("mobilenet_v2")
    x = conv(net, net.input("image", (1, 224, 224, 3)), 32, 3, 2, 1, RELU6)
    stages = (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    )  # fmt: skip
    for expansion, channels, repeats, first_stride in stages:
        for repeat in range(repeats):
            x = _inverted_residual(net, x, expansion, channels, 1 if repeat else first_stride)
    x = conv(net, x, 1280, 1, activation=RELU6)
    return net.build([softmax(net, dense(net, global_mean(net, x), 1000))])


def vgg16() -> Graph:
    """VGG-16 (configuration D).

    References
    ----------
    .. [1] K. Simonyan, A. Zisserman, "Very deep convolutional networks", ICLR 2015, table 1.
    """
    net = GraphBuilder("vgg16")
    x = net.input("image", (1, 224, 224, 3))
    for channels, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(repeats):
            x = conv(net, x, channels, 3, 1, 1)
        x = max_pool(net, x, 2, 2)
    x = net.layer(Reshape(), (x,), shape=(1, 7 * 7 * 512), output="flatten")
    x = dense(net, dense(net, x, 4096, RELU), 4096, RELU)
    return net.build([softmax(net, dense(net, x, 1000))])


def squeezenet1_1() -> Graph:
    """SqueezeNet 1.1; pooling windows may hang over the edge, as in the original.

    References
    ----------
    .. [1] F. Iandola et al., "SqueezeNet", arXiv:1602.07360; forresti/SqueezeNet, SqueezeNet_v1.1.
    """
    net = GraphBuilder("squeezenet1_1")
    x = conv(net, net.input("image", (1, 224, 224, 3)), 64, 3, 2, 0)
    for pooled, squeeze, expand in (
        (True, 16, 64), (False, 16, 64), (True, 32, 128), (False, 32, 128),
        (True, 48, 192), (False, 48, 192), (False, 64, 256), (False, 64, 256),
    ):  # fmt: skip
        if pooled:
            x = max_pool(net, x, 3, 2, _overhang(net, x))
        x = _fire(net, x, squeeze, expand)
    x = conv(net, x, 1000, 1)
    return net.build([softmax(net, global_mean(net, x))])


def _resnet_stem(net: GraphBuilder) -> str:
    """7 x 7 convolution and 3 x 3 maximum, both with stride 2."""
    x = conv(net, net.input("image", (1, 224, 224, 3)), 64, 7, 2, 3)
    return max_pool(net, x, 3, 2, (1, 1, 1, 1))


def _shortcut(net: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """Identity, or a 1 x 1 projection where the shape changes."""
    if stride == 1 and net.tensors[x].shape[3] == channels:
        return x
    return conv(net, x, channels, 1, stride, 0, NO_CLAMP)


def _inverted_residual(net: GraphBuilder, x: str, expansion: int, channels: int, stride: int) -> str:
    """Expand, depthwise, project; a sum where the shape stays."""
    channels_in = net.tensors[x].shape[3]
    inner = x if expansion == 1 else conv(net, x, channels_in * expansion, 1, activation=RELU6)
    inner = depthwise(net, inner, stride, 1, RELU6)
    inner = conv(net, inner, channels, 1, activation=NO_CLAMP)
    return add(net, x, inner) if stride == 1 and channels_in == channels else inner


def _fire(net: GraphBuilder, x: str, squeeze: int, expand: int) -> str:
    """1 x 1 squeeze, then 1 x 1 and 3 x 3 expansions side by side."""
    squeezed = conv(net, x, squeeze, 1)
    branches = (conv(net, squeezed, expand, 1), conv(net, squeezed, expand, 3, 1, 1))
    return net.layer(Concat(3), branches, output=f"concat{len(net.layers)}")


def _overhang(net: GraphBuilder, x: str) -> tuple[int, int, int, int]:
    """Return the padding below and right that lets a 3 x 3 window with stride 2 cover the last row and column."""
    _, height, width, _ = net.tensors[x].shape
    return (0, 0, (height - 3) % 2, (width - 3) % 2)
