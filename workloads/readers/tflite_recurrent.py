"""Converters of .tflite operators with a state: SVDF and UNIDIRECTIONAL_SEQUENCE_LSTM."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.operators import Lstm, Svdf
from workloads.readers.tflite_context import Context, check_arithmetic
from workloads.readers.tflite_images import clamp_of, options_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workloads.readers.tflite_file import RawOperator
    from workloads.tensor import Tensor

TANH = 4  # ActivationFunctionType
SVDF_INPUTS = 5  # x, feature weights, time weights, bias or -1, state
LSTM_INPUTS = (20, 24)  # without and with the coefficients of layer normalisation
HIDDEN_INTERMEDIATE = 4  # the intermediate tensor that holds the scale of the hidden state before a projection


def svdf(context: Context, operator: RawOperator) -> None:
    """Add a filter over time."""
    if len(operator.inputs) != SVDF_INPUTS or len(operator.outputs) != 1:
        raise ValueError(f"{len(operator.inputs)} inputs and {len(operator.outputs)} outputs; expected 5 and 1")
    x, feature, time, bias, state = operator.inputs
    used = (x, feature, time) if bias == -1 else (x, feature, time, bias)
    kept = _kept(operator, used)
    integer = check_arithmetic(context, kept, 1)
    constants = [context.tensor(kept, position) for position in range(1, len(used))]
    state_tensor = context.tensors[state]
    types = [tensor.dtype for tensor in constants] + [state_tensor.dtype]
    wanted = ["int8", "int16", "int32"] if integer else ["float32"] * 3
    if types != [*wanted[: len(constants)], "int16" if integer else "float32"]:
        raise ValueError(
            f"weights, bias and state of {', '.join(types)}; expected int8, int16, int32 and int16, or float"
        )
    _check_constant(constants)
    scale = _scale(state_tensor) if integer else 1.0
    record = Svdf(options_of(operator)["Rank"], scale, state_tensor.dtype, clamp_of(operator))
    context.emit(kept, record, [context.value(kept, position) for position in range(len(used))])


def lstm(context: Context, operator: RawOperator) -> None:
    """Add a long short-term memory layer."""
    options, inputs = options_of(operator), operator.inputs
    if len(inputs) not in LSTM_INPUTS or len(operator.outputs) != 1:
        raise ValueError(f"{len(inputs)} inputs and {len(operator.outputs)} outputs; expected 20 or 24 and 1")
    gates, biases = inputs[1:9], inputs[12:16]
    if -1 in gates or -1 in biases:
        raise ValueError("coupled input and forget gates, or gates without a bias, are not supported")
    if any(index != -1 for index in (*inputs[9:12], *inputs[16:18], *inputs[20:])):
        raise ValueError("peephole, projection and layer normalisation are not supported")
    if options["FusedActivationFunction"] != TANH or options["ProjClip"] != 0 or options["DiagonalRecurrentTensors"]:
        raise ValueError("expected tanh, no projection clip and full recurrent weights")
    kept = _kept(operator, (inputs[0], *gates, *biases))
    integer = check_arithmetic(context, kept, 1)
    constants = [context.tensor(kept, position) for position in range(1, 13)]
    _check_constant(constants)
    types = {tensor.dtype for tensor in constants[:8]}, {tensor.dtype for tensor in constants[8:]}
    if types != (({"int8"}, {"int32"}) if integer else ({"float32"}, {"float32"})):
        raise ValueError(f"weights of {sorted(types[0])} and biases of {sorted(types[1])}")
    cell_scale = _check_states(context, operator) if integer else 1.0
    record = Lstm(bool(options["TimeMajor"]), cell_scale, float(options["CellClip"]))
    context.emit(kept, record, [context.value(kept, position) for position in range(13)])


def _check_states(context: Context, operator: RawOperator) -> float:
    """Check the hidden and cell state of an integer layer; return the scale of the cell state."""
    output, hidden, cell = (context.tensors[index] for index in (operator.outputs[0], *operator.inputs[18:20]))
    if output.dtype != "int8" or cell.dtype != "int16":
        raise ValueError(f"output {output.dtype} and cell state {cell.dtype}; expected int8 and int16")
    scale = _scale(cell)
    if math.frexp(scale)[0] != 0.5 or not 2.0**-15 <= scale <= 2.0**-9:
        raise ValueError(f"the cell state has scale {scale!r}; expected a power of two from 2**-15 to 2**-9")
    alike = [hidden]
    if len(operator.intermediates) > HIDDEN_INTERMEDIATE:
        alike.append(context.tensors[operator.intermediates[HIDDEN_INTERMEDIATE]])
    for tensor in alike:
        same = (
            tensor.quantization is not None
            and output.quantization is not None
            and (
                np.array_equal(tensor.quantization.scale, output.quantization.scale)
                and np.array_equal(tensor.quantization.zero_point, output.quantization.zero_point)
            )
        )
        if not same:
            raise ValueError(
                f"the hidden state {tensor.name!r} and the output {output.name!r} are quantised differently"
            )
    return scale


def _kept(operator: RawOperator, inputs: Sequence[int]) -> RawOperator:
    """Return the operator with the inputs that a layer of ours has."""
    return type(operator)(operator.name, tuple(inputs), operator.outputs, operator.options)


def _check_constant(tensors: Sequence[Tensor]) -> None:
    for tensor in tensors:
        if not tensor.is_constant:
            raise ValueError(f"{tensor.name!r} must be a constant")
        if tensor.dtype in ("int8", "int16"):
            _scale(tensor)


def _scale(tensor: Tensor) -> float:
    if tensor.quantization is None or tensor.quantization.scale.size != 1:
        raise ValueError(f"{tensor.dtype} tensor {tensor.name!r} needs one scale")
    return float(tensor.quantization.scale[0])
