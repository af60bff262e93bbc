"""Concatenation with requantisation on scalar sets, as many bytes a trip as there are registers for values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales, quantize_multipliers
from workloads.codegen import concat
from workloads.codegen import scalar as shared
from workloads.codegen.common import loop, split
from workloads.codegen.scalar_elementwise import copy

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.scalar import Scalar
    from workloads.codegen.specs import ConcatSpec
    from workloads.operands import Operands
    from workloads.program import Address, Program
    from workloads.tensor import Array


def generate(spec: ConcatSpec, scalar: Scalar) -> Program:
    """Return the Program of a concatenation; the bias word of an input's record is its negative zero point."""

    def begin(number: int) -> Body:
        record = scalar.record(number)
        zero_point = scalar.emit("load_word", scalar.spare, record)
        return (*scalar.load_constants(), zero_point, *scalar.load_parameters(record.plus(8)))

    def emit(target: Address, source: Address, nbytes: int) -> Body:
        body: Body = ()
        for first, size, trips in split(nbytes, len(scalar.values)):
            part: Body = ()
            for number, value in enumerate(scalar.values[:size]):
                part += (scalar.emit("load_byte", value, source.plus(first + number, run=size)),)
                part += (scalar.emit("add", value, value, scalar.spare),)
            for number, value in enumerate(scalar.values[:size]):
                part += scalar.finish(value, target.plus(first + number, run=size))
            body += loop(scalar.isa, "run", trips, part)
        return body

    nbytes = shared.HEADER_BYTES + len(spec.shapes) * scalar.record_bytes
    return concat.generate(spec, scalar.isa, scalar.profile, copy(scalar), concat.Rescale((), begin, emit), nbytes)


def pack(operands: Operands, scalar: Scalar) -> dict[str, Array]:
    """Return the output's zero point and bounds, and a record per input."""
    head = shared.header(0, operands.output_zero_point, operands.low, operands.high)
    scales = np.array([effective_scales(one, scalar.profile)[0] for one in concat.each_input(operands)])
    zeros = -np.array(operands.input_zero_points, np.int32)
    return {"parameters": shared.as_bytes(head + shared.records(scalar, zeros, *quantize_multipliers(scales)))}
