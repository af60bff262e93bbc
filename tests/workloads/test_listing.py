from workloads.codegen import generate
from workloads.codegen.specs import CopySpec
from workloads.isa import load_isa
from workloads.listing import listing, operand, text
from workloads.options import Options
from workloads.program import Address, Buffer, Instruction, Program


def test_a_copy_reads_like_assembly():
    assert listing(generate(CopySpec(42, 42), load_isa("thumb2-dsp"))) == (
        "; thumb2-dsp_copy for Thumb-2 with the DSP extension, profile tflite-double, 0 MAC\n"
        ".buffer input   42 B  memory  input\n"
        ".buffer output  42 B  memory  output\n"
        "loop run = 0..1:\n"
        "    ldr          r14, [input + 16*run]\n"
        "    str          [output + 16*run], r14\n"
        "    ldr          r14, [input + 4 + 16*run]\n"
        "    str          [output + 4 + 16*run], r14\n"
        "    ldr          r14, [input + 8 + 16*run]\n"
        "    str          [output + 8 + 16*run], r14\n"
        "    ldr          r14, [input + 12 + 16*run]\n"
        "    str          [output + 12 + 16*run], r14\n"
        "    subs\n"
        "    bne\n"
        "ldr          r14, [input + 32]\n"
        "str          [output + 32], r14\n"
        "ldr          r14, [input + 36]\n"
        "str          [output + 36], r14\n"
        "ldrsb        r14, [input + 40]\n"
        "strb         [output + 40], r14\n"
        "ldrsb        r14, [input + 41]\n"
        "strb         [output + 41], r14\n"
        "; 28 instructions: bne 2, ldr 10, ldrsb 2, str 10, strb 2, subs 2\n"
        "; 42 B loaded from memory\n"
        "; 42 B stored to memory\n"
    )


def test_the_heading_tells_parameters_options_notes_and_copies_of_buffers():
    program = Program(
        "kernel", load_isa("rvv", vlen=128), (Buffer("tile", 8, copies=2),), (), 7, "ruy",
        {"why": "a note\nof two lines"}, Options(rows=4, lmul=2),
    )  # fmt: skip
    assert listing(program, counts=False) == (
        "; kernel for RISC-V V 1.0 on RV64IM, vlen 128, profile ruy, 7 MAC\n"
        "; options: rows=4 lmul=2\n"
        "; why: a note\n"
        "; of two lines\n"
        ".buffer tile  8 B  memory  scratch  2 copies\n"
    )


def test_operands_show_immediates_strides_lanes_and_shapes():
    assert operand(-3) == "#-3"
    assert operand(Address("x", 4, (("i", 1), ("j", -2)))) == "[x + 4 + i - 2*j]"
    line = text(Instruction("vle8", "v0", (Address("x"),), 7, (3, 2)))
    assert line == "vle8         v0, [x]  lanes=7  shape=3x2"
