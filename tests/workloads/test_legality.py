"""What a target cannot run is refused with its place and its reason, all faults at once."""

import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.codegen import choices, generate
from workloads.codegen.specs import ConvSpec, CopySpec, ElementwiseSpec, MatrixSpec, PoolSpec, SoftmaxSpec
from workloads.isa import ELEMENT_BYTES, load_isa
from workloads.legality import check, faults, overflows
from workloads.program import Address, Buffer, Instruction, Loop, Program, operand_elements

I = Instruction  # noqa: E741 - as in assembly listings
RVV = load_isa("rvv", vlen=256)
LOADS = {  # set -> (load, destination, lanes or None, shape)
    "thumb2-dsp": ("ldr", "r0", None, ()), "rv64gc": ("lw", "x5", None, ()), "rv32im": ("lw", "x5", None, ()),
    "rvv": ("vle16.v", "v8", 5, ()), "rvv-071": ("vle.v.e16", "v8", 5, ()),
    "avx2": ("vmovdqu.load", "ymm0", None, ()), "avx512-vnni": ("vmovdqu8.load", "zmm0", 9, ()),
    "davinci": ("mte2_ub", Address("near"), None, (3, 4, 9, 4)),
}  # fmt: skip
NEAR = Buffer("near", 64, "ub")


def program_of(isa, *body, nbytes=64):
    """Return a Program over one buffer "data" in the set's first space."""
    buffers = (Buffer("data", nbytes, isa.spaces[0], "input"),) + ((NEAR,) if "ub" in isa.spaces else ())
    return Program("p", isa, buffers, body)


def reasons(isa, *body, nbytes=64):
    """Return the faults without their places."""
    return [fault.partition(": ")[2] for fault in faults(program_of(isa, *body, nbytes=nbytes))]


def load(name, offset=0, strides=()):
    op, destination, count, shape = LOADS[name]
    return I(op, destination, (Address("data", offset, tuple(strides)),), count, shape)


def touched(name):
    """Return the offsets of the bytes that one load of a set touches, counted from its address, element by element."""
    op, _, count, shape = LOADS[name]
    meaning = load_isa(name).meaning(op)
    if shape:
        rows, elements, pitch, _ = shape
        return [row * pitch + byte for row in range(rows) for byte in range(elements)]
    lanes = count or meaning.lanes
    return list(range(lanes * ELEMENT_BYTES[meaning.sources[0]]))


