"""What the RVV kernels share: register groups, moves of runs, and requantisation rounded half up twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import quantize_multipliers
from workloads.codegen.common import Image, loop, padded_copy, split
from workloads.program import Address, Instruction, Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workloads.codegen.regions import Constants
    from workloads.codegen.specs import ConvSpec, PoolSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Buffer
    from workloads.tensor import Array

Body = tuple[Statement, ...]
PROFILE = "ruy"
ROUND_HALF_UP = Instruction("csrwi")  # vxrm is arbitrary at reset
SET_VL = Instruction("vsetvli")

# Scalar registers that hold what the whole kernel needs; x5 to x12 are free for the kernels.
ZERO_POINT, LOW, HIGH, LEFT, MULTIPLIER, RIGHT, FILLER = "x23", "x24", "x25", "x26", "x27", "x28", "x29"
BOUND_REGIONS = {"zero_point": 4, "low": 4, "high": 4, "pad": 1}
SCALE_REGIONS = {"left": 4, "multiplier": 4, "right": 4}
_WIDE_GROUP = 4  # registers of a group of 32-bit lanes: its bytes fill one register


def vector(index: int) -> str:
    """Name of the first register of a group."""
    return f"v{index}"


def lanes(isa: InstructionSet, group: int = _WIDE_GROUP, bits: int = 32) -> int:
    """Lanes of ``bits`` in a group of registers."""
    return isa.parameters["vlen"] * group // bits


def load_scalars(table: Constants, *names: tuple[str, str]) -> Body:
    """Load (region, register) words."""
    return tuple(Instruction("lw", register, (table.address(name),)) for name, register in names)


def load_bounds(table: Constants, *, offset: bool = True) -> Body:
    """Load the output's bounds, and its zero point for results that are offset by it."""
    zero_point = load_scalars(table, ("zero_point", ZERO_POINT)) if offset else ()
    return (*zero_point, *load_scalars(table, ("low", LOW), ("high", HIGH)))


def load_scale(table: Constants) -> Body:
    """Load one scale for all channels."""
    return load_scalars(table, ("left", LEFT), ("multiplier", MULTIPLIER), ("right", RIGHT))


def bound_values(operands: Operands, pad: int) -> dict[str, Array]:
    """Fill ``BOUND_REGIONS``."""
    words = (("zero_point", operands.output_zero_point), ("low", operands.low), ("high", operands.high))
    return {**{name: np.array([word], np.int32) for name, word in words}, "pad": np.array([pad], np.int8)}


def scale_values(multipliers: Array, shifts: Array) -> dict[str, Array]:
    """Fill left shifts, multipliers and right shifts."""
    return {"left": np.maximum(shifts, 0), "multiplier": multipliers, "right": np.maximum(-shifts, 0)}


def scale_value(scale: float) -> dict[str, Array]:
    """Fill ``SCALE_REGIONS`` for one scale."""
    return scale_values(*quantize_multipliers(np.array([scale])))


def fill_run(isa: InstructionSet, value: str, address: Address, nbytes: int) -> Body:
    """Fill a run of bytes from a scalar register, strip by strip."""
    body: Body = ()
    for first, size, trips in split(nbytes, lanes(isa, 8, 8)):
        target = address.plus(first, run=size)
        strip = (
            SET_VL,
            Instruction("vmv.v.x.e8", vector(8), (value,), size),
            Instruction("vse8.v", target, (vector(8),), size),
        )
        body += loop(isa, "run", trips, strip)
    return body


def copy_run(isa: InstructionSet, target: Address, source: Address, nbytes: int) -> Body:
    """Copy a run of bytes, strip by strip."""
    body: Body = ()
    for first, size, trips in split(nbytes, lanes(isa, 8, 8)):
        strip = (
            SET_VL,
            Instruction("vle8.v", vector(8), (source.plus(first, run=size),), size),
            Instruction("vse8.v", target.plus(first, run=size), (vector(8),), size),
        )
        body += loop(isa, "run", trips, strip)
    return body


