"""Built-in networks by name; the weights are seeded and made only when a network is executed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.architectures import imagenet, tiny
from workloads.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workloads.graph import Graph

BUILT_IN: Mapping[str, Callable[[], Graph]] = {
    "resnet8": tiny.resnet8,
    "dscnn_kws": tiny.dscnn_kws,
    "mobilenet_v1_025_96": tiny.mobilenet_v1_025_96,
    "fc_autoencoder": tiny.fc_autoencoder,
    "resnet18": imagenet.resnet18,
    "resnet50": imagenet.resnet50,
    "mobilenet_v2": imagenet.mobilenet_v2,
    "vgg16": imagenet.vgg16,
    "squeezenet1_1": imagenet.squeezenet1_1,
}


def build(name: str) -> Graph:
    """Return a built-in network as a float graph, normalisation folded and activations fused.

    Raises
    ------
    InputError
        No built-in network has that name; the message suggests the closest.
    """
    if name not in BUILT_IN:
        raise InputError(name, [f"model {name!r} is not built in; {did_you_mean(name, BUILT_IN)}"])
    return BUILT_IN[name]()
