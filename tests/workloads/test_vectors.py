"""Foreign vector files: every case passes, files built here prove each function, and bad files are named."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from workloads.errors import InputError
from workloads.kernels import reference, tables
from workloads.kernels import reference_functions as oracle
from workloads.kernels.packing import pack
from workloads.kernels.recurrent import Gate, LstmConstants, SvdfConstants
from workloads.operands import Factors, Operands
from workloads.operators import Conv2d, DepthwiseConv2d, Pool2d, TransposedConv2d
from workloads.vector_cases import TABLES
from workloads.vector_recurrent import computers
from workloads.vectors import run_vectors

FOLDER = Path(__file__).parents[2].parent / "shared" / "vectors"
M, S = 1503238554, -9  # a multiplier and a shift for sums of some hundreds
SCALE = M * 2.0 ** (S - 31)


def foreign():
    if not (FOLDER / "cmsis_nn_vectors.npz").exists():
        pytest.skip("the sibling folder 'shared' with the vectors is absent")
    return FOLDER / "cmsis_nn_vectors.npz"


def test_every_case_of_the_foreign_file_passes():
    results = run_vectors(foreign())
    described = json.loads((FOLDER / "cmsis_nn_vectors.json").read_text())["cases"]
    assert [(result.op, result.case, result.detail) for result in results if result.status != "passed"] == []
    assert Counter(result.op for result in results) == Counter(op for case in described.values() for op in case["ops"])


def test_the_tables_are_those_of_the_foreign_file():
    with np.load(foreign()) as archive:
        for name, make in TABLES.items():
            np.testing.assert_array_equal(archive[f"tables/{name}"], make())


# A file of the same layout, made here from the plain-numpy oracles and from values in closed form.


class Bundle:
    """Collects cases and writes both files."""

    def __init__(self):
        self.arrays, self.cases, self.random = {}, {}, np.random.default_rng(11)

    def case(self, name, op, defines, expected, accumulator="int32", **arrays):
        arrays["output_ref"] = expected
        described = {key: f"{array.dtype} {'x'.join(map(str, array.shape))}" for key, array in arrays.items()}
        self.arrays.update({f"{name}/{key}": array for key, array in arrays.items()})
        self.cases[name] = {
            "ops": [op], "expected": "output_ref", "accumulator": accumulator, "arrays": described, "defines": defines,
        }  # fmt: skip

    def write(self, folder):
        np.savez(folder / "own.npz", **self.arrays)
        (folder / "own.json").write_text(json.dumps({"cases": self.cases}))
        return folder / "own.npz"

    def int8(self, *shape):
        return self.random.integers(-128, 128, shape).astype(np.int8)


def pairs(count):
    return {"output_mult": np.full(count, M, np.int32), "output_shift": np.full(count, S, np.int32)}


def operands(weights, axis, bias=None, zero_point=-128, output=5, dtype="int8"):
    """Operands whose real scales stand for exactly M and S."""
    limits = np.iinfo(dtype)
    scales = np.full(weights.shape[axis], SCALE)
    return Operands((1.0,), (zero_point,), 1.0, output, int(limits.min), int(limits.max), weights, scales, bias=bias)


WINDOW = {"INPUT_OFFSET": 128, "OUTPUT_OFFSET": 5, "STRIDE_X": 2, "STRIDE_Y": 1, "PAD_X": 1, "PAD_Y": 0,
          "DILATION_X": 1, "DILATION_Y": 1, "FILTER_X": 3, "FILTER_Y": 2}  # fmt: skip


def convolutions(bundle):
    x, weights, bias = (
        bundle.int8(1, 5, 6, 4),
        bundle.int8(6, 2, 3, 2),
        bundle.random.integers(-999, 999, 6).astype(np.int32),
    )
    operator = Conv2d((1, 2), (0, 1, 0, 0), (1, 1), 2)
    expected = reference.conv2d(x, operands(weights, 0, bias), operator, "tflite-double")
    bundle.case(
        "grouped", "arm_grouped_convolve_s8", WINDOW, expected, input=x, weights=weights, biases=bias, **pairs(6)
    )
    four = bundle.random.integers(-8, 8, (3, 2, 3, 4)).astype(np.int8)
    expected = reference.conv2d(x, operands(four, 0), Conv2d((1, 2), (0, 1, 0, 0)), "tflite-double")
    bundle.case("packed", "arm_convolve_s4", WINDOW, expected, input_tensor=x, input_weights=pack(four), **pairs(3))
    weights = bundle.int8(2, 3, 8)
    expected = reference.depthwise_conv2d(
        x, operands(weights[None], 3), DepthwiseConv2d((1, 2), (0, 1, 0, 0), multiplier=2), "tflite-double"
    )
    bundle.case("depthwise", "arm_depthwise_conv_s8", WINDOW, expected, input=x, weights=weights, **pairs(8))
    weights, size = bundle.int8(3, 2, 3, 4), (6, 12)
    made = operands(weights, 0)
    sums = oracle.transposed_conv2d_sums(x, made, TransposedConv2d(size, (1, 2), (0, 1)))
    expected = reference.finish(sums, made, "tflite-double")
    bundle.case("transposed", "arm_transpose_conv_s8", WINDOW, expected, input=x, weights=weights, **pairs(3))


def products(bundle):
    x, weights = bundle.int8(2, 15), bundle.int8(5, 15)
    scalars = {"OUTPUT_MULTIPLIER": M, "OUTPUT_SHIFT": S}
    expected = reference.fully_connected(x, operands(weights, 0, zero_point=3, output=0), None, "tflite-double")
    bundle.case("fc", "arm_fully_connected_s8", {"INPUT_OFFSET": -3, **scalars}, expected, input=x, weights=weights)
    # Closed form: 600 products of 32767 * 127, m = 2**30, s = -17.
    bundle.case("deep", "arm_fully_connected_s16", {"OUTPUT_MULTIPLIER": 2**30, "OUTPUT_SHIFT": -17},
                np.full((1, 2), 9525, np.int16), "int64", input=np.full((1, 600), 32767, np.int16),
                weights=np.full((2, 600), 127, np.int8))  # fmt: skip
    a, b = bundle.int8(2, 3, 4), bundle.int8(1, 5, 4)
    sums = (a.astype(int) + 7) @ b.astype(int).swapaxes(1, 2)
    values = [oracle.clip(oracle.double(int(value), M, S), -128, 127) for value in sums.flat]
    bundle.case("matmul", "arm_batch_matmul_s8", {"LHS_OFFSET": 7, "RHS_OFFSET": 0, "ADJ_X": 0, "ADJ_Y": 1, **scalars},
                np.array(values, np.int8).reshape(sums.shape), lhs_input_tensor=a, rhs_input_tensor=b)  # fmt: skip


def elementwise(bundle):
    a, b = bundle.int8(40), bundle.int8(40)
    products = (a.astype(int) + 3) * (b.astype(int) - 9)
    values = [oracle.clip(oracle.double(int(value), M, S) + 1, -100, 100) for value in products]
    defines = {"INPUT1_OFFSET": 3, "INPUT2_OFFSET": -9, "OUTPUT_OFFSET": 1, "OUTPUT_MULT": M, "OUTPUT_SHIFT": S,
               "OUT_ACTIVATION_MIN": -100, "OUT_ACTIVATION_MAX": 100}  # fmt: skip
    bundle.case("mul", "arm_elementwise_mul_s8", defines, np.array(values, np.int8), input1=a, input2=b)
    # A multiplier below 2**30 is legal: 2**29 * 2**(0 - 31) = 1/4, four times the inputs' sum is brought back.
    quarter = {
        f"INPUT{which}_{key}": value
        for which in (1, 2)
        for key, value in (("MULT", 2**29), ("SHIFT", 0), ("OFFSET", 0))
    }
    total = np.clip(a.astype(int) + b, -128, 127).astype(np.int8)
    defines = {**quarter, "LEFT_SHIFT": 20, "OUTPUT_MULT": 2**30, "OUTPUT_SHIFT": -17}
    bundle.case("add", "arm_elementwise_add_s8", defines, total, input1=a, input2=b)
    bundle.case("maximum", "arm_maximum_minimum_s8", {"LAYER_TYPE": "maximum"}, np.maximum(a, b[:1]),
                input_tensor_1=a, input_tensor_2=b[:1])  # fmt: skip
    bundle.case(
        "minimum",
        "arm_maximum_minimum_s8",
        {"LAYER_TYPE": "minimum"},
        np.minimum(a, b),
        input_tensor_1=a,
        input_tensor_2=b,
    )


def pools_and_movement(bundle):
    x = bundle.int8(1, 4, 5, 3)
    window = {"FILTER_W": 3, "FILTER_H": 2, "STRIDE_W": 2, "STRIDE_H": 2, "PADDING_W": 1, "PADDING_H": 0}
    for kind, op in (("average", "arm_avgpool_s8"), ("max", "arm_max_pool_s8")):
        plain = Operands((1.0,), (0,), 1.0, 0, -128, 127)
        expected = reference.pool2d(x, plain, Pool2d(kind, (2, 3), (2, 2), (0, 1, 0, 1)), "tflite-double")
        bundle.case(kind, op, window, expected, input_tensor=x)
    amounts = {"PRE_PAD_H": 1, "POST_PAD_W": 2, "PAD_VALUE": -7}
    padded = np.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0)), constant_values=-7)
    bundle.case("pad", "arm_pad_s8", amounts, padded, input_tensor=x)
    order = {"IN_DIM": [1, 4, 5, 3], "PERM": [3, 1, 0, 2], "PERM_SIZE": 4}
    bundle.case("transpose", "arm_transpose_s8", order, x.transpose(3, 1, 0, 2).copy(), input_tensor=x)


def softmaxes(bundle):
    # Equal inputs: each of n gets 1/n; one far above the rest gets all of it.
    equal, far = np.full((2, 4), -3, np.int8), np.array([[127, -128, -128]], np.int8)
    steep = {"INPUT_MULT": 2**30, "INPUT_LEFT_SHIFT": 25, "DIFF_MIN": -62}
    bundle.case("equal", "arm_softmax_s8", steep, np.full((2, 4), -64, np.int8), input=equal)
    bundle.case("far", "arm_softmax_s8_s16", steep, np.array([[32767, -32768, -32768]], np.int16), input=far)
    bundle.case("none", "arm_softmax_s8", {**steep, "DIFF_MIN": 1}, np.full((2, 4), -128, np.int8), input=equal)
    row = bundle.random.integers(-32768, 32768, (1, 9)).astype(np.int16)
    expected = oracle.softmax_row_16(row[0], M, -1, tables.exp_table(), tables.reciprocal_table())
    bundle.case(
        "sixteen",
        "arm_softmax_s16",
        {"INPUT_MULT": M, "INPUT_LEFT_SHIFT": -1},
        np.array([expected], np.int16),
        input=row,
    )


def recurrent(bundle):
    one = Factors(np.array([M], np.int32), np.array([S], np.int32))
    feature, time = bundle.int8(4, 6), bundle.random.integers(-32768, 32768, (4, 3)).astype(np.int16)
    sequence, state = bundle.int8(3, 2, 6), bundle.random.integers(-99, 99, (2, 4, 3)).astype(np.int16)
    made = SvdfConstants(feature, time, None, 2, 12, 3, one, one, -32768, 32767, -128, 127)
    following = state
    for step in sequence:
        expected, following = oracle.svdf_step(step, following, made)
    defines = {
        "RANK": 2,
        "INPUT_OFFSET": 12,
        "OUTPUT_OFFSET": 3,
        "MULTIPLIER_IN": M,
        "SHIFT_1": S,
        "MULTIPLIER_OUT": M,
        "SHIFT_2": S,
    }
    bundle.case("svdf", "arm_svdf_state_s16_s8", defines, expected, input_sequence=sequence, state=state,
                weights_feature=feature, weights_time=time)  # fmt: skip
    names, arrays = ("input", "forget", "cell", "output"), {}
    defines = {
        "TIME_MAJOR": False,
        "INPUT_ZERO_POINT": 4,
        "OUTPUT_ZERO_POINT": -2,
        "CELL_SCALE_POWER": -12,
        "CELL_CLIP": 0,
    }
    for stem in (
        *(f"{name.upper()}_GATE_{kind}" for name in names for kind in ("INPUT", "HIDDEN")),
        "FORGET_TO_CELL",
        "INPUT_TO_CELL",
        "OUTPUT",
    ):
        defines |= {
            f"{stem}_MULTIPLIER": M,
            f"{stem}_SHIFT": -15 if stem.endswith("CELL") else -21 if stem == "OUTPUT" else -2,
        }
    for name in names:
        arrays |= {f"{name}_gate_input_weights": bundle.int8(2, 5), f"{name}_gate_hidden_weights": bundle.int8(2, 2),
                   f"{name}_gate_bias": bundle.random.integers(-99, 99, 2).astype(np.int32)}  # fmt: skip
    gate, cell, out = (Factors(one.multipliers, np.array([shift], np.int32)) for shift in (-2, -15, -21))
    gates = tuple(
        Gate(*(arrays[f"{name}_gate_{part}"] for part in ("input_weights", "hidden_weights", "bias")), gate, gate)
        for name in names
    )
    x = bundle.int8(2, 3, 5)
    made = LstmConstants(gates, -4, -2, out, -12, 2**15, cell, cell)
    expected = oracle.lstm(x.swapaxes(0, 1), made, tables.sigmoid_table()).swapaxes(0, 1)
    bundle.case("lstm", "arm_lstm_unidirectional_s8", defines, np.ascontiguousarray(expected), input_tensor=x, **arrays)


def network(bundle):
    """Convolution, depthwise convolution, mean, fully connected and softmax, as the oracles chain them."""
    x = bundle.int8(1, 5, 4, 1)
    first, second, last = bundle.int8(3, 2, 2, 1), bundle.int8(1, 1, 3), bundle.int8(4, 3)
    y = reference.conv2d(x, operands(first, 0), Conv2d(), "tflite-double")
    y = reference.depthwise_conv2d(y, operands(second[None], 3), DepthwiseConv2d(), "tflite-double")
    y = reference.pool2d(y, Operands((1.0,), (0,), 1.0, 0, -128, 127), Pool2d("average", (4, 3)), "tflite-double")
    logits = reference.fully_connected(y.reshape(1, 3), operands(last, 0), None, "tflite-double")
    common = {
        "INPUT_OFFSET": 128,
        "OUTPUT_OFFSET": 5,
        "OUTPUT_H": 4,
        "OUTPUT_W": 3,
        "OUT_CH": 3,
        "STRIDE_X": 1,
        "STRIDE_Y": 1,
        "PAD_X": 0,
        "PAD_Y": 0,
    }
    layers = {
        "CONV_2D_1": common, "DEPTHWISE_CONV_2D_2": {**common, "FILTER_X": 1, "FILTER_Y": 1},
        "AVERAGE_POOL_2D_4": {**common, "OUTPUT_H": 1, "OUTPUT_W": 1, "FILTER_X": 3, "FILTER_Y": 4},
        "FULLY_CONNECTED_6": {**common, "OUT_CH": 3, "IN_CH": 4, "OUTPUT_MULTIPLIER": M, "OUTPUT_SHIFT": S},
        "SOFTMAX_7": {"MULT": 2**30, "SHIFT": 23, "DIFF_MIN": -248},
    }  # fmt: skip
    defines = {f"{layer}_{key}": value for layer, table in layers.items() for key, value in table.items()}
    arrays = {f"layer_1_conv_2d_{key}": value for key, value in {"weights": first, **pairs(3)}.items()}
    arrays |= {f"layer_2_depthwise_conv_2d_{key}": value for key, value in {"weights": second, **pairs(3)}.items()}
    arrays["layer_6_fully_connected_weights"] = last
    # 2**30 * 2**23 / 2**31 in Q5.26: each step of a logit counts e**(1/16).
    powers = np.exp((logits - logits.max()) / 16.0)
    share = np.floor(powers / powers.sum() * 256 + 0.5).clip(0, 255) - 128
    bundle.case("kws", "arm_ds_cnn_s_s8", defines, share.astype(np.int8), input=x, **arrays)


PARTS = (convolutions, products, elementwise, pools_and_movement, softmaxes, recurrent, network)


@pytest.fixture
def bundle():
    made = Bundle()
    for part in PARTS:
        part(made)
    return made


def test_a_file_built_from_the_oracles_passes_in_every_case(bundle, tmp_path):
    results = run_vectors(bundle.write(tmp_path))
    assert {result.case: result.detail for result in results if result.status != "passed"} == {}
    assert len(results) == len(bundle.cases) == 22


def test_one_wrong_output_is_found_and_told(bundle, tmp_path):
    expected = bundle.arrays["fc/output_ref"]
    expected.flat[3] += 1 if expected.flat[3] < 127 else -1
    (failed,) = [result for result in run_vectors(bundle.write(tmp_path)) if result.status != "passed"]
    assert (failed.op, failed.case, failed.status) == ("arm_fully_connected_s8", "fc", "failed")
    assert failed.detail.startswith("1 of 10 outputs differ, by up to 1; first at 3: computed ")


def test_a_wrong_shape_of_the_expected_output_fails_instead_of_passing(bundle, tmp_path):
    bundle.case("short", "arm_elementwise_mul_s8", bundle.cases["mul"]["defines"], np.zeros(3, np.int8),
                input1=bundle.arrays["mul/input1"], input2=bundle.arrays["mul/input2"])  # fmt: skip
    (failed,) = [result for result in run_vectors(bundle.write(tmp_path)) if result.status != "passed"]
    assert failed.detail == "computed int8 (40,), expected int8 (3,)"


def test_an_unknown_function_is_unsupported_and_not_an_error(bundle, tmp_path):
    bundle.cases["fc"]["ops"] = ["arm_fully_connected_s9", "arm_fully_connected_s8"]
    results = [result for result in run_vectors(bundle.write(tmp_path)) if result.case == "fc"]
    assert [result.status for result in results] == ["unsupported", "passed"]
    assert "did you mean 'arm_fully_connected_s" in results[0].detail


def test_all_functions_of_the_documented_table_have_an_operator():
    wanted = (
        "arm_convolve_s8 arm_convolve_s4 arm_convolve_s16 arm_convolve_1x1_s8_fast arm_convolve_1x1_s4_fast "
        "arm_convolve_1_x_n_s8 arm_grouped_convolve_s8 arm_depthwise_conv_s8 arm_depthwise_conv_s8_opt "
        "arm_depthwise_conv_3x3_s8 arm_depthwise_conv_s4 arm_depthwise_conv_s4_opt arm_depthwise_conv_s16 "
        "arm_depthwise_conv_fast_s16 arm_transpose_conv_s8 arm_reverse_transpose_conv_s8 "
        "arm_fully_connected_s8 arm_fully_connected_s4 arm_fully_connected_s16 arm_avgpool_s8 arm_avgpool_s16 "
        "arm_max_pool_s8 arm_max_pool_s16 arm_elementwise_add_s8 arm_elementwise_add_s16 "
        "arm_elementwise_mul_s8 arm_elementwise_mul_s16 arm_batch_matmul_s8 arm_batch_matmul_s16 "
        "arm_softmax_s8 arm_softmax_s8_s16 arm_softmax_s16 arm_svdf_s8 arm_svdf_state_s16_s8 "
        "arm_lstm_unidirectional_s8 arm_lstm_unidirectional_s16 arm_maximum_minimum_s8 arm_pad_s8 "
        "arm_transpose_s8 arm_ds_cnn_l_s8 arm_ds_cnn_s_s8"
    )
    assert set(wanted.split()) <= set(computers())


# Bad files.


def problems_of(path):
    with pytest.raises(InputError) as caught:
        run_vectors(path)
    return caught.value.problems


def test_all_faults_of_a_bad_file_are_listed_at_once(bundle, tmp_path):
    del bundle.arrays["mul/input2"]
    bundle.arrays["pad/input_tensor"] = bundle.arrays["pad/input_tensor"][:, :2]
    bundle.arrays["tables/sigmoid_table_uint16"] = np.zeros(256, np.uint16)
    bundle.arrays["ghost/input"] = np.zeros(3, np.int8)
    bundle.cases["fc"]["accumulator"] = "int48"
    del bundle.cases["far"]["defines"]
    assert problems_of(bundle.write(tmp_path)) == (
        "array 'tables/sigmoid_table_uint16' differs from the function's table",
        "arrays of 'ghost' belong to no described case",
        "case 'fc': accumulator 'int48'; expected 'int32' or 'int64'",
        "case 'mul': array 'input2' is missing from the .npz",
        "case 'pad': array 'input_tensor' is int8 1x2x5x3, described as int8 1x4x5x3",
        "case 'far': field 'defines' is NoneType; expected dict",
    )


def test_faults_that_only_an_operator_sees_are_listed_at_once_too(bundle, tmp_path):
    del bundle.cases["mul"]["defines"]["OUTPUT_MULT"]
    bundle.cases["lstm"]["defines"]["CELL_SCALE_POWER"] = "deep"
    bundle.cases["add"]["defines"]["LEFT_SHIFT"] = 99
    bundle.case("packed2", "arm_fully_connected_s4", bundle.cases["fc"]["defines"], np.zeros((1, 4), np.int8),
                input=bundle.int8(1, 8), weights=bundle.int8(3))  # fmt: skip
    found = problems_of(bundle.write(tmp_path))
    assert found == (
        "case 'mul' (arm_elementwise_mul_s8): define OUTPUT_MULT is missing",
        "case 'add' (arm_elementwise_add_s8): left shift 99, expected 0 to 30",
        "case 'lstm' (arm_lstm_unidirectional_s8): define CELL_SCALE_POWER is 'deep'; expected an integer of 32 bits",
        "case 'packed2' (arm_fully_connected_s4): 3 bytes hold 6 4-bit values, expected 32",
    )


@pytest.mark.parametrize("damage", ["text", "cut", "no npz", "no json", "json list"])
def test_what_is_no_vector_file_is_an_input_error(damage, bundle, tmp_path):
    path = bundle.write(tmp_path)
    if damage == "text":
        path.write_text("not an archive")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:2000])
    elif damage == "no npz":
        path.unlink()
    elif damage == "no json":
        path.with_suffix(".json").unlink()
    else:
        path.with_suffix(".json").write_text("[]")
    assert len(problems_of(path)) == 1
