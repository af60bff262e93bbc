"""Profiles against the software and the processor that they describe; each skipped where that is absent."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from workloads.kernels import integer
from workloads.kernels.accumulators import accumulate
from workloads.operands import Operands
from workloads.operators import FullyConnected


def product(seed):
    """A QLinearMatMul whose scales are powers of two, so that many outputs are ties; odd zero points included."""
    from onnx import TensorProto, helper

    random = np.random.default_rng(seed)
    a = random.integers(-128, 128, (16, 24)).astype(np.int8)
    b = random.integers(-64, 65, (24, 32)).astype(np.int8)
    a_scale, b_scale, y_scale = (np.float32(2.0 ** int(random.integers(-6, -2))) for _ in range(3))
    y_scale, zero_points = y_scale * np.float32(64), [np.int8(value) for value in random.integers(-9, 9, 2)]
    values = {
        "a": a, "a_scale": a_scale, "a_zero": zero_points[0], "b": b, "b_scale": b_scale, "b_zero": np.int8(0),
        "y_scale": y_scale, "y_zero": zero_points[1],
    }  # fmt: skip
    kinds = {np.dtype(np.int8): TensorProto.INT8, np.dtype(np.float32): TensorProto.FLOAT}
    inputs = [helper.make_tensor_value_info(name, kinds[value.dtype], value.shape) for name, value in values.items()]
    output = helper.make_tensor_value_info("y", TensorProto.INT8, (16, 32))
    graph = helper.make_graph([helper.make_node("QLinearMatMul", list(values), ["y"])], "product", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    scales = (float(a_scale), float(y_scale))
    operands = Operands(
        scales[:1], (int(zero_points[0]),), scales[1], int(zero_points[1]), -128, 127, np.ascontiguousarray(b.T),
        np.full(32, float(b_scale)),
    )  # fmt: skip
    return model, values, a, operands


@pytest.mark.parametrize("seed", range(6))
def test_onnx_reference_equals_the_evaluator_of_onnx_ties_included(seed):
    evaluator = pytest.importorskip("onnx.reference", reason="onnx is not installed")
    model, values, a, operands = product(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the evaluator's own
        (expected,) = evaluator.ReferenceEvaluator(model).run(None, values)
    found = integer.fully_connected(a, operands, FullyConnected(), "onnx-reference")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("seed", range(6))
def test_onnxruntime_equals_onnxruntime_ties_included(seed):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model, values, a, operands = product(seed)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {name: np.asarray(value) for name, value in values.items()})
    found = integer.fully_connected(a, operands, FullyConnected(), "onnxruntime")
    np.testing.assert_array_equal(found, expected)


def pairing_instructions():
    """A compiled function that runs vpmaddubsw, then vpmaddwd with ones, on 32 bytes of each operand."""
    import numba
    from llvmlite import binding, ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    if not binding.get_host_cpu_features().get("avx2", False):
        pytest.skip("the processor has no AVX2")

    @intrinsic
    def run(typing, x, w, result):
        def generate(context, builder, signature, arguments):
            byte, word, wide = (ir.VectorType(ir.IntType(bits), 256 // bits) for bits in (8, 16, 32))
            pointers = [
                context.make_array(kind)(context, builder, value).data
                for kind, value in zip(signature.args, arguments, strict=True)
            ]
            left, right = (
                builder.load(builder.bitcast(pointer, byte.as_pointer()), align=1) for pointer in pointers[:2]
            )
            pairs = builder.module.declare_intrinsic(
                "llvm.x86.avx2.pmadd.ub.sw", (), ir.FunctionType(word, (byte, byte))
            )
            sums = builder.module.declare_intrinsic("llvm.x86.avx2.pmadd.wd", (), ir.FunctionType(wide, (word, word)))
            ones = ir.Constant(word, [1] * 16)
            found = builder.call(sums, [builder.call(pairs, [left, right]), ones])
            builder.store(found, builder.bitcast(pointers[2], wide.as_pointer()), align=1)
            return cgutils.get_null_value(ir.IntType(32))

        return types.int32(x, w, result), generate

    return numba.njit(lambda x, w, result: run(x, w, result))


def test_the_pairing_accumulator_equals_the_instructions_of_the_processor():
    pytest.importorskip("numba")
    run = pairing_instructions()
    random = np.random.default_rng(3)
    for trial in range(200):
        x = random.choice(np.array([0, 1, 254, 255], np.uint8), 32) if trial % 2 else random.integers(0, 256, 32)
        w = random.choice(np.array([-128, -127, 64, 127], np.int8), 32) if trial % 3 else random.integers(-128, 128, 32)
        x, w, result = x.astype(np.uint8), w.astype(np.int8), np.zeros(8, np.int32)
        run(x, w, result)
        lanes = [accumulate(x[lane : lane + 4], w[lane : lane + 4], "pair16") for lane in range(0, 32, 4)]
        assert result.tolist() == lanes
