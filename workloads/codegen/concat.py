"""Concatenation of inputs with different quantisations: each run of a rescaled input is requantised on its way."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workloads.codegen.moves import boxes, buffer_name, copied
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workloads.codegen.common import Body
    from workloads.codegen.specs import ConcatSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands


@dataclass(frozen=True)
class Rescale:
    """How a set requantises: what it loads first, what it loads for an input, a run (target, source, bytes)."""

    head: Body
    begin: Callable[[int], Body]
    emit: Callable[[Address, Address, int], Body]


def generate(
    spec: ConcatSpec, isa: InstructionSet, profile: str, copy: Callable[[Address, Address, int, int], Body],
    rescale: Rescale, parameters: int,
) -> Program:  # fmt: skip
    """Return the Program of a concatenation.

    Parameters
    ----------
    copy
        Emit the copy of a run, as for ``moves.generate``.
    parameters
        Size of the buffer "parameters". [B]
    """
    body = rescale.head
    for box in boxes(spec.moved):
        if spec.rescaled[box.source]:
            runs = copied(box, isa, lambda target, source, nbytes, _: rescale.emit(target, source, nbytes))
            body += (*rescale.begin(box.source), *runs)
        else:
            body += copied(box, isa, copy)
    return Program(f"{isa.name}_concat", isa, buffers(spec, isa.spaces[0], parameters), body, profile=profile)


def buffers(spec: ConcatSpec, space: str, parameters: int) -> tuple[Buffer, ...]:
    """Declare the inputs, the parameters and the output."""
    inputs = tuple(
        Buffer(buffer_name(number), math.prod(shape), space, "input") for number, shape in enumerate(spec.shapes)
    )
    nbytes = math.prod(spec.moved.output_shape)
    return (*inputs, Buffer("parameters", parameters, space, "parameters"), Buffer("output", nbytes, space, "output"))


def each_input(operands: Operands) -> Iterator[Operands]:
    """Yield the constants of each input as if it were the only one."""
    for scale, zero_point in zip(operands.input_scales, operands.input_zero_points, strict=True):
        yield replace(operands, input_scales=(scale,), input_zero_points=(zero_point,))
