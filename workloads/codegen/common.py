"""What every code generator shares: loops with their control, addresses, and the padded copy of an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from workloads.program import Address, Buffer, Instruction, Loop, Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from workloads.codegen.geometry import Convolution
    from workloads.codegen.specs import ConvSpec, PoolSpec

    Windowed = ConvSpec | Convolution | PoolSpec
    from workloads.isa import InstructionSet
    from workloads.program import Operand

Body = tuple[Statement, ...]
T = TypeVar("T")


def loop(isa: InstructionSet, variable: str, trips: int, body: Iterable[Statement]) -> Body:
    """Repeat ``body``, closed by the set's loop control; one trip needs neither loop nor control, none is nothing."""
    statements = tuple(body)
    if trips <= 0 or not statements:
        return ()
    if trips == 1:
        return fixed(statements, variable)
    return (Loop(variable, trips, (*statements, *(Instruction(mnemonic) for mnemonic in isa.loop_control))),)


def fixed(body: Iterable[Statement], variable: str, value: int = 0) -> Body:
    """Return ``body`` with a loop variable fixed at ``value``."""
    return tuple(_fixed(statement, variable, value) for statement in body)


def _fixed(statement: Statement, variable: str, value: int) -> Statement:
    """Fix a variable in one statement; a statement that does not use it stays the same object."""
    if isinstance(statement, Loop):
        body = fixed(statement.body, variable, value)
        unchanged = all(new is old for new, old in zip(body, statement.body, strict=True))
        return statement if unchanged else Loop(statement.variable, statement.trips, body)
    if not (_uses(statement.destination, variable) or any(_uses(source, variable) for source in statement.sources)):
        return statement
    destination = _fixed_address(statement.destination, variable, value)
    sources = tuple(_fixed_address(source, variable, value) for source in statement.sources)
    return replace(statement, destination=destination, sources=sources)


def _uses(operand: Operand | None, variable: str) -> bool:
    """Whether an operand is an address that moves with a variable."""
    return isinstance(operand, Address) and any(name == variable for name, _ in operand.strides)


def _fixed_address(operand: T, variable: str, value: int) -> T:
    """Fix a variable in an operand; one that does not use it is returned as it is."""
    if not isinstance(operand, Address):
        return operand
    moved = sum(stride for name, stride in operand.strides if name == variable)
    kept = tuple(item for item in operand.strides if item[0] != variable)
    return replace(operand, offset=operand.offset + moved * value, strides=kept)


def split(extent: int, block: int) -> tuple[tuple[int, int, int], ...]:
    """Split an extent into (first, block, trips) parts: whole blocks, then one smaller remainder."""
    whole, rest = divmod(extent, block)
    parts = [(0, block, whole)] if whole else []
    if rest:
        parts.append((whole * block, rest, 1))
    return tuple(parts)


@dataclass(frozen=True)
class Image:
    """Images (batch, height, width, channels) of bytes in a buffer, rows and images contiguous."""

    buffer: str
    height: int
    width: int
    channels: int

    @property
    def pixel_bytes(self) -> int:
        """Distance of neighbouring pixels. [B]"""
        return self.channels

    @property
    def row_bytes(self) -> int:
        """Distance of neighbouring rows. [B]"""
        return self.width * self.channels

    @property
    def image_bytes(self) -> int:
        """Distance of neighbouring images. [B]"""
        return self.height * self.row_bytes

    def address(self, offset: int = 0, **strides: int) -> Address:
        """Return an address in the buffer."""
        return Address(self.buffer, offset, tuple(strides.items()))


def padded_shape(spec: Windowed) -> tuple[int, int]:
    """Return the rows and columns that the windows touch."""
    dilation = getattr(spec, "dilation", (1, 1))
    return (
        (spec.height_out - 1) * spec.stride[0] + (spec.kernel[0] - 1) * dilation[0] + 1,
        (spec.width_out - 1) * spec.stride[1] + (spec.kernel[1] - 1) * dilation[1] + 1,
    )


def needs_padding(spec: Windowed) -> bool:
    """Whether a window reaches outside the image."""
    height, width = padded_shape(spec)
    return any(spec.padding) or height > spec.height or width > spec.width


def padded_copy(
    isa: InstructionSet,
    spec: Windowed,
    fill: Callable[[Address, int], Body],
    copy: Callable[[Address, Address, int], Body],
    *,
    source: str = "input",
    scratch: Buffer | None = None,
    channels: int | None = None,
) -> tuple[Image, Body, tuple[Buffer, ...]]:
    """Copy the images into a scratch buffer with a border, or use them where they lie when no window leaves them.

    Parameters
    ----------
    fill, copy
        Emit the statements that fill, or copy, a run of contiguous bytes; all rows of a region share one run length.
    scratch
        The buffer to use; by default "padded" in the set's first space.
    channels
        Bytes of a pixel when not ``spec.channels`` (wider elements, or more images side by side).

    Returns
    -------
    tuple
        The images to read, the statements to run first, and the scratch buffers they need.
    """
    channels = spec.channels if channels is None else channels
    given = Image(source, spec.height, spec.width, channels)
    if not needs_padding(spec):
        return given, (), ()
    height, width = padded_shape(spec)
    made = Image(scratch.name if scratch else "padded", height, width, channels)
    buffer = scratch or Buffer("padded", spec.batch * made.image_bytes, isa.spaces[0])
    body = _border(isa, spec, given, made, fill) + _inside(isa, spec, given, made, copy)
    return made, loop(isa, "image", spec.batch, body), (buffer,)


def _inside(
    isa: InstructionSet,
    spec: Windowed,
    given: Image,
    made: Image,
    copy: Callable[[Address, Address, int], Body],
) -> Body:
    """Copy the rows of one image to their place inside the border."""
    top, left = spec.padding
    rows, columns = min(given.height, made.height - top), min(given.width, made.width - left)
    if rows <= 0 or columns <= 0:
        return ()
    target = made.address(top * made.row_bytes + left * made.pixel_bytes, image=made.image_bytes, row=made.row_bytes)
    origin = given.address(image=given.image_bytes, row=given.row_bytes)
    return loop(isa, "row", rows, copy(target, origin, columns * given.pixel_bytes))


def _border(
    isa: InstructionSet, spec: Windowed, given: Image, made: Image, fill: Callable[[Address, int], Body]
) -> Body:
    """Fill what surrounds one image: rows above and below, then runs left and right of each row."""
    top, left = min(spec.padding[0], made.height), min(spec.padding[1], made.width)
    below = max(made.height - top - given.height, 0)
    right = max(made.width - left - given.width, 0)
    rows = made.height - top - below
    body: Body = ()
    if top:
        body += fill(made.address(image=made.image_bytes), top * made.row_bytes)
    if below:
        body += fill(made.address((top + rows) * made.row_bytes, image=made.image_bytes), below * made.row_bytes)
    sides: Body = ()
    first = made.address(top * made.row_bytes, image=made.image_bytes, row=made.row_bytes)
    if left:
        sides += fill(first, left * made.pixel_bytes)
    if right:
        sides += fill(first.plus((made.width - right) * made.pixel_bytes), right * made.pixel_bytes)
    return body + loop(isa, "row", rows, sides)
