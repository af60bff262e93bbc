import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workloads.codegen import generate
from workloads.codegen.specs import ConvSpec
from workloads.executor import codes, encode, execute, rows
from workloads.executor.forms import FORMS
from workloads.isa import ELEMENT_BYTES, InstructionSet, Meaning, RegisterClass, load_isa
from workloads.program import Address, Buffer, Instruction, Program

DTYPES = {"s8": np.int8, "u8": np.uint8, "s16": np.int16, "u16": np.uint16, "s32": np.int32, "u32": np.uint32,
          "s64": np.int64}  # fmt: skip


def isa_of(**meanings: Meaning) -> InstructionSet:
    registers = {"v": RegisterClass(8, 64)}
    return InstructionSet("toy", "Toy", "these tests", registers, meanings, spaces=("memory", "near"))


def run(
    meaning: Meaning, *sources: np.ndarray, out: int, count: int | None = None, shape=(), before=None
) -> np.ndarray:
    """Run one instruction from memory to memory and return the destination's bytes."""
    names = [f"s{i}" for i in range(len(sources))]
    buffers = [Buffer(name, x.nbytes, role="input") for name, x in zip(names, sources, strict=True)]
    instruction = Instruction("op", Address("out"), tuple(Address(name) for name in names), count, tuple(shape))
    program = Program("one", isa_of(op=meaning), (*buffers, Buffer("out", out)), (instruction,))
    given_buffers = dict(zip(names, sources, strict=True))
    if before is not None:
        given_buffers["out"] = before
    return execute(program, given_buffers).buffers["out"]


def wrapped(value: int, kind: str) -> int:
    bits = 8 * np.dtype(DTYPES[kind]).itemsize
    value &= (1 << bits) - 1
    return value - (1 << bits) if kind[0] == "s" and value >> (bits - 1) else value


def saturated(value: int, kind: str) -> int:
    limits = np.iinfo(DTYPES[kind])
    return min(max(value, int(limits.min)), int(limits.max))


OPERATIONS = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "minimum": min,
    "maximum": max,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "less_than": lambda a, b: int(a < b),
    "divide": lambda a, b: 0 if b == 0 else (abs(a) // abs(b)) * (-1 if (a < 0) != (b < 0) else 1),
}


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(OPERATIONS)), types=st.tuples(*[st.sampled_from(sorted(set(DTYPES) - {"s64"}))] * 3),
    saturate=st.booleans(), lanes=st.integers(1, 40), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
@example(kind="multiply", types=("s16", "u32", "u32"), saturate=True, lanes=1, seed=0)
def test_lanewise_operations_equal_python_integers(kind, types, saturate, lanes, seed):
    result, first, second = types
    generator = np.random.default_rng(seed)
    a, b = (
        generator.integers(np.iinfo(DTYPES[t]).min, np.iinfo(DTYPES[t]).max, lanes, DTYPES[t], endpoint=True)
        for t in (first, second)
    )
    out = run(
        Meaning(kind, result, (first, second), lanes, saturate=saturate), a, b, out=lanes * DTYPES[result]().nbytes
    )
    close = saturated if saturate else wrapped
    expected = [close(OPERATIONS[kind](int(x), int(y)), result) for x, y in zip(a, b, strict=True)]
    assert out.view(DTYPES[result]).tolist() == expected


LOWEST_32, LOWEST_64 = -(2**31), -(2**63)


