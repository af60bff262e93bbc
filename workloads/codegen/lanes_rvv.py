"""Words in the lanes of RVV: groups of two registers of 32-bit lanes, tails by vl."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import lstm, rvv_product, svdf
from workloads.codegen import rvv_base as base
from workloads.codegen.common import split
from workloads.codegen.geometry import product
from workloads.codegen.lanes import SHIFTS, Lanes, ProductBytes
from workloads.codegen.regions import constants
from workloads.codegen.rvv_tiles import plan_of
from workloads.codegen.specs_rows import LstmSpec, SvdfSpec
from workloads.program import Instruction

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.regions import Constants
    from workloads.codegen.specs import MatrixSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Address, Program
    from workloads.tensor import Array

GROUP = 2
_WORDS = tuple(base.vector(GROUP * number) for number in range(13))
_NARROW = base.vector(28)
_HELD, _SPARE = tuple(f"x{number}" for number in range(9, 23)), "x8"
_FACTOR = (base.LEFT, base.MULTIPLIER, base.RIGHT)
_ROLES = {
    "add": "vadd", "subtract": "vsub", "multiply": "vmul", "and": "vand", "xor": "vxor", "minimum": "vmin",
    "maximum": "vmax", "left": "vsll", "right": "vsra",
}  # fmt: skip


def lanes_of(isa: InstructionSet) -> Lanes:
    """Return RVV as layers with a state use it."""

    def sums(spec: MatrixSpec) -> Body:
        conv = product(spec)
        return rvv_product.sums(conv, isa, replace(plan_of(conv, isa), fuse=False))

    def nbytes(spec: MatrixSpec) -> ProductBytes:
        return ProductBytes(spec.columns * spec.depth, _starts(spec).nbytes, 4 * spec.columns)

    def packed(spec: MatrixSpec, weights: Array, starts: Array) -> tuple[Array, Array]:
        conv = product(spec)
        laid_out = rvv_product.pack_weights(conv, conv.arranged(weights), plan_of(conv, isa))
        return laid_out, _starts(spec).pack({"bias": starts})

    return Lanes(
        isa=isa, profile=base.PROFILE, cut=lambda elements: split(elements, base.lanes(isa, GROUP)),
        before=(base.ROUND_HALF_UP,), words=_WORDS,
        scalable=len(_WORDS), held=_HELD, spare=_SPARE,
        immediate=lambda register, number: Instruction("li", register, (number,)),
        fetch=lambda register, address: Instruction("lw", register, (address,)),
        load=_load, store=_store, emit=_emit, scale_bytes=4 * len(_FACTOR), pack_scale=_pack_scale,
        load_scale=_load_scale, scale=_scale,
        product=sums, product_bytes=nbytes, pack_product=packed,
    )  # fmt: skip


def _starts(spec: MatrixSpec) -> Constants:
    """Place what the sums of the columns start from."""
    return constants({"bias": 4 * spec.columns})


def _load(nbytes: int, word: str, address: Address, count: int) -> Body:
    """Load elements, and extend them."""
    if nbytes == 4:
        return (base.SET_VL, Instruction("vle32.v", word, (address,), count))
    return (
        base.SET_VL,
        Instruction(f"vle{8 * nbytes}.v", _NARROW, (address,), count),
        Instruction(f"vsext.vf{4 // nbytes}.e32", word, (_NARROW,), count),
    )


def _store(nbytes: int, word: str, address: Address, count: int) -> Body:
    """Narrow words that fit, store them, and go back to words."""
    if nbytes == 4:
        return (Instruction("vse32.v", address, (word,), count),)
    body: Body = (base.SET_VL, Instruction("vnclip.wi.e16", _NARROW, (word, 0), count))
    if nbytes == 1:
        body += (base.SET_VL, Instruction("vnclip.wi.e8", _NARROW, (_NARROW, 0), count))
    return (*body, Instruction(f"vse{8 * nbytes}.v", address, (_NARROW,), count), base.SET_VL)


def _emit(role: str, destination: str, a: str, b: str | int, count: int) -> Body:
    """Emit one operation on 32-bit lanes."""
    if role in SHIFTS and b == 0:
        return () if destination == a else (Instruction("vmv.v.v.e32", destination, (a,), count),)
    form = "vi" if role in SHIFTS else "vx" if str(b).startswith("x") else "vv"
    return (Instruction(f"{_ROLES[role]}.{form}.e32", destination, (a, b), count),)


def _load_scale(address: Address) -> Body:
    """Load left shift, multiplier and right shift."""
    return tuple(Instruction("lw", register, (address.plus(4 * place),)) for place, register in enumerate(_FACTOR))


def _scale(word: str, factor: Address, count: int) -> Body:  # noqa: ARG001 - one form for all sets
    """Requantise a word by what ``_load_scale`` loaded."""
    return base.requantize_all((word,), count)


def _pack_scale(multiplier: int, shift: int) -> bytes:
    """Return left shift, multiplier and right shift."""
    return np.array([max(shift, 0), multiplier, max(-shift, 0)], np.int32).tobytes()


def generate(spec: SvdfSpec | LstmSpec, isa: InstructionSet) -> Program:
    """Return the Program of a layer with a state."""
    return svdf.generate(spec, lanes_of(isa)) if isinstance(spec, SvdfSpec) else lstm.generate(spec, lanes_of(isa))


def pack(spec: SvdfSpec | LstmSpec, operands: Operands, isa: InstructionSet) -> dict[str, Array]:
    """Return the constant buffers of a layer with a state."""
    if isinstance(spec, SvdfSpec):
        return svdf.pack(spec, operands, lanes_of(isa))
    return lstm.pack(spec, operands, lanes_of(isa))
