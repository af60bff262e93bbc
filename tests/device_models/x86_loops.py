"""Sixteen int8 and requantising loops whose cycles were measured on Zen 5, as Programs, with what other tools say.

The names and the figures were published without the listings. Each listing here was written from its name, and is the
one for which llvm-mca 14 and 19 and OSACA print the published figures (within 0.004 cycles; ``assembly`` writes it for
them). Which of several equal loops was measured cannot be told apart by them, and does not matter to them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from workloads.isa import InstructionSet, Meaning, load_isa
from workloads.program import Address, Buffer, Instruction, Loop, Program

I = Instruction  # noqa: E741 - as in assembly listings
VECTOR, WIDE = "avx2", "avx512-vnni"


def a(offset: int = 0) -> Address:
    return Address("a", offset, (("i", 512),))


def b(offset: int = 0) -> Address:
    return Address("b", offset, (("i", 512),))


def each(kind: str, result: str, lanes: int, sources: int = 2, **more) -> Meaning:
    """A lane-wise meaning on one type."""
    return Meaning(kind, result, (result,) * sources, lanes, **more)


# Instructions of the loops that generated kernels do not use. Of vpshufb, vpternlogq, vpopcntq and the packs only the
# dependences are told: they have no exact meaning in the closed set, and these Programs are priced, not executed.
BEYOND = {
    VECTOR: {
        "vpmaddubsw": Meaning("dot", "s16", ("u8", "s8"), 16, group=2, saturate=True),
        "vpmullw": each("multiply", "s16", 16),
        "vpaddsw": each("add", "s16", 16, saturate=True),
        "vpackssdw": each("permute", "s16", 16),
        "vpacksswb": each("permute", "s8", 32),
        "vpermq": each("permute", "s64", 4, sources=1),
        "movzx.load": Meaning("load", "u8", ("u8",), holds="u32"),
        "movsx.load": Meaning("load", "s8", ("s8",), holds="s32"),
        "imul": each("multiply", "s32", 1),
    },
    WIDE: {
        "vmovdqu8.ymm.load": Meaning("load", "s8", ("s8",), 32),
        "vpdpbusd.ymm": Meaning("dot", "s32", ("u8", "s8"), 8, group=4, accumulate=True),
        "vpmaddubsw": Meaning("dot", "s16", ("u8", "s8"), 32, group=2, saturate=True),
        "vpmaddwd": Meaning("dot", "s32", ("s16", "s16"), 16, group=2),
        "vpmovzxbd.load": Meaning("extend", "u32", ("u8",), 16),
        "vpmovsdb.store": Meaning("narrow", "s8", ("s32",), 16),
        "vpmuldq": Meaning("multiply", "s64", ("s32", "s32"), 8, step=2),
        "vpsrad": each("shift_right", "s32", 16),
        "vpsraq": each("shift_right", "s64", 8),
        "vpsrlq": each("shift_right", "u64", 8),
        "vpsrlw": each("shift_right", "u16", 32),
        "vpaddb": each("add", "s8", 64),
        "vpaddq": each("add", "s64", 8),
        "vpandd": each("and", "s32", 16),
        "vpmaxsd": each("maximum", "s32", 16),
        "vpblendmd": each("permute", "s32", 16),
        "vpternlogq": each("xor", "u64", 8),
        "vpopcntq": each("move", "u64", 8, sources=1),
        "vpshufb": each("permute", "u8", 64),
    },
}


def extended(name: str) -> InstructionSet:
    """An instruction set with the instructions beyond it."""
    shipped = load_isa(name)
    return replace(shipped, instructions={**BEYOND[name], **shipped.instructions})


@dataclass(frozen=True)
class Measured:
    """One loop: its body without loop control, cycles per iteration measured on Zen 5, and what tools print for it.

    Parameters
    ----------
    mca
        llvm-mca 19.1.7 ``-mcpu=znver5``; llvm-mca 22 prints the same.
    osaca
        OSACA at e00d5f6, ``--arch ZEN5``: the larger of throughput and loop-carried dependence; None where it lacks
        an instruction.
    """

    cycles: float
    mca: float
    osaca: float | None
    isa: str
    body: tuple[Instruction, ...]

    def program(self, name: str, trips: int = 1000) -> Program:
        control = (I("add"), I("sub"), I("jnz"))
        buffers = (Buffer("a", 512 * trips), Buffer("b", 512 * trips))
        return Program(name, extended(self.isa), buffers, (Loop("i", trips, (*self.body, *control)),))


def rounds(count: int, make) -> tuple[Instruction, ...]:
    """The instructions of ``count`` rounds, one round after another."""
    return tuple(instruction for index in range(count) for instruction in make(index))


def vnni(sums: int):
    def once(index: int):
        yield I("vmovdqu8.load", f"zmm{8 + index}", (a(64 * index),))
        yield I("vpdpbusd", f"zmm{index % sums}", (f"zmm{8 + index}", b(64 * index)))

    return once


def vnni_256(index: int):
    yield I("vmovdqu8.ymm.load", f"zmm{8 + index}", (a(32 * index),))
    yield I("vpdpbusd.ymm", f"zmm{index}", (f"zmm{8 + index}", b(32 * index)))


def maddubs(prefix: str, load: str, nbytes: int):
    def once(index: int):
        taken = f"{prefix}{8 + index}"
        yield I(load, taken, (a(nbytes * index),))
        yield I("vpmaddubsw", taken, (taken, b(nbytes * index)))
        yield I("vpmaddwd", taken, (taken, f"{prefix}15"))
        yield I("vpaddd", f"{prefix}{index}", (f"{prefix}{index}", taken))

    return once


def widened(index: int):
    first, second = f"ymm{8 + index}", f"ymm{10 + index}"
    yield I("vpmovsxbw.load", first, (a(16 * index),))
    yield I("vpmovsxbw.load", second, (b(16 * index),))
    yield I("vpmaddwd", first, (first, second))
    yield I("vpaddd", f"ymm{index}", (f"ymm{index}", first))


def scalar(index: int):
    yield I("movzx.load", "r8", (a(index),))
    yield I("movsx.load", "r9", (b(index),))
    yield I("imul", "r9", ("r9", "r8"))
    yield I("add", "r2", ("r2", "r9"))


def relu(index: int):
    yield I("vmovdqu8.load", f"zmm{index}", (a(64 * index),))
    yield I("vpmaxsb", f"zmm{index}", (f"zmm{index}", "zmm8"))
    yield I("vmovdqu8.store", a(64 * index), (f"zmm{index}",))


COMPILED = (  # what clang 19 -O3 -march=znver5 makes of s += a[i] * b[i] with uint8 and int8
    I("vpmovzxbd.load", "zmm4", (a(0),)),
    I("vpmovsxbd.load", "zmm8", (b(0),)),
    I("vpmovzxbd.load", "zmm5", (a(16),)),
    I("vpmovsxbd.load", "zmm9", (b(16),)),
    I("vpmovzxbd.load", "zmm6", (a(32),)),
    I("vpmovzxbd.load", "zmm7", (a(48),)),
    I("vpdpwssd", "zmm0", ("zmm8", "zmm4")),
    I("vpdpwssd", "zmm1", ("zmm9", "zmm5")),
    I("vpmovsxbd.load", "zmm8", (b(32),)),
    I("vpmovsxbd.load", "zmm5", (b(48),)),
    I("vpdpwssd", "zmm2", ("zmm8", "zmm6")),
    I("vpdpwssd", "zmm3", ("zmm5", "zmm7")),
)
GEMM = (
    I("vmovdqu8.load", "zmm8", (a(),)),
    *(I("vpbroadcastd.load", f"zmm{16 + row}", (b(4 * row),)) for row in range(4)),
    *(I("vpdpbusd", f"zmm{row}", (f"zmm{16 + row}", "zmm8")) for row in range(4)),
)
REQUANTIZED = (
    I("vmovdqu8.load", "zmm0", (a(),)),
    I("vpmulld", "zmm0", ("zmm0", "zmm8")),
    I("vpaddd", "zmm0", ("zmm0", "zmm9")),
    I("vpsrad", "zmm0", ("zmm0", 8)),
    I("vpmaxsd", "zmm0", ("zmm0", "zmm10")),
    I("vpmovsdb.store", b(), ("zmm0",)),
)
DOUBLING = (  # products of even and of odd lanes, rounded, halved by 2**31, blended, shifted
    I("vmovdqu8.load", "zmm0", (a(),)),
    I("vpsrlq", "zmm2", ("zmm0", 32)),
    I("vpmuldq", "zmm1", ("zmm0", "zmm8")),
    I("vpaddq", "zmm1", ("zmm1", "zmm9")),
    I("vpmuldq", "zmm2", ("zmm2", "zmm8")),
    I("vpsrlq", "zmm1", ("zmm1", 31)),
    I("vpaddq", "zmm2", ("zmm2", "zmm9")),
    I("vpsraq", "zmm2", ("zmm2", 31)),
    I("vpblendmd", "zmm1", ("zmm1", "zmm2")),
    I("vpsrad", "zmm1", ("zmm1", 5)),
    I("vpmovsdb.store", b(), ("zmm1",)),
)
LOOKUP = (
    I("vmovdqu8.load", "zmm0", (a(),)),
    I("vpandd", "zmm1", ("zmm0", "zmm8")),
    I("vpsrlw", "zmm2", ("zmm0", 4)),
    I("vpandd", "zmm2", ("zmm2", "zmm8")),
    I("vpshufb", "zmm1", ("zmm9", "zmm1")),
    I("vpshufb", "zmm2", ("zmm10", "zmm2")),
    I("vpaddb", "zmm3", ("zmm3", "zmm1")),
    I("vpaddb", "zmm4", ("zmm4", "zmm2")),
)
POPCOUNT = (
    I("vmovdqu8.load", "zmm0", (a(),)),
    I("vpternlogq", "zmm0", ("zmm0", b())),
    I("vpopcntq", "zmm0", ("zmm0",)),
    I("vpaddq", "zmm8", ("zmm8", "zmm0")),
)
DEPTHWISE = (
    *(I("vpmovsxbw.load", f"ymm{8 + tap}", (a(16 * tap),)) for tap in range(2)),
    *(I("vpmullw", f"ymm{8 + tap}", (f"ymm{8 + tap}", f"ymm{14 + tap}")) for tap in range(2)),
    *(I("vpaddsw", f"ymm{tap}", (f"ymm{tap}", f"ymm{8 + tap}")) for tap in range(2)),
)
PACKED = (
    I("vmovdqu.load", "ymm0", (a(),)),
    I("vmovdqu.load", "ymm1", (a(32),)),
    I("vpackssdw", "ymm0", ("ymm0", "ymm1")),
    I("vpacksswb", "ymm0", ("ymm0", "ymm0")),
    I("vpermq", "ymm0", ("ymm0",)),
    I("vmovdqu.store", b(), ("ymm0",)),
)
# Cycles: measured for this project on a Zen 5 (EPYC Turin) virtual machine, median of 3 runs of 101 samples, clocked by
# a chain of dependent additions. The tools' figures were taken beside them, with the versions named above.
LOOPS = {
    "dot_u8s8_vnni512": Measured(4.042, 4.0, 4.0, WIDE, rounds(4, vnni(4))),
    "dot_u8s8_vnni512_1acc": Measured(8.006, 6.0, 2.0, WIDE, rounds(2, vnni(1))),
    "dot_u8s8_vnni256": Measured(4.005, 3.0, None, WIDE, rounds(2, vnni_256)),
    "dot_maddubs512": Measured(2.22, 4.0, 2.0, WIDE, rounds(2, maddubs("zmm", "vmovdqu8.load", 64))),
    "dot_maddubs256": Measured(2.17, 2.0, None, VECTOR, rounds(2, maddubs("ymm", "vmovdqu.load", 32))),
    "dot_s8_pmovsx_wd256": Measured(2.516, 6.0, 2.07, VECTOR, rounds(2, widened)),
    "dot_clang_pmovbd512": Measured(4.874, 14.001, 4.12, WIDE, COMPILED),
    "dot_scalar_imul": Measured(4.955, 4.0, None, VECTOR, rounds(4, scalar)),
    "gemm_4x16_vnni": Measured(4.029, 10.856, 4.0, WIDE, GEMM),
    "requant_mulld_srai": Measured(1.432, 2.522, 1.5, WIDE, REQUANTIZED),
    "requant_muldq_doubling": Measured(2.722, 4.365, 2.75, WIDE, DOUBLING),
    "relu_s8_512": Measured(2.022, 2.0, 2.0, WIDE, rounds(2, relu)),
    "lut_pshufb_int4": Measured(2.004, 3.25, 2.0, WIDE, LOOKUP),
    "binary_popcnt_xnor": Measured(2.003, 1.504, 2.0, WIDE, POPCOUNT),
    "dw_mullo_add16": Measured(2.06, 3.0, 2.0, VECTOR, DEPTHWISE),
    "pack_saturate": Measured(1.503, 1.667, None, VECTOR, PACKED),
}

NAMES = {
    "vmovdqu8.load": "vmovdqu64", "vmovdqu8.store": "vmovdqu64", "vmovdqu8.ymm.load": "vmovdqu", "add": "addl",
    "movzx.load": "movzbl", "movsx.load": "movsbl", "imul": "imull",
}  # fmt: skip
EXTRA = {"vpternlogq": "$0x99, ", "vpermq": "$0xd8, "}  # the immediate that says which function
CONTROL = "addq $64, %rax\ncmpq %rax, %rcx\njne .L0\n"
GENERAL = {"r2": "%edx", "r8": "%r8d", "r9": "%r9d"}


def assembly(loop: Measured) -> str:
    """A loop as the tools read it, in AT&T syntax."""
    return "".join(f"{line(instruction)}\n" for instruction in loop.body) + CONTROL


def line(instruction: Instruction) -> str:
    """One instruction: sources from the last to the first, then the destination."""
    op = instruction.op
    name = NAMES.get(op, op.split(".")[0])
    sources = instruction.sources[1:] if op in ("imul", "add") else instruction.sources
    operands = [written(each, ".ymm" in op) for each in (*reversed(sources), instruction.destination)]
    mask = "{%k1}" if op == "vpblendmd" else ""
    return f"{name} {EXTRA.get(op, '')}{', '.join(operands)}{mask}"


def written(operand: object, narrow: bool) -> str:
    """One operand."""
    if isinstance(operand, Address):
        return f"{operand.offset}(%{'rdi' if operand.buffer == 'a' else 'rsi'},%rax)"
    if isinstance(operand, str):
        return GENERAL.get(operand) or f"%{operand.replace('zmm', 'ymm') if narrow else operand}"
    return f"${operand}"
