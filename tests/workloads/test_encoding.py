"""Code sizes: what GNU as makes of the same instructions, instruction by instruction."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from workloads.codegen import generate
from workloads.codegen.specs import MatrixSpec
from workloads.encoding import code_bytes, instruction_bytes
from workloads.isa import load_isa
from workloads.program import Address, Buffer, Instruction, Loop, Program

HERE = Address("data", 0, (("i", 4),))
AT_32, AT_64, AT_160 = (Address("data", offset, (("i", 4),)) for offset in (32, 64, 160))

# (instruction, what GNU as reads, bytes it makes with binutils 2.40)
THUMB = [
    (Instruction("ldr", "r1", (HERE,)), "ldr r1, [r0], #4", 4),
    (Instruction("ldrsb", "r1", (HERE,)), "ldrsb r1, [r0], #1", 4),
    (Instruction("strb", HERE, ("r1",)), "strb r1, [r0], #1", 4),
    (Instruction("mov", "r1", ("r2",)), "mov r1, r2", 2),
    (Instruction("mov", "r1", (255,)), "movs r1, #255", 2),
    (Instruction("mov", "r1", (40_000,)), "movw r1, #40000", 4),
    (Instruction("mov", "r1", (-9,)), "mvn r1, #8", 4),
    (Instruction("mov", "r1", (70_001,)), "movw r1, #4465\nmovt r1, #1", 8),
    (Instruction("smlad", "r1", ("r2", "r3", "r1")), "smlad r1, r2, r3, r1", 4),
    (Instruction("sxtb16.ror8", "r1", ("r2",)), "sxtb16 r1, r2, ror #8", 4),
    (Instruction("pkhtb", "r1", ("r2", "r3")), "pkhtb r1, r2, r3, asr #16", 4),
    (Instruction("smlal", "r2", ("r4", "r5")), "smlal r2, r3, r4, r5", 4),
    (Instruction("ssat", "r1", ("r2",)), "ssat r1, #8, r2", 4),
    (Instruction("cmp"), "cmp r1, r2", 2),
    (Instruction("subs"), "subs r1, #1", 2),
    (Instruction("bne"), "bne .", 2),
]
RISCV = [
    (Instruction("lb", "x10", (HERE,)), "lb x10, 0(x11)", 4),
    (Instruction("sd", HERE, ("x10",)), "sd x10, 0(x11)", 4),
    (Instruction("li", "x10", (2047,)), "li x10, 2047", 4),
    (Instruction("li", "x10", (70_001,)), "li x10, 70001", 8),
    (Instruction("mulw", "x10", ("x11", "x12")), "mulw x10, x11, x12", 4),
    (Instruction("bne"), "bne x10, x11, .", 4),
]
VEX = [
    (Instruction("vmovdqu.load", "ymm1", (HERE,)), "vmovdqu ymm1, [rax]", 4),
    (Instruction("vmovdqu.load", "ymm9", (AT_32,)), "vmovdqu ymm9, [rax+32]", 5),
    (Instruction("vmovdqu.load", "ymm1", (AT_160,)), "vmovdqu ymm1, [rax+160]", 8),
    (Instruction("vpextrb.store", HERE, ("ymm1",)), "vpextrb byte ptr [rax], xmm1, 0", 6),
    (Instruction("mov.byte.store", HERE, ("r1",)), "mov byte ptr [rax], cl", 2),
    (Instruction("vpbroadcastd.load", "ymm1", (AT_32,)), "vpbroadcastd ymm1, dword ptr [rax+32]", 6),
    (Instruction("vpmovsxbw.load", "ymm1", (HERE,)), "vpmovsxbw ymm1, xmmword ptr [rax]", 5),
    (Instruction("vpmaddwd", "ymm9", ("ymm10", "ymm3")), "vpmaddwd ymm9, ymm10, ymm3", 4),
    (Instruction("vpmaddwd", "ymm1", ("ymm2", "ymm11")), "vpmaddwd ymm1, ymm2, ymm11", 5),
    (Instruction("vpmulld", "ymm1", ("ymm2", "ymm11")), "vpmulld ymm1, ymm2, ymm11", 5),
    (Instruction("vaddps", "ymm1", ("ymm2", "ymm3")), "vaddps ymm1, ymm2, ymm3", 4),
    (Instruction("vfmadd231ps", "ymm1", ("ymm2", "ymm3")), "vfmadd231ps ymm1, ymm2, ymm3", 5),
    (Instruction("vpextrd", "r1", ("ymm1",)), "vpextrd ecx, xmm1, 1", 6),
    (Instruction("shr", "r1", ("r1", 16)), "shr ecx, 16", 3),
    (Instruction("sub"), "sub rcx, 1", 4),
    (Instruction("jnz"), "jnz .", 2),
]
EVEX = [
    (Instruction("vmovdqu8.load", "zmm1", (HERE,)), "vmovdqu8 zmm1, [rax]", 6),
    (Instruction("vmovdqu8.load", "zmm20", (AT_64,)), "vmovdqu8 zmm20, [rax+64]", 7),
    (Instruction("vmovdqu8.load", "zmm1", (AT_32,)), "vmovdqu8 zmm1, [rax+32]", 10),
    (Instruction("vpbroadcastd.load", "zmm1", (AT_160,)), "vpbroadcastd zmm1, dword ptr [rax+160]", 7),
    (Instruction("vpmovsdb", HERE, ("zmm1",)), "vpmovsdb xmmword ptr [rax], zmm1", 6),
    (Instruction("vpdpbusd", "zmm1", ("zmm2", "zmm30")), "vpdpbusd zmm1, zmm2, zmm30", 6),
    (Instruction("vmaxps", "zmm1", ("zmm2", "zmm3")), "vmaxps zmm1, zmm2, zmm3", 6),
]
VECTOR = [
    (Instruction("vle8.v", "v8", (HERE,)), "vle8.v v8, (x10)", 4),
    (Instruction("vwmacc.vx.e16", "v8", ("x10", "v2")), "vwmacc.vx v8, x10, v2", 4),
    (Instruction("vsetvli"), "vsetvli x10, x11, e8, m1, ta, ma", 4),
]
CASES = {"thumb2-dsp": THUMB, "rv64gc": RISCV, "avx2": VEX, "avx512-vnni": EVEX, "rvv": VECTOR}
ASSEMBLERS = {
    "thumb2-dsp": ("arm-none-eabi-as", ["-mcpu=cortex-m7", "-mthumb"], ".syntax unified\n"),
    "rv64gc": ("riscv64-linux-gnu-as", ["-march=rv64gc"], ".option norvc\n"),
    "rvv": ("riscv64-linux-gnu-as", ["-march=rv64gcv"], ".option norvc\n"),
    "avx2": ("as", ["--64"], ".intel_syntax noprefix\n"),
    "avx512-vnni": ("as", ["--64"], ".intel_syntax noprefix\n"),
}


@pytest.mark.parametrize(
    ("isa", "instruction", "expected"),
    [(isa, instruction, size) for isa, cases in CASES.items() for instruction, _, size in cases],
    ids=lambda value: getattr(value, "op", str(value)),
)
def test_an_instruction_takes_the_bytes_that_gnu_as_made(isa, instruction, expected):
    assert instruction_bytes(instruction, load_isa(isa)) == expected


@pytest.mark.parametrize("isa", CASES)
def test_the_assembler_at_hand_makes_those_bytes(isa, tmp_path):
    assembler, flags, head = ASSEMBLERS[isa]
    if shutil.which(assembler) is None:
        pytest.skip(f"{assembler} is not installed")
    lines = [f"place{number}:\n{text}" for number, (_, text, _) in enumerate(CASES[isa])]
    (tmp_path / "a.s").write_text(head + "\n".join(lines) + f"\nplace{len(lines)}:\n")
    made = subprocess.run([assembler, *flags, "-aln", "a.s", "-o", "a.o"], capture_output=True, text=True, cwd=tmp_path)
    if made.returncode and "x86" not in made.stderr and isa.startswith("avx"):
        pytest.skip("the assembler at hand is for another machine")
    assert made.returncode == 0, made.stderr
    names = subprocess.run([assembler.removesuffix("as") + "nm", "a.o"], capture_output=True, text=True, cwd=tmp_path)
    found = {match[2]: int(match[1], 16) for match in re.finditer(r"(\w+) t (place\d+)", names.stdout)}
    sizes = [found[f"place{number + 1}"] - found[f"place{number}"] for number in range(len(lines))]
    assert sizes == [size for _, _, size in CASES[isa]]


def test_a_loop_is_encoded_once_however_often_it_runs():
    isa = load_isa("thumb2-dsp")
    body = (Instruction("ldr", "r1", (HERE,)), Instruction("subs"), Instruction("bne"))
    sizes = {code_bytes(Program("k", isa, (Buffer("data", 999),), (Loop("i", trips, body),))) for trips in (2, 200)}
    assert sizes == {4 + 2 + 2}


def test_a_set_without_a_known_encoding_has_no_code_size():
    assert code_bytes(generate(MatrixSpec(1, 64, 16), load_isa("davinci"))) is None
    program = generate(MatrixSpec(1, 64, 16), load_isa("thumb2-dsp"))
    assert code_bytes(replace(program, isa=replace(program.isa, name="mine"))) is None


@pytest.mark.parametrize("isa", ["thumb2-dsp", "rv64gc", "rv32im", "rvv", "avx2", "avx512-vnni"])
def test_every_set_with_a_public_encoding_has_code_sizes(isa):
    program = generate(MatrixSpec(1, 64, 16), load_isa(isa))
    instructions = sum(1 for line in repr(program.body).split("Instruction(") if line) - 1
    assert 2 * instructions <= code_bytes(program) <= 12 * instructions
