"""Words in the lanes of x86 vectors: products of two words by halves, numbers from a pool in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import lstm, svdf, x86, x86_product
from workloads.codegen.geometry import product
from workloads.codegen.lanes import SHIFTS, Lanes, ProductBytes
from workloads.codegen.specs_rows import LstmSpec, SvdfSpec
from workloads.isa import load_isa
from workloads.program import Address, Buffer, Instruction

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.specs import MatrixSpec
    from workloads.codegen.x86 import Dialect
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Program
    from workloads.tensor import Array

PROFILE = "tflite-double"
_WORDS, _SCALABLE, _SPARE = 7, 3, 15  # words, then constants; the last register is for those that do not stay
_FACTOR = ("power", "multiplier", "nudge", "odd", "mask", "half", "right")  # vectors


@dataclass
class _Set:
    """A vector set, and the numbers that its statements asked for."""

    isa: InstructionSet
    dialect: Dialect
    pool: list[int] = field(default_factory=list)

    def number(self, register: str, value: int) -> Instruction:
        """Bring a number to all lanes."""
        if value not in self.pool:
            self.pool.append(value)
        return Instruction("vpbroadcastd.load", register, (Address("numbers", 4 * self.pool.index(value)),))

    def cut(self, elements: int) -> tuple[tuple[int, int, int], ...]:
        """Cut elements into what vectors and their tails take."""
        pieces = x86.pieces(elements, (self.dialect.lanes,), self.dialect)
        return tuple((piece.offset, piece.size, piece.trips) for piece in pieces)

    def load(self, nbytes: int, word: str, address: Address, count: int) -> Body:
        """Load elements, and extend them."""
        if nbytes == 1:
            return x86.widen(self.dialect, word, address, count, word)
        if nbytes == 4:
            return (x86.load(self.dialect, word, address, 4 * count),)
        if self.dialect.masked or count == self.dialect.lanes:
            lanes = None if count == self.dialect.lanes else count
            return (Instruction("vpmovsxwd.load", word, (address,), lanes),)
        return x86.load(self.dialect, word, address, 2 * count), Instruction("vpmovsxwd", word, (word,))

    def store(self, nbytes: int, word: str, address: Address, count: int) -> Body:
        """Narrow words that fit, and store them."""
        spare = self.dialect.register(_SPARE)
        if nbytes == 4:
            return x86.store(self.dialect, word, address, 4 * count)
        if self.dialect.masked:
            narrow = Instruction("vpmovsdb" if nbytes == 1 else "vpmovsdw", spare, (word,))
            return (narrow, *x86.store(self.dialect, spare, address, nbytes * count))
        first, _, second, _ = _PICKED[nbytes]
        picked = Address("picked", (nbytes - 1) * 2 * self.dialect.vector_bytes)
        return (
            Instruction(first, spare, (word, picked)),
            Instruction(second, spare, (spare, picked.plus(self.dialect.vector_bytes))),
            *x86.store(self.dialect, spare, address, nbytes * count),
        )

    def emit(self, role: str, destination: str, a: str, b: str | int, count: int) -> Body:  # noqa: ARG002 - one form
        """Emit one operation on all 32-bit lanes."""
        masked = self.dialect.masked
        names = {
            "add": "vpaddd", "subtract": "vpsubd", "multiply": "vpmulld", "and": "vpandd" if masked else "vpand",
            "xor": "vpxord" if masked else "vpxor", "minimum": "vpminsd", "maximum": "vpmaxsd", "left": "vpslld",
            "right": "vpsrad",
        }  # fmt: skip
        if role in SHIFTS and b == 0:
            return () if destination == a else (x86.move(self.dialect, destination, a),)
        return (Instruction(names[role], destination, (a, b)),)

    def scale(self, word: str, factor: Address, count: int) -> Body:  # noqa: ARG002 - one form for all
        """Shift left, take the rounded high half of the doubled product, shift right rounding half away from zero.

        Products are of even words, then of odd ones; the right shift adds one where the bits shifted out exceed half
        of the last bit, less one for values below zero.
        """
        even, odd, held, part = (self.dialect.register(_SCALABLE + place) for place in range(4))
        vector = self.dialect.vector_bytes
        power, multiplier, nudge, only_odd, mask, half, right = (
            factor.plus(place * vector) for place in range(len(_FACTOR))
        )
        conjunction = "vpandd" if self.dialect.masked else "vpand"
        body: Body = (
            Instruction("vpmulld", word, (word, power)),
            x86.load(self.dialect, held, multiplier, vector),
            Instruction("vpmuldq", even, (word, held)),
            Instruction("vpsrlq", odd, (word, 32)),
            Instruction("vpmuldq", odd, (odd, held)),
        )
        for product_ in (even, odd):
            body += (
                Instruction("vpaddq", product_, (product_, nudge)),
                Instruction("vpaddq", product_, (product_, product_)),
            )
        return (
            *body,
            Instruction("vpsrlq", even, (even, 32)),
            Instruction(conjunction, odd, (odd, only_odd)),
            Instruction("vpaddd", word, (even, odd)),
            Instruction(conjunction, part, (word, mask)),
            Instruction("vpsrad", even, (word, 31)),
            Instruction("vpaddd", part, (part, even)),
            x86.load(self.dialect, odd, half, vector),
            Instruction("vpsubd", odd, (odd, part)),
            Instruction("vpsrad", odd, (odd, 31)),
            Instruction("vpsravd", word, (word, right)),
            Instruction("vpsubd", word, (word, odd)),
        )

    def pack_scale(self, multiplier: int, shift: int) -> bytes:
        """Return the vectors of a factor, in the order of ``_FACTOR``."""
        left, right = max(shift, 0), max(-shift, 0)
        mask = (1 << right) - 1
        pairs = [
            (1 << left,) * 2,
            (multiplier,) * 2,
            (1 << 30, 0),
            (0, -1),
            (mask,) * 2,
            (mask >> 1,) * 2,
            (right,) * 2,
        ]
        words = [np.tile(np.array(pair, np.int64).astype(np.int32), self.dialect.lanes // 2) for pair in pairs]
        return np.concatenate(words).tobytes()

    def sums(self, spec: MatrixSpec) -> Body:
        """Return the statements of a product."""
        return x86_product.sums(product(spec), self.isa, self.dialect)

    def nbytes(self, spec: MatrixSpec) -> ProductBytes:
        """Return the bytes of a product."""
        conv = product(spec)
        weights, results, scratch = x86_product.sums_bytes(conv, self.dialect)
        return ProductBytes(weights, x86_product.starts_of(conv, self.dialect).nbytes, results, scratch)

    def packed(self, spec: MatrixSpec, weights: Array, starts: Array) -> tuple[Array, Array]:
        """Return weights and parameters of a product."""
        conv = product(spec)
        return x86_product.pack_sums(conv, conv.arranged(weights), starts, self.dialect)


# Lanes by which words are narrowed without masks: bytes, then their halves side by side.
_PICKED = {
    1: ("vpshufb", [0, 4, 8, 12] * 8, "vpermd", [0, 4] * 4),
    2: ("vpshufb.halves", [0, 1, 4, 5, 8, 9, 12, 13] * 4, "vpermd.halves", [0, 1, 4, 5] * 2),
}


def _lanes(own: _Set) -> Lanes:
    """Return a vector set as layers with a state use it."""
    dialect = own.dialect
    return Lanes(
        isa=own.isa, profile=PROFILE, cut=own.cut, before=(), words=tuple(map(dialect.register, range(_WORDS))),
        scalable=_SCALABLE, held=tuple(map(dialect.register, range(_WORDS, _SPARE))), spare=dialect.register(_SPARE),
        immediate=own.number,
        fetch=lambda register, address: Instruction("vpbroadcastd.load", register, (address,)),
        load=own.load, store=own.store, emit=own.emit, scale_bytes=len(_FACTOR) * dialect.vector_bytes,
        pack_scale=own.pack_scale, load_scale=lambda address: (),  # noqa: ARG005 - factors are read where they lie
        scale=own.scale, product=own.sums, product_bytes=own.nbytes, pack_product=own.packed,
    )  # fmt: skip


def generate(spec: SvdfSpec | LstmSpec, isa: InstructionSet, dialect: Dialect) -> Program:
    """Return the Program of a layer with a state; its values follow the profile "tflite-double"."""
    own = _Set(isa, dialect)
    made = svdf.generate(spec, _lanes(own)) if isinstance(spec, SvdfSpec) else lstm.generate(spec, _lanes(own))
    more = [Buffer("numbers", 4 * len(own.pool), role="parameters")]
    more += [] if dialect.masked else [Buffer("picked", 4 * dialect.vector_bytes, role="parameters")]
    return replace(made, buffers=(*made.buffers, *more))


def pack(spec: SvdfSpec | LstmSpec, operands: Operands, dialect: Dialect) -> dict[str, Array]:
    """Return the constant buffers of a layer with a state."""
    own = _Set(load_isa("avx512-vnni" if dialect.masked else "avx2"), dialect)
    lanes = _lanes(own)
    if isinstance(spec, SvdfSpec):
        svdf.generate(spec, lanes)  # which asks for the numbers
        values = svdf.pack(spec, operands, lanes)
    else:
        lstm.generate(spec, lanes)
        values = lstm.pack(spec, operands, lanes)
    values["numbers"] = np.array(own.pool, np.int32)
    if not dialect.masked:
        parts = [np.array(part, np.uint8 if place % 2 == 0 else np.int32)
                 for _, first, _, second in _PICKED.values() for place, part in enumerate((first, second))]  # fmt: skip
        values["picked"] = np.concatenate([part.view(np.uint8) for part in parts])
    return values
