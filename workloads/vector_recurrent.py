"""Foreign cases of layers with a state and of whole networks, and the table of all functions."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads import vector_layers as layers
from workloads.kernels.recurrent import Gate, LstmConstants, SvdfConstants, lstm, lstm_start, svdf_step
from workloads.vector_cases import CaseFaultError, VectorCase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.tensor import Array
    from workloads.vector_layers import Computer

GATES = ("input", "forget", "cell", "output")
LAYER = re.compile(r"(DEPTHWISE_CONV_2D|CONV_2D|AVERAGE_POOL_2D|FULLY_CONNECTED|SOFTMAX)_(\d+)_(\w+)")


def svdf(case: VectorCase) -> Array:
    """Run a filter over time through its whole input sequence; the last output counts."""
    sequence, state = case.array("input_sequence"), case.array("state")
    feature, time, rank = case.array("weights_feature"), case.array("weights_time"), case.define("RANK")
    fits = (sequence.ndim, feature.ndim, time.ndim, state.ndim) == (3, 2, 2, 3)
    if not fits or sequence.shape[2] != feature.shape[1] or state.shape != (sequence.shape[1], *time.shape):
        raise CaseFaultError(f"weights {feature.shape} and {time.shape}, state {state.shape}, input {sequence.shape}")
    if rank < 1 or feature.shape[0] != time.shape[0] or feature.shape[0] % rank:
        raise CaseFaultError(f"rank {rank} does not divide {feature.shape[0]} filters")
    bias = case.optional("biases")
    if bias is not None and bias.shape != (feature.shape[0] // rank,):
        raise CaseFaultError(f"bias of shape {bias.shape} for {feature.shape[0] // rank} outputs")
    limits, bounds = np.iinfo(state.dtype), case.bounds()
    # Unlike elsewhere, INPUT_OFFSET is the zero point itself.
    constants = SvdfConstants(
        feature, time, bias, rank, case.define("INPUT_OFFSET", default=0), case.define("OUTPUT_OFFSET", default=0),
        case.factors("MULTIPLIER_IN", "SHIFT_1"), case.factors("MULTIPLIER_OUT", "SHIFT_2"),
        max(case.define("IN_ACTIVATION_MIN", default=int(limits.min)), int(limits.min)),
        min(case.define("IN_ACTIVATION_MAX", default=int(limits.max)), int(limits.max)),
        *bounds, dtype=case.output.dtype.name,
    )  # fmt: skip
    output = case.output
    for step in sequence:
        output, state = svdf_step(step, state, constants, layers.PROFILE)
    return output


def recurrent(case: VectorCase) -> Array:
    """Run a long short-term memory layer over its input sequence."""
    x, by_time = case.array("input"), bool(case.define("TIME_MAJOR", default=0))
    gates = [_gate(case, name) for name in GATES]
    units = gates[0].hidden_weights.shape[0]
    if x.ndim != 3 or any(gate.input_weights.shape != (units, x.shape[2]) for gate in gates):
        raise CaseFaultError(f"gate weights do not fit an input of shape {x.shape}")
    if any(gate.hidden_weights.shape != (units, units) for gate in gates):
        raise CaseFaultError(f"hidden weights are not all {units} x {units}")
    if any(gate.bias is not None and gate.bias.shape != (units,) for gate in gates):
        raise CaseFaultError(f"biases are not all of {units} elements")
    clip = case.define("CELL_CLIP", default=0)
    constants = LstmConstants(
        (gates[0], gates[1], gates[2], gates[3]), -case.define("INPUT_ZERO_POINT", default=0),
        case.define("OUTPUT_ZERO_POINT", default=0), case.factors("OUTPUT_MULTIPLIER", "OUTPUT_SHIFT"),
        case.define("CELL_SCALE_POWER"), clip if clip > 0 else 2**15,
        case.factors("FORGET_TO_CELL_MULTIPLIER", "FORGET_TO_CELL_SHIFT"),
        case.factors("INPUT_TO_CELL_MULTIPLIER", "INPUT_TO_CELL_SHIFT"), case.wide, case.output.dtype.name,
    )  # fmt: skip
    sequence = x if by_time else x.swapaxes(0, 1)
    result, _ = lstm(sequence, lstm_start(constants, sequence.shape[1]), constants, layers.PROFILE)
    return result if by_time else np.ascontiguousarray(result.swapaxes(0, 1))


def _gate(case: VectorCase, name: str) -> Gate:
    stem = name.upper()
    into, hidden = (case.array(f"{name}_gate_{kind}_weights") for kind in ("input", "hidden"))
    if (into.ndim, hidden.ndim) != (2, 2):
        raise CaseFaultError(f"weights of gate {name!r} need two axes")
    return Gate(
        into, hidden, case.optional(f"{name}_gate_bias"),
        case.factors(f"{stem}_GATE_INPUT_MULTIPLIER", f"{stem}_GATE_INPUT_SHIFT"),
        case.factors(f"{stem}_GATE_HIDDEN_MULTIPLIER", f"{stem}_GATE_HIDDEN_SHIFT"),
    )  # fmt: skip


def network(case: VectorCase) -> Array:
    """Run the layers of a whole network in the order of their numbers."""
    parts: dict[int, tuple[str, dict[str, Any]]] = {}
    for name, value in case.defines.items():
        if (match := LAYER.fullmatch(name)) is not None:
            parts.setdefault(int(match[2]), (match[1], {}))[1][match[3]] = value
    if not parts:
        raise CaseFaultError("no define names a layer")
    x = case.array("input")
    for number, (kind, defines) in sorted(parts.items()):
        try:
            x = _layer(case, x, number, kind, defines)
        except CaseFaultError as fault:
            raise CaseFaultError(f"layer {number} ({kind}): {fault}") from fault
    return x.reshape(case.output.shape) if x.size == case.output.size else x


def _layer(case: VectorCase, x: Array, number: int, kind: str, defines: Mapping[str, Any]) -> Array:
    """Run one layer of a network as a case of its own."""
    prefix = f"layer_{number}_{kind.lower()}_"
    arrays = {name.removeprefix(prefix): array for name, array in case.arrays.items() if name.startswith(prefix)}
    part = VectorCase(case.name, (), {**arrays, "input": x}, defines, wide=False, output=x)
    if kind == "SOFTMAX":
        return layers.softmax(part)
    if kind == "FULLY_CONNECTED":
        # The sizes come from the arrays: upstream's defines are swapped.
        filters = part.array("weights")
        shape: tuple[int, ...] = (x.size // max(filters[0].size, 1), filters.shape[0])
    else:
        rows, columns = part.pair("OUTPUT")
        shape = (x.shape[0], rows, columns, x.shape[-1] if kind == "AVERAGE_POOL_2D" else part.define("OUT_CH"))
    if min(shape) < 1 or int(np.prod(shape)) > layers.MAX_PADDED:
        raise CaseFaultError(f"output of shape {shape}")
    functions = {"CONV_2D": layers.conv2d, "DEPTHWISE_CONV_2D": layers.depthwise_conv2d,
                 "FULLY_CONNECTED": layers.fully_connected, "AVERAGE_POOL_2D": layers.pool("average")}  # fmt: skip
    found: Computer = functions[kind]
    return found(VectorCase(case.name, (), part.arrays, defines, wide=False, output=np.empty(shape, x.dtype)))


def _names(pattern: str, *variants: str) -> list[str]:
    return [pattern.format(variant) for variant in variants]


def computers() -> Mapping[str, Computer]:
    """Return the function that runs a case, by the name of the CMSIS-NN function it tests."""
    packed_conv, packed_depthwise = (
        partial(layers.conv2d, packed=True),
        partial(layers.depthwise_conv2d, packed=True),
    )
    groups: tuple[tuple[Computer, list[str]], ...] = (
        (layers.conv2d, _names("arm_convolve_{}", "s8", "s16", "1x1_s8_fast", "1x1_s8", "1_x_n_s8", "wrapper_s8")),
        (layers.conv2d, ["arm_grouped_convolve_s8", "arm_convolve_wrapper_s16"]),
        (packed_conv, _names("arm_convolve_{}", "s4", "1x1_s4_fast", "1x1_s4", "1_x_n_s4", "even_s4", "wrapper_s4")),
        (layers.depthwise_conv2d, _names("arm_depthwise_conv_{}", "s8", "s8_opt", "3x3_s8", "s16", "fast_s16")),
        (layers.depthwise_conv2d, _names("arm_depthwise_conv_{}", "wrapper_s8", "wrapper_s16")),
        (packed_depthwise, _names("arm_depthwise_conv_{}", "s4", "s4_opt", "wrapper_s4")),
        (
            layers.transposed,
            ["arm_transpose_conv_s8", "arm_reverse_transpose_conv_s8", "arm_transpose_conv_wrapper_s8"],
        ),
        (layers.fully_connected, _names("arm_fully_connected_{}", "s8", "s16", "per_channel_s8", "wrapper_s8")),
        (partial(layers.fully_connected, packed=True), ["arm_fully_connected_s4"]),
        (layers.pool("average"), ["arm_avgpool_s8", "arm_avgpool_s16"]),
        (layers.pool("max"), ["arm_max_pool_s8", "arm_max_pool_s16"]),
        (layers.add, ["arm_elementwise_add_s8", "arm_elementwise_add_s16"]),
        (layers.mul, ["arm_elementwise_mul_s8", "arm_elementwise_mul_s16"]),
        (layers.batch_matmul, ["arm_batch_matmul_s8", "arm_batch_matmul_s16"]),
        (layers.softmax, ["arm_softmax_s8", "arm_softmax_s8_s16", "arm_softmax_s16"]),
        (svdf, ["arm_svdf_s8", "arm_svdf_state_s16_s8"]),
        (recurrent, ["arm_lstm_unidirectional_s8", "arm_lstm_unidirectional_s16"]),
        (layers.extremum, ["arm_maximum_minimum_s8", "arm_minimum_s8", "arm_maximum_s8"]),
        (layers.pad, ["arm_pad_s8"]),
        (layers.transpose, ["arm_transpose_s8"]),
        (network, ["arm_ds_cnn_l_s8", "arm_ds_cnn_s_s8"]),
    )
    return {name: function for function, names in groups for name in names}