@pytest.mark.parametrize(
    ("name", "op", "a", "b", "expected"),
    [  # RISC-V ISA manual, M extension, table of division by zero and overflow; Armv7-M, SDIV with DIV_0_TRP 0
        *((name, "div", 7, 0, -1) for name in ("rv32im", "rv64im", "rv64gc")), ("thumb2-dsp", "sdiv", 7, 0, 0),
        ("rv32im", "div", LOWEST_32, 0, -1), ("rv64gc", "div", LOWEST_64, 0, -1), ("rv64gc", "div", 0, 0, -1),
        ("rv32im", "div", LOWEST_32, -1, LOWEST_32), ("thumb2-dsp", "sdiv", LOWEST_32, -1, LOWEST_32),
        *((name, "div", LOWEST_64, -1, LOWEST_64) for name in ("rv64im", "rv64gc")), ("rv64gc", "div", 5, -1, -5),
        ("rv64gc", "div", LOWEST_64, 3, -3074457345618258602), ("rv64gc", "div", LOWEST_64, LOWEST_64, 1),
        ("rv64gc", "div", -7, 2, -3), ("rv64gc", "div", 7, -2, -3), ("rv64gc", "div", LOWEST_64, 1, LOWEST_64),
        ("rv64gc", "div", 2**63 - 1, LOWEST_64, 0),
    ],
)  # fmt: skip
def test_a_quotient_is_cut_towards_zero_and_without_one_is_what_the_core_gives(name, op, a, b, expected):
    kind = load_isa(name).meaning(op).result
    x, y = (np.array([value], DTYPES[kind]) for value in (a, b))
    out = run(load_isa(name).meaning(op), x, y, out=x.nbytes)
    assert out.view(DTYPES[kind])[0] == expected


