"""Single-shot detectors up to their raw predictions: SSD, BlazeFace's features, NanoDet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.architectures.compact import fire, shufflenet_v2_features, squeezenet1_1_features
from workloads.architectures.layers import (
    RELU,
    add,
    batch_norm,
    conv,
    depthwise,
    max_pool,
    resize,
)
from workloads.architectures.mobilenet import mobilenet_v1_features
from workloads.builder import GraphBuilder
from workloads.operators import NO_CLAMP, Concat, LeakyRelu, Logistic, Pad, Reshape, Slice, Softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workloads.graph import Graph

VOC_CLASSES = 21
LEAKY = LeakyRelu(0.1)
FACE = ((24, 1), (28, 1), (32, 2), (36, 1), (42, 1), (48, 2), (56, 1), (64, 1), (72, 1), (80, 1), (88, 1), (96, 2),
        *[(96, 1)] * 4)  # fmt: skip


def mobilenet_ssd() -> Graph:
    """MobileNetV1 with predictions at six scales for the 20 classes of VOC and background, 300 x 300.

    References
    ----------
    .. [1] W. Liu et al., "SSD: single shot multibox detector", ECCV 2016; chuanqi305/MobileNet-SSD.
    """
    net = GraphBuilder("mobilenet_ssd")
    features = mobilenet_v1_features(net, net.input("image", (1, 300, 300, 3)))
    scales, x = [features[10], features[12]], features[12]
    for reduced, channels in ((256, 512), (128, 256), (128, 256), (64, 128)):
        x = conv(net, conv(net, x, reduced, 1), channels, 3, 2, 1)
        scales.append(x)
    return _predicted(net, scales, (3, 6, 6, 6, 6, 6), 1)


def squeezenet_ssd() -> Graph:
    """SqueezeNet 1.1 with predictions at six scales for the 20 classes of VOC and background, 300 x 300.

    References
    ----------
    .. [1] chuanqi305/SqueezeNet-SSD; Tencent/ncnn@a4d2ea1d4422, benchmark/models/squeezenet_ssd.param.
    """
    net = GraphBuilder("squeezenet_ssd")
    features = squeezenet1_1_features(net, net.input("image", (1, 300, 300, 3)))
    scales, x = [batch_norm(net, features[3], NO_CLAMP), features[7]], features[7]
    for _ in range(2):
        x = fire(net, max_pool(net, x, 3, 2, "over"), 96, 384)
        scales.append(x)
    for reduced, channels in ((128, 256), (64, 128)):
        x = conv(net, conv(net, x, reduced, 1), channels, 3, 2, 1)
        scales.append(x)
    return _predicted(net, scales, (4, 6, 6, 6, 6, 4), 3)


def blazeface_features() -> Graph:
    """BlazeFace's features at 128 x 128, without its predictions.

    References
    ----------
    .. [1] V. Bazarevsky et al., "BlazeFace", arXiv:1907.05047, table 4; Tencent/ncnn@a4d2ea1d4422,
       benchmark/models/blazeface.param.
    """
    net = GraphBuilder("blazeface_features")
    x = conv(net, net.input("image", (1, 128, 128, 3)), 24, 5, 2)
    for channels, stride in FACE:
        inner = conv(net, depthwise(net, x, stride, 1 if stride == 1 else (0, 0, 2, 2), NO_CLAMP), channels, 1,
                     activation=NO_CLAMP)  # fmt: skip
        past = x if stride == 1 else max_pool(net, x, 2, 2)
        if missing := channels - net.tensors[x].shape[3]:
            past = net.layer(Pad(((0, 0), (0, 0), (0, 0), (0, missing))), (past,))
        x = add(net, inner, past, RELU)
    return net.build([x])


def nanodet_m() -> Graph:
    """NanoDet-m for the 80 classes of COCO, 320 x 320.

    References
    ----------
    .. [1] RangiLyu/nanodet; Tencent/ncnn@a4d2ea1d4422, benchmark/models/nanodet_m.param.
    """
    net = GraphBuilder("nanodet_m")
    stages = shufflenet_v2_features(net, net.input("image", (1, 320, 320, 3)), 116, LEAKY)
    scales = [conv(net, stage, 96, 1, activation=NO_CLAMP) for stage in stages]
    for one, other in ((2, 1), (1, 0), (0, 1), (1, 2)):
        size = net.tensors[scales[other]].shape[1:3]
        scales[other] = add(net, scales[other], resize(net, scales[one], (size[0], size[1]), "bilinear"))
    return net.build([output for x in scales for output in _classes_and_distances(net, x)])


def _classes_and_distances(net: GraphBuilder, x: str) -> list[str]:
    """Add NanoDet's head: 80 class scores, and four distances as distributions over eight values, per pixel."""
    for _ in range(2):
        x = conv(net, depthwise(net, x, 1, 1, LEAKY), 96, 1, activation=LEAKY)
    x = conv(net, x, 112, 1, activation=NO_CLAMP)
    _, height, width, _ = net.tensors[x].shape
    classes, distances = (net.layer(Slice(3, begin, extent), (x,)) for begin, extent in ((0, 80), (80, 32)))
    parts = ((net.layer(Logistic(), (classes,)), 80), (distances, 32))
    return [net.layer(Reshape(), (part,), shape=(1, height * width, count)) for part, count in parts]


def _predicted(net: GraphBuilder, scales: Sequence[str], boxes: Sequence[int], kernel: int) -> Graph:
    """Predict places and class scores of boxes at every pixel of every scale."""
    sides = []
    for values in (4, VOC_CLASSES):
        parts = []
        for x, count in zip(scales, boxes, strict=True):
            made = conv(net, x, values * count, kernel, 1, kernel // 2, NO_CLAMP)
            _, height, width, _ = net.tensors[made].shape
            parts.append(net.layer(Reshape(), (made,), shape=(1, height * width * count, values)))
        sides.append(parts)
    places, scores = (net.layer(Concat(1), parts) for parts in sides)
    return net.build([places, net.layer(Softmax(), (scores,))])
