"""float32 Programs: values bit for bit in the stated order, within the bound of error analysis, counts, C."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from workloads.codegen import choices, generate, pack
from workloads.codegen.common import needs_padding
from workloads.codegen.float_spec import FloatOperands, FloatSpec
from workloads.codegen.float_winograd_transforms import TRANSFORMS
from workloads.codegen.specs import ConvSpec, ElementwiseSpec, MatrixSpec
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.options import Options
from workloads.program import count, walk

SETS = [
    ("avx2", {}), ("avx512-vnni", {}), ("rv64gc", {}), ("thumb2-dsp", {}), ("rvv", {"vlen": 128}),
    ("rvv", {"vlen": 256}),
]  # fmt: skip
LANES = {"avx2": 8}
DIRECT = "direct"
COMPILED = (
    ConvSpec(1, 7, 6, 16, 7, 6, 21, (3, 3), padding=(1, 1)),
    ConvSpec(2, 5, 6, 6, 3, 3, 10, (3, 3), (2, 2), (1, 1), groups=2),
    ConvSpec(1, 6, 7, 21, 6, 7, 21, (3, 3), padding=(1, 1), groups=21, depthwise=True),
    MatrixSpec(1, 33, 40),
)
MATRICES = {  # Lavin and Gray 2016, section 4.1 and 4.2: B and A, transposed
    2: (
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[1, 1, 1, 0], [0, 1, -1, -1]],
    ),
    4: (
        [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
         [0, 4, 0, -5, 0, 1]],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    ),
}  # fmt: skip
FEW = settings(max_examples=12, deadline=None)


def drawn_options(data, spec, isa, *lowerings):
    offered = [one for one in choices(spec, isa) if one.lowering in lowerings]
    return data.draw(st.sampled_from(offered))


@pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
@pytest.mark.parametrize("depthwise", [False, True], ids=["convolution", "depthwise"])
@FEW
@given(data=st.data())
def test_a_direct_convolution_adds_fused_products_in_the_stated_order(
    name, parameters, depthwise, data, codegen_cases, float_cases
):
    shapes = codegen_cases.convolutions(depthwise=depthwise, max_channels=20).map(lambda case: case.spec)
    layer, isa = data.draw(float_cases.layers(shapes)), load_isa(name, **parameters)
    found = float_cases.run(layer, isa, drawn_options(data, layer.spec, isa, DIRECT))
    np.testing.assert_array_equal(found.view(np.uint32), layer.direct().view(np.uint32))


@pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
@FEW
@given(data=st.data())
def test_a_product_adds_fused_products_in_the_stated_order(name, parameters, data, float_cases):
    layer, isa = data.draw(float_cases.layers(float_cases.PRODUCTS)), load_isa(name, **parameters)
    found = float_cases.run(layer, isa, drawn_options(data, layer.spec, isa, DIRECT))
    np.testing.assert_array_equal(found.view(np.uint32), layer.direct().view(np.uint32))


@pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=4, deadline=None)
def test_a_direct_convolution_is_as_near_to_the_exact_one_as_its_roundings_allow(name, parameters, seed, float_cases):
    """One rounding a product: |error| <= n u / (1 - n u) times the sum of the magnitudes (Higham 2002, section 3.1)."""
    layer = float_cases.layer(ConvSpec(1, 9, 9, 24, 9, 9, 19, (3, 3), padding=(1, 1)), seed=seed)
    exact, magnitudes = layer.exact()
    roundings = 9 * 24 * float_cases.UNIT
    assert (
        abs(float_cases.run(layer, load_isa(name, **parameters)) - exact) <= roundings / (1 - roundings) * magnitudes
    ).all()


@pytest.mark.parametrize(
    "shape", [ConvSpec(2, 7, 9, 16, 4, 5, 24, (3, 3), (2, 2), (1, 1)), MatrixSpec(3, 20, 16)], ids=["conv", "product"]
)
def test_a_direct_kernel_executes_one_multiply_add_per_product(shape):
    for options in choices(FloatSpec(shape), load_isa("rv64gc")):
        if options.lowering == DIRECT:
            assert count(generate(FloatSpec(shape), load_isa("rv64gc"), options)).instructions["fmadd.s"] == shape.macs
            vectors = count(generate(FloatSpec(shape), load_isa("avx2")))
            assert 8 * vectors.instructions["vfmadd231ps"] == shape.macs


WINOGRAD = {"winograd": 2, "winograd-4x4": 4}


@st.composite
def threes(draw, lanes):
    """Draw a 3x3 convolution with stride 1 whose channels fill vectors."""
    height, width, top, left = (draw(st.integers(low, high)) for low, high in ((2, 11), (2, 11), (0, 2), (0, 2)))
    rows, columns = max(1, height + top - 2 + draw(st.integers(0, 1))), max(1, width + left - 2)
    channels, outputs = lanes * draw(st.integers(1, 2)), draw(st.integers(1, 20))
    return ConvSpec(
        draw(st.integers(1, 2)), height, width, channels, rows, columns, outputs, (3, 3), padding=(top, left)
    )


@pytest.mark.parametrize("lowering", WINOGRAD)
@pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_winograd_does_its_transforms_and_products_in_the_stated_order(name, parameters, lowering, data, float_cases):
    layer = data.draw(float_cases.layers(threes(LANES.get(name, 1))))
    isa = load_isa(name, **parameters)
    found = float_cases.run(layer, isa, drawn_options(data, layer.spec, isa, lowering))
    np.testing.assert_array_equal(found, layer.winograd(WINOGRAD[lowering]))


@pytest.mark.parametrize("lowering", WINOGRAD)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=4, deadline=None)
def test_winograd_is_as_near_to_the_exact_convolution_as_its_roundings_allow(lowering, seed, float_cases):
    """On any path: the weight's rounding, a product a channel, the steps of four transforms, the bias.

    Every rounding is relative to something that the magnitudes bound, so n add at most n u / (1 - n u) of those.
    """
    layer, outputs = (
        float_cases.layer(ConvSpec(1, 9, 9, 24, 9, 9, 19, (3, 3), padding=(1, 1)), seed=seed),
        WINOGRAD[lowering],
    )
    steps = {2: 2 * 1 + 2 * 2, 4: 2 * 2 + 2 * 3}[outputs]
    roundings = (1 + 24 + steps + 1) * float_cases.UNIT
    exact, _ = layer.exact()
    found = float_cases.run(layer, load_isa("avx2"), Options(lowering=lowering))
    assert (abs(found - exact) <= roundings / (1 - roundings) * layer.magnitudes(outputs)).all()


@pytest.mark.parametrize("lowering", WINOGRAD)
def test_the_transforms_are_the_published_matrices(lowering):
    transform = TRANSFORMS[lowering]
    b, a = MATRICES[transform.outputs]
    for steps, matrix in ((transform.inputs, b), (transform.results, a)):
        for column, unit in enumerate(np.eye(transform.points)):
            values = {f"x{place}": value for place, value in enumerate(unit)}
            for result, start, factor, operand in steps:
                values[result] = values[start] + factor * values[operand]
            assert [values[f"y{row}"] for row in range(len(matrix))] == np.array(matrix)[:, column].tolist()


@pytest.mark.parametrize(("lowering", "fewer"), [("winograd", 2.25), ("winograd-4x4", 4)])
def test_winograd_multiplies_that_many_times_less_in_its_products(lowering, fewer):
    spec = FloatSpec(ConvSpec(1, 16, 16, 8, 16, 16, 24, (3, 3), padding=(1, 1)))
    program = generate(spec, load_isa("rv64gc"), Options(lowering=lowering))
    inside = [
        math.prod(loop.trips for loop in loops)
        for instruction, loops in walk(program.body)
        if instruction.op == "fmadd.s" and any(loop.variable == "point" for loop in loops)
    ]
    assert sum(inside) == spec.macs / fewer


@pytest.mark.parametrize("name", ["host avx2", "host avx512-vnni", "riscv rv64gc", "arm thumb2-dsp"])
def test_compiled_float_kernels_leave_the_bytes_of_the_executor(name, c_toolchains, float_cases, tmp_path):
    isa = load_isa(c_toolchains.toolchain(name).isa)
    c_toolchains.compare(name, list(jobs(c_toolchains, float_cases, isa)), tmp_path)


@pytest.mark.parametrize(("vlen", "machine"), [(128, 512)])
def test_compiled_float_kernels_leave_the_same_bytes_on_longer_vectors(
    vlen, machine, c_toolchains, float_cases, tmp_path
):
    isa = load_isa("rvv", vlen=vlen)
    c_toolchains.compare(f"clang rvv {machine}", list(jobs(c_toolchains, float_cases, isa)), tmp_path)


def jobs(c_toolchains, float_cases, isa):
    """Yield layers with all options that differ in kind."""
    for number, shape in enumerate(COMPILED):
        layer = float_cases.layer(shape, ("low", "high"), number)
        offered = choices(layer.spec, isa)
        for options in {(one.lowering, one.lmul): one for one in offered}.values():
            program = generate(layer.spec, isa, options)
            yield c_toolchains.Job(program, {"input": layer.x} | pack(program, layer.spec, layer.operands))


@pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
@FEW
@given(data=st.data())
def test_elements_are_computed_one_by_one_and_a_shorter_operand_repeats(name, parameters, data):
    kind, bounds = (
        data.draw(st.sampled_from(["add", "sub", "mul", "clamp"])),
        data.draw(st.sampled_from([(), ("low",)])),
    )
    period, repeats = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 3))
    spec, isa = FloatSpec(ElementwiseSpec(kind, period * repeats, period), bounds), load_isa(name, **parameters)
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    a, b = (random.normal(size=size).astype(np.float32) for size in (period * repeats, period))
    program = generate(spec, isa, data.draw(st.sampled_from(choices(spec, isa))))
    given_buffers = {"input": a} if kind == "clamp" else {"input": a, "input2": b}
    execution = execute(program, given_buffers | pack(program, spec, FloatOperands(low=0.0)))
    assert execution.instructions == count(program).instructions
    other = np.tile(b, repeats)
    y = {"add": a + other, "sub": a - other, "mul": a * other, "clamp": a}[kind]
    np.testing.assert_array_equal(execution.buffers["output"].view(np.float32), np.maximum(y, 0) if bounds else y)


@pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
@FEW
@given(data=st.data())
def test_a_pool_goes_by_kernel_row_and_tap(name, parameters, data, codegen_cases):
    case = data.draw(codegen_cases.pools(rescale=False))
    spec, isa = case.spec, load_isa(name, **parameters)
    assume(spec.kind == "max" or spec.count_padding or not needs_padding(spec))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x = random.normal(size=case.inputs[0].shape).astype(np.float32)
    program = generate(FloatSpec(spec), isa, data.draw(st.sampled_from(choices(FloatSpec(spec), isa))))
    execution = execute(program, {"input": x} | pack(program, FloatSpec(spec), FloatOperands()))
    assert execution.instructions == count(program).instructions
    found = execution.buffers["output"].view(np.float32).reshape(spec.batch, spec.height_out, spec.width_out, -1)
    np.testing.assert_array_equal(found, pooled(spec, x))


def pooled(spec, x):
    """Fold windows from -inf by maxima, or from zero by sums; an average is the sum times its share."""
    start = np.float32(-np.inf if spec.kind == "max" else 0)
    (top, left), (down, right) = spec.padding, spec.stride
    image = np.full((spec.batch, spec.height + 40, spec.width + 40, spec.channels), start)
    image[:, top : top + spec.height, left : left + spec.width] = x
    y = np.full((spec.batch, spec.height_out, spec.width_out, spec.channels), start)
    for i in range(spec.kernel[0]):
        for j in range(spec.kernel[1]):
            tap = image[:, i : i + spec.height_out * down : down, j : j + spec.width_out * right : right]
            y = np.maximum(y, tap) if spec.kind == "max" else y + tap
    return y if spec.kind == "max" else y * np.float32(1 / (spec.kernel[0] * spec.kernel[1]))


def test_a_set_without_float_units_is_refused_by_name():
    with pytest.raises(NotImplementedError, match="rv32im: no kernels are generated in float32"):
        generate(FloatSpec(MatrixSpec(1, 8, 8)), load_isa("rv32im"))
