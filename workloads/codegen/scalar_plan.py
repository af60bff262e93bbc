"""How a scalar set computes a convolution: register block, unrolling, gathered windows, fused requantisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.codegen.geometry import Convolution, product
from workloads.options import DEFAULT, Options

if TYPE_CHECKING:
    from workloads.codegen.common import Image
    from workloads.codegen.scalar import Scalar
    from workloads.codegen.scalar_gather import Gather
    from workloads.codegen.specs import ConvSpec, MatrixSpec

STEP = 4  # depth of one ``Scalar.step``
_LONG = 8  # steps from which the innermost loop is unrolled unless asked otherwise
_UNROLL = 4  # what is offered beside the set's own choice


@dataclass(frozen=True)
class Window:
    """The window of one output as ``rows * columns`` runs of ``run`` contiguous bytes of the (padded) image."""

    rows: int
    columns: int
    run: int
    row_stride: int
    column_stride: int

    @property
    def depth(self) -> int:
        """Products per output."""
        return self.rows * self.columns * self.run


@dataclass(frozen=True)
class Plan:
    """The options of one convolution, filled in.

    Parameters
    ----------
    pixels, channels
        Outputs of a full tile.
    unroll
        Steps written out per trip of the innermost loop.
    gather
        How windows are gathered before the products; None reads the image where it lies.
    fuse
        Requantise while the sums are in registers.
    """

    pixels: int
    channels: int
    unroll: int
    gather: Gather | None
    fuse: bool

    def depth(self, window: Window) -> int:
        """Weights per output channel, with those that fill gathered runs up."""
        if self.gather is None:
            return window.depth
        return window.rows * window.columns * self.gather.run(window.run)


def window_of(conv: Convolution, image: Image) -> Window:
    """Return the runs of a window; a row of taps is one run when all channels belong to one group."""
    depth = conv.channels // conv.groups
    row_stride, column_stride = conv.dilation[0] * image.row_bytes, conv.dilation[1] * image.channels
    if conv.groups == 1 and (conv.dilation[1] == 1 or conv.kernel[1] == 1):
        return Window(conv.kernel[0], 1, conv.kernel[1] * depth, row_stride, 0)
    return Window(*conv.kernel, depth, row_stride, column_stride)


def choices(spec: ConvSpec | MatrixSpec, scalar: Scalar) -> tuple[Options, ...]:
    """Return the options offered for a convolution or product, the set's own choice first.

    They are few, so that a search stays quick: the register blocks with the most sums, deeper unrolling, both
    lowerings where tiles have several pixels, and the requantisation as a pass of its own.
    """
    conv = product(spec)
    per_group = conv.channels_out // conv.groups
    steps = _run(conv) // STEP
    found: dict[Options, None] = {}

    def offer(blocks: tuple[tuple[int, int], ...], lowering: str, depth: int, unrolls: tuple[int, ...]) -> None:
        for rows, columns in blocks:
            for unroll in unrolls:
                pixels, channels = min(rows, conv.width_out), min(columns, per_group)
                found[Options(pixels, channels, min(unroll, max(depth, 1)), lowering, fuse=True)] = None

    blocks = (scalar.tile, *scalar.blocks) if per_group > 1 else (scalar.depthwise_tile,)
    sizes = {block: min(block[0], conv.width_out) * min(block[1], per_group) for block in blocks}
    blocks = tuple(block for block in blocks if sizes[block] == max(sizes.values()))
    offer(blocks[:1], "direct", steps, (2 if steps >= _LONG else 1,))
    gathered = conv.kernel[0] * conv.kernel[1] * conv.channels
    several = conv.groups == 1 and min(conv.channels_out, conv.width_out) > 1
    if scalar.gather is not None and several and gathered < scalar.gather.limit:
        offer(scalar.gather.blocks, "im2col", gathered // STEP, (_UNROLL,))
    if len(found) == 1 or steps < _LONG:  # long runs are gathered rather than unrolled further
        offer(blocks[:1], "direct", steps, (_UNROLL,))
    offer(blocks[1:2], "direct", steps, (_UNROLL,))
    own = next(iter(found))
    if "store_word" in scalar.op:
        found[Options(own.rows, own.columns, own.unroll, own.lowering, fuse=False)] = None
    return tuple(found)


def _run(conv: Convolution) -> int:
    """Return the bytes of one run of a window."""
    joined = conv.groups == 1 and (conv.dilation[1] == 1 or conv.kernel[1] == 1)
    return (conv.kernel[1] if joined else 1) * conv.channels // conv.groups


def plan_of(spec: ConvSpec | MatrixSpec, scalar: Scalar, options: Options) -> Plan:
    """Fill the options in."""
    if options == DEFAULT:
        options = choices(spec, scalar)[0]
    gather = scalar.gather if options.lowering == "im2col" else None
    return Plan(options.rows or 1, options.columns or 1, options.unroll or 1, gather, options.fuse is not False)