@pytest.mark.parametrize(
    ("name", "op", "count", "left"),
    [
        ("avx2", "vmovd.load", None, 4), ("avx2", "vmovq.load", None, 8), ("avx2", "vmovdqu.xmm.load", None, 16),
        ("avx2", "vmovdqu.load", None, 32), ("rvv-071", "vle.v.e8", 5, 5), ("rvv-071", "vle.v.e8", 20, 20),
        ("rvv-071", "vle.v.e8", 33, 33), ("rvv-071", "vle.v.e32", 4, 16),
    ],
)  # fmt: skip
def test_what_a_load_leaves_free_of_its_registers_is_zero(name, op, count, left):
    isa = load_isa(name)
    prefix, size = ("ymm", 32) if name == "avx2" else ("v", 16)
    group = size << (-(-left // size) - 1).bit_length()  # of 1, 2 or 4 registers
    whole, store = ("vmovdqu.load", "vmovdqu.store") if name == "avx2" else ("vle.v.e8", "vsb.v.e8")
    fill = tuple(Instruction(whole, f"{prefix}{n}", (Address("ones", size * n),), size) for n in range(5))
    keep = tuple(Instruction(store, Address("out", size * n), (f"{prefix}{n}",), size) for n in range(5))
    load = Instruction(op, f"{prefix}0", (Address("data"),), count)
    buffers = (Buffer("ones", 5 * size, role="input"), Buffer("data", 64, role="input"), Buffer("out", 5 * size))
    ones, data = np.full(5 * size, 1, np.uint8), np.full(64, 7, np.uint8)
    out = execute(Program("p", isa, buffers, (*fill, load, *keep)), {"ones": ones, "data": data}).buffers["out"]
    assert out.tolist() == [7] * left + [0] * (group - left) + [1] * (5 * size - group)


@settings(max_examples=60, deadline=None)
@given(a=st.integers(-(2**31), 2**31 - 1), b=st.integers(0, 31), rounding=st.sampled_from(["none", "up"]))
def test_right_shifts_floor_or_round_half_up(a, b, rounding):
    out = run(Meaning("shift_right", "s32", ("s32", "s32"), rounding=rounding), np.int32([a]), np.int32([b]), out=4)
    half = (1 << b >> 1) if rounding == "up" else 0
    assert out.view(np.int32)[0] == wrapped((a + half) >> b, "s32")


# Golden rows of the rounding doubling high product, gemmlowp's SRDHM: (accumulator, multiplier, result).
@pytest.mark.parametrize(
    ("a", "m", "expected"), [(1, 2**30, 1), (-1, 2**30, 0), (-3, 2**30, -1), (-(2**31), -(2**31), 2**31 - 1)]
)
def test_multiply_high_rounds_the_doubled_product_half_up(a, m, expected):
    meaning = Meaning("multiply_high", "s32", ("s32", "s32"), shift=31, rounding="up", saturate=True)
    assert run(meaning, np.int32([a]), np.int32([m]), out=4).view(np.int32)[0] == expected


@settings(max_examples=60, deadline=None)
@given(
    lanes=st.integers(1, 16), types=st.sampled_from([("u8", "s8", 4), ("s16", "s16", 2), ("s8", "s8", 4)]),
    saturate=st.booleans(), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_dot_products_sum_groups_onto_the_accumulator(lanes, types, saturate, seed):
    first, second, group = types
    generator = np.random.default_rng(seed)
    a, b = (
        generator.integers(np.iinfo(DTYPES[t]).min, np.iinfo(DTYPES[t]).max, lanes * group, DTYPES[t], endpoint=True)
        for t in (first, second)
    )
    c = generator.integers(-(2**31), 2**31, lanes).astype(np.int32)
    meaning = Meaning("dot", "s32", (first, second), lanes, group, accumulate=True, saturate=saturate)
    sums = c.astype(object) + (a.astype(object) * b.astype(object)).reshape(lanes, group).sum(axis=1)
    close = saturated if saturate else wrapped
    assert run(meaning, a, b, out=4 * lanes, before=c).view(np.int32).tolist() == [close(int(s), "s32") for s in sums]


def test_extend_takes_every_other_byte_from_a_start():
    word = np.array([1, -2, 3, -4], np.int8)
    meaning = Meaning("extend", "s16", ("s8",), lanes=2, step=2, start=1)  # SXTB16 with ROR #8
    assert run(meaning, word[:4], out=4).view(np.int16).tolist() == [-2, -4]


def test_a_narrowing_onto_its_own_source_reads_each_lane_before_it_is_overwritten():
    values = np.arange(-400, 400, 10).astype(np.int16)[:32]
    isa = isa_of(
        load=Meaning("load", "s16", ("s16",), 32), narrow=Meaning("narrow", "s8", ("s16",), 32),
        store=Meaning("store", "s8", ("s8",), 32),
    )  # fmt: skip
    body = (
        Instruction("load", "v0", (Address("input"),)),
        Instruction("narrow", "v0", ("v0",)),
        Instruction("store", Address("out"), ("v0",)),
    )
    program = Program("narrow", isa, (Buffer("input", 64, role="input"), Buffer("out", 32)), body)
    expected = values.clip(-128, 127).tolist()
    assert execute(program, {"input": values}).buffers["out"].view(np.int8).tolist() == expected


@pytest.mark.parametrize("lanes", [3, 32])
def test_a_widening_onto_its_own_source_reads_the_old_bytes(lanes):
    values = np.arange(-lanes, lanes, 2).astype(np.int8)[:lanes]
    isa = isa_of(
        load=Meaning("load", "s8", ("s8",), 64), extend=Meaning("extend", "s16", ("s8",), 32),
        store=Meaning("store", "s16", ("s16",), 32),
    )  # fmt: skip
    program = Program(
        "widen", isa, (Buffer("input", lanes, role="input"), Buffer("out", 2 * lanes)),
        (
            Instruction("load", "v0", (Address("input"),), lanes),
            Instruction("extend", "v0", ("v0",), lanes),
            Instruction("store", Address("out"), ("v0",), lanes),
        ),
    )  # fmt: skip
    assert execute(program, {"input": values}).buffers["out"].view(np.int16).tolist() == values.tolist()


def test_narrow_shifts_rounds_and_saturates():
    meaning = Meaning("narrow", "s8", ("s16", "u8"), 4, rounding="up", scalar_sources=(1,))
    out = run(meaning, np.int16([1000, -1000, 5, -5]), np.uint8([1]), out=4)
    assert out.view(np.int8).tolist() == [127, -128, 3, -2]


def test_inactive_lanes_stay_or_become_zero():
    for zeroing, rest in ((False, 7), (True, 0)):
        isa = isa_of(
            load=Meaning("load", "s8", ("s8",), 64, zeroing=zeroing), fill=Meaning("immediate", "s8", ("s8",), 64),
            store=Meaning("store", "s8", ("s8",), 64),
        )  # fmt: skip
        body = (
            Instruction("fill", "v1", (7,)),
            Instruction("load", "v1", (Address("input"),), 3),
            Instruction("store", Address("out"), ("v1",)),
        )
        program = Program("mask", isa, (Buffer("input", 3, role="input"), Buffer("out", 64)), body)
        out = execute(program, {"input": np.int8([1, 2, 3])}).buffers["out"]
        assert out.tolist() == [1, 2, 3] + [rest] * 61


def test_strided_loads_and_stores_touch_one_element_per_stride():
    x = np.arange(12, dtype=np.int8)
    out = run(Meaning("load", "s8", ("s8",), 4), x, out=4, shape=(3,))
    assert out.tolist() == [0, 3, 6, 9]
    out = run(Meaning("store", "s8", ("s8",), 4), x[:4], out=10, shape=(3,))
    assert out.tolist() == [0, 0, 0, 1, 0, 0, 2, 0, 0, 3]


def test_lanes_are_permuted_summed_and_added_in_pairs():
    a, b = np.int32([1, 2, 3, 4]), np.int32([10, 20, 30, 40])
    permute = Meaning("permute", "s32", ("s32", "s32"), 4, indices=(7, 0, 4, 3))
    assert run(permute, a, b, out=16).view(np.int32).tolist() == [40, 1, 10, 4]
    pairs = Meaning("horizontal_add", "s32", ("s32", "s32"), 4, group=4)
    assert run(pairs, a, b, out=16).view(np.int32).tolist() == [3, 7, 30, 70]
    total = Meaning("reduce_add", "s32", ("s32", "s32"), 4)
    assert run(total, a, b[:1], out=4).view(np.int32)[0] == 20
    largest = Meaning("reduce_maximum", "s32", ("s32",), 4)
    assert run(largest, -a, out=4).view(np.int32)[0] == -1


def test_a_gather_looks_elements_up_and_stays_inside_its_buffer():
    gather = Meaning("gather", "s16", ("s16", "s32"), 4)
    table = np.arange(100, 110, dtype=np.int16)
    found = run(gather, table, np.int32([9, 0, 3, 3]), out=8).view(np.int16)
    assert found.tolist() == [109, 100, 103, 103]
    for index in (10, -1):
        with pytest.raises(ValueError, match="an index leads out of the buffer that it looks up"):
            run(gather, table, np.int32([0, index, 0, 0]), out=8)


def test_floats_are_summed_in_order_and_the_largest_is_found():
    x = np.float32([1e8, 1.0, -1e8, 0.25])  # 1 + 1e8 needs more digits than float32 has
    assert run(Meaning("reduce_add", "f32", ("f32",), 4), x, out=4).view(np.float32)[0] == 1.25
    halves = np.float16([-3.5, -0.25, -7])
    assert run(Meaning("reduce_maximum", "f16", ("f16",), 3), halves, out=2).view(np.float16)[0] == -0.25


def test_exponentials_are_rounded_once():
    x = np.float32([0.0, -1.0, -87.5, 3.25])
    out = run(Meaning("exponential", "f32", ("f32",), 4), x, out=16).view(np.float32)
    assert out.tolist() == [float(np.float32(math.exp(float(value)))) for value in x]


def test_a_word_result_is_held_sign_extended():
    meaning = Meaning("add", "s32", ("s32", "s32"), holds="s64")  # ADDW
    assert run(meaning, np.int32([2**31 - 1]), np.int32([1]), out=8).view(np.int64)[0] == -(2**31)


def test_leading_zeros_and_selection():
    clz = Meaning("count_leading_zeros", "s32", ("u32",), 4)
    assert run(clz, np.uint32([0, 1, 2**31, 255]), out=16).view(np.int32).tolist() == [32, 31, 0, 24]
    select = Meaning("select", "s8", ("s8", "s8", "s8"), 3)
    assert run(select, np.int8([1, 0, -1]), np.int8([1, 2, 3]), np.int8([7, 8, 9]), out=3).tolist() == [1, 8, 3]


def test_conversion_rounds_half_to_even_and_marks_what_does_not_fit():
    x = np.float32([0.5, 1.5, -2.5, 3e9, -3e9])
    plain, close = (Meaning("convert", "s32", ("f32",), 5, saturate=saturate) for saturate in (False, True))
    lowest, highest = -(2**31), 2**31 - 1
    assert run(plain, x, out=20).view(np.int32).tolist() == [0, 2, -2, lowest, lowest]
    assert run(close, x, out=20).view(np.int32).tolist() == [0, 2, -2, highest, lowest]
    integers = np.int32([2**24 + 1, -7])
    to_float = Meaning("convert", "f32", ("s32",), 2)
    assert run(to_float, integers, out=8).view(np.float32).tolist() == integers.astype(np.float32).tolist()


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["add", "subtract", "multiply"]), dtype=st.sampled_from(["f16", "f32"]),
    values=st.lists(st.floats(-70000, 70000, width=32), min_size=2, max_size=16),
)  # fmt: skip
def test_float_lanes_equal_numpy(kind, dtype, values):
    numpy_type = {"f16": np.float16, "f32": np.float32}[dtype]
    with np.errstate(all="ignore"):
        a = np.array(values).astype(numpy_type)
        b = a[::-1].copy()
        expected = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply}[kind](a, b)
    out = run(Meaning(kind, dtype, (dtype, dtype), len(a)), a, b, out=a.nbytes).view(numpy_type)
    np.testing.assert_array_equal(out, expected)


