"""What the reader refuses of the nonlinear, 16-bit, resizing and recurrent operators, and who prices them."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.codegen.specs import specify
from workloads.errors import InputError
from workloads.readers.tflite import read


def problems_of(writer, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(writer.build())
    with pytest.raises(InputError) as caught:
        read(path)
    return caught.value.problems


def unary(writer, name, kind="INT8", scale=0.1, zero_point=0, out=(0.1, 0), options=None, **fields):
    x = writer.input((2, 3), kind, scale, zero_point)
    writer.operator(name, [x], writer.tensor((2, 3), kind, *out), options, **fields)
    return writer


def test_a_16_bit_function_needs_its_fixed_output_scale_and_zero_points_of_zero(tflite_writer, tmp_path):
    (problem,) = problems_of(unary(tflite_writer(), "TANH", "INT16"), tmp_path)
    assert problem.endswith("expected 1/32768")
    (problem,) = problems_of(unary(tflite_writer(), "TANH", "INT16", zero_point=5, out=(2.0**-15, 0)), tmp_path)
    assert "int16 tensor 'tensor_0' has zero point [5], expected 0" in problem


@pytest.mark.parametrize("name", ["GELU", "HARD_SWISH"])
def test_functions_without_a_16_bit_kernel_are_refused_by_name(name, tflite_writer, tmp_path):
    writer = unary(tflite_writer(), name, "INT16", options=None if name == "HARD_SWISH" else "GeluOptions")
    (problem,) = problems_of(writer, tmp_path)
    assert f"operator 0 {name}" in problem
    assert "16-bit hard-swish and GELU are not supported" in problem


def test_a_16_bit_sum_by_shifts_alone_is_refused(tflite_writer, tmp_path):
    writer = tflite_writer()
    a, b = (writer.input((2, 3), "INT16", 2.0**-10) for _ in range(2))
    writer.operator("ADD", [a, b], writer.tensor((2, 3), "INT16", 2.0**-9), "AddOptions", PotScaleInt16=True)
    (problem,) = problems_of(writer, tmp_path)
    assert "pot_scale_int16" in problem


def test_a_transposed_convolution_must_fit_its_output(tflite_writer, tmp_path):
    writer = tflite_writer()
    shape = writer.tensor((4,), "INT32", data=np.array([1, 9, 9, 2], np.int32))
    weights = writer.tensor((2, 3, 3, 1), "INT8", 0.1, data=np.ones((2, 3, 3, 1), np.int8))
    x = writer.input((1, 4, 4, 1), "INT8", 0.1)
    writer.operator(
        "TRANSPOSE_CONV", [shape, weights, x], writer.tensor((1, 9, 9, 2), "INT8", 0.1), "TransposeConvOptions",
        Padding=0, StrideH=2, StrideW=2,
    )  # fmt: skip
    (problem,) = problems_of(writer, tmp_path)
    assert "an output of (9, 9) follows from an input of [5, 5], found [4, 4]" in problem


def test_an_lstm_with_what_is_not_supported_says_so(tflite_writer, tmp_path):
    writer = tflite_writer()
    x = writer.input((1, 2, 3), "FLOAT32")

    def weights(*shape):
        return writer.tensor(shape, "FLOAT32", data=np.ones(shape, np.float32))

    gates = [-1, *(weights(4, 3) for _ in range(3)), *(weights(4, 4) for _ in range(4))]
    states = [writer.tensor((1, 4), "FLOAT32", variable=True) for _ in range(2)]
    inputs = [x, *gates, -1, -1, -1, *(weights(4) for _ in range(4)), -1, -1, *states]
    writer.operator(
        "UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, writer.tensor((1, 2, 4), "FLOAT32"),
        "UnidirectionalSequenceLSTMOptions", FusedActivationFunction=4,
    )  # fmt: skip
    (problem,) = problems_of(writer, tmp_path)
    assert "coupled input and forget gates" in problem


def test_no_program_of_bytes_stands_in_for_one_of_16_bits(tflite_writer, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(unary(tflite_writer(), "TANH", "INT16", out=(2.0**-15, 0)).build())
    graph = read(path)
    with pytest.raises(NotImplementedError, match="no kernel is generated for 16-bit 'tanh'"):
        specify(graph, graph.layers[0])
