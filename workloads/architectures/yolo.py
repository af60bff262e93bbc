"""Detectors of the YOLO kind, up to their raw predictions; choosing boxes from them is not part of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.architectures.compact import shufflenet_v2_features
from workloads.architectures.layers import (
    LOGISTIC,
    RELU,
    add,
    after,
    average_pool,
    concat,
    conv,
    depthwise,
    half,
    max_pool,
    upconv,
    upsample,
)
from workloads.architectures.mobilenet import mobilenet_v1_features, mobilenet_v2_expansions
from workloads.builder import GraphBuilder
from workloads.operators import NO_CLAMP, LeakyRelu, Mish, Softmax

if TYPE_CHECKING:
    from workloads.graph import Graph

LEAKY, MISH = LeakyRelu(0.1), Mish()
# expanded channels, channels, stride
FASTEST = (
    (8, 4, 1), (8, 4, 1), (24, 8, 2), (32, 8, 1), (32, 8, 1), (32, 8, 2), (48, 8, 1), (48, 8, 1), (48, 16, 1),
    *[(96, 16, 1)] * 4, (96, 24, 2), *[(136, 24, 1)] * 4, (136, 48, 2), *[(224, 48, 1)] * 5,
)  # fmt: skip


def yolov4(pixels: int = 416) -> Graph:
    """YOLOv4 for the 80 classes of COCO: CSPDarknet53 with mish, spatial pyramid, two-way path aggregation.

    References
    ----------
    .. [1] A. Bochkovskiy et al., "YOLOv4: optimal speed and accuracy of object detection", arXiv:2004.10934; layer by
       layer as AlexeyAB/darknet, cfg/yolov4.cfg.
    """
    net = GraphBuilder("yolov4")
    x = conv(net, net.input("image", (1, pixels, pixels, 3)), 32, 3, 1, 1, MISH)
    stages = []
    for channels, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        x = _cross_stage(net, conv(net, x, channels, 3, 2, 1, MISH), channels, blocks)
        stages.append(x)
    coarse = _alternate(net, stages[4], 512, 3)
    coarse = _alternate(net, concat(net, [max_pool(net, coarse, size, 1, size // 2) for size in (13, 9, 5)] + [coarse]),
                        512, 3)  # fmt: skip
    middle = _joined(net, stages[3], _up(net, coarse, 256), 256)
    fine = _joined(net, stages[2], _up(net, middle, 128), 128)
    x, outputs = fine, [_prediction(net, fine, 256)]
    for side, channels in ((middle, 256), (coarse, 512)):
        x = _alternate(net, concat(net, (conv(net, x, channels, 3, 2, 1, LEAKY), side)), channels, 5)
        outputs.append(_prediction(net, x, 2 * channels))
    return net.build(outputs)


def yolov4_tiny(pixels: int = 416) -> Graph:
    """YOLOv4-tiny for the 80 classes of COCO.

    References
    ----------
    .. [1] C.-Y. Wang et al., "Scaled-YOLOv4", CVPR 2021, section 3.3; AlexeyAB/darknet, cfg/yolov4-tiny.cfg.
    """
    net = GraphBuilder("yolov4_tiny")
    x = conv(net, net.input("image", (1, pixels, pixels, 3)), 32, 3, 2, 1, LEAKY)
    x = conv(net, x, 64, 3, 2, 1, LEAKY)
    skipped = x
    for channels in (64, 128, 256):
        x = conv(net, x, channels, 3, 1, 1, LEAKY)
        first = conv(net, half(net, x, 1), channels // 2, 3, 1, 1, LEAKY)
        second = conv(net, first, channels // 2, 3, 1, 1, LEAKY)
        skipped = conv(net, concat(net, (second, first)), channels, 1, activation=LEAKY)
        x = max_pool(net, concat(net, (x, skipped)), 2, 2, "over")
    x = conv(net, conv(net, x, 512, 3, 1, 1, LEAKY), 256, 1, activation=LEAKY)
    joined = concat(net, (_up(net, x, 128), skipped))
    return net.build([_prediction(net, x, 512), _prediction(net, joined, 256)])


def mobilenet_yolo() -> Graph:
    """MobileNetV1 with predictions at two scales for the 20 classes of VOC, 416 x 416.

    References
    ----------
    .. [1] Tencent/ncnn@a4d2ea1d4422, benchmark/models/mobilenet_yolo.param.
    """
    net = GraphBuilder("mobilenet_yolo")
    features = mobilenet_v1_features(net, net.input("image", (1, 416, 416, 3)))
    coarse = _separable(net, features[12], 1024)
    fine = add(net, features[10], upconv(net, coarse, 512, 4, 1, groups=512, biased=False))
    fine = _separable(net, fine, 1024)
    return net.build([conv(net, x, 125, 1, activation=NO_CLAMP) for x in (coarse, fine)])


def mobilenet_v2_yolov3() -> Graph:
    """MobileNetV2 with predictions at two scales for the 20 classes of VOC, 352 x 352.

    References
    ----------
    .. [1] Tencent/ncnn@a4d2ea1d4422, benchmark/models/mobilenetv2_yolov3.param.
    """
    net = GraphBuilder("mobilenet_v2_yolov3")
    expansions = mobilenet_v2_expansions(net, net.input("image", (1, 352, 352, 3)), first=False)
    coarse = _separable(net, expansions[-1], 576)
    up = max_pool(net, upconv(net, coarse, 576, 1, groups=576, biased=False), 2, 1, 1)
    fine = _separable(net, add(net, up, _separable(net, expansions[13], 576)), 576)
    return net.build([conv(net, x, 75, 1, activation=NO_CLAMP) for x in (coarse, fine)])


def yolo_fastest() -> Graph:
    """Yolo-Fastest 1.1 for the 80 classes of COCO, 320 x 320.

    References
    ----------
    .. [1] dog-qiuqiu/Yolo-Fastest; Tencent/ncnn@a4d2ea1d4422, benchmark/models/yolo-fastest-1.1.param.
    """
    net = GraphBuilder("yolo_fastest")
    x = conv(net, net.input("image", (1, 320, 320, 3)), 8, 3, 2, 1, LEAKY)
    fine = x
    for expanded, channels, stride in FASTEST:
        fine = x if net.tensors[x].shape[3] == 24 else fine
        inner = depthwise(net, conv(net, x, expanded, 1, activation=LEAKY), stride, 1, LEAKY)
        inner = conv(net, inner, channels, 1, activation=NO_CLAMP)
        x = add(net, x, inner) if stride == 1 and net.tensors[x].shape[3] == channels else inner
    pools = [max_pool(net, x, size, 1, size // 2) for size in (9, 5, 3)]
    coarse = conv(net, concat(net, (*pools, x)), 96, 1, activation=LEAKY)
    outputs = []
    for joined in (coarse, concat(net, (upsample(net, coarse), fine))):
        channels, inner = net.tensors[joined].shape[3], joined
        for _ in range(2):
            inner = conv(net, depthwise(net, inner, 1, 2, LEAKY, 5), channels, 1, activation=NO_CLAMP)
        outputs.append(conv(net, inner, 255, 1, activation=NO_CLAMP))
    return net.build(outputs)


def yolo_fastest_v2() -> Graph:
    """Yolo-FastestV2 for the 80 classes of COCO, 352 x 352.

    References
    ----------
    .. [1] dog-qiuqiu/Yolo-FastestV2; Tencent/ncnn@a4d2ea1d4422, benchmark/models/yolo-fastestv2.param.
    """
    net = GraphBuilder("yolo_fastest_v2")
    _, middle, deep = shufflenet_v2_features(net, net.input("image", (1, 352, 352, 3)), 48)
    outputs = []
    for x in (concat(net, (upsample(net, deep), middle)), deep):
        reduced = conv(net, x, 72, 1)
        classes, boxes = (_twice_separable(net, reduced) for _ in range(2))
        sides = [conv(net, side, channels, 1, activation=LOGISTIC) for side, channels in ((boxes, 12), (classes, 3))]
        chosen = net.layer(Softmax(), (conv(net, classes, 80, 1, activation=NO_CLAMP),))
        outputs.append(concat(net, (*sides, chosen)))
    return net.build(outputs)


def fastestdet() -> Graph:
    """FastestDet for the 80 classes of COCO, 352 x 352.

    References
    ----------
    .. [1] dog-qiuqiu/FastestDet; Tencent/ncnn@a4d2ea1d4422, benchmark/models/FastestDet.param.
    """
    net = GraphBuilder("fastestdet")
    early, middle, deep = shufflenet_v2_features(net, net.input("image", (1, 352, 352, 3)), 48)
    x = concat(net, (average_pool(net, early, 3, 2, 1, counted=True), middle, upsample(net, deep)))
    x = conv(net, x, 96, 1)
    branches = []
    for length in (1, 2, 3):
        branch = x
        for _ in range(length):
            branch = depthwise(net, branch, 1, 2, RELU, 5)
        branches.append(branch)
    x = add(net, x, conv(net, concat(net, branches), 96, 1, activation=NO_CLAMP), RELU)
    x = conv(net, x, 96, 1)
    classes, boxes, objects = (
        conv(net, depthwise(net, x, 1, 2, RELU, 5), channels, 1, activation=NO_CLAMP) for channels in (80, 4, 1)
    )
    return net.build([concat(net, (after(net, objects, LOGISTIC), boxes, net.layer(Softmax(), (classes,))))])


def _cross_stage(net: GraphBuilder, x: str, channels: int, blocks: int) -> str:
    """Send one half of the channels past a row of residual blocks; the first stage keeps all in both."""
    width = channels if channels == 64 else channels // 2
    past, inner = (conv(net, x, width, 1, activation=MISH) for _ in range(2))
    for _ in range(blocks):
        narrow = conv(net, inner, 32 if channels == 64 else width, 1, activation=MISH)
        inner = add(net, inner, conv(net, narrow, width, 3, 1, 1, MISH))
    inner = conv(net, inner, width, 1, activation=MISH)
    return conv(net, concat(net, (inner, past)), channels, 1, activation=MISH)


def _alternate(net: GraphBuilder, x: str, channels: int, count: int) -> str:
    """Add 1 x 1 convolutions and 3 x 3 ones of twice the channels in turn."""
    for place in range(count):
        x = conv(net, x, channels << place % 2, 3 if place % 2 else 1, 1, "same", LEAKY)
    return x


def _up(net: GraphBuilder, x: str, channels: int) -> str:
    """Reduce the channels and repeat every pixel."""
    return upsample(net, conv(net, x, channels, 1, activation=LEAKY))


def _joined(net: GraphBuilder, skipped: str, up: str, channels: int) -> str:
    """Join an earlier stage with what comes from above."""
    return _alternate(net, concat(net, (conv(net, skipped, channels, 1, activation=LEAKY), up)), channels, 5)


def _prediction(net: GraphBuilder, x: str, channels: int) -> str:
    """Three boxes of 4 + 1 + 80 values per pixel."""
    return conv(net, conv(net, x, channels, 3, 1, 1, LEAKY), 255, 1, activation=NO_CLAMP)


def _separable(net: GraphBuilder, x: str, channels: int) -> str:
    """Add a depthwise and a 1 x 1 convolution."""
    return conv(net, depthwise(net, x, 1, 1), channels, 1)


def _twice_separable(net: GraphBuilder, x: str) -> str:
    """Add two pairs of a 5 x 5 depthwise and a 1 x 1 convolution."""
    for _ in range(2):
        x = conv(net, depthwise(net, x, 1, 2, RELU, 5), 72, 1, activation=NO_CLAMP)
    return x