@settings(max_examples=30, deadline=None)
@given(m=st.integers(1, 5), depth=st.integers(1, 40), n=st.integers(1, 5), accumulate=st.booleans())
def test_matrix_multiply_equals_numpy(m, depth, n, accumulate):
    generator = np.random.default_rng(m * 100 + depth * 10 + n)
    a, b = (generator.integers(-128, 128, (size, depth)).astype(np.int8) for size in (m, n))
    before = generator.integers(-1000, 1000, (m, n)).astype(np.int32)
    meaning = Meaning("matrix_multiply", "s32", ("s8", "s8"), accumulate=accumulate)
    out = run(meaning, a, b, out=4 * m * n, shape=(m, depth, n), before=before).view(np.int32).reshape(m, n)
    assert np.array_equal(out, a.astype(np.int32) @ b.astype(np.int32).T + accumulate * before)


# The Ascend quantisation word cuts the scale to 19 bits: 15.505 becomes 15, not 16 (agreement of profiles, row 14623).
def test_requantize_block_cuts_the_scale_and_clips_before_the_offset():
    scale = np.float32(1165803672 * 2.0 ** (-9 - 31))
    accumulators = np.int32([14623, -(2**30), 2**30])
    for offset, expected in ((0, [15, -128, 127]), (100, [115, -128, 127]), (-200, [-128, -128, 55])):
        word = np.uint64(int(scale.view(np.uint32)) | ((offset & 511) << 37) | (1 << 46))
        meaning = Meaning("requantize_block", "s8", ("s32", "u64"))
        out = run(meaning, accumulators, np.repeat(word, 3), out=3, shape=(1, 3))
        assert out.view(np.int8).tolist() == expected


