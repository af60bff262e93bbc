"""The layers of ncnn network descriptions that make inputs and move elements, by their numbered parameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workloads.operators import Concat, Pad, Reshape, Resize2d, Slice, Transpose, Unmodelled
from workloads.readers import limits
from workloads.readers.ncnn_network import SIZES, Network, ParamLayer, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable
REST, DROPPED, TO_END = -233, -233, -233
ORDERS = {2: ("wh", "hw"), 3: ("whc", "hwc", "wch", "cwh", "hcw", "chw")}  # by number, the fastest axis first


def _input(network: Network, layer: ParamLayer) -> None:
    """Input: width, height, channels; extents that the file does not tell are asked for."""
    extents = [layer.integer(number) or network.sizes.get(size, 0) for number, size in enumerate(SIZES)]
    if not any(extents):
        names = ", ".join(f"{size}=..." for size in SIZES)
        raise ValueError(f"Input {layer.name!r} has no extents; give sizes {names}")
    shape = shape_of(tuple(extent for extent in reversed(extents) if extent))
    limits.check_shape(f"{layer.op} {layer.name!r}", shape)
    network.blobs[layer.outputs[0]] = network.builder.input(layer.outputs[0], shape)


def _memory(network: Network, layer: ParamLayer) -> None:
    """MemoryData: a constant; width, height, channels."""
    extents = tuple(layer.integer(number) for number in (2, 1, 0) if layer.integer(number))
    network.blobs[layer.outputs[0]] = network.constant(layer, "data", shape_of(extents))


def _split(network: Network, layer: ParamLayer) -> None:
    """Split: more names for one value; of Noop only the first input goes on."""
    for output in layer.outputs:
        network.blobs[output] = network.source(layer)


def _concat(network: Network, layer: ParamLayer) -> None:
    """Concat: axis 0 is the channel axis of an image."""
    inputs = network.sources(layer)
    network.add(Concat(network.axis(layer, inputs[0], layer.integer(0))), inputs, layer)


def _flatten(network: Network, layer: ParamLayer) -> None:
    """Flatten: one axis, in ncnn's order."""
    _to(network, layer, (math.prod(network.extents(network.source(layer))),))


def _reshape(network: Network, layer: ParamLayer) -> None:
    """Reshape: width, height, channels; 0 keeps an extent, -1 takes the rest."""
    x = network.source(layer)
    own, wanted = network.extents(x)[::-1], [layer.integer(number, DROPPED) for number in range(3)]
    kept = [own[place] if extent == 0 and place < len(own) else extent for place, extent in enumerate(wanted)]
    known = [extent for extent in kept if extent not in {DROPPED, -1}]
    rest, left = divmod(math.prod(own), math.prod(known) or 1)
    extents = tuple(rest if extent == -1 else extent for extent in kept if extent != DROPPED)[::-1]
    if layer.integer(11, DROPPED) != DROPPED:
        network.unmodelled(network, layer)
    elif left or min(known, default=1) < 1 or math.prod(extents) != math.prod(own):
        raise ValueError(f"Reshape {layer.name!r}: extents {own} (w, h, c) cannot become {wanted}")
    else:
        _to(network, layer, extents)


def _to(network: Network, layer: ParamLayer, extents: tuple[int, ...]) -> None:
    """Give a tensor other extents, in ncnn's order: planes of channels before and behind."""
    x = network.source(layer)
    if len(network.shape(x)) == 4:
        x = network.inner(Transpose((0, 3, 1, 2)), [x], layer)
    if len(extents) == 3:
        planes = network.inner(Reshape(), [x], layer, (1, *extents))
        network.add(Transpose((0, 2, 3, 1)), [planes], layer)
    else:
        network.add(Reshape(), [x], layer, (1, *extents))


def _permute(network: Network, layer: ParamLayer) -> None:
    """Permute: the order of the axes by number."""
    x = network.source(layer)
    rank = len(network.extents(x))
    orders = ORDERS.get(rank, ())
    if layer.integer(0) not in range(len(orders)):
        raise ValueError(f"Permute {layer.name!r}: order {layer.integer(0)} over {network.shape(x)} is not known")
    places = {"h": 1, "w": 2, "c": 3}
    width, height, *channels = (places[letter] for letter in orders[layer.integer(0)])
    network.add(Transpose((0, height, width, *channels)), [x], layer)


