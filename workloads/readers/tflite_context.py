"""The state of reading one .tflite graph: which tensors exist already, and what their types must agree on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.operators import NO_CLAMP, Clamp, Reshape
from workloads.readers.limits import check_shape
from workloads.readers.tflite_tensors import is_dynamic
from workloads.shapes import infer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workloads.builder import GraphBuilder
    from workloads.operators import Operator
    from workloads.readers.tflite_file import RawModel, RawOperator
    from workloads.tensor import Array, Tensor

CLAMPS = {0: NO_CLAMP, 1: Clamp(0.0, math.inf), 2: Clamp(-1.0, 1.0), 3: Clamp(0.0, 6.0)}  # ActivationFunctionType
BIAS_TOLERANCE = 0.01  # relative; converters compute input scale * weight scale in float32


class SkippedError(ValueError):
    """An operator that reads what was refused before; its own faults cannot be known."""


@dataclass(eq=False)
class Context:
    """One graph being read: file indices of tensors and their names in the builder."""

    builder: GraphBuilder
    model: RawModel
    tensors: dict[int, Tensor]
    names: dict[int, str] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)
    quantized: bool = False

    def add_input(self, index: int, shape: tuple[int, ...]) -> None:
        """Add an input of the network."""
        tensor = self.tensors[index]
        self.names[index] = self.builder.input(tensor.name, shape, tensor.dtype, tensor.quantization)

    def tensor(self, operator: RawOperator, position: int) -> Tensor:
        """Return an input of an operator with its inferred shape."""
        return self.builder.tensors[self.value(operator, position)]

    def value(self, operator: RawOperator, position: int) -> str:
        """Return the name of an input, adding it to the graph if it is a constant not met before."""
        index = operator.inputs[position]
        if index in self.failed:
            raise SkippedError
        if index not in self.names:
            tensor = self.tensors[index]
            if not tensor.is_constant:
                raise ValueError(f"reads {tensor.name!r} before anything computes it")
            self.names[index] = self.builder.constant(
                tensor.name, tensor.shape, tensor.data, tensor.dtype, tensor.quantization
            )
        return self.names[index]

    def parameter(self, operator: RawOperator, position: int) -> Array:
        """Return the array of an input that must be a constant; it does not become part of the graph."""
        tensor = self.tensors[operator.inputs[position]]
        if not tensor.is_constant:
            raise ValueError(f"input {position} ({tensor.name!r}) must be a constant")
        return tensor.materialize()

    def emit(self, operator: RawOperator, record: Operator, inputs: Sequence[str]) -> None:
        """Add the layer that computes an operator's output, with the inferred shape checked against the file's."""
        index = operator.outputs[0]
        output = self.tensors[index]
        if isinstance(record, Reshape):
            shape = self.reshaped(index, self.builder.tensors[inputs[0]])
        else:
            shape = infer(record, [self.builder.tensors[name].shape for name in inputs])
        check_shape("output", shape)
        self._check_declared(index, shape)
        self.quantized = self.quantized or output.quantization is not None
        self.names[index] = self.builder.layer(
            record, inputs, output=output.name, shape=shape, dtype=output.dtype, quantization=output.quantization
        )

    def insert(self, record: Operator, source: str, shape: tuple[int, ...] | None = None) -> str:
        """Add a layer that the file only implies, between ``source`` and an operator."""
        tensor = self.builder.tensors[source]
        name = f"{source}:{type(record).__name__.lower()}"
        return self.builder.layer(record, [source], output=name, shape=shape, quantization=tensor.quantization)

    def reshaped(self, index: int, source: Tensor) -> tuple[int, ...]:
        """Return the shape the file declares for a reshaped tensor, its one dynamic extent from the element count."""
        raw = self.model.tensors[index]
        dynamic = [axis for axis in range(len(raw.shape)) if is_dynamic(raw, axis)]
        fixed = math.prod(extent for axis, extent in enumerate(raw.shape) if axis not in dynamic)
        if len(dynamic) > 1 or fixed < 1 or source.elements % fixed or (not dynamic and fixed != source.elements):
            raise ValueError(f"{source.elements} elements of shape {list(source.shape)} do not fit {list(raw.shape)}")
        return tuple(source.elements // fixed if axis in dynamic else extent for axis, extent in enumerate(raw.shape))

    def _check_declared(self, index: int, shape: tuple[int, ...]) -> None:
        raw = self.model.tensors[index]
        if not raw.shape and shape:
            return  # the file leaves the shape open
        agrees = len(raw.shape) == len(shape) and all(
            is_dynamic(raw, axis) or raw.shape[axis] == extent for axis, extent in enumerate(shape)
        )
        if not agrees:
            raise ValueError(f"computes shape {list(shape)}, but the file declares {list(raw.shape)}")


def expect(operator: RawOperator, least: int, most: int) -> RawOperator:
    """Return the operator without absent trailing inputs, after checking how many inputs and outputs it has."""
    inputs = operator.inputs
    while inputs and inputs[-1] == -1:
        inputs = inputs[:-1]
    if not least <= len(inputs) <= most or -1 in inputs or len(operator.outputs) != 1:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise ValueError(f"{len(inputs)} inputs and {len(operator.outputs)} outputs; expected {wanted} and 1")
    return replace(operator, inputs=inputs)


def check_arithmetic(context: Context, operator: RawOperator, activations: int) -> bool:
    """Check that inputs and output are all float32 or all integers of one quantised type; whether they are integers."""
    tensors = [context.tensor(operator, position) for position in range(activations)]
    tensors.append(context.tensors[operator.outputs[0]])
    kinds = {tensor.dtype for tensor in tensors}
    if kinds == {"float32"}:
        return False
    if kinds not in ({"int8"}, {"uint8"}, {"int16"}):
        found = ", ".join(f"{tensor.name!r} {tensor.dtype}" for tensor in tensors)
        raise ValueError(f"mixes element types ({found}); expected float32, int8, uint8 or int16 throughout")
    for tensor in tensors:
        if tensor.quantization is None or tensor.quantization.scale.size != 1:
            raise ValueError(f"{tensor.dtype} tensor {tensor.name!r} needs one scale and zero point")
        if tensor.dtype == "int16" and tensor.quantization.zero_point.any():
            raise ValueError(
                f"int16 tensor {tensor.name!r} has zero point {tensor.quantization.zero_point}, expected 0"
            )
    return True


def check_same_quantization(context: Context, operator: RawOperator, position: int = 0) -> None:
    """Check that an operator which only moves integers keeps their scale and zero point, and their type."""
    source, output = context.tensor(operator, position), context.tensors[operator.outputs[0]]
    if source.dtype != output.dtype:
        raise ValueError(f"turns {source.dtype} into {output.dtype} without arithmetic")
    a, b = source.quantization, output.quantization
    if (a is None) != (b is None):
        raise ValueError(f"only one of {source.name!r} and {output.name!r} has quantisation parameters")
    if a is None or b is None:
        return
    if not np.array_equal(a.zero_point, b.zero_point) or not np.allclose(a.scale, b.scale, rtol=1e-6, atol=0):
        raise ValueError(
            f"contradictory quantisation: {source.name!r} has scale {a.scale.tolist()}, zero point "
            f"{a.zero_point.tolist()}; {output.name!r} has {b.scale.tolist()}, {b.zero_point.tolist()}"
        )


def check_weights(context: Context, operator: RawOperator, axis: int, *, integer: bool) -> None:
    """Check weights and bias: constant, of the right type, and with scales that fit the input's."""
    weights = context.tensor(operator, 1)
    bias = context.tensor(operator, 2) if len(operator.inputs) > 2 else None
    for tensor in (weights, bias):
        if tensor is not None and not tensor.is_constant:
            raise ValueError(f"{tensor.name!r} must be a constant")
    channels = weights.shape[axis] if len(weights.shape) > axis else 0
    if bias is not None and bias.shape != (channels,):
        raise ValueError(f"bias of shape {list(bias.shape)} for {channels} output channels")
    activation = context.tensor(operator, 0)
    types = (weights.dtype, bias.dtype if bias is not None else None)
    expected: set[tuple[str, str | None]] = {("float32", "float32"), ("float32", None)}
    if integer and activation.dtype == "int16":
        expected = {("int8", "int64"), ("int8", "int32"), ("int8", None)}
    elif integer:
        expected = {(activation.dtype, "int32"), (activation.dtype, None)}
    if types not in expected:
        raise ValueError(f"weights of {types[0]} and bias of {types[1]} for an input of {activation.dtype}")
    if integer:
        _check_weight_quantization(activation, weights, bias, axis)


