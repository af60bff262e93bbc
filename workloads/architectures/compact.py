"""Small and narrow classifiers: SqueezeNet, ShuffleNet of both generations, DenseNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.architectures.layers import (
    RELU,
    add,
    after,
    average_pool,
    batch_norm,
    concat,
    conv,
    dense,
    depthwise,
    global_mean,
    half,
    max_pool,
    shuffle,
    softmax,
)
from workloads.builder import GraphBuilder
from workloads.operators import NO_CLAMP

if TYPE_CHECKING:
    from workloads.graph import Graph
    from workloads.operators import Clamp, Function

# squeezed channels, expanded channels twice
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


def squeezenet1_0() -> Graph:
    """SqueezeNet 1.0; pooling windows may hang over the edge, as in the original.

    References
    ----------
    .. [1] F. Iandola et al., "SqueezeNet", arXiv:1602.07360, table 1.
    """
    net = GraphBuilder("squeezenet1_0")
    x = conv(net, net.input("image", (1, 224, 224, 3)), 96, 7, 2, 0)
    for place, (squeeze, expand) in enumerate(FIRES):
        if place in {0, 3, 7}:
            x = max_pool(net, x, 3, 2, "over")
        x = fire(net, x, squeeze, expand)
    x = conv(net, x, 1000, 1)
    return net.build([softmax(net, global_mean(net, x))])


def squeezenet1_1(pixels: int = 224, last_padding: int = 0) -> Graph:
    """SqueezeNet 1.1; pooling windows may hang over the edge, as in the original.

    References
    ----------
    .. [1] F. Iandola et al., "SqueezeNet", arXiv:1602.07360; forresti/SqueezeNet, SqueezeNet_v1.1.
    """
    net = GraphBuilder("squeezenet1_1")
    x = squeezenet1_1_features(net, net.input("image", (1, pixels, pixels, 3)))[-1]
    x = conv(net, x, 1000, 1, 1, last_padding)
    return net.build([softmax(net, global_mean(net, x))])


def squeezenet1_1_features(net: GraphBuilder, x: str) -> list[str]:
    """Add SqueezeNet 1.1 without its classifier; return the output of every fire module."""
    x = conv(net, x, 64, 3, 2, 0)
    outputs = []
    for place, (squeeze, expand) in enumerate(FIRES):
        if place in {0, 2, 4}:
            x = max_pool(net, x, 3, 2, "over")
        x = fire(net, x, squeeze, expand)
        outputs.append(x)
    return outputs


def fire(net: GraphBuilder, x: str, squeeze: int, expand: int) -> str:
    """1 x 1 squeeze, then 1 x 1 and 3 x 3 expansions side by side."""
    squeezed = conv(net, x, squeeze, 1)
    return concat(net, (conv(net, squeezed, expand, 1), conv(net, squeezed, expand, 3, 1, 1)))


def shufflenet_v1() -> Graph:
    """ShuffleNet 1x with three groups.

    References
    ----------
    .. [1] X. Zhang et al., "ShuffleNet", CVPR 2018, table 1.
    """
    net = GraphBuilder("shufflenet_v1")
    x = conv(net, net.input("image", (1, 224, 224, 3)), 24, 3, 2, 1)
    x = max_pool(net, x, 3, 2, "over")
    for stage, blocks in enumerate((4, 8, 4)):
        channels = 240 << stage
        for block in range(blocks):
            channels_in = net.tensors[x].shape[3]
            made = channels if block else channels - channels_in
            grouped = bool(stage or block)
            inner = conv(net, x, made // 4, 1, groups=3 if grouped else 1)
            inner = shuffle(net, inner, 3) if grouped else inner
            inner = depthwise(net, inner, 1 if block else 2, 1, NO_CLAMP)
            inner = conv(net, inner, made, 1, activation=NO_CLAMP, groups=3)
            if block:
                x = add(net, x, inner, RELU)
            else:
                x = after(net, concat(net, (average_pool(net, x, 3, 2, "over"), inner)), RELU)
    return net.build([softmax(net, dense(net, global_mean(net, x), 1000))])


def shufflenet_v2(width: float = 1.0) -> Graph:
    """ShuffleNetV2 of width 0.5, 1.0, 1.5 or 2.0.

    References
    ----------
    .. [1] N. Ma et al., "ShuffleNet V2", ECCV 2018, table 5.
    """
    channels, last = {0.5: (48, 1024), 1.0: (116, 1024), 1.5: (176, 1024), 2.0: (244, 2048)}[width]
    net = GraphBuilder("shufflenet_v2")
    x = shufflenet_v2_features(net, net.input("image", (1, 224, 224, 3)), channels)[-1]
    x = conv(net, x, last, 1)
    return net.build([softmax(net, dense(net, global_mean(net, x), 1000))])


def shufflenet_v2_features(net: GraphBuilder, x: str, channels: int, activation: Clamp | Function = RELU) -> list[str]:
    """Add ShuffleNetV2 without its classifier; return the output of every stage."""
    x = max_pool(net, conv(net, x, 24, 3, 2, 1, activation), 3, 2, 1)
    outputs = []
    for stage, blocks in enumerate((4, 8, 4)):
        narrow = channels << stage >> 1
        for block in range(blocks):
            first, second = (half(net, x, 0), half(net, x, 1)) if block else (x, x)
            if not block:
                first = conv(net, depthwise(net, x, 2, 1, NO_CLAMP), narrow, 1, activation=activation)
            second = conv(net, second, narrow, 1, activation=activation)
            second = depthwise(net, second, 1 if block else 2, 1, NO_CLAMP)
            x = shuffle(net, concat(net, (first, conv(net, second, narrow, 1, activation=activation))), 2)
        outputs.append(x)
    return outputs


def densenet121() -> Graph:
    """DenseNet-121: every layer of a block reads all before it.

    References
    ----------
    .. [1] G. Huang et al., "Densely connected convolutional networks", CVPR 2017, table 1.
    """
    net = GraphBuilder("densenet121")
    x = max_pool(net, conv(net, net.input("image", (1, 224, 224, 3)), 64, 7, 2, 3), 3, 2, 1)
    for block, layers in enumerate((6, 12, 24, 16)):
        if block:
            x = conv(net, batch_norm(net, x), net.tensors[x].shape[3] // 2, 1, activation=NO_CLAMP, biased=False)
            x = average_pool(net, x, 2, 2)
        for _ in range(layers):
            inner = conv(net, batch_norm(net, x), 128, 1)
            x = concat(net, (x, conv(net, inner, 32, 3, 1, 1, NO_CLAMP, biased=False)))
    return net.build([softmax(net, dense(net, global_mean(net, batch_norm(net, x)), 1000))])
