"""Built-in networks by name; the weights are seeded and made only when a network is executed.

Some names take numbers behind an underscore, e.g. ``mobilenet_v2_0.35_128``: see ``FAMILIES``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from workloads.architectures import (
    compact,
    detectors,
    efficientnet,
    inception,
    mobilenet,
    resnet,
    tiny,
    transformer,
    unet,
    vgg,
    yolo,
)
from workloads.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workloads.graph import Graph

    Make = Callable[..., Graph]


@dataclass(frozen=True)
class Number:
    """A number in a network's name: the width of all layers, the pixels of an image's side, tokens of text."""

    name: str
    lowest: float
    highest: float
    whole: bool = True

    def read(self, text: str) -> int | float:
        """Return the number that ``text`` stands for.

        Raises
        ------
        ValueError
            It stands for none, or for one out of range.
        """
        try:
            value = int(text) if self.whole else float(text)
        except ValueError:
            value = self.lowest - 1
        if not self.lowest <= value <= self.highest:
            kind = "a whole number" if self.whole else "a number"
            raise ValueError(f"{self.name} {text!r}: expected {kind} from {self.lowest:g} to {self.highest:g}")
        return value


WIDTH, PIXELS = Number("width", 0.1, 4, whole=False), Number("pixels", 32, 4096)
TOKENS, PAST = Number("tokens", 1, 8192), Number("past tokens", 0, 131072)
FAMILIES: Mapping[str, tuple[Make, tuple[Number, ...]]] = {
    "mobilenet_v1": (mobilenet.mobilenet_v1, (WIDTH, PIXELS)),
    "mobilenet_v2": (mobilenet.mobilenet_v2, (WIDTH, PIXELS)),
    "efficientnet_b0": (efficientnet.efficientnet_b0, (PIXELS,)),
    "squeezenet1_1": (compact.squeezenet1_1, (PIXELS,)),
    "unet": (unet.unet, (PIXELS,)),
    "vit_b_8": (partial(transformer.vit_base, 8), (PIXELS,)),
    "vit_b_16": (partial(transformer.vit_base, 16), (PIXELS,)),
    "vit_b_32": (partial(transformer.vit_base, 32), (PIXELS,)),
    "yolov4": (yolo.yolov4, (PIXELS,)),
    "yolov4_tiny": (yolo.yolov4_tiny, (PIXELS,)),
    "bert_base": (transformer.bert_base, (Number("tokens", 1, 512),)),
    **{name: (partial(transformer.decoder, name), (TOKENS, PAST)) for name in transformer.DECODERS},
}
# The networks of ncnn's benchmark as its description files have them, which is not always as published.
NCNN: Mapping[str, Make] = {
    "squeezenet": partial(compact.squeezenet1_1, 227, 1),
    "mobilenet": mobilenet.mobilenet_v1,
    "mobilenet_v2": mobilenet.mobilenet_v2_caffe,
    "mobilenet_v3": mobilenet.mobilenet_v3_unrounded,
    "shufflenet": compact.shufflenet_v1,
    "shufflenet_v2": compact.shufflenet_v2,
    "mnasnet": efficientnet.mnasnet,
    "proxylessnasnet": efficientnet.proxylessnas_mobile,
    "efficientnet_b0": efficientnet.efficientnet_b0,
    "efficientnetv2_b0": efficientnet.efficientnet_v2_b0,
    "regnety_400m": resnet.regnet_y_400m,
    "blazeface": detectors.blazeface_features,
    "googlenet": inception.googlenet,
    "resnet18": partial(resnet.basic, 18, projected=True),
    "alexnet": vgg.alexnet,
    "vgg16": partial(vgg.vgg, 16),
    "resnet50": partial(resnet.bottleneck, 50, stride_first=True),
    "squeezenet_ssd": detectors.squeezenet_ssd,
    "mobilenet_ssd": detectors.mobilenet_ssd,
    "mobilenet_yolo": yolo.mobilenet_yolo,
    "mobilenetv2_yolov3": yolo.mobilenet_v2_yolov3,
    "yolov4-tiny": yolo.yolov4_tiny,
    "nanodet_m": detectors.nanodet_m,
    "yolo-fastest-1.1": yolo.yolo_fastest,
    "yolo-fastestv2": yolo.yolo_fastest_v2,
    "vision_transformer": partial(transformer.vit_base, 32, 384),
    "FastestDet": yolo.fastestdet,
}
BUILT_IN: Mapping[str, Make] = {
    "resnet8": tiny.resnet8,
    "dscnn_kws": tiny.dscnn_kws,
    "mobilenet_v1_025_96": tiny.mobilenet_v1_025_96,
    "fc_autoencoder": tiny.fc_autoencoder,
    "alexnet": vgg.alexnet,
    **{f"vgg{depth}": partial(vgg.vgg, depth) for depth in vgg.CONFIGURATIONS},
    **{f"resnet{depth}": partial(resnet.basic, depth) for depth in (18, 34)},
    **{f"resnet{depth}": partial(resnet.bottleneck, depth) for depth in (50, 101, 152)},
    "resnext50_32x4d": partial(resnet.bottleneck, 50, width=128, groups=32),
    "wide_resnet50_2": partial(resnet.bottleneck, 50, width=128),
    "regnet_y_400m": resnet.regnet_y_400m,
    "mobilenet_v3_large": partial(mobilenet.mobilenet_v3, "large"),
    "mobilenet_v3_small": partial(mobilenet.mobilenet_v3, "small"),
    "mobilenet_v3_large_minimalistic": partial(mobilenet.mobilenet_v3, "large", minimalistic=True),
    "mobilenet_v3_small_minimalistic": partial(mobilenet.mobilenet_v3, "small", minimalistic=True),
    **{f"efficientnet_lite{size}": partial(efficientnet.efficientnet_lite, size) for size in efficientnet.LITE},
    "efficientnet_v2_b0": efficientnet.efficientnet_v2_b0,
    "mnasnet": efficientnet.mnasnet,
    "proxylessnas_mobile": efficientnet.proxylessnas_mobile,
    "squeezenet1_0": compact.squeezenet1_0,
    "shufflenet_v1": compact.shufflenet_v1,
    "shufflenet_v2": compact.shufflenet_v2,
    "shufflenet_v2_0.5": partial(compact.shufflenet_v2, 0.5),
    "densenet121": compact.densenet121,
    "googlenet": inception.googlenet,
    "inception_v3": inception.inception_v3,
    "inception_resnet_v2": inception.inception_resnet_v2,
    **{name: make for name, (make, _) in FAMILIES.items()},
    **{f"ncnn_{name}": make for name, make in NCNN.items()},
}


def build(name: str) -> Graph:
    """Return a built-in network as a float graph, normalisation folded and activations fused.

    Raises
    ------
    InputError
        No built-in network has that name, the message suggests the closest; or a number in it is out of range.
    """
    make = find(name)
    if make is None:
        raise InputError(name, [f"model {name!r} is not built in; {did_you_mean(name, BUILT_IN)}"])
    return replace(make(), name=name)


def find(name: str) -> Make | None:
    """Return what makes a built-in network, or None if no name or family fits.

    Raises
    ------
    InputError
        A family fits, but not its numbers.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    for family in sorted(FAMILIES, key=len, reverse=True):
        if name.startswith(f"{family}_"):
            make, numbers = FAMILIES[family]
            words = name.removeprefix(f"{family}_").split("_")
            try:
                values = [number.read(word) for number, word in zip(numbers, words, strict=False)]
            except ValueError as error:
                raise InputError(name, [f"{error}; {usage(family)}"]) from None
            if len(words) > len(numbers):
                raise InputError(name, [f"{len(words)} numbers; {usage(family)}"])
            return partial(make, *values)
    return None


def usage(family: str) -> str:
    """Return how a family's names are written."""
    shown = "".join(f"[_{number.name.upper().replace(' ', '-')}" for number in FAMILIES[family][1])
    return f"write {family}{shown}{']' * len(FAMILIES[family][1])}"
