"""U-Net: an encoder and a decoder joined at every scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.architectures.layers import concat, conv, max_pool, upconv
from workloads.builder import GraphBuilder
from workloads.operators import NO_CLAMP, Pad

if TYPE_CHECKING:
    from workloads.graph import Graph


def unet(pixels: int = 572) -> Graph:
    """U-Net for one class whose convolutions keep the image's size, with batch normalisation, as milesial/Pytorch-UNet.

    The decoder's image is padded where halving dropped a row or column.

    References
    ----------
    .. [1] O. Ronneberger et al., "U-Net", MICCAI 2015, figure 1.
    .. [2] milesial/Pytorch-UNet@6aa14cbbc445, unet/unet_model.py (bilinear=False).
    """
    net = GraphBuilder("unet")
    x = _twice(net, net.input("image", (1, pixels, pixels, 3)), 64)
    skipped = []
    for channels in (128, 256, 512, 1024):
        skipped.append(x)
        x = _twice(net, max_pool(net, x, 2, 2), channels)
    for skip in reversed(skipped):
        channels = net.tensors[skip].shape[3]
        up = upconv(net, x, channels, 2)
        missing = [net.tensors[skip].shape[axis] - net.tensors[up].shape[axis] for axis in (1, 2)]
        if any(missing):
            rows, columns = ((each // 2, each - each // 2) for each in missing)
            up = net.layer(Pad(((0, 0), rows, columns, (0, 0))), (up,), output=f"pad{len(net.layers)}")
        x = _twice(net, concat(net, (skip, up)), channels)
    return net.build([conv(net, x, 1, 1, activation=NO_CLAMP)])


def _twice(net: GraphBuilder, x: str, channels: int) -> str:
    """Add two 3 x 3 convolutions."""
    return conv(net, conv(net, x, channels, 3, 1, 1), channels, 3, 1, 1)
