"""What every code generator shares: loops with their control, addresses, and the padded copy of an image."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from workloads.program import Address, Buffer, Instruction, Loop, Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from workloads.codegen.geometry import Convolution
    from workloads.codegen.specs import ConvSpec, PoolSpec

    Windowed = ConvSpec | Convolution | PoolSpec
    from workloads.isa import InstructionSet

Body = tuple[Statement, ...]
T = TypeVar("T")


def loop(isa: InstructionSet, variable: str, trips: int, body: Iterable[Statement]) -> Body:
    """Repeat ``body``, closed by the set's loop control; one trip needs neither loop nor control, none is nothing."""
    return nest(isa, ((variable, trips),), tuple(body))


def nest(isa: InstructionSet, loops: Iterable[tuple[str, int]], body: Body) -> Body:
    """Wrap ``body`` in loops of (variable, trips), outermost first, each as ``loop`` does.

    Addresses keep moving with the variable of a single trip, which stays 0; ``settled`` takes it out of them.
    """
    wanted = tuple(loops)
    if not body or any(trips <= 0 for _, trips in wanted):
        return ()
    control = tuple(Instruction(mnemonic) for mnemonic in isa.loop_control)
    for variable, trips in reversed(wanted):
        if trips > 1:
            body = (Loop(variable, trips, (*body, *control)),)
    return body


def settled(body: Body, variables: frozenset[str] = frozenset()) -> Body:
    """Return ``body`` with its addresses moved by the loops around them only."""
    return tuple([_settled(statement, variables) for statement in body])


def _settled(statement: Statement, variables: frozenset[str]) -> Statement:
    """Take the variables that no loop counts out of one statement; one without stays the same object."""
    if isinstance(statement, Loop):
        return Loop(statement.variable, statement.trips, settled(statement.body, variables | {statement.variable}))
    destination, sources = statement.destination, statement.sources
    if isinstance(destination, Address):
        destination = _kept(destination, variables)
    for place, source in enumerate(sources):
        if isinstance(source, Address):
            sources = (*sources[:place], _kept(source, variables), *sources[place + 1 :])
    if destination is statement.destination and sources is statement.sources:
        return statement
    return Instruction(statement.op, destination, sources, statement.count, statement.shape)


def _kept(address: Address, variables: frozenset[str]) -> Address:
    """Return an address with the strides of some variables."""
    kept = tuple([item for item in address.strides if item[0] in variables])
    return address if len(kept) == len(address.strides) else Address(address.buffer, address.offset, kept)


def readdressed(body: Body, change: Callable[[Address], Address]) -> Body:
    """Return ``body`` with every address changed."""
    found: list[Statement] = []
    for statement in body:
        if isinstance(statement, Loop):
            found.append(Loop(statement.variable, statement.trips, readdressed(statement.body, change)))
            continue
        target = statement.destination
        found.append(
            replace(
                statement,
                destination=change(target) if isinstance(target, Address) else target,
                sources=tuple(
                    change(source) if isinstance(source, Address) else source for source in statement.sources
                ),
            )
        )
    return tuple(found)


def fixed(body: Iterable[Statement], *variables: str, value: int = 0) -> Body:
    """Return ``body`` with loop variables fixed at ``value``; a statement that uses none stays the same object."""
    chosen = frozenset(variables)
    return tuple(_fixed(statement, chosen, value) for statement in body) if chosen else tuple(body)


def _fixed(statement: Statement, variables: frozenset[str], value: int) -> Statement:
    """Fix variables in one statement."""
    if isinstance(statement, Loop):
        body = tuple(_fixed(inner, variables, value) for inner in statement.body)
        unchanged = all(map(operator.is_, body, statement.body))
        return statement if unchanged else Loop(statement.variable, statement.trips, body)
    destination = _fixed_address(statement.destination, variables, value)
    sources = tuple([_fixed_address(source, variables, value) for source in statement.sources])
    if destination is statement.destination and all(map(operator.is_, sources, statement.sources)):
        return statement
    return Instruction(statement.op, destination, sources, statement.count, statement.shape)


def _fixed_address(operand: T, variables: frozenset[str], value: int) -> T:
    """Fix variables in an operand; one that does not use them is returned as it is."""
    if not isinstance(operand, Address) or variables.isdisjoint([name for name, _ in operand.strides]):
        return operand
    moved = sum(stride for name, stride in operand.strides if name in variables)
    kept = tuple(item for item in operand.strides if item[0] not in variables)
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