def _check_weight_quantization(activation: Tensor, weights: Tensor, bias: Tensor | None, axis: int) -> None:
    quantization = weights.quantization
    if quantization is None:
        raise ValueError(f"weights {weights.name!r} have no scale")
    if quantization.axis not in (None, axis):
        raise ValueError(f"weights {weights.name!r} have scales along axis {quantization.axis}, expected {axis}")
    if np.unique(quantization.zero_point).size > 1:
        raise ValueError(f"weights {weights.name!r} have different zero points per channel")
    if bias is None or bias.quantization is None or activation.quantization is None:
        return
    if bias.quantization.zero_point.any():
        raise ValueError(f"bias {bias.name!r} has a zero point other than 0")
    expected = activation.quantization.scale.astype(np.float64) * quantization.scale
    if bias.quantization.scale.size not in (1, expected.size):
        raise ValueError(f"bias {bias.name!r} has {bias.quantization.scale.size} scales, expected {expected.size}")
    ratio = bias.quantization.scale / expected
    if np.any(np.abs(ratio - 1) > BIAS_TOLERANCE):
        worst = int(np.argmax(np.abs(ratio - 1)))
        raise ValueError(
            f"contradictory quantisation: bias {bias.name!r} has scale {float(ratio[worst]):.4g} times "
            f"input scale * weight scale (channel {worst}); expected the product"
        )