def padded_image(
    isa: InstructionSet, spec: ConvSpec | PoolSpec, table: Constants
) -> tuple[Image, Body, tuple[Buffer, ...]]:
    """Return the image to read, padded with the byte of region "pad" where windows leave it."""
    image, body, buffers = padded_copy(
        isa,
        spec,
        lambda address, nbytes: fill_run(isa, FILLER, address, nbytes),
        lambda target, source, nbytes: copy_run(isa, target, source, nbytes),
    )
    if body:
        body = (Instruction("lb", FILLER, (table.address("pad"),)), *body)
    return image, body, buffers


def factor_values(multipliers: Array, shifts: Array) -> dict[str, Array]:
    """Fill the factors of ``requantize_each``: 2**left, the multiplier, and 2**-right as a fraction of 2**31."""
    right = np.maximum(-shifts, 0).astype(np.int64)
    left = np.left_shift(np.uint64(1), np.maximum(shifts, 0).astype(np.uint64)).astype(np.uint32)
    fraction = np.minimum(np.int64(1) << (31 - right), 2**31 - 1).astype(np.int32)
    return {"left": left, "multiplier": multipliers, "right": fraction}


def requantize_each(sums: Sequence[str], held: str, count: int, region: Callable[[str], Address]) -> Body:
    """Scale int32 groups by per-channel vectors, loaded one after another into the group ``held``.

    Shifts are products, which more units compute: VSMUL by 2**(31 - right) rounds half up as VSSRA does. Without a
    shift its factor is 2**31 - 1, which changes only sums beyond 2**30, and those saturate when they are narrowed.
    """
    steps = (("left", "vmul.vv.e32"), ("multiplier", "vsmul.vv.e32"), ("right", "vsmul.vv.e32"))
    body: Body = (SET_VL,)
    for name, op in steps:
        body += (Instruction("vle32.v", held, (region(name),), count),)
        body += tuple(Instruction(op, total, (total, held), count) for total in sums)
    return body


def copies(of: str, others: Sequence[str], count: int) -> Body:
    """Copy an int32 group: adding zero is computed by more units than moving."""
    return tuple(Instruction("vadd.vi.e32", other, (of, 0), count) for other in others)


def requantize_all(
    sums: Sequence[str], count: int, left: str = LEFT, factor: str = MULTIPLIER, right: str = RIGHT
) -> Body:
    """Scale int32 groups by one scale in scalar registers."""
    steps = (("vsll.vx.e32", left), ("vsmul.vx.e32", factor), ("vssra.vx.e32", right))
    return tuple(Instruction(op, total, (total, held), count) for op, held in steps for total in sums)


def finish(sums: Sequence[str], outputs: Sequence[Address], count: int, offset: bool = True) -> Body:
    """Narrow int32 groups to bytes in place, with the zero point (``offset``) and the bounds, and store them.

    The first narrowing saturates to 16 bits, the zero point is added with saturation: nothing wraps on the way.
    """
    body: Body = (SET_VL,)
    body += tuple(Instruction("vnclip.wi.e16", total, (total, 0), count) for total in sums)
    if offset:
        body += tuple(Instruction("vsadd.vx.e16", total, (total, ZERO_POINT), count) for total in sums)
    body += (SET_VL,)
    body += tuple(Instruction("vnclip.wi.e8", total, (total, 0), count) for total in sums)
    return body + bound(sums, outputs, count)


def bound(values: Sequence[str], outputs: Sequence[Address], count: int) -> Body:
    """Clamp bytes and store them."""
    body = tuple(Instruction("vmax.vx.e8", value, (value, LOW), count) for value in values)
    body += tuple(Instruction("vmin.vx.e8", value, (value, HIGH), count) for value in values)
    return body + tuple(
        Instruction("vse8.v", output, (value,), count) for value, output in zip(values, outputs, strict=True)
    )
