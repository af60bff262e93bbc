"""Plain stacks of convolutions: AlexNet and the VGG networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.architectures.layers import RELU, conv, dense, flatten, max_pool, softmax
from workloads.builder import GraphBuilder
from workloads.operators import LocalResponseNorm

if TYPE_CHECKING:
    from workloads.graph import Graph

CONFIGURATIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def vgg(depth: int) -> Graph:
    """VGG with 11, 13, 16 or 19 layers (configurations A, B, D, E).

    References
    ----------
    .. [1] K. Simonyan, A. Zisserman, "Very deep convolutional networks", ICLR 2015, table 1.
    """
    net = GraphBuilder(f"vgg{depth}")
    x = net.input("image", (1, 224, 224, 3))
    for channels, repeats in zip((64, 128, 256, 512, 512), CONFIGURATIONS[depth], strict=True):
        for _ in range(repeats):
            x = conv(net, x, channels, 3, 1, 1)
        x = max_pool(net, x, 2, 2)
    x = dense(net, dense(net, flatten(net, x), 4096, RELU), 4096, RELU)
    return net.build([softmax(net, dense(net, x, 1000))])


def alexnet() -> Graph:
    """AlexNet at 227 x 227 with its two groups and local response normalisations, as Caffe's CaffeNet orders them.

    References
    ----------
    .. [1] A. Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", NeurIPS 2012.
    """
    net = GraphBuilder("alexnet")
    x = conv(net, net.input("image", (1, 227, 227, 3)), 96, 11, 4, 0)
    x = max_pool(net, net.layer(LocalResponseNorm(), (x,)), 3, 2, "over")
    x = conv(net, x, 256, 5, 1, 2, groups=2)
    x = max_pool(net, net.layer(LocalResponseNorm(), (x,)), 3, 2, "over")
    for channels, groups in ((384, 1), (384, 2), (256, 2)):
        x = conv(net, x, channels, 3, 1, 1, groups=groups)
    x = flatten(net, max_pool(net, x, 3, 2, "over"))
    x = dense(net, dense(net, x, 4096, RELU), 4096, RELU)
    return net.build([softmax(net, dense(net, x, 1000))])
