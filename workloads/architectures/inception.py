"""Inception networks: GoogLeNet, version 3, and Inception-ResNet version 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.architectures.layers import (
    RELU,
    add,
    average_pool,
    concat,
    conv,
    dense,
    global_mean,
    max_pool,
    softmax,
)
from workloads.builder import GraphBuilder
from workloads.operators import NO_CLAMP, LocalResponseNorm, Mul

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workloads.graph import Graph
    from workloads.operators import Clamp, Pair

# 1 x 1; 3 x 3 reduced and made; 5 x 5 reduced and made; pooled
GOOGLENET = (
    (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128),
    (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
)  # fmt: skip


def googlenet() -> Graph:
    """GoogLeNet with its local response normalisations, without the classifiers used in training only.

    References
    ----------
    .. [1] C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, table 1.
    """
    net = GraphBuilder("googlenet")
    x = conv(net, net.input("image", (1, 224, 224, 3)), 64, 7, 2, 3)
    x = net.layer(LocalResponseNorm(), (max_pool(net, x, 3, 2, "over"),))
    x = net.layer(LocalResponseNorm(), (conv(net, conv(net, x, 64, 1), 192, 3, 1, 1),))
    x = max_pool(net, x, 3, 2, "over")
    for place, (one, reduce3, three, reduce5, five, pooled) in enumerate(GOOGLENET):
        if place in {2, 7}:
            x = max_pool(net, x, 3, 2, "over")
        x = concat(net, (
            conv(net, x, one, 1), chain(net, x, (reduce3, 1), (three, 3)), chain(net, x, (reduce5, 1), (five, 5)),
            conv(net, max_pool(net, x, 3, 1, 1), pooled, 1),
        ))  # fmt: skip
    return _classified(net, x)


def inception_v3() -> Graph:
    """Inception version 3 at 299 x 299, without the classifier used in training only.

    References
    ----------
    .. [1] C. Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016; layer by layer as
       pytorch/vision, torchvision/models/inception.py.
    """
    net = GraphBuilder("inception_v3")
    x = chain(net, _stem(net), (80, 1), (192, 3, 1, 0))
    x = max_pool(net, x, 3, 2)
    for pooled in (32, 64, 64):
        x = _mixed_35(net, x, 48, pooled)
    x = concat(net, (
        conv(net, x, 384, 3, 2, 0), chain(net, x, (64, 1), (96, 3), (96, 3, 2, 0)), max_pool(net, x, 3, 2),
    ))  # fmt: skip
    for width in (128, 160, 160, 192):
        across, down = (1, 7), (7, 1)
        x = concat(net, (
            conv(net, x, 192, 1), chain(net, x, (width, 1), (width, across), (192, down)),
            chain(net, x, (width, 1), (width, down), (width, across), (width, down), (192, across)),
            _pooled(net, x, 192),
        ))  # fmt: skip
    x = concat(net, (
        chain(net, x, (192, 1), (320, 3, 2, 0)), chain(net, x, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2, 0)),
        max_pool(net, x, 3, 2),
    ))  # fmt: skip
    for _ in range(2):
        middle, long = conv(net, x, 384, 1), chain(net, x, (448, 1), (384, 3))
        x = concat(net, (
            conv(net, x, 320, 1), conv(net, middle, 384, (1, 3)), conv(net, middle, 384, (3, 1)),
            conv(net, long, 384, (1, 3)), conv(net, long, 384, (3, 1)), _pooled(net, x, 192),
        ))  # fmt: skip
    return _classified(net, x)


def inception_resnet_v2() -> Graph:
    """Inception-ResNet version 2 at 299 x 299.

    References
    ----------
    .. [1] C. Szegedy et al., "Inception-v4, Inception-ResNet and the impact of residual connections on learning",
       AAAI 2017; layer by layer as Cadene/pretrained-models.pytorch, pretrainedmodels/models/inceptionresnetv2.py.
    """
    net = GraphBuilder("inception_resnet_v2")
    x = max_pool(net, chain(net, _stem(net), (80, 1), (192, 3, 1, 0)), 3, 2)
    x = concat(net, (
        conv(net, x, 96, 1), chain(net, x, (48, 1), (64, 5)), chain(net, x, (64, 1), (96, 3), (96, 3)),
        _pooled(net, x, 64),
    ))  # fmt: skip
    for _ in range(10):
        x = _residual(net, x, 0.17, ((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3)))
    x = concat(net, (
        conv(net, x, 384, 3, 2, 0), chain(net, x, (256, 1), (256, 3), (384, 3, 2, 0)), max_pool(net, x, 3, 2),
    ))  # fmt: skip
    for _ in range(20):
        x = _residual(net, x, 0.10, ((192, 1),), ((128, 1), (160, (1, 7)), (192, (7, 1))))
    x = concat(net, (
        chain(net, x, (256, 1), (384, 3, 2, 0)), chain(net, x, (256, 1), (288, 3, 2, 0)),
        chain(net, x, (256, 1), (288, 3), (320, 3, 2, 0)), max_pool(net, x, 3, 2),
    ))  # fmt: skip
    for block in range(10):
        last = block == 9
        branches = (((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1))))
        x = _residual(net, x, 1.0 if last else 0.20, *branches, activation=NO_CLAMP if last else RELU)
    return _classified(net, conv(net, x, 1536, 1))


def chain(net: GraphBuilder, x: str, *layers: tuple[int, int | Pair] | tuple[int, int, int, int]) -> str:
    """Add convolutions in a row: channels and kernel, or channels, kernel, stride and padding."""
    for channels, kernel, *rest in layers:
        stride, padding = rest or (1, "same")
        x = conv(net, x, channels, kernel, stride, padding)
    return x


def _stem(net: GraphBuilder) -> str:
    """Three convolutions and a maximum: 73 x 73 x 64."""
    x = chain(net, net.input("image", (1, 299, 299, 3)), (32, 3, 2, 0), (32, 3, 1, 0), (64, 3))
    return max_pool(net, x, 3, 2)


def _mixed_35(net: GraphBuilder, x: str, reduced: int, pooled: int) -> str:
    """Add a module of the 35 x 35 stage."""
    return concat(net, (
        conv(net, x, 64, 1), chain(net, x, (reduced, 1), (64, 5)), chain(net, x, (64, 1), (96, 3), (96, 3)),
        _pooled(net, x, pooled),
    ))  # fmt: skip


def _pooled(net: GraphBuilder, x: str, channels: int) -> str:
    """Average over 3 x 3 pixels, then mix."""
    return conv(net, average_pool(net, x, 3, 1, 1), channels, 1)


def _residual(
    net: GraphBuilder,
    x: str,
    factor: float,
    *branches: Sequence[tuple[int, int | Pair]],
    activation: Clamp = RELU,
) -> str:
    """Mix branches, scale them down and add them to the input."""
    mixed = concat(net, [chain(net, x, *layers) for layers in branches])
    mixed = conv(net, mixed, net.tensors[x].shape[3], 1, activation=NO_CLAMP, name=f"project{len(net.layers)}")
    if factor != 1.0:
        scale = net.constant(f"scale{len(net.layers)}", (1,), np.array([factor], np.float32))
        mixed = net.layer(Mul(), (mixed, scale), output=f"scaled{len(net.layers)}")
    return add(net, x, mixed, activation)


def _classified(net: GraphBuilder, x: str) -> Graph:
    """Mean over the image, 1000 classes, softmax."""
    return net.build([softmax(net, dense(net, global_mean(net, x), 1000))])
