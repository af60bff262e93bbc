"""Saved Programs: an equal Program comes back, and a malformed file is refused with every fault."""

import json
from contextlib import suppress
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads import program_file
from workloads.codegen import generate
from workloads.codegen.specs import ConvSpec, ElementwiseSpec, MatrixSpec, PoolSpec
from workloads.errors import InputError
from workloads.isa import load_isa
from workloads.options import Options
from workloads.program import Address, Buffer, Instruction, Loop, Program
from workloads.program_file import digest, from_json, load, save, to_json

SETS = ["thumb2-dsp", "rv64gc", "rvv", "avx2", "avx512-vnni", "davinci"]
SPECS = [
    ConvSpec(1, 7, 9, 8, 7, 9, 12, (3, 3), padding=(1, 1)),
    ConvSpec(1, 9, 9, 8, 5, 5, 8, (3, 3), stride=(2, 2), padding=(1, 1), depthwise=True),
    MatrixSpec(1, 40, 10),
    PoolSpec("max", 1, 8, 8, 16, 4, 4, (2, 2), (2, 2)),
    ElementwiseSpec("add", 100, 100),
]
ISA = load_isa("thumb2-dsp")
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)
registers = st.integers(0, 12).map(lambda number: f"r{number}")
immediates = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False)


@st.composite
def programs(draw):
    """Legal Programs of random nesting: loads, sums with immediates and stores inside 256 bytes."""
    variables = iter("abcdefgh")

    def address(loops):
        strides = [(name, draw(st.integers(0, 16 // len(loops)))) for name, _ in loops]
        return Address("data", draw(st.integers(0, 64)), tuple(strides))

    def statement(loops, depth):
        kind = draw(st.sampled_from(["load", "store", "add", "control", *(["loop"] * (depth < 3))]))
        match kind:
            case "load":
                return Instruction("ldr", draw(registers), (address(loops),), draw(st.sampled_from([None, 1])))
            case "store":
                return Instruction("str", address(loops), (draw(registers),), shape=())
            case "add":
                return Instruction("add", draw(registers), (draw(registers), draw(registers | immediates)))
            case "control":
                return Instruction("subs")
        variable, trips = next(variables, None), draw(st.integers(0, 4))
        if variable is None:
            return Instruction("bne")
        return Loop(variable, trips, body((*loops, (variable, trips)), depth + 1))

    def body(loops, depth):
        return tuple(statement(loops, depth) for _ in range(draw(st.integers(0, 3))))

    options = Options(rows=draw(st.sampled_from([None, 0, 3])), lowering=draw(st.sampled_from([None, "im2col"])),
                      fuse=draw(st.sampled_from([None, False, True])))  # fmt: skip
    return Program(
        draw(names), ISA, (Buffer("data", 512, role=draw(names)),), body((), 0), draw(st.integers(0, 9)),
        draw(names), draw(st.dictionaries(names, names, max_size=2)), options,
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(programs())
def test_an_equal_program_comes_back(program):
    again = from_json(to_json(program))
    assert again == program
    assert repr(again) == repr(program)  # 1, 1.0 and True are equal, but print differently
    assert to_json(again) == to_json(program)


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_every_generated_program_comes_back(spec, isa, tmp_path):
    program = generate(spec, load_isa(isa))
    save(program, tmp_path / "program.json")
    assert load(tmp_path / "program.json") == program
    assert digest(load(tmp_path / "program.json")) == digest(program)


def test_the_parameters_of_the_instruction_set_come_back():
    program = generate(SPECS[2], load_isa("rvv", vlen=512))
    assert from_json(to_json(program)).isa.parameters["vlen"] == 512


def test_the_readers_know_every_field_of_every_record():
    # A field that a record gains must be read back, too.
    program = generate(SPECS[0], ISA)
    records = {Program: program, Buffer: program.buffers[0], Options: Options(1, 1, 1, "direct", 1, 1, True)}
    raw = program_file._plain(replace(program, options=records[Options]))
    assert raw.keys() <= {field.name for field in fields(Program)}
    for kind, reader in {
        Program: program_file._program, Address: program_file._address,
        Instruction: program_file._instruction, Loop: program_file._loop,
    }.items():  # fmt: skip
        problems = []
        reader({field.name: object() for field in fields(kind)}, "", problems)
        assert not any("unknown key" in problem for problem in problems)
    everything = {field.name: getattr(records[Options], field.name) for field in fields(Options)}
    assert from_json(to_json(replace(program, options=Options(**everything)))).options == records[Options]


def test_the_digest_sees_what_is_executed_and_nothing_else():
    program = generate(SPECS[0], ISA)
    assert len(digest(program)) == 12
    labelled = replace(program, name="other", notes={"why": "not"}, options=Options(rows=9))
    assert digest(labelled) == digest(program)
    changed = [
        replace(program, macs=program.macs + 1),
        replace(program, body=(*program.body, Instruction("subs"))),
        replace(program, buffers=(*program.buffers, Buffer("more", 1))),
        replace(program, isa=load_isa("rv64gc")),
    ]
    assert len({digest(program), *map(digest, changed)}) == 5


BAD = """{
  "schema": 1,
  "nam": "kernel",
  "isa": {"name": "thumb2-dsq"},
  "buffers": [{"name": "data", "bytes": "64"}, 7],
  "body": [
    {"op": "ldr", "destination": "r0", "sources": [{"bufer": "data"}]},
    {"variable": "i", "trips": true, "body": [{"op": "add", "destination": [1], "sources": "r0"}]},
    {"op": "ldr", "destination": "r0", "sources": [{"buffer": "data", "strides": [["i"]]}], "cuont": 1}
  ]
}
"""


def test_all_faults_of_a_file_are_told_at_once(tmp_path):
    (tmp_path / "bad.json").write_text(BAD)
    with pytest.raises(InputError) as caught:
        load(tmp_path / "bad.json")
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'bad.json'}: 12 problems",
        "  nam: unknown key; did you mean 'name'?",
        "  name: required key is missing",
        "  isa: 'thumb2-dsq' is unknown; did you mean 'thumb2-dsp'?",
        "  buffers[0].bytes: '64'; expected a whole number",
        "  buffers[1]: 7; expected a table with name, bytes",
        "  body[0].sources[0].bufer: unknown key; did you mean 'buffer'?",
        "  body[0].sources[0].buffer: required key is missing",
        "  body[1].trips: True; expected a whole number",
        "  body[1].body[0].destination: [1]; expected a register, a number or an address",
        "  body[1].body[0].sources: 'r0'; expected a list",
        "  body[2].cuont: unknown key; did you mean 'count'?",
        "  body[2].sources[0].strides[0]: ['i']; expected [loop variable, bytes]",
    ]


def test_a_program_that_its_instruction_set_cannot_run_is_refused_with_place_and_reason():
    program = Program("k", ISA, (Buffer("data", 8),), (Instruction("ldr", "r0", (Address("data", 6),)),))
    text = to_json(program).replace('"ldr"', '"ldx"')
    with pytest.raises(InputError, match=r"body\[0\] ldx r0, \[data \+ 6\]: thumb2-dsp has no instruction 'ldx'"):
        from_json(text)
    with pytest.raises(
        InputError, match=r"body\[0\] ldr r0, \[data \+ 6\]: touches bytes 6\.\.10 of 'data', which has 8"
    ):
        from_json(to_json(program))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", r"schema: found \[\]; a program file has schema 1"),
        ('{"schema": 2}', "schema: found 2"),
        ('{"schema": 1, "schema": 1}', "key 'schema' is there twice"),
        ('{"schema": 1, "macs": NaN}', "NaN is no JSON number"),
        ('{"schema": 1, "isa": {"name": "rvv", "parameters": {"vlem": 1}}}', "vlem"),
    ],
)
def test_what_is_no_program_file_is_refused(text, fault):
    with pytest.raises(InputError, match=fault):
        from_json(text)


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**70) | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(st.data(), junk)
def test_a_file_with_any_one_part_replaced_is_a_program_or_refused(data, replacement):
    raw = json.loads(to_json(generate(MatrixSpec(1, 10, 3), ISA)))
    part = raw
    while True:
        key = data.draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        if not isinstance(part[key], dict | list) or not part[key] or data.draw(st.integers(0, 4)) == 0:
            break
        part = part[key]
    part[key] = replacement
    with suppress(InputError):
        assert isinstance(from_json(json.dumps(raw)), Program)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.json.*\n.*cannot be read"):
        load(tmp_path / "nowhere.json")


def test_an_instruction_set_of_ones_own_has_no_file_form():
    with pytest.raises(ValueError, match="not the shipped set"):
        to_json(Program("k", replace(ISA, source="mine"), (), ()))
