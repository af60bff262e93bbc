"""Decode the bytes of a .tflite file into plain records; nothing in the file is trusted, not even its lengths."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workloads.tensor import Array

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
MAX_ITEMS = 1_000_000  # tensors, operators, extents and indices in one file; large networks have some 1e4

# What reading a damaged flatbuffer raises: wrong offsets, lengths, types and text.
DAMAGE = (struct.error, ValueError, TypeError, IndexError, OverflowError, AttributeError)

# The options table of each operator that has one, and the fields that are read.
OPTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "CONV_2D": ("Conv2DOptions", (
        "Padding", "StrideH", "StrideW", "DilationHFactor", "DilationWFactor", "FusedActivationFunction",
    )),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (
        "Padding", "StrideH", "StrideW", "DilationHFactor", "DilationWFactor", "FusedActivationFunction",
    )),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("FusedActivationFunction", "WeightsFormat", "KeepNumDims")),
    "ADD": ("AddOptions", ("FusedActivationFunction", "PotScaleInt16")),
    "SUB": ("SubOptions", ("FusedActivationFunction", "PotScaleInt16")),
    "MUL": ("MulOptions", ("FusedActivationFunction",)),
    "AVERAGE_POOL_2D": ("Pool2DOptions", (
        "Padding", "StrideH", "StrideW", "FilterHeight", "FilterWidth", "FusedActivationFunction",
    )),
    "MAX_POOL_2D": ("Pool2DOptions", (
        "Padding", "StrideH", "StrideW", "FilterHeight", "FilterWidth", "FusedActivationFunction",
    )),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
    "SOFTMAX": ("SoftmaxOptions", ("Beta",)),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction")),
    "TRANSPOSE_CONV": ("TransposeConvOptions", ("Padding", "StrideH", "StrideW", "FusedActivationFunction")),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", ("AlignCorners", "HalfPixelCenters")),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", ("AlignCorners", "HalfPixelCenters")),
    "GELU": ("GeluOptions", ("Approximate",)),
    "SVDF": ("SVDFOptions", ("Rank", "FusedActivationFunction")),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": ("UnidirectionalSequenceLSTMOptions", (
        "FusedActivationFunction", "CellClip", "ProjClip", "TimeMajor", "DiagonalRecurrentTensors",
    )),
    "BATCH_MATMUL": ("BatchMatMulOptions", ("AdjX", "AdjY")),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class RawTensor:
    """A tensor as the file has it; ``data`` is None for an activation."""

    name: str
    type: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    scales: Array
    zero_points: Array
    axis: int
    data: Array | None


@dataclass(frozen=True)
class RawOperator:
    """An operator as the file has it: name, tensor indices (-1 for an absent one) and option fields."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] | None
    intermediates: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class RawModel:
    """The first subgraph of a file."""

    tensors: tuple[RawTensor, ...]
    operators: tuple[RawOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def decode(path: object, data: bytes) -> RawModel:
    """Decode a file.

    Raises
    ------
    InputError
        The bytes are not a TFLite model, or are damaged.
    """
    if len(data) < 8 or data[4:8] != IDENTIFIER:
        found = repr(data[4:8]) if len(data) >= 8 else f"{len(data)} bytes in all"
        raise InputError(path, [f"not a TFLite model: expected the identifier 'TFL3' at byte 4, found {found}"])
    try:
        return _Decoder(data).model()
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise InputError(path, [f"damaged or truncated TFLite model: {reason}; export or download it again"]) from error


class _Decoder:
    """Reads one file; budgets bound the work, since a damaged file may point at the same bytes again and again."""

    def __init__(self, data: bytes) -> None:
        import tflite

        self.schema: Any = tflite
        self.data = data
        self.items = MAX_ITEMS
        self.elements = 16 * len(data)
        self.types = _names(tflite.TensorType)
        self.codes = _names(tflite.BuiltinOperator)

    def model(self) -> RawModel:
        model = self.schema.Model.GetRootAs(self.data, 0)
        if model.Version() != SCHEMA_VERSION:
            raise ValueError(f"schema version {model.Version()}, expected {SCHEMA_VERSION}")
        if self._length(model.SubgraphsLength()) < 1:
            raise ValueError("it has no subgraph")
        graph = _present(model.Subgraphs(0), "subgraph 0")
        codes = self._table(model.OperatorCodesLength, model.OperatorCodes, self._code)
        buffers = self._table(model.BuffersLength, model.Buffers, self._buffer)
        return RawModel(
            self._table(graph.TensorsLength, graph.Tensors, lambda tensor: self._tensor(tensor, buffers)),
            self._table(graph.OperatorsLength, graph.Operators, lambda operator: self._operator(operator, codes)),
            self._integers(graph.InputsLength, graph.InputsAsNumpy),
            self._integers(graph.OutputsLength, graph.OutputsAsNumpy),
        )

    def _length(self, length: int) -> int:
        """Return the declared length of a vector of items, charged to the budget."""
        self.items -= length + 1
        if length < 0 or length > len(self.data) or self.items < 0:
            raise ValueError(
                f"a vector of {length} items in a file of {len(self.data)} bytes, or over {MAX_ITEMS} items"
            )
        return length

    def _array(self, length: int, values: Callable[[], Any]) -> Array:
        """Return a vector of numbers as a view into the file, charged to the budget."""
        self.elements -= length
        if length < 0 or length > len(self.data) or self.elements < 0:
            raise ValueError(f"a vector of {length} numbers in a file of {len(self.data)} bytes")
        return np.asarray(values()) if length else np.empty(0)

    def _table(self, length: Callable[[], int], item: Callable[[int], Any], read: Callable[[Any], Any]) -> Any:
        return tuple(read(_present(item(index), f"item {index} of a table")) for index in range(self._length(length())))

    def _integers(self, length: Callable[[], int], values: Callable[[], Any]) -> tuple[int, ...]:
        return tuple(int(value) for value in values()) if self._length(length()) else ()

    def _code(self, code: Any) -> str:
        # Old files hold the code in one byte; 127 there means: see the wide field.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if number == self.schema.BuiltinOperator.CUSTOM:
            return f"CUSTOM {_text(code.CustomCode())}"
        return self.codes.get(number, f"operator code {number}")

    def _buffer(self, buffer: Any) -> Array | None:
        if buffer.Offset() > 1:
            raise ValueError("weights outside the flatbuffer (as in files over 2 GB) are not supported")
        return self._array(buffer.DataLength(), buffer.DataAsNumpy) if buffer.DataLength() else None

    def _tensor(self, tensor: Any, buffers: tuple[Array | None, ...]) -> RawTensor:
        number = tensor.Type()
        index = tensor.Buffer()
        if index >= len(buffers):
            raise ValueError(f"buffer {index} does not exist; there are {len(buffers)}")
        if tensor.Sparsity() is not None:
            raise ValueError(f"tensor {_text(tensor.Name())!r} is stored sparse, which is not supported")
        quantization = tensor.Quantization()
        empty, axis = np.empty(0), 0
        scales, zero_points = empty, empty
        if quantization is not None:
            scales = self._array(quantization.ScaleLength(), quantization.ScaleAsNumpy)
            zero_points = self._array(quantization.ZeroPointLength(), quantization.ZeroPointAsNumpy)
            axis = quantization.QuantizedDimension()
        return RawTensor(
            _text(tensor.Name()), self.types.get(number, f"type {number}"),
            self._integers(tensor.ShapeLength, tensor.ShapeAsNumpy),
            self._integers(tensor.ShapeSignatureLength, tensor.ShapeSignatureAsNumpy),
            scales, zero_points, axis, buffers[index],
        )  # fmt: skip

    def _operator(self, operator: Any, codes: tuple[str, ...]) -> RawOperator:
        index = operator.OpcodeIndex()
        if index >= len(codes):
            raise ValueError(f"operator code {index} does not exist; there are {len(codes)}")
        inputs = self._integers(operator.InputsLength, operator.InputsAsNumpy)
        outputs = self._integers(operator.OutputsLength, operator.OutputsAsNumpy)
        between = self._integers(operator.IntermediatesLength, operator.IntermediatesAsNumpy)
        return RawOperator(codes[index], inputs, outputs, self._options(operator, codes[index]), between)

    def _options(self, operator: Any, name: str) -> Mapping[str, Any] | None:
        if name not in OPTIONS:
            return None
        class_name, fields = OPTIONS[name]
        table = operator.BuiltinOptions()
        if table is None or operator.BuiltinOptionsType() != getattr(self.schema.BuiltinOptions, class_name):
            return None
        options = getattr(self.schema, class_name)()
        options.Init(table.Bytes, table.Pos)
        return {field: getattr(options, field)() for field in fields}


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _present(item: Any, what: str) -> Any:
    if item is None:
        raise ValueError(f"{what} is missing")
    return item


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", errors="backslashreplace")
