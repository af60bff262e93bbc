"""Transposed convolution as dense convolutions whose output channels are the pixels between those of the input.

Every ``stride``-th output meets the same taps: such a phase is a convolution of stride 1 with these taps turned around.
Phases with equally many taps are output channels of one convolution; its results then go to their places.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby, product
from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import readdressed
from workloads.codegen.moves import Box, box_of
from workloads.codegen.specs import ConvSpec
from workloads.options import DEFAULT
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workloads.codegen.common import Body
    from workloads.codegen.specs_images import TransposedSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.options import Options
    from workloads.tensor import Array

PHASES = "phases"  # results of one convolution before they go to their places
_OWN = ("weights", "parameters")  # buffers that each convolution has for itself


@dataclass(frozen=True)
class Phase:
    """Outputs ``first``, ``first`` + stride ... of an axis, ``number`` in all.

    Parameters
    ----------
    tap
        First tap that they meet; the others follow at distances of the stride.
    at
        Input pixel that meets that tap at the first output.
    place
        Among the phases of its convolution.
    """

    first: int
    number: int
    tap: int
    at: int
    place: int = 0


@dataclass(frozen=True)
class Axis:
    """The phases of one convolution along an axis: ``taps`` each, outputs ``start`` to ``start`` + ``number``."""

    phases: tuple[Phase, ...]
    taps: int

    @property
    def start(self) -> int:
        """Input pixel that meets the first tap at the convolution's first output."""
        return min(self.taps - 1, *(phase.at for phase in self.phases))

    @property
    def number(self) -> int:
        """Outputs of the convolution."""
        return max(phase.at + phase.number for phase in self.phases) - self.start

    def stretches(self) -> Iterator[tuple[Phase, int]]:
        """Yield (first phase, phases) of neighbours that begin at one pixel and have equally many outputs."""
        runs = groupby(self.phases, lambda phase: (phase.at, phase.number, phase.first - phase.place))
        for _, run in runs:
            members = list(run)
            yield members[0], len(members)


@dataclass(frozen=True)
class Part:
    """One convolution: its phases along rows and columns."""

    spec: TransposedSpec
    rows: Axis
    columns: Axis

    @property
    def phases(self) -> int:
        """Phases of both axes."""
        return len(self.rows.phases) * len(self.columns.phases)

    @property
    def convolution(self) -> ConvSpec:
        """The convolution; its channels are in the order (group, row phase, column phase, channel of the group)."""
        spec, (rows, columns) = self.spec, (self.rows, self.columns)
        return ConvSpec(
            spec.batch, spec.height, spec.width, spec.channels, rows.number, columns.number,
            spec.channels_out * self.phases, (rows.taps, columns.taps),
            padding=(rows.taps - 1 - rows.start, columns.taps - 1 - columns.start), groups=spec.groups,
        )  # fmt: skip

    def boxes(self) -> Iterator[Box]:
        """Yield where results go."""
        spec, conv = self.spec, self.convolution
        group = spec.channels_out // spec.groups
        across = len(self.columns.phases) * group
        line = conv.width_out * conv.channels_out
        pixel, row = spec.channels_out, spec.width_out * spec.channels_out
        for (top, high), (left, wide) in product(self.rows.stretches(), self.columns.stretches()):
            extents = (spec.batch, top.number, high, left.number, wide, spec.groups, group)
            read = (conv.height_out * line, line, across, conv.channels_out, group, self.phases * group, 1)
            written = (spec.height_out * row, spec.stride[0] * row, row, spec.stride[1] * pixel, pixel, group, 1)
            source = (top.at - self.rows.start) * line + (left.at - self.columns.start) * conv.channels_out
            source += top.place * across + left.place * group
            yield box_of(0, source, top.first * row + left.first * pixel, extents, read, written)

    def operands(self, operands: Operands) -> Operands:
        """Return the constants of the convolution.

        Raises
        ------
        ValueError
            The layer has no weights.
        """
        if operands.weights is None:
            raise ValueError("the layer has no weights")
        taps = [self._taps(operands.weights, row, column) for row in self.rows.phases for column in self.columns.phases]
        return replace(
            operands,
            weights=self._ordered(np.stack(taps)),
            weight_scales=self._repeated(operands.weight_scales),
            bias=self._repeated(operands.bias),
            scales=self._repeated(operands.scales),
        )

    def _taps(self, weights: Array, row: Phase, column: Phase) -> Array:
        """Return the taps of a phase (O, rows, columns, C/groups), turned around; missing ones are zero."""
        found = weights[:, row.tap :: self.spec.stride[0], column.tap :: self.spec.stride[1]]
        missing = (self.rows.taps - found.shape[1], self.columns.taps - found.shape[2])
        return np.pad(found, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))[:, ::-1, ::-1]

    def _ordered(self, each: Array) -> Array:
        """Bring (phase, O, ...) to the order of the channels."""
        rest = each.shape[2:]
        parts = each.reshape(self.phases, self.spec.groups, -1, *rest).swapaxes(0, 1)
        return np.ascontiguousarray(parts.reshape(-1, *rest))

    def _repeated(self, values: Array | None) -> Array | None:
        """Repeat what is given per channel for each phase."""
        if values is None or values.size != self.spec.channels_out:
            return values
        return self._ordered(np.broadcast_to(values, (self.phases, values.size)))


