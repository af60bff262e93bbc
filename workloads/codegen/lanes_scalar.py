"""Words in the registers of scalar sets, one at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import lstm, scalar_conv, scalar_pack, svdf
from workloads.codegen import scalar as shared
from workloads.codegen.geometry import product
from workloads.codegen.lanes import SHIFTS, Lanes, ProductBytes
from workloads.codegen.scalar_plan import choices, plan_of
from workloads.codegen.specs_rows import LstmSpec, SvdfSpec
from workloads.program import Instruction

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.scalar import Scalar
    from workloads.codegen.scalar_plan import Plan
    from workloads.codegen.specs import MatrixSpec
    from workloads.operands import Operands
    from workloads.program import Address, Program
    from workloads.tensor import Array


@dataclass(frozen=True)
class Registers:
    """Registers of a set for words, the first ``scalable`` free while words are scaled, and for constants."""

    words: tuple[str, ...]
    scalable: int
    held: tuple[str, ...]
    spare: str
    arithmetic: tuple[str, str, str]  # 32-bit add, subtract and multiply


def lanes_of(scalar: Scalar) -> Lanes:
    """Return a scalar set as layers with a state use it."""
    own = _SETS[scalar.isa.name]
    sizes = {1: "byte", 2: "half", 4: "word"}
    named = dict(zip(("add", "subtract", "multiply"), own.arithmetic, strict=True))
    named |= {"and": "and", "xor": scalar.op["xor"], "left": scalar.op["shift_left"], "right": scalar.op["shift_right"]}
    biased = replace(scalar, channel_bytes=shared.BIAS_ALONE)

    def load(nbytes: int, word: str, address: Address, count: int) -> Body:  # noqa: ARG001 - one form for all sets
        return (scalar.emit(f"load_{sizes[nbytes]}", word, address),)

    def store(nbytes: int, word: str, address: Address, count: int) -> Body:  # noqa: ARG001 - as above
        return (scalar.emit(f"store_{sizes[nbytes]}", address, word),)

    def emit(role: str, destination: str, a: str, b: str | int, count: int) -> Body:  # noqa: ARG001 - as above
        if role in ("minimum", "maximum"):
            moved = () if destination == a else (scalar.emit("move", destination, a),)
            return (*moved, *scalar.bound(role, destination, str(b)))
        if role in SHIFTS and b == 0:
            return () if destination == a else (scalar.emit("move", destination, a),)
        if role == "left" and "subw" in named.values():  # of 64 bits, 32 are kept
            return (
                Instruction(named[role], destination, (a, b)),
                Instruction(named["add"], destination, (destination, "x0")),
            )
        return (Instruction(named[role], destination, (a, b)),)

    def scale(word: str, factor: Address, count: int) -> Body:  # noqa: ARG001 - as above
        return scalar.scale(word)

    def sums(spec: MatrixSpec) -> Body:
        return scalar_conv.sums(spec, biased, _plan(spec, scalar))

    def nbytes(spec: MatrixSpec) -> ProductBytes:
        starts = shared.HEADER_BYTES + spec.columns * biased.record_bytes
        return ProductBytes(spec.columns * spec.depth, starts, 4 * spec.columns)

    def packed(spec: MatrixSpec, weights: Array, starts: Array) -> tuple[Array, Array]:
        conv = product(spec)
        head = np.zeros(shared.HEADER_BYTES // 4, np.int32)
        return (
            scalar_pack.pack_weights(conv, conv.arranged(weights), _plan(spec, scalar)),
            np.concatenate([head, starts]),
        )

    return Lanes(
        isa=scalar.isa, profile=scalar.profile, cut=lambda elements: ((0, 1, elements),), before=(),
        words=own.words, scalable=own.scalable,
        held=own.held, spare=own.spare, immediate=lambda register, number: scalar.emit("immediate", register, number),
        fetch=lambda register, address: scalar.emit("load_word", register, address), load=load, store=store, emit=emit,
        scale_bytes=scalar.channel_bytes, pack_scale=scalar.pack_channel,
        load_scale=scalar.load_parameters, scale=scale, product=sums, product_bytes=nbytes, pack_product=packed,
    )  # fmt: skip


def _plan(spec: MatrixSpec, scalar: Scalar) -> Plan:
    """Return the set's own plan of a product, which stores its sums."""
    return plan_of(spec, scalar, replace(choices(spec, scalar)[0], fuse=False))


def _risc_v(*numbers: int) -> tuple[str, ...]:
    return tuple(f"x{number}" for number in numbers)


_SETS = {
    "thumb2-dsp": Registers(
        tuple(f"r{number}" for number in range(10)), 4, ("r10", "r11", "r12"), "r14", ("add", "sub", "mul")
    ),
    "rv32im": Registers(_risc_v(*range(5, 17)), 12, _risc_v(*range(26, 32)), "x25", ("add", "sub", "mul")),
    "rv64gc": Registers(
        _risc_v(*range(5, 17)), 12, _risc_v(21, 22, 23, 24, *range(26, 32)), "x25", ("addw", "subw", "mulw")
    ),
}
_SETS["rv64im"] = _SETS["rv64gc"]


def generate(spec: SvdfSpec | LstmSpec, scalar: Scalar) -> Program:
    """Return the Program of a layer with a state."""
    lanes = lanes_of(scalar)
    return svdf.generate(spec, lanes) if isinstance(spec, SvdfSpec) else lstm.generate(spec, lanes)


def pack(spec: SvdfSpec | LstmSpec, operands: Operands, scalar: Scalar) -> dict[str, Array]:
    """Return the constant buffers of a layer with a state."""
    lanes = lanes_of(scalar)
    return svdf.pack(spec, operands, lanes) if isinstance(spec, SvdfSpec) else lstm.pack(spec, operands, lanes)