@pytest.mark.parametrize("name", LOADS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_bounds_and_alignment_agree_with_all_addresses_written_out(name, data):
    isa, bytes_of_one = load_isa(name), touched(name)
    trips = data.draw(st.lists(st.integers(1, 4), max_size=3))
    names = [f"i{depth}" for depth in range(len(trips))]
    strides = data.draw(
        st.lists(st.tuples(st.sampled_from(names), st.integers(-12, 12)), max_size=4) if names else st.just([])
    )
    offset, nbytes = data.draw(st.integers(-4, 40)), data.draw(st.integers(1, 100))
    body = (load(name, offset, strides),)
    for variable, count in reversed(list(zip(names, trips, strict=True))):
        body = (Loop(variable, count, body),)
    starts = [
        offset + sum(stride * dict(zip(names, place, strict=True))[variable] for variable, stride in strides)
        for place in itertools.product(*map(range, trips))
    ]
    align = isa.meaning(LOADS[name][0]).align
    outside = any(not 0 <= start + byte < nbytes for start in starts for byte in bytes_of_one)
    found = reasons(isa, *body, nbytes=nbytes)
    assert any("touches bytes" in fault for fault in found) == outside
    assert any("not always a multiple" in fault for fault in found) == any(start % align for start in starts)
    if outside:
        reach = f"{min(starts) + min(bytes_of_one)}..{max(starts) + max(bytes_of_one) + 1}"
        assert f"touches bytes {reach} of 'data', which has {nbytes}" in found


@pytest.mark.parametrize("name", LOADS)
def test_each_set_refuses_what_it_lacks_and_an_address_out_of_its_buffer(name):
    isa = load_isa(name)
    assert f"{name} has no instruction 'vnosuch'" in reasons(isa, I("vnosuch", "r0", ()))[0]
    assert reasons(isa, load(name)) == []
    assert reasons(isa, load(name, 64)) == [f"touches bytes 64..{64 + max(touched(name)) + 1} of 'data', which has 64"]
    assert reasons(isa, load(name, 64, [("k", 2)])) == [
        "address in 'data' moves with 'k', which no loop around it counts",
        f"touches bytes 64..{64 + max(touched(name)) + 1} of 'data', which has 64",
    ]


@pytest.mark.parametrize("name", LOADS)
def test_buffers_beyond_their_space_are_refused_with_all_that_lie_there(name):
    isa = load_isa(name)
    space = isa.spaces[0]
    program = Program("p", isa, (Buffer("a", 60, space), Buffer("b", 30, space, copies=2)), ())
    assert list(overflows(program, {f"{space}_bytes": 120})) == []
    assert list(overflows(program, {f"{space}_bytes": 119})) == [
        f"space {space!r} has 119 bytes; its buffers take 120: 'a' 1 x 60, 'b' 2 x 30"
    ]
    sized = replace(isa, parameters={**isa.parameters, f"{space}_bytes": 119})
    assert list(faults(replace(program, isa=sized))) == list(overflows(program, {f"{space}_bytes": 119}))


def test_a_buffer_that_exceeds_the_cubes_operand_memory_is_refused():
    program = Program("p", load_isa("davinci"), (Buffer("tile", 65537, "l0a"),), ())
    assert list(faults(program)) == ["space 'l0a' has 65536 bytes; its buffers take 65537: 'tile' 1 x 65537"]


@pytest.mark.parametrize(
    ("name", "instruction", "align"),
    [
        ("thumb2-dsp", I("ldrd", "r0", (Address("data", 2),)), 4), ("rv64gc", I("ld", "x5", (Address("data", 4),)), 8),
        ("rv64gc", I("sw", Address("data", 2), ("x5",)), 4), ("rv32im", I("lw", "x5", (Address("data", 1),)), 4),
        ("rvv", I("vle32.v", "v0", (Address("data", 2),), 2), 4), ("rvv", I("lw", "x5", (Address("data", 3),)), 4),
        ("rvv", I("vse16.v", Address("data", 1), ("v0",), 2), 2),
    ],
)  # fmt: skip
def test_sets_that_trap_on_misaligned_data_refuse_it(name, instruction, align):
    assert reasons(load_isa(name), instruction) == [f"address in 'data' is not always a multiple of {align} bytes"]


@pytest.mark.parametrize(
    ("name", "instruction"),
    [
        ("thumb2-dsp", I("ldr", "r0", (Address("data", 1),))), ("rv64gc", I("lb", "x5", (Address("data", 3),))),
        ("rvv", I("vle8.v", "v0", (Address("data", 3),), 4)),
        ("avx2", I("vmovdqu.load", "ymm0", (Address("data", 1),))),
    ],
)  # fmt: skip
def test_sets_that_take_any_address_are_given_it(name, instruction):
    assert reasons(load_isa(name), instruction) == []


@pytest.mark.parametrize(
    ("name", "instruction", "fault"),
    [
        ("rv64gc", I("add", "x5", ("x6", Address("data"))), "reads memory; a add reads no memory on rv64gc"),
        ("rv64gc", I("lw", "x5", ("x6",)), "reads no memory; a load reads memory on rv64gc"),
        (
            "thumb2-dsp",
            I("mul", Address("data"), ("r1", "r2")),
            "writes memory; a multiply writes no memory on thumb2-dsp",
        ),
        ("rvv", I("vse8.v", "v0", ("v8",), 4), "writes no memory; a store writes memory on rvv"),
    ],
)
def test_only_loads_and_stores_reach_memory_on_these_sets(name, instruction, fault):
    assert reasons(load_isa(name), instruction) == [fault]


TYPES = "SEW, one of e8, e16, e32, e64, and LMUL, one of m1, m2, m4, m8, mf2, mf4, mf8"
GROUPS = [
    (I("vadd.vv.e32", "v8", ("v16", "v24"), 64), []),
    (I("vadd.vv.e32", "v4", ("v16", "v24"), 64), ["v4..v11 is no group: 8 registers begin at a multiple of 8"]),
    (I("vadd.vv.e32", "v8", ("v17", "v24"), 9), ["v17..v18 is no group: 2 registers begin at a multiple of 2"]),
    (I("vadd.vv.e32", "v8", ("v17", "v24"), 8), []),
    (I("vadd.vv.e8", "v8", ("v16", "v24"), 257), ["count 257 is outside 1..256 lanes",
     "v8..v23 are 16 registers; a group has at most 8", "v16..v31 are 16 registers; a group has at most 8",
     "'v24' with 257 bytes reaches beyond the last register", "v24..v39 are 16 registers; a group has at most 8"]),
    (I("vwmacc.vx.e16", "v4", ("x5", "v2"), 32), []),
    (I("vwmacc.vx.e16", "v2", ("x5", "v4"), 32), ["v2..v5 is no group: 4 registers begin at a multiple of 4"]),
    (I("vsext.vf2.e16", "v4", ("v4",), 32), ["v4..v5 of 16-bit results overlaps v4 of 8-bit elements"]),
    (I("vsext.vf2.e16", "v4", ("v5",), 32), []),  # the highest part
    (I("vsext.vf2.e16", "v4", ("v4",), 8), ["v4 of 16-bit results overlaps v4 of 8-bit elements"]),  # less than one
    (I("vnclip.wi.e8", "v4", ("v4", 0), 32), []),  # the lowest part
    (I("vnclip.wi.e8", "v5", ("v4", 0), 32), ["v5 of 8-bit results overlaps v4..v5 of 16-bit elements"]),
    (I("vle16.v", "v9", (Address("data"),), 20), ["v9..v10 is no group: 2 registers begin at a multiple of 2"]),
    (I("vadd.vx.e8", "v8", ("v16", "v3"), 4), ["source 'v3' must be a scalar register: the form is vx"]),
    (I("vadd.vv.e8", "v8", ("v16", "x3"), 4), ["source 'x3' must be a vector register: the form is vv"]),
    (I("vadd.vi.e8", "v8", ("v16", 16), 4), ["source 16 must be an immediate in -16..15: the form is vi"]),
    (I("vadd.vi.e8", "v8", ("v16", -16), 4), []),
    (I("vnclip.wi.e8", "v8", ("v16", 32), 4), ["source 32 must be an immediate in 0..31: the form is wi"]),
    (I("vsetvli", None, ("e16", "m2"), 32), []),
    (I("vsetvli", None, ("e16", "m2"), 33), ["vl 33 is outside 0..32, the lanes of e16, m2 at VLEN 256"]),
    (I("vsetvli", None, ("e8", "mf4"), 8), []),
    (I("vsetvli", None, ("e32", "mf4")), ["mf4 holds elements of at most 16 bits; SEW is 32"]),
    (I("vsetvli", None, ("e16", "m3")), [f"sets e16, m3; expected {TYPES}"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("instruction", "expected"), GROUPS, ids=lambda value: value.op if hasattr(value, "op") else ""
)
def test_register_groups_and_forms_of_vectors_are_those_of_the_specification(instruction, expected):
    assert sorted(reasons(RVV, instruction, nbytes=640)) == sorted(expected)


@settings(max_examples=80, deadline=None)
@given(
    op=st.sampled_from(["vwmacc.vv.e16", "vwmul.vv.e8", "vnclip.wi.e16", "vsext.vf4.e32", "vadd.vv.e8", "vwadd.wv.e8"]),
    vlen=st.sampled_from([128, 256, 512]), registers=st.tuples(*[st.integers(0, 31)] * 3), data=st.data(),
)  # fmt: skip
def test_a_legal_group_is_aligned_inside_the_file_and_never_overwritten_before_it_is_read(op, vlen, registers, data):
    isa = load_isa("rvv", vlen=vlen)
    meaning = isa.meaning(op)
    count = data.draw(st.integers(1, meaning.lanes))
    sources = tuple(f"v{register}" for register in registers[1 : 1 + len(meaning.sources)])
    if op.startswith("vnclip"):
        sources = (sources[0], 0)
    instruction = I(op, f"v{registers[0]}", sources, count)
    if reasons(isa, instruction):
        return
    written, read = operand_elements(instruction, meaning)
    for operand, kind, elements in [
        (f"v{registers[0]}", meaning.result, written),
        *zip(sources, meaning.sources, read, strict=True),
    ]:
        if isinstance(operand, str):
            first, size = int(operand[1:]), -(-elements * ELEMENT_BYTES[kind] * 8 // vlen)
            group = 1 << (size - 1).bit_length()
            assert first % group == 0
            assert first + group <= 32
    # an implementation that goes lane by lane, low to high, must not destroy what later lanes read
    for operand, kind, elements in zip(sources, meaning.sources, read, strict=True):
        if isinstance(operand, str) and elements == count:
            start, target = int(operand[1:]) * vlen // 8, registers[0] * vlen // 8
            narrow, wide = ELEMENT_BYTES[kind], ELEMENT_BYTES[meaning.result]
            assert not any(
                target + lane * wide < start + (later + 1) * narrow
                and start + later * narrow < target + (lane + 1) * wide
                for lane in range(count)
                for later in range(lane + 1, count)
            )


def test_instructions_work_on_what_the_last_vsetvli_set():
    body = (
        I("vsetvli", None, ("e16", "m1"), 16), I("vadd.vv.e16", "v0", ("v8", "v16"), 16),
        I("vle8.v", "v1", (Address("data"),), 16),
        Loop("i", 2, (I("vadd.vv.e32", "v0", ("v8", "v16"), 16), I("vsub.vv.e16", "v0", ("v8", "v16"), 15))),
        I("vsetvli"), I("vadd.vv.e8", "v0", ("v8", "v16"), 3),
    )  # fmt: skip
    assert reasons(RVV, *body) == ["works on 32 bits; VSETVLI set e16", "works on 15 lanes; VSETVLI set vl 16"]


@pytest.mark.parametrize("vlen", [64, 96, 192, 131072])
def test_a_vector_length_that_no_core_has_is_refused(vlen):
    program = generate(CopySpec(10, 10), load_isa("rvv", vlen=vlen))
    with pytest.raises(ValueError, match=rf"rvv: VLEN {vlen} is no power of two in 128\.\.65536"):
        check(program)


def test_a_draft_program_has_no_instruction_of_version_one():
    old = load_isa("rvv-071")
    assert reasons(old, I("vle8.v", "v0", (Address("data"),), 8))[0].startswith("rvv-071 has no instruction 'vle8.v'")
    assert reasons(old, I("vsext.vf2.e16", "v0", ("v8",), 8))[0].startswith(
        "rvv-071 has no instruction 'vsext.vf2.e16'"
    )
    assert reasons(RVV, I("vlb.v.e16", "v0", (Address("data"),), 8))[0].startswith("rvv has no instruction 'vlb.v.e16'")


DRAFT = [  # version 0.7.1: groups of whole registers, and results that share none with elements of another width
    (I("vsetvli", None, ("e16", "m2"), 16), []),
    (I("vsetvli", None, ("e8", "mf2"), 8),
     [f"sets e8, mf2; expected {TYPES.removesuffix(', mf2, mf4, mf8')}: no fractions of a register"]),
    (I("vsetvli", None, ("e8", "m1", "ta", "ma"), 8),
     ["sets e8, m1, ta, ma; rvv-071 has no policies of tail and mask: lanes beyond vl become zero"]),
    (I("vwmul.vv.e8", "v2", ("v8", "v9"), 4), []),
    (I("vwmul.vv.e8", "v3", ("v8", "v9"), 4), ["v3..v4 is no group: 2 registers begin at a multiple of 2"]),
    (I("vwmul.vv.e8", "v8", ("v9", "v10"), 16), ["v8..v9 of 16-bit results overlaps v9 of 8-bit elements"]),
    (I("vwadd.wv.e8", "v8", ("v8", "v10"), 16), []),
    (I("vnclip.vi.e8", "v4", ("v4", 0), 16), ["v4 of 8-bit results overlaps v4..v5 of 16-bit elements"]),
    (I("vnclip.vi.e8", "v6", ("v4", 0), 4), []),
    (I("vnclip.vi.e8", "v6", ("v5", 0), 4), ["v5..v6 is no group: 2 registers begin at a multiple of 2",
     "v6 of 8-bit results overlaps v5..v6 of 16-bit elements"]),
    (I("vl1r.v", "v4", (Address("data"),), 16), ["rvv-071 has no instruction 'vl1r.v'; "]),
    (I("vmv1r.v", "v4", ("v5",), 16), ["rvv-071 has no instruction 'vmv1r.v'; "]),
]  # fmt: skip


@pytest.mark.parametrize(("instruction", "expected"), DRAFT, ids=lambda value: getattr(value, "op", ""))
def test_register_groups_of_the_draft_are_those_of_its_specification(instruction, expected):
    found = sorted(reasons(load_isa("rvv-071"), instruction))
    assert [re.sub("(?<=; )(did|known).*", "", fault) for fault in found] == sorted(expected)


def test_all_faults_come_at_once_with_loops_index_and_text():
    body = Loop("row", 3, (
        I("vle8.v", "v0", (Address("data", 0, (("row", 40),)),), 32),
        Loop("tap", 2, (I("vwmacc.vx.e16", "v2", ("x5", "v8"), 32), I("vfoo.vv", "v0", ("v1", "v2"))),),
    ))  # fmt: skip
    buffers = (Buffer("data", 64, role="input"), Buffer("data", 8), Buffer("far", 8, "l7"))
    with pytest.raises(ValueError, match="program 'p'") as caught:
        check(Program("p", RVV, buffers, (body,)))
    lines = str(caught.value).splitlines()
    assert lines[:5] == [
        "program 'p': 5 problems",
        "  buffer 'data' is declared more than once",
        "  buffer 'far': rvv has no space 'l7'; known: memory",
        "  body[0][0] (row 0..2) vle8.v v0, [data + 40*row] lanes=32: touches bytes 0..112 of 'data', which has 64",
        f"  body[0][1][0] (row 0..2, tap 0..1) vwmacc.vx.e16 v2, x5, v8 lanes=32: {GROUPS[6][1][0]}",
    ]
    assert re.match(
        r"  body\[0\]\[1\]\[1\] \(row 0\.\.2, tap 0\.\.1\) vfoo\.vv v0, v1, v2: rvv has no instruction", lines[5]
    )


SPECS = (
    ConvSpec(2, 9, 7, 5, 5, 4, 21, (3, 3), (2, 2), (1, 1)),
    ConvSpec(1, 13, 13, 64, 13, 13, 64, (3, 3), padding=(1, 1)),
    ConvSpec(1, 9, 9, 70, 9, 9, 70, (3, 3), padding=(1, 1), depthwise=True),
    MatrixSpec(3, 77, 10),
    PoolSpec("average", 1, 9, 9, 70, 4, 4, (3, 3), (2, 2), (1, 1)),
    ElementwiseSpec("add", 1001, 1001),
    CopySpec(1000, 301),
)


@pytest.mark.parametrize("name", [name for name in LOADS if name != "rvv-071"])
def test_whatever_a_generator_offers_is_legal(name):
    for vlen in (128, 256, 512) if name == "rvv" else (None,):
        isa = load_isa(name, vlen=vlen) if vlen else load_isa(name)
        for spec in (*SPECS, *((SoftmaxSpec(3, 100),) if name != "davinci" else ())):
            for options in choices(spec, isa):
                assert not list(faults(generate(spec, isa, options))), (spec, options)
