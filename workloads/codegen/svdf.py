"""One step of a filter over time (SVDF) in words: features, the state moved by a moment, its product with the weights.

The state lies as (batch, rank, moment, unit), so that neighbours are those of one output each.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import Body, loop, split
from workloads.codegen.lanes import each
from workloads.codegen.places import placed
from workloads.codegen.regions import constants
from workloads.codegen.specs import MatrixSpec
from workloads.kernels.recurrent import SvdfConstants
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from workloads.codegen.lanes import Lanes, Strip
    from workloads.codegen.regions import Constants
    from workloads.codegen.specs_rows import SvdfSpec
    from workloads.operands import Operands
    from workloads.tensor import Array

_UNROLL = 4  # moments a trip
_SUM, _STATE, _WEIGHT = range(3)  # words


def features(spec: SvdfSpec) -> MatrixSpec:
    """Return the product of a sample with the features, columns by rank, then unit."""
    return MatrixSpec(1, spec.depth, spec.filters)


def table_of(spec: SvdfSpec, lanes: Lanes) -> Constants:
    """Place the constants: starts of the features, factors, bounds, biases, weights over time."""
    return constants({
        "features": lanes.product_bytes(features(spec)).parameters, "state_factor": lanes.scale_bytes,
        "output_factor": lanes.scale_bytes, "bounds": 4 * 3, "bias": 4 * spec.units,
        "time": spec.weight_bytes * spec.filters * spec.steps,
    })  # fmt: skip


def generate(spec: SvdfSpec, lanes: Lanes) -> Program:
    """Return the Program of one step: from "input" and "state" to "output" and the next "state"."""
    table, matrix = table_of(spec, lanes), features(spec)
    space, sizes = lanes.isa.spaces[0], lanes.product_bytes(matrix)
    sample = placed(lanes.product(matrix), {
        "input": Address("input", 0, (("sample", spec.depth),)), "parameters": table.address("features"),
    })  # fmt: skip
    sample += _newest(spec, lanes, table) + _filtered(spec, lanes, table)
    body = lanes.before + loop(lanes.isa, "sample", spec.batch, sample)
    buffers = (
        Buffer("input", spec.batch * spec.depth, space, "input"),
        Buffer("weights", sizes.weights, space, "weights"),
        Buffer("parameters", table.nbytes, space, "parameters"),
        Buffer("sums", sizes.sums, space),
        *((Buffer("scratch", sizes.scratch, space),) if sizes.scratch else ()),
        Buffer("state", spec.state_bytes * spec.batch * spec.filters * spec.steps, space),
        Buffer("output", spec.batch * spec.units, space, "output"),
    )
    return Program(f"{lanes.isa.name}_svdf", lanes.isa, buffers, body, spec.macs, lanes.profile)


def _newest(spec: SvdfSpec, lanes: Lanes, table: Constants) -> Body:
    """Requantise the features to elements of the state, still as words."""
    value, edge = lanes.words[0], 1 << (8 * spec.state_bytes - 1)

    def write(s: Strip, first: int) -> None:
        at = Address("sums", 4 * first, (("strip", 4 * s.count),))
        s.load(value, 4, at)
        s.scale(value)
        s.within(value, -edge, edge - 1)
        s.store(value, 4, at)

    return each(lanes, spec.filters, write, table.address("state_factor"))


def _filtered(spec: SvdfSpec, lanes: Lanes, table: Constants) -> Body:
    """Move the state of a sample, add up its products with the weights, and requantise the sums."""
    total, value, weight = (lanes.words[place] for place in (_SUM, _STATE, _WEIGHT))
    size, wide, units = spec.state_bytes, spec.weight_bytes, spec.units
    line = spec.filters * spec.steps

    def write(s: Strip, first: int) -> None:
        state = Address("state", size * first, (("sample", size * line), ("strip", size * s.count)))
        weights = table.address("time", wide * first, strip=wide * s.count)

        def add(place: int, move: dict[str, int]) -> None:
            s.load(weight, wide, weights.plus(wide * place, **_times(move, wide)))
            s.do("multiply", value, value, weight)
            s.do("add", total, total, value)

        def moved(start: int, moments: int) -> None:
            for moment in range(start, start + moments):
                move = {"rank": spec.steps * units, "moment": moments * units}
                to = state.plus(size * moment * units, **_times(move, size))
                s.load(value, size, to.plus(size * units))
                s.store(value, size, to)
                add(moment * units, move)

        def filtered() -> None:
            for start, moments, trips in split(spec.steps - 1, _UNROLL):
                s.inside("moment", trips, partial(moved, start, moments))
            move, last = {"rank": spec.steps * units}, (spec.steps - 1) * units
            newest = Address("sums", 4 * first, (("strip", 4 * s.count),))
            s.load(value, 4, newest.plus(rank=4 * units))
            s.store(value, size, state.plus(size * last, rank=size * spec.steps * units))
            add(last, move)

        s.load(total, 4, table.address("bias", 4 * first, strip=4 * s.count))
        s.inside("rank", spec.rank, filtered)
        s.scale(total)
        s.do("add", total, total, "zero_point")
        s.within(total, "low", "high")
        s.store(total, 1, Address("output", first, (("sample", units), ("strip", s.count))))

    named = {name: table.address("bounds", 4 * place) for place, name in enumerate(("zero_point", "low", "high"))}
    return each(lanes, units, write, table.address("output_factor"), named)


def _times(move: dict[str, int], size: int) -> dict[str, int]:
    """Return how addresses move, in bytes of elements of ``size``."""
    return {name: size * pitch for name, pitch in move.items()}


def pack(spec: SvdfSpec, operands: Operands, lanes: Lanes) -> dict[str, Array]:
    """Return the constant buffers.

    Raises
    ------
    ValueError
        The operands are not those of a filter over time, or the bounds of the state are not those of its type.
    """
    own = operands.recurrent
    if not isinstance(own, SvdfConstants):
        raise ValueError("a filter over time needs its constants")
    edge = 1 << (8 * spec.state_bytes - 1)
    if (own.state_low, own.state_high) != (-edge, edge - 1):
        raise ValueError(f"the state is bounded by {own.state_low} and {own.state_high}, not by its type")
    by_rank = own.feature.reshape(spec.units, spec.rank, spec.depth).transpose(1, 0, 2).reshape(-1, spec.depth)
    starts = (-own.input_zero_point * by_rank.astype(np.int64).sum(axis=1)).astype(np.int32)
    weights, parameters = lanes.pack_product(features(spec), by_rank.astype(np.int8), starts)
    bias = np.zeros(spec.units, np.int32) if own.bias is None else own.bias.astype(np.int32)
    time = to_program(spec, own.time[None].astype(f"int{8 * spec.weight_bytes}"))
    values = {
        "features": parameters, "bias": bias, "time": time,
        "bounds": np.array([own.output_zero_point, own.low, own.high], np.int32),
    }  # fmt: skip
    for name, factor in (("state_factor", own.state_factor), ("output_factor", own.output_factor)):
        raw = lanes.pack_scale(int(factor.multipliers[0]), int(factor.shifts[0]))
        values[name] = np.frombuffer(raw, np.uint8)
    return {"weights": weights, "parameters": table_of(spec, lanes).pack(values)}


def to_program(spec: SvdfSpec, state: Array) -> Array:
    """Return a state (batch, filter, moment) as it lies in the Program, flat."""
    shaped = state.reshape(-1, spec.units, spec.rank, spec.steps)
    return np.ascontiguousarray(shaped.transpose(0, 2, 3, 1)).reshape(-1)


def from_program(spec: SvdfSpec, state: Array) -> Array:
    """Return the state (batch, filter, moment) that lies in the Program."""
    shaped = state.reshape(-1, spec.rank, spec.steps, spec.units)
    return np.ascontiguousarray(shaped.transpose(0, 3, 1, 2)).reshape(-1, spec.filters, spec.steps)
