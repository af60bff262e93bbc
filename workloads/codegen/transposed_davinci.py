"""Transposed convolution on davinci cores: one convolution with all phases, then moves through the vector buffer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads.codegen import davinci_choices, davinci_cube, davinci_pack, transposed
from workloads.codegen.davinci_moves import copied
from workloads.codegen.davinci_plan import as_convolution
from workloads.codegen.davinci_tiles import copies_of, on_chip
from workloads.options import DEFAULT, Options

if TYPE_CHECKING:
    from workloads.codegen.specs import ConvSpec
    from workloads.codegen.specs_images import TransposedSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Program
    from workloads.tensor import Array

ROWS = "ub_rows"  # tile of a move


def choices(spec: TransposedSpec, isa: InstructionSet) -> tuple[Options, ...]:
    """Return the options of the convolution, but for a requantisation apart: it takes the room of the moves."""
    (part,) = transposed.parts(spec, together=True)
    offered = davinci_choices.choices(as_convolution(part.convolution, isa), isa)
    return tuple(one for one in offered if one.fuse is None)


def generate(spec: TransposedSpec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Generate a transposed convolution; phases with fewer taps meet zeros, so that one set of tiles serves all."""
    found = transposed.parts(spec, together=True)
    return transposed.generate(
        spec, isa, found, lambda one: _convolution(one, isa, options),
        lambda box, program: copied(box, isa, program.buffer(ROWS).bytes),
    )  # fmt: skip


def _convolution(spec: ConvSpec, isa: InstructionSet, options: Options) -> Program:
    """Generate the convolution, with a tile for moves in what it leaves of the vector buffer."""
    program = davinci_cube.generate(spec, isa, options)
    taken = sum(buffer.copies * buffer.bytes for buffer in program.buffers if buffer.space == "ub")
    used = {"ub:rows": min((isa.parameters["ub_bytes"] - taken) // 2, program.buffer("output").bytes)}
    return replace(program, buffers=(*program.buffers, *on_chip(isa, used, copies_of(used, options))))


def pack(program: Program, spec: TransposedSpec, operands: Operands) -> dict[str, Array]:
    """Return the constant buffers."""

    def one(convolution: ConvSpec, constants: Operands) -> dict[str, Array]:
        made = davinci_cube.generate(convolution, program.isa, program.options)
        return davinci_pack.pack(replace(made, options=program.options), convolution, constants)

    return transposed.pack(transposed.parts(spec, together=True), operands, one)