def parts(spec: TransposedSpec, *, together: bool) -> tuple[Part, ...]:
    """Return the convolutions: one for each number of taps, or all phases ``together``, filled up with zeros."""
    return tuple(Part(spec, *axes) for axes in product(*(_axes(spec, axis, together) for axis in range(2))))


def _axes(spec: TransposedSpec, axis: int, together: bool) -> list[Axis]:
    """Gather the phases of one axis."""
    extent, kernel, stride = (spec.height_out, spec.width_out)[axis], spec.kernel[axis], spec.stride[axis]
    found: dict[int, list[Phase]] = {}
    for first in range(min(stride, extent)):
        at, tap = divmod(first + spec.crop[axis], stride)
        taps = len(range(0 if together else tap, kernel, stride))
        members = found.setdefault(max(taps, 1), [])
        members.append(Phase(first, len(range(first, extent, stride)), tap, at, len(members)))
    return [Axis(tuple(members), taps) for taps, members in found.items()]


def choices(
    found: tuple[Part, ...], offered: Callable[[ConvSpec], tuple[Options, ...]]
) -> tuple[Options, ...]:  # fmt: skip
    """Return the options that every convolution offers, after their own choices."""
    first, *others = (offered(part.convolution) for part in found)
    return (DEFAULT, *(one for one in first if one != DEFAULT and all(one in other for other in others)))


def generate(
    spec: TransposedSpec, isa: InstructionSet, found: tuple[Part, ...], convolve: Callable[[ConvSpec], Program],
    copied: Callable[[Box, Program], Body],
) -> Program:  # fmt: skip
    """Return the Program of a transposed convolution.

    Parameters
    ----------
    convolve
        Generate a convolution.
    copied
        Emit the copy of a box from "input" to "output", in what a convolution's Program leaves of the buffers.
    """
    body: Body = ()
    buffers: dict[str, Buffer] = {}
    for number, part in enumerate(found):
        program, boxes = convolve(part.convolution), tuple(part.boxes())
        straight = boxes[0].run == program.buffer("output").bytes == spec.outputs
        names = {name: own_name(name, number) for name in _OWN} | ({} if straight else {"output": PHASES})
        body += _renamed(program.body, names)
        for buffer in program.buffers:
            named = replace(buffer, name=names.get(buffer.name, buffer.name))
            if named.name == PHASES:
                named = replace(named, role="scratch")
            before = buffers.get(named.name, named)
            buffers[named.name] = replace(named, bytes=max(named.bytes, before.bytes))
        if not straight:
            moves = tuple(statement for box in boxes for statement in copied(box, program))
            body += _renamed(moves, {"input": PHASES})
    last = Buffer("output", spec.outputs, isa.spaces[0], "output")
    kept = [buffer for name, buffer in buffers.items() if name != "output"]
    return Program(f"{isa.name}_transposed_conv2d", isa, (*kept, last), body, spec.macs, program.profile)


def _renamed(body: Body, names: dict[str, str]) -> Body:
    """Return ``body`` with other names of buffers."""
    return readdressed(body, lambda at: Address(names.get(at.buffer, at.buffer), at.offset, at.strides))


def own_name(name: str, number: int) -> str:
    """Return the name of a buffer of one of the convolutions, counted from 0: "weights", "weights2" ..."""
    return f"{name}{number + 1}" if number else name


def pack(
    found: tuple[Part, ...], operands: Operands, pack_convolution: Callable[[ConvSpec, Operands], dict[str, Array]]
) -> dict[str, Array]:
    """Return the constant buffers of all convolutions."""
    packed = [pack_convolution(part.convolution, part.operands(operands)) for part in found]
    return {own_name(name, number): array for number, one in enumerate(packed) for name, array in one.items()}