KIND_OF = {
    codes.COPY: "extend", codes.ADD: "add", codes.SUBTRACT: "subtract", codes.MULTIPLY: "multiply",
    codes.MULTIPLY_ADD: "multiply_add", codes.MULTIPLY_HIGH: "multiply_high", codes.MINIMUM: "minimum",
    codes.MAXIMUM: "maximum", codes.AND: "and", codes.OR: "or", codes.XOR: "xor", codes.SHIFT_LEFT: "shift_left",
    codes.SHIFT_RIGHT: "shift_right", codes.LESS_THAN: "less_than", codes.DIVIDE: "divide", codes.DOT: "dot",
    codes.TO_FLOAT: "convert", codes.TO_INTEGER: "convert", codes.PERMUTE: "permute",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_form_with_fixed_types_equals_the_lanes_of_any_type(form, monkeypatch):
    lanes = len(form.indices) or (1 if form.single else 67)
    meaning = Meaning(
        KIND_OF[form.operation], form.types[0], form.types[1:], lanes, form.group, form.step,
        saturate=form.saturate, rounding="up" if form.rounds else "none", shift=form.shift, holds=form.held,
        scalar_sources=form.scalars, indices=form.indices,
    )  # fmt: skip
    generator = np.random.default_rng(len(str(form)))
    sources = []
    for kind in form.types[1:]:
        elements = lanes * max(form.group, form.step)
        if kind == "f32":
            values = generator.normal(0, 1e6, elements).astype(np.float32)
            values[:3] = (np.inf, -0.0, 3e9)[:elements]
        else:
            limits = np.iinfo(DTYPES[kind])
            values = generator.integers(limits.min, limits.max, elements, DTYPES[kind], endpoint=True)
            values[:4] = (np.array([limits.max, limits.min, 0, 1])[:elements]).astype(DTYPES[kind])
            values = np.where(generator.random(elements) < 0.5, values, values % 40).astype(values.dtype)
        sources.append(values)
    bytes_out = lanes * ELEMENT_BYTES[form.held]
    found = run(meaning, *sources, out=bytes_out)
    monkeypatch.setattr(rows, "OPCODE_OF", {})
    assert found.tobytes() == run(meaning, *sources, out=bytes_out).tobytes()


@pytest.mark.parametrize("name", ["thumb2-dsp", "rv64gc", "rvv", "avx2", "avx512-vnni"])
def test_nine_of_ten_instructions_of_a_convolution_run_as_forms(name):
    program = generate(ConvSpec(1, 8, 8, 64, 8, 8, 64, (3, 3), (1, 1), (1, 1)), load_isa(name))
    rows = np.array(encode.encode(program).rows, np.int64)
    times = np.ones(len(rows), np.int64)
    ends = rows[:, codes.OPCODE] == codes.END_LOOP
    for end in np.flatnonzero(ends):
        times[rows[end, codes.TARGET] : end] *= rows[end, codes.TRIPS]
    forms = rows[:, codes.OPCODE] >= codes.FIRST_FORM
    assert times[forms].sum() > 0.9 * times[~ends].sum()


def test_blocks_are_copied_and_filled_with_strides():
    x = np.arange(12, dtype=np.int8)
    out = run(Meaning("copy_block", "s8", ("s8",)), x, out=11, shape=(3, 2, 4, 4))
    assert out.tolist() == [0, 1, 0, 0, 4, 5, 0, 0, 8, 9, 0]
    out = run(Meaning("fill_block", "s16", ("s16",)), np.int16([300]), out=10, shape=(2, 2, 6)).view(np.int16)
    assert out.tolist() == [300, 300, 0, 300, 300]


BELOW = "has an extent, stride or index below 0"


@pytest.mark.parametrize(
    ("meaning", "shape", "fault"),
    [
        (Meaning("copy_block", "s8", ("s8",)), (2, -1, 4, 4), f"shape (2, -1, 4, 4) {BELOW}"),
        (Meaning("load", "s8", ("s8",), 4), (-1,), f"shape (-1,) {BELOW}"),
        (Meaning("permute", "s8", ("s8",), 4), (0, 1, 4, 2), "permutes lanes (0, 1, 4, 2) of 4"),
    ],
)  # fmt: skip
def test_shapes_that_would_leave_a_buffer_unseen_are_refused(meaning, shape, fault):
    with pytest.raises(ValueError, match="1 problem") as caught:
        run(meaning, np.zeros(16, np.int8), out=16, shape=shape)
    assert str(caught.value).endswith(f": {fault}")