def _slice(network: Network, layer: ParamLayer) -> None:
    """Slice: parts of given extents along an axis; what is not given is shared evenly."""
    x = network.source(layer)
    axis = network.axis(layer, x, layer.integer(1))
    extent, begin, wanted = network.shape(x)[axis], 0, layer.integers(0)
    if len(wanted) != len(layer.outputs):
        raise ValueError(f"Slice {layer.name!r} has {len(layer.outputs)} outputs and {len(wanted)} extents")
    for index, output in enumerate(layer.outputs):
        size = (extent - begin) // (len(wanted) - index) if wanted[index] == REST else wanted[index]
        network.blobs[output] = network.inner(Slice(axis, begin, size), [x], layer, output=output)
        begin += size


def _crop(network: Network, layer: ParamLayer) -> None:
    """Crop: offsets and extents of w, h, c, or begins and ends along axes."""
    x = network.source(layer)
    extents = network.extents(x)
    if len(layer.inputs) > 1:  # the second one tells the extents
        network.unmodelled(network, layer)
        return
    ranges = []  # (our axis, begin, end)
    for number, begin, end in zip(layer.integers(11), layer.integers(9), layer.integers(10), strict=False):
        axis = network.axis(layer, x, number)
        full = network.shape(x)[axis]
        last = full if end == TO_END else min(full, end if end > 0 else full + end)
        ranges.append((axis, begin + full if begin < 0 else begin, last))
    for number, full in enumerate(reversed(extents)) if not ranges else ():
        begin, size, behind = (layer.integer(first + number) for first in (0, 3, 6))
        last = full - behind if size in {0, REST} else begin + size
        ranges.append((network.axis(layer, x, -1 - number), begin, last))
    for axis, begin, end in ranges:
        if (begin, end) != (0, network.shape(x)[axis]):
            x = network.inner(Slice(axis, begin, end - begin), [x], layer)
    network.blobs[layer.outputs[0]] = x


def _pad(network: Network, layer: ParamLayer) -> None:
    """Pad rows, columns and channels with a value."""
    x = network.source(layer)
    rows, columns = (layer.integer(0), layer.integer(1)), (layer.integer(2), layer.integer(3))
    channels = (layer.integer(7), layer.integer(8))
    amounts = ((0, 0), rows, columns, channels)[: len(network.shape(x))]
    if layer.integer(4) or len(network.shape(x)) != 4:
        network.unmodelled(network, layer)
    else:
        network.add(Pad(amounts, layer.real(5, 0.0)), [x], layer)


def _shuffle(network: Network, layer: ParamLayer) -> None:
    """ShuffleChannel: channels dealt to groups in turn."""
    x, groups = network.image(layer), layer.integer(0, 1)
    batch, height, width, channels = network.shape(x)
    if groups < 1 or channels % groups:
        raise ValueError(f"ShuffleChannel {layer.name!r}: {channels} channels in {groups} groups do not fit")
    first = channels // groups if layer.integer(1) else groups
    parts = network.reshaped(x, (batch, height, width, first, channels // first))
    swapped = network.inner(Transpose((0, 1, 2, 4, 3)), [parts], layer)
    network.add(Reshape(), [swapped], layer, (batch, height, width, channels))


def _resize(network: Network, layer: ParamLayer) -> None:
    """Interp: nearest or bilinear, to a size or by a factor."""
    x = network.image(layer)
    shape = network.shape(x)
    kind = {1: "nearest", 2: "bilinear"}.get(layer.integer(0))
    size = (
        layer.integer(3) or int(shape[1] * layer.real(1, 1.0)),
        layer.integer(4) or int(shape[2] * layer.real(2, 1.0)),
    )
    corners = bool(layer.integer(6))
    operator = Resize2d(kind, size, corners, not corners) if kind else Unmodelled(f"{layer.op} bicubic")
    network.add(operator, [x], layer, (shape[0], *size, shape[3]))


def _prior_boxes(network: Network, layer: ParamLayer) -> None:
    """PriorBox: boxes and their variances of every pixel; its shape follows, its cost is not modelled."""
    x = network.image(layer)
    least, most, ratios = (len(layer.reals(number)) for number in range(3))
    boxes = least * (1 + ratios * (2 if layer.integer(7, 1) else 1)) + most
    places = math.prod(network.shape(x)[1:3])
    network.add(Unmodelled(layer.op), network.sources(layer), layer, (1, 2, 4 * boxes * places))


MOVES: dict[str, Callable[[Network, ParamLayer], None]] = {
    "Concat": _concat,
    "Crop": _crop,
    "Dropout": _split,
    "Flatten": _flatten,
    "Input": _input,
    "Interp": _resize,
    "MemoryData": _memory,
    "Noop": _split,
    "Padding": _pad,
    "Permute": _permute,
    "PriorBox": _prior_boxes,
    "Reshape": _reshape,
    "ShuffleChannel": _shuffle,
    "Slice": _slice,
    "Split": _split,
}
