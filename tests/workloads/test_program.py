import pytest

from workloads.errors import InputError
from workloads.isa import InstructionSet, Meaning, RegisterClass, load_isa
from workloads.legality import check
from workloads.program import Address, Buffer, Instruction, Loop, Program, count

TOY = InstructionSet(
    "toy", "Toy", "these tests", {"r": RegisterClass(4, 4), "w": RegisterClass(2, 8), "h": RegisterClass(2, 4, "w")},
    {
        "ldr": Meaning("load", "s32", ("s32",)),
        "ldrd": Meaning("load", "s32", ("s32",), lanes=2),
        "cube": Meaning("matrix_multiply", "s32", ("s8", "s8"), spaces=("l0c", "l0a", "l0b")),
        "vadd": Meaning("add", "f32", ("f32", "f32"), 4),
        "bne": Meaning("control"),
    },
    ("bne",), ("memory", "l0a"),
)  # fmt: skip


INPUT = (Buffer("input", 16, role="input"),)


def program(*body, buffers=INPUT) -> Program:
    return Program("p", TOY, buffers, body)


def test_counts_follow_from_trip_counts():
    ldr = Instruction("ldr", "r0", (Address("input", 0, (("i", 4),)),))
    counts = count(program(Loop("i", 4, (ldr, ldr, Instruction("bne"))), Instruction("bne")))
    assert counts.instructions == {"ldr": 8, "bne": 5}
    assert counts.loaded_bytes == {"memory": 32}
    assert counts.stored_bytes == {}
    assert counts.total_instructions == 13


def test_a_loop_without_trips_counts_nothing():
    assert count(program(Loop("i", 0, (Instruction("bne"),)))).total_instructions == 0


def test_every_fault_is_listed_with_its_place():
    move = (("i", 4),)
    bad = program(
        Instruction("ldx", "r0", (Address("input"),)),
        Loop("i", 4, (
            Instruction("ldr", "r9", (Address("input", 4, move),)),
            Loop("i", 2, (Instruction("bne"),)),
            Instruction("ldrd", "r3", (Address("input", 0, (("j", 1),)),)),
            Instruction("ldr", "q0", (Address("nowhere"),), 2),
        )),
        Instruction("cube", Address("input"), (Address("near"), Address("input")), None, (1, 2, 2)),
        Instruction("cube", Address("input"), (Address("near"), Address("input")), None, (1, 2)),
        Instruction("vadd", Address("input", 2), (1.0, 2.0), 2),
        Instruction("ldr", "r0"),
        Loop("k", -1, ()),
        buffers=(Buffer("input", 16, role="input"), Buffer("near", 8, "l0a"), Buffer("far", 8, "l7")),
    )  # fmt: skip
    with pytest.raises(ValueError, match="program 'p'") as caught:
        check(bad)
    assert str(caught.value).splitlines() == [
        "program 'p': 16 problems",
        "  buffer 'far': toy has no space 'l7'; known: memory, l0a",
        "  body[0] ldx r0, [input]: toy has no instruction 'ldx'; did you mean 'ldr'?",
        "  body[1][0] (i 0..3) ldr r9, [input + 4 + 4*i]: toy has no register 'r9'; the last is r3",
        "  body[1][0] (i 0..3) ldr r9, [input + 4 + 4*i]: touches bytes 4..20 of 'input', which has 16",
        "  body[1][1]: loop variable 'i' is already used by a loop around it",
        "  body[1][2] (i 0..3) ldrd r3, [input + j]: 'r3' with 8 bytes reaches beyond the last register",
        "  body[1][2] (i 0..3) ldrd r3, [input + j]: address in 'input' moves with 'j', which no loop around it counts",
        "  body[1][3] (i 0..3) ldr q0, [nowhere] lanes=2: count 2 is outside 1..1 lanes",
        "  body[1][3] (i 0..3) ldr q0, [nowhere] lanes=2: toy has no register 'q0'; known prefixes: r, w, h",
        "  body[1][3] (i 0..3) ldr q0, [nowhere] lanes=2: there is no buffer 'nowhere'",
        "  body[2] cube [input], [near], [input] shape=1x2x2: 'input' lies in space 'memory'; 'l0c' expected",
        "  body[2] cube [input], [near], [input] shape=1x2x2: 'input' lies in space 'memory'; 'l0b' expected",
        "  body[3] cube [input], [near], [input] shape=1x2: shape (1, 2) has 2 extents; matrix_multiply needs 3",
        "  body[4] vadd [input + 2], #1.0, #2.0 lanes=2: address in 'input' is not always a multiple of 4 bytes",
        "  body[5] ldr r0: has 0 sources; 1 expected",
        "  body[6]: loop 'k' has -1 trips; at least 0 expected",
    ]


def test_a_legal_program_passes():
    check(program(Loop("i", 4, (Instruction("ldr", "r0", (Address("input", 12, (("i", -4),)),)),))))


def test_registers_lie_one_after_another_and_an_alias_shares_bytes():
    assert TOY.register("r3") == (12, 4, 16)
    assert TOY.register("w1") == (72, 8, 80)
    assert TOY.register("h1") == (72, 4, 80)
    assert TOY.register_file_bytes == 128


@pytest.mark.parametrize("name", ["thumb2-dsp", "rv64gc"])
def test_shipped_sets_name_a_source_and_close_loops_with_their_own_instructions(name):
    isa = load_isa(name)
    assert isa.source
    assert all(isa.meaning(mnemonic).kind == "control" for mnemonic in isa.loop_control)


def test_an_unknown_set_suggests_the_closest():
    with pytest.raises(InputError, match="did you mean 'rv64gc'"):
        load_isa("rv64g")
