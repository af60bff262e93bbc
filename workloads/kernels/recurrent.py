"""Layers with a state, step by step in integers: filters over time (SVDF) and long short-term memory (LSTM)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import profile_of, requantize_fixed
from workloads.kernels.fixed_point import clip16, divide_by_power, sigmoid16, tanh16, tripled
from workloads.kernels.gemmlowp import logistic_q15, tanh_q15
from workloads.kernels.wide import REDUCED

if TYPE_CHECKING:
    from workloads.arithmetic import RequantProfile
    from workloads.operands import Factors
    from workloads.tensor import Array

    Profile = str | RequantProfile

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


@dataclass(frozen=True, eq=False)
class SvdfConstants:
    """Constants of a filter over time.

    Parameters
    ----------
    feature, time
        Weights (F, in) and (F, T).
    bias
        int32 (F / rank,), or None.
    state_factor, output_factor
        From the feature sum to the state, and from the sum over time and rank to the output.
    state_low, state_high
        Bounds of the state's elements.
    """

    feature: Array
    time: Array
    bias: Array | None
    rank: int
    input_zero_point: int
    output_zero_point: int
    state_factor: Factors
    output_factor: Factors
    state_low: int
    state_high: int
    low: int
    high: int
    dtype: str = "int8"


def svdf_step(x: Array, state: Array, constants: SvdfConstants, profile: Profile) -> tuple[Array, Array]:
    """Return (output (batch, F / rank), next state (batch, F, T)) of one step with input (batch, in).

    The state moves by one place, the newest column is the requantised feature product; then its product with the time
    weights is summed over time and rank, and requantised.
    """
    feature = _wrap((x.astype(np.int64) - constants.input_zero_point) @ constants.feature.astype(np.int64).T)
    bounds = (0, constants.state_low, constants.state_high)
    newest = _scale(feature, constants.state_factor, bounds, profile)
    following = np.concatenate([state[:, :, 1:], newest[:, :, None].astype(state.dtype)], axis=2)
    products = (following.astype(np.int64) * constants.time.astype(np.int64)).sum(axis=2)
    sums = products.reshape(len(x), -1, constants.rank).sum(axis=2)
    if constants.bias is not None:
        sums = sums + constants.bias.astype(np.int64)
    bounds = (constants.output_zero_point, constants.low, constants.high)
    return _scale(_wrap(sums), constants.output_factor, bounds, profile).astype(constants.dtype), following


@dataclass(frozen=True, eq=False)
class Gate:
    """One gate: int8 weights (H, in) and (H, H), a bias (H,) or None, and the factors of both products."""

    input_weights: Array
    hidden_weights: Array
    bias: Array | None
    input_factor: Factors
    hidden_factor: Factors


@dataclass(frozen=True, eq=False)
class LstmConstants:
    """Constants of a long short-term memory layer.

    Parameters
    ----------
    gates
        Input, forget, cell and output gate.
    forget_to_cell, input_to_cell
        Factors of the two products that make the cell state; None for the shifts of LiteRT's kernel.
    cell_scale_power
        The cell state has the scale 2**cell_scale_power.
    cell_clip
        Bound on the cell state, in its integers; 2**15 leaves it alone.
    wide
        Products of the gates have 64-bit sums and the reduced multiplier (16-bit activations).
    """

    gates: tuple[Gate, Gate, Gate, Gate]
    input_zero_point: int
    hidden_zero_point: int
    output_factor: Factors
    cell_scale_power: int
    cell_clip: int
    forget_to_cell: Factors | None = None
    input_to_cell: Factors | None = None
    wide: bool = False
    dtype: str = "int8"


def lstm_start(constants: LstmConstants, batch: int) -> Array:
    """Return the state of the beginning, (hidden or cell, batch, H) in int64: both are zero."""
    units = constants.gates[0].hidden_weights.shape[0]
    state = np.zeros((2, batch, units), np.int64)
    state[0] = constants.hidden_zero_point
    return state


def lstm(x: Array, state: Array, constants: LstmConstants, profile: Profile) -> tuple[Array, Array]:
    """Return the hidden states (time, batch, H) of a sequence (time, batch, in), and the state after it.

    With factors for the cell this is the layer of TFLite Micro and CMSIS-NN, whose nonlinear functions interpolate a
    table; without, it is LiteRT's, whose functions are gemmlowp's fixed-point ones and whose cell products are shifted.
    """
    hidden, cell = state
    result = np.empty((len(x), *hidden.shape), constants.dtype)
    for step, values in enumerate(x):
        hidden, cell = _lstm_step(values.astype(np.int64), hidden, cell, constants, profile)
        result[step] = hidden
    return result, np.stack([hidden, cell])


def _lstm_step(x: Array, hidden: Array, cell: Array, constants: LstmConstants, profile: Profile) -> tuple[Array, Array]:
    """Return (hidden state, cell state) after one step."""
    sums = [_gate(x, hidden, gate, constants, profile) for gate in constants.gates]
    power, limits = constants.cell_scale_power, np.iinfo(constants.dtype)
    if constants.forget_to_cell is None or constants.input_to_cell is None:
        into, forget, out = (logistic_q15(sums[which]) for which in (0, 1, 3))
        candidate = tanh_q15(sums[2], 3)
        kept = clip16(divide_by_power(forget * cell, 15))
        fresh = clip16(divide_by_power(into * candidate, 30 + power))
        cell = _clipped(clip16(kept + fresh), constants)
        shown = tanh_q15(cell, 15 + power)
    else:
        into, forget, out = (sigmoid16(tripled(sums[which], 0)) for which in (0, 1, 3))
        candidate = tanh16(tripled(sums[2], 0))
        sixteen = (0, -(2**15), 2**15 - 1)
        kept = _scale(forget * cell, constants.forget_to_cell, sixteen, profile)
        fresh = _scale(into * candidate, constants.input_to_cell, (0, INT32_MIN, INT32_MAX), profile)
        cell = _clipped(clip16(kept + fresh), constants)
        shown = tanh16(tripled(cell, power + 12))
    bounds = (constants.hidden_zero_point, int(limits.min), int(limits.max))
    return _scale(out * shown, constants.output_factor, bounds, profile), cell


def _clipped(cell: Array, constants: LstmConstants) -> Array:
    return np.asarray(cell.clip(-constants.cell_clip, constants.cell_clip))


def _gate(x: Array, hidden: Array, gate: Gate, constants: LstmConstants, profile: Profile) -> Array:
    """Return the 16-bit sum of a gate before its nonlinear function."""
    record = REDUCED if constants.wide else profile
    sums = (x - constants.input_zero_point) @ gate.input_weights.astype(np.int64).T
    if gate.bias is not None:
        sums = sums + gate.bias.astype(np.int64)
    recurrent = (hidden - constants.hidden_zero_point) @ gate.hidden_weights.astype(np.int64).T
    bounds = (0, -(2**15), 2**15 - 1)
    if not constants.wide:
        sums, recurrent = _wrap(sums), _wrap(recurrent)
    first = _scale(sums, gate.input_factor, bounds, record)
    second = _scale(recurrent, gate.hidden_factor, (0, INT32_MIN, INT32_MAX), record)
    return clip16(first + second)


def _scale(sums: Array, factor: Factors, bounds: tuple[int, int, int], profile: Profile) -> Array:
    """Requantise sums to int64 integers within (zero point, low, high)."""
    return requantize_fixed(sums, factor.multipliers, factor.shifts, *bounds, profile_of(profile)).astype(np.int64)


def _wrap(sums: Array) -> Array:
    return np.asarray(sums, np.int64).astype(np.int32)
