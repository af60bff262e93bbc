"""Long short-term memory in words: per moment two products, and passes over the gates, the cells and the outputs.

The gates lie as input, forget, output, cell: three of them have the logistic function. What is kept from one moment to
the next are the buffers "hidden" and "cell".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import gates
from workloads.codegen.common import Body, loop
from workloads.codegen.lanes import each
from workloads.codegen.places import placed
from workloads.codegen.regions import constants
from workloads.codegen.specs import MatrixSpec
from workloads.kernels.recurrent import LstmConstants
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from workloads.codegen.lanes import Lanes, Strip
    from workloads.codegen.regions import Constants
    from workloads.codegen.specs_rows import LstmSpec
    from workloads.operands import Operands
    from workloads.tensor import Array

_ORDER = (0, 1, 3, 2)  # of the gates input, forget, cell, output
_INPUT, _FORGET, _OUTPUT, _CELL = range(4)
_BEYOND = 1 << 16  # what exceeds it exceeds 16 bits, whatever the other product of a gate adds
_LOW, _HIGH = -(1 << 15), (1 << 15) - 1
_LEAST_POWER, _MOST_POWER = -15, -9  # cells with 0 to 6 integer bits


def products(spec: LstmSpec) -> tuple[MatrixSpec, MatrixSpec]:
    """Return the products of a moment: of the input, and of the hidden state, with the weights of all gates."""
    return MatrixSpec(1, spec.depth, 4 * spec.units), MatrixSpec(1, spec.units, 4 * spec.units)


def table_of(spec: LstmSpec, lanes: Lanes) -> Constants:
    """Place the constants: starts of both products, factors of the gates and of the output, zero point and bounds."""
    into, hidden = (lanes.product_bytes(matrix).parameters for matrix in products(spec))
    factors = 4 * lanes.scale_bytes
    return constants({
        "input_starts": into, "hidden_starts": hidden, "input_factor": factors, "hidden_factor": factors,
        "output_factor": lanes.scale_bytes, "bounds": 4 * 3,
    })  # fmt: skip


def generate(spec: LstmSpec, lanes: Lanes) -> Program:
    """Return the Program of a sequence: from "input", "hidden" and "cell" to "output" and the next of both.

    Raises
    ------
    NotImplementedError
        The scale of the cells is not one that the functions take.
    """
    if not _LEAST_POWER <= spec.power <= _MOST_POWER:
        raise NotImplementedError(
            f"{lanes.isa.name}: cells of scale 2**{spec.power}; expected 2**{_LEAST_POWER} to 2**{_MOST_POWER}"
        )
    table, units, space = table_of(spec, lanes), spec.units, lanes.isa.spaces[0]
    first, second = (lanes.product_bytes(matrix) for matrix in products(spec))
    moment = _sums(spec, lanes, table) + _scaled(spec, lanes, table) + _functions(spec, lanes)
    moment += _cells(spec, lanes, table) + _shown(spec, lanes) + _results(spec, lanes, table)
    body = loop(lanes.isa, "sample", spec.batch, loop(lanes.isa, "time", spec.steps, moment))
    buffers = (
        Buffer("input", spec.steps * spec.batch * spec.depth, space, "input"),
        Buffer("weights", first.weights + second.weights, space, "weights"),
        Buffer("parameters", table.nbytes, space, "parameters"),
        Buffer("gates", first.sums, space),
        Buffer("recurrent", second.sums, space),
        *((Buffer("scratch", max(first.scratch, second.scratch), space),) if first.scratch else ()),
        Buffer("hidden", spec.batch * units, space),
        Buffer("cell", 2 * spec.batch * units, space),
        Buffer("output", spec.steps * spec.batch * units, space, "output"),
    )
    name = f"{lanes.isa.name}_lstm"
    return Program(name, lanes.isa, buffers, (*lanes.before, *body), spec.macs, lanes.profile)


def _sequence(spec: LstmSpec, buffer: str, elements: int) -> Address:
    """Return the address of a moment of a sample in a sequence of bytes."""
    time, sample = (spec.batch * elements, elements) if spec.time_major else (elements, spec.steps * elements)
    return Address(buffer, 0, (("time", time), ("sample", sample)))


def _sums(spec: LstmSpec, lanes: Lanes, table: Constants) -> Body:
    """Leave the products of the input in "gates", those of the hidden state in "recurrent"."""
    into, hidden = products(spec)
    return placed(lanes.product(into), {
        "input": _sequence(spec, "input", spec.depth), "sums": Address("gates"),
        "parameters": table.address("input_starts"),
    }) + placed(lanes.product(hidden), {
        "input": Address("hidden", 0, (("sample", spec.units),)), "sums": Address("recurrent"),
        "parameters": table.address("hidden_starts"), "weights": Address("weights", lanes.product_bytes(into).weights),
    })  # fmt: skip


def _words(s: Strip, buffer: str, first: int, **strides: int) -> Address:
    """Return the address of the words of a strip."""
    return Address(buffer, 4 * first, (("strip", 4 * s.count), *strides.items()))


def _scaled(spec: LstmSpec, lanes: Lanes, table: Constants) -> Body:
    """Requantise both products of the gates to 16 bits, and add them up in "gates"."""
    value, other = lanes.words[:2]
    gate = 4 * spec.units

    def first_product(s: Strip, first: int) -> None:
        at = _words(s, "gates", first, gate=gate)
        s.load(value, 4, at)
        s.scale(value)
        s.within(value, _LOW, _HIGH)
        s.store(value, 4, at)

    def second_product(s: Strip, first: int) -> None:
        at = _words(s, "gates", first, gate=gate)
        s.load(value, 4, _words(s, "recurrent", first, gate=gate))
        s.scale(value)
        s.within(value, -_BEYOND, _BEYOND)
        s.load(other, 4, at)
        s.do("add", value, value, other)
        s.within(value, _LOW, _HIGH)
        s.store(value, 4, at)

    factors = (table.address(name, gate=lanes.scale_bytes) for name in ("input_factor", "hidden_factor"))
    passes = (
        each(lanes, spec.units, write, factor)
        for write, factor in zip((first_product, second_product), factors, strict=True)
    )
    return tuple(item for part in passes for item in loop(lanes.isa, "gate", len(_ORDER), part))


def _functions(spec: LstmSpec, lanes: Lanes) -> Body:
    """Apply the logistic function to three gates, and the hyperbolic tangent to the fourth."""
    value = lanes.words[0]

    def logistic(s: Strip, first: int) -> None:
        s.load(value, 4, _words(s, "gates", first))
        gates.logistic(s)
        s.store(value, 4, _words(s, "gates", first))

    def tanh(s: Strip, first: int) -> None:
        at = _words(s, "gates", _CELL * spec.units + first)
        s.load(value, 4, at)
        gates.tanh(s, 3)
        s.store(value, 4, at)

    return each(lanes, 3 * spec.units, logistic) + each(lanes, spec.units, tanh)


def _cell(spec: LstmSpec, s: Strip, first: int) -> Address:
    """Return the address of the cells of a strip."""
    return Address("cell", 2 * first, (("sample", 2 * spec.units), ("strip", 2 * s.count)))


def _cells(spec: LstmSpec, lanes: Lanes, table: Constants) -> Body:
    """Keep of the cells what the forget gate lets pass, and add what the input gate does."""
    kept, fresh, other = lanes.words[:3]
    exponent = 30 + spec.power

    def write(s: Strip, first: int) -> None:
        s.load(kept, 4, _words(s, "gates", _FORGET * spec.units + first))
        s.load(other, 2, _cell(spec, s, first))
        s.do("multiply", kept, kept, other)
        gates.divided(s, kept, 15, other)
        s.load(fresh, 4, _words(s, "gates", _INPUT * spec.units + first))
        s.load(other, 4, _words(s, "gates", _CELL * spec.units + first))
        s.do("multiply", fresh, fresh, other)
        gates.divided(s, fresh, exponent, other)
        s.do("add", kept, kept, fresh)
        s.within(kept, "low", "high")
        s.store(kept, 2, _cell(spec, s, first))

    named = {"low": table.address("bounds", 4), "high": table.address("bounds", 8)}
    return each(lanes, spec.units, write, named=named)


def _shown(spec: LstmSpec, lanes: Lanes) -> Body:
    """Leave the products of the output gate and the hyperbolic tangents of the cells at the beginning of "gates"."""
    value, other = lanes.words[:2]

    def write(s: Strip, first: int) -> None:
        s.load(value, 2, _cell(spec, s, first))
        gates.tanh(s, 15 + spec.power)
        s.load(other, 4, _words(s, "gates", _OUTPUT * spec.units + first))
        s.do("multiply", value, value, other)
        s.store(value, 4, _words(s, "gates", first))

    return each(lanes, spec.units, write)


def _results(spec: LstmSpec, lanes: Lanes, table: Constants) -> Body:
    """Requantise them to the output and to the hidden state of the next moment."""
    value = lanes.words[0]

    def write(s: Strip, first: int) -> None:
        s.load(value, 4, _words(s, "gates", first))
        s.scale(value)
        s.do("add", value, value, "zero_point")
        s.within(value, -128, 127)
        s.store(value, 1, _sequence(spec, "output", spec.units).plus(first, strip=s.count))
        s.store(value, 1, Address("hidden", first, (("sample", spec.units), ("strip", s.count))))

    return each(lanes, spec.units, write, table.address("output_factor"), {"zero_point": table.address("bounds")})


def pack(spec: LstmSpec, operands: Operands, lanes: Lanes) -> dict[str, Array]:
    """Return the constant buffers.

    Raises
    ------
    ValueError
        The operands are not those of a memory of LiteRT's kind: they have factors for the cell, or 64-bit sums.
    """
    own = operands.recurrent
    if not isinstance(own, LstmConstants):
        raise ValueError("a long short-term memory needs its constants")
    if own.forget_to_cell is not None or own.input_to_cell is not None or own.wide:
        raise ValueError("the Program is LiteRT's layer of 8 bits: cells are shifted, not requantised")
    ordered = [own.gates[place] for place in _ORDER]
    into = np.concatenate([gate.input_weights for gate in ordered])
    hidden = np.concatenate([gate.hidden_weights for gate in ordered])
    none = np.zeros(spec.units, np.int32)
    bias = np.concatenate([none if gate.bias is None else gate.bias for gate in ordered])
    first, second = products(spec)
    weights, starts = lanes.pack_product(first, into, _starts(into, own.input_zero_point, bias))
    more, others = lanes.pack_product(second, hidden, _starts(hidden, own.hidden_zero_point, np.zeros_like(bias)))
    clip = own.cell_clip
    bounds = np.array([own.hidden_zero_point, max(-clip, _LOW), min(clip, _HIGH)], np.int32)
    factors = {
        "input_factor": [gate.input_factor for gate in ordered], "output_factor": [own.output_factor],
        "hidden_factor": [gate.hidden_factor for gate in ordered],
    }  # fmt: skip
    values = {"input_starts": starts, "hidden_starts": others, "bounds": bounds}
    for name, found in factors.items():
        raw = b"".join(lanes.pack_scale(int(one.multipliers[0]), int(one.shifts[0])) for one in found)
        values[name] = np.frombuffer(raw, np.uint8)
    return {
        "weights": np.concatenate([weights.ravel(), more.ravel()]),
        "parameters": table_of(spec, lanes).pack(values),
    }


def _starts(weights: Array, zero_point: int, bias: Array) -> Array:
    """Return what sums begin with: the bias, less the products of the zero point, wrapped to 32 bits."""
    return np.asarray(bias.astype(np.int64) - zero_point * weights.astype(np.int64).sum(axis=1)).astype(np.int32)
