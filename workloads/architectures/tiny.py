"""The MLPerf Tiny reference networks, batch normalisation folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.architectures.layers import (
    RELU,
    add,
    average_all,
    conv,
    dense,
    depthwise,
    softmax,
)
from workloads.builder import GraphBuilder
from workloads.operators import NO_CLAMP

if TYPE_CHECKING:
    from workloads.graph import Graph


def resnet8() -> Graph:
    """ResNet-8 for CIFAR-10: image classification of MLPerf Tiny.

    References
    ----------
    .. [1] C. Banbury et al., "MLPerf Tiny Benchmark", NeurIPS 2021; mlcommons/tiny@1afd2c9820f7,
       benchmark/training/image_classification/keras_model.py (resnet_v1_eembc).
    """
    net = GraphBuilder("resnet8")
    x = conv(net, net.input("image", (1, 32, 32, 3)), 16, 3)
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        inner = conv(net, conv(net, x, channels, 3, stride), channels, 3, activation=NO_CLAMP)
        shortcut = x if stride == 1 else conv(net, x, channels, 1, stride, activation=NO_CLAMP)
        x = add(net, shortcut, inner, RELU)
    return net.build([softmax(net, dense(net, average_all(net, x), 10))])


def dscnn_kws() -> Graph:
    """DS-CNN for twelve keywords: keyword spotting of MLPerf Tiny.

    References
    ----------
    .. [1] Y. Zhang et al., "Hello Edge: keyword spotting on microcontrollers", arXiv:1711.07128;
       mlcommons/tiny@1afd2c9820f7, benchmark/training/keyword_spotting/keras_model.py (ds_cnn).
    """
    net = GraphBuilder("dscnn_kws")
    x = conv(net, net.input("spectrogram", (1, 49, 10, 1)), 64, (10, 4), 2)
    for _ in range(4):
        x = conv(net, depthwise(net, x), 64, 1)
    return net.build([softmax(net, dense(net, average_all(net, x), 12))])


def mobilenet_v1_025_96() -> Graph:
    """MobileNetV1, width 0.25, 96 x 96: visual wake words of MLPerf Tiny.

    References
    ----------
    .. [1] A. Howard et al., "MobileNets", arXiv:1704.04861, table 1;
       mlcommons/tiny@1afd2c9820f7, benchmark/training/visual_wake_words/vww_model.py (mobilenet_v1).
    """
    net = GraphBuilder("mobilenet_v1_025_96")
    x = conv(net, net.input("image", (1, 96, 96, 3)), 8, 3, 2)
    blocks = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1))
    for channels, stride in blocks:
        x = conv(net, depthwise(net, x, stride), channels, 1)
    return net.build([softmax(net, dense(net, average_all(net, x), 2))])


def fc_autoencoder() -> Graph:
    """Fully connected auto-encoder: anomaly detection of MLPerf Tiny.

    References
    ----------
    .. [1] Y. Koizumi et al., "ToyADMOS", WASPAA 2019; mlcommons/tiny@1afd2c9820f7,
       benchmark/training/anomaly_detection/keras_model.py (get_model).
    """
    net = GraphBuilder("fc_autoencoder")
    x = net.input("spectrogram", (1, 640))
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = dense(net, x, units, RELU)
    return net.build([dense(net, x, 640)])
