"""A writer of small .tflite files, so that tests need no file made by others."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tflite


@dataclass
class Operator:
    name: str
    inputs: list[int]
    outputs: list[int]
    options: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    intermediates: list[int] = field(default_factory=list)


@dataclass
class TfliteWriter:
    """Collects tensors and operators and serialises them; nothing is checked, so that wrong files can be written."""

    tensors: list[dict[str, Any]] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def tensor(
        self,
        shape: tuple[int, ...],
        kind: str = "INT8",
        scale: Any = None,
        zero_point: Any = 0,
        *,
        data: Any = None,
        axis: int = 0,
        signature: tuple[int, ...] | None = None,
        name: str | None = None,
        variable: bool = False,
    ) -> int:
        index = len(self.tensors)
        scales = None if scale is None else np.atleast_1d(np.asarray(scale, np.float32))
        zero_points = None if scales is None else np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape)
        self.tensors.append({
            "name": name or f"tensor_{index}", "shape": shape, "kind": kind, "scales": scales,
            "zero_points": zero_points, "axis": axis, "signature": signature, "variable": variable,
            "data": None if data is None else np.ascontiguousarray(data).tobytes(),
        })  # fmt: skip
        return index

    def input(self, *args: Any, **kwargs: Any) -> int:
        self.inputs.append(self.tensor(*args, **kwargs))
        return self.inputs[-1]

    def operator(self, name: str, inputs: list[int], output: int, options: str | None = None, **fields: Any) -> int:
        self.operators.append(Operator(name, inputs, [output], options, fields))
        self.outputs = [output]
        return output

    def build(self) -> bytes:
        builder = flatbuffers.Builder(1024)
        buffers = [self._buffer(builder, b"")]
        tensors = []
        for tensor in self.tensors:
            number = 0
            if tensor["data"] is not None:
                number = len(buffers)
                buffers.append(self._buffer(builder, tensor["data"]))
            tensors.append(self._tensor(builder, tensor, number))
        names = sorted({operator.name for operator in self.operators})
        codes = [self._code(builder, name) for name in names]
        operators = [self._operator(builder, operator, names.index(operator.name)) for operator in self.operators]
        parts = [_tables(builder, tensors), _ints(builder, self.inputs), _ints(builder, self.outputs)]
        parts.append(_tables(builder, operators))
        tflite.SubGraphStart(builder)
        for part, add in zip(parts, ("Tensors", "Inputs", "Outputs", "Operators"), strict=True):
            getattr(tflite, f"SubGraphAdd{add}")(builder, part)
        graph = _tables(builder, [tflite.SubGraphEnd(builder)])
        code_vector, buffer_vector = _tables(builder, codes), _tables(builder, buffers)
        tflite.ModelStart(builder)
        tflite.ModelAddVersion(builder, 3)
        tflite.ModelAddOperatorCodes(builder, code_vector)
        tflite.ModelAddSubgraphs(builder, graph)
        tflite.ModelAddBuffers(builder, buffer_vector)
        builder.Finish(tflite.ModelEnd(builder), b"TFL3")
        return bytes(builder.Output())

    @staticmethod
    def _buffer(builder: flatbuffers.Builder, data: bytes) -> int:
        vector = None
        if data:
            builder.StartVector(1, len(data), 16)
            builder.head -= len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            vector = builder.EndVector()
        tflite.BufferStart(builder)
        if vector is not None:
            tflite.BufferAddData(builder, vector)
        return tflite.BufferEnd(builder)

    @staticmethod
    def _code(builder: flatbuffers.Builder, name: str) -> int:
        number = getattr(tflite.BuiltinOperator, name)
        tflite.OperatorCodeStart(builder)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(number, 127))
        tflite.OperatorCodeAddBuiltinCode(builder, number)
        tflite.OperatorCodeAddVersion(builder, 1)
        return tflite.OperatorCodeEnd(builder)

    @staticmethod
    def _tensor(builder: flatbuffers.Builder, tensor: dict[str, Any], number: int) -> int:
        quantization = None
        if tensor["scales"] is not None:
            scales = builder.CreateNumpyVector(tensor["scales"])
            zero_points = builder.CreateNumpyVector(np.ascontiguousarray(tensor["zero_points"]))
            tflite.QuantizationParametersStart(builder)
            tflite.QuantizationParametersAddScale(builder, scales)
            tflite.QuantizationParametersAddZeroPoint(builder, zero_points)
            tflite.QuantizationParametersAddQuantizedDimension(builder, tensor["axis"])
            quantization = tflite.QuantizationParametersEnd(builder)
        name, shape = builder.CreateString(tensor["name"]), _ints(builder, tensor["shape"])
        signature = None if tensor["signature"] is None else _ints(builder, tensor["signature"])
        tflite.TensorStart(builder)
        tflite.TensorAddShape(builder, shape)
        tflite.TensorAddType(builder, getattr(tflite.TensorType, tensor["kind"]))
        tflite.TensorAddBuffer(builder, number)
        tflite.TensorAddName(builder, name)
        tflite.TensorAddHasRank(builder, True)
        tflite.TensorAddIsVariable(builder, tensor["variable"])
        if quantization is not None:
            tflite.TensorAddQuantization(builder, quantization)
        if signature is not None:
            tflite.TensorAddShapeSignature(builder, signature)
        return tflite.TensorEnd(builder)

    @staticmethod
    def _operator(builder: flatbuffers.Builder, operator: Operator, code: int) -> int:
        inputs, outputs = _ints(builder, operator.inputs), _ints(builder, operator.outputs)
        between = _ints(builder, operator.intermediates) if operator.intermediates else None
        options = None
        if operator.options is not None:
            getattr(tflite, f"{operator.options}Start")(builder)
            for key, value in operator.fields.items():
                getattr(tflite, f"{operator.options}Add{key}")(builder, value)
            options = getattr(tflite, f"{operator.options}End")(builder)
        tflite.OperatorStart(builder)
        tflite.OperatorAddOpcodeIndex(builder, code)
        tflite.OperatorAddInputs(builder, inputs)
        tflite.OperatorAddOutputs(builder, outputs)
        if between is not None:
            tflite.OperatorAddIntermediates(builder, between)
        if options is not None:
            tflite.OperatorAddBuiltinOptionsType(builder, getattr(tflite.BuiltinOptions, operator.options))
            tflite.OperatorAddBuiltinOptions(builder, options)
        return tflite.OperatorEnd(builder)


def _ints(builder: flatbuffers.Builder, values: Any) -> int:
    return builder.CreateNumpyVector(np.array(values, np.int32))


def _tables(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


@pytest.fixture(scope="session")
def tflite_writer() -> type[TfliteWriter]:
    return TfliteWriter


@pytest.fixture(scope="session")
def codegen_cases() -> Any:
    """Random layers and the checker shared by the tests of all code generators."""
    return _beside("codegen_cases")


@pytest.fixture(scope="session")
def float_cases() -> Any:
    """float32 layers, and oracles that do a kernel's operations in its stated order."""
    return _beside("float_cases")


@pytest.fixture(scope="session")
def c_toolchains() -> Any:
    """Compilers that take Programs as C, and the comparison with the executor."""
    return _beside("c_toolchains")


def _beside(name: str) -> Any:
    """Import a module that lies beside this one."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
