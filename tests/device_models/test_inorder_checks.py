"""In-order cores against others' figures; the page ``device_models/cores/checks.md`` tells them in words."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from device_models.cores import load_core
from device_models.cores.inorder import block_cost
from device_models.cores.timing import innermost, issues_of
from workloads.codegen import generate
from workloads.codegen.float_spec import FloatSpec
from workloads.codegen.specs import ConvSpec, MatrixSpec
from workloads.options import DEFAULT, Options
from workloads.program import Address, Instruction

ARGUMENTS = {
    "cortex-m7": ["-mtriple=thumbv7em-none-eabi", "-mcpu=cortex-m7"],
    "u74": ["-mtriple=riscv64", "-mattr=+zbb", "-mcpu=sifive-u74"],
}
VERSIONS = (14, 19)

DOT = """
    ldr r5 @0|ldr r7 @4|sxtb16 r4 r5|ldr r8 @8|sxtb16 r6 r7|ldr r14 @12|sxtb16 r9 r8|sxtb16.ror8 r5 r5|smlad r0 r9 r4 r0
    sxtb16.ror8 r7 r7|smlad r1 r9 r6 r1|sxtb16 r9 r14|sxtb16.ror8 r8 r8|smlad r2 r9 r4 r2|sxtb16.ror8 r14 r14
    smlad r3 r9 r6 r3|smlad r0 r8 r5 r0|smlad r1 r8 r7 r1|smlad r2 r14 r5 r2|smlad r3 r14 r7 r3"""
BYTES = """
    ldrsb r4 @0|ldrsb r5 @1|ldrsb r9 @2|mla r0 r9 r4 r0|mla r1 r9 r5 r1|ldrsb r9 @3|mla r2 r9 r4 r2|mla r3 r9 r5 r3"""
PACK = """
    ldr r4 @0|ldr r6 @4|sxtb16.ror8 r5 r4|sxtb16 r4 r4|sxtb16.ror8 r7 r6|sxtb16 r6 r6|pkhbt r9 r4 r6|pkhtb r10 r6 r4
    smlad r0 r9 r8 r0|smlad r1 r10 r8 r1"""
SCALE = """
    lsl r0 r0 r5|mov r8 1073741824|mov r9 0|smlal r8 r0 r4|lsr r8 r8 31|lsl r9 r9 1|orr r0 r9 r8|and r8 r0 r7
    lsr r9 r7 1|sub r9 r9 r8|lsr r8 r0 31|add r9 r9 r8|asr r0 r0 r6|lsr r9 r9 31|add r0 r0 r9|add r0 r0 r10"""
PRODUCTS = """
    lb x13 @0|lb x17 @4|lb x18 @8|lb x19 @12|lb x20 @16|mulw x21 x13 x17|mulw x22 x13 x18|mulw x23 x13 x19
    mulw x24 x13 x20|addw x5 x5 x21|addw x6 x6 x22|addw x7 x7 x23|addw x8 x8 x24"""
# core, block, cycles per iteration: here, llvm-mca 14, llvm-mca 19
AGREE = {
    "16 products of bytes": ("cortex-m7", DOT, 13, 13, 13),
    "4 products of bytes": ("cortex-m7", BYTES, 7, 7, 7),
    "packed halfwords": ("cortex-m7", PACK, 9, 9, 9),
    "copied words": ("cortex-m7", "ldr r14 @0|str @64 r14|ldr r14 @4|str @68 r14|ldr r14 @8|str @72 r14", 3, 3, 3),
    "a chain of arithmetic": ("cortex-m7", "add r0 r0 r1|eor r0 r0 r2|sub r0 r0 r3|and r0 r0 r4", 4, 4, 4),
    "a load and two sums": ("cortex-m7", "ldr r0 @0|add r1 r1 r0|add r2 r2 r3", 2, 2, 2),
    "one product of bytes": ("u74", "lb x10 @0|lb x11 @1|mulw x12 x10 x11|addw x13 x13 x12", 5, 7, 5),
    "requantisation": ("u74", "mul x5 x5 x17|add x5 x5 x19|sra x5 x5 x18|add x5 x5 x27|max x5 x5 x28|min x5 x5 x29",
                       8, 18, 8),
    "filled words": ("u74", "sd @0 x26|sd @8 x26|sd @16 x26|sd @24 x26", 4, 4, 4),
    "products": ("u74", "mulw x5 x6 x7|mulw x8 x6 x7|mulw x9 x6 x7", 3, 3, 3),
    "a chain of products": ("u74", "mulw x5 x5 x7|mulw x5 x5 x7", 6, 6, 6),
    "a product between sums": ("u74", "add x5 x6 x7|mul x8 x5 x7|add x6 x8 x7", 5, 9, 5),
    "sums and loads": ("u74", "addw x5 x5 x21|lb x13 @0|addw x6 x6 x22|lb x14 @1", 2, 3, 2),
}  # fmt: skip
# the same, and why the core is known to do something else
DIFFER = {
    "a word for a product": ("cortex-m7", "ldr r0 @0|mul r1 r0 r2|add r3 r1 r3", 4, 3, 3,
                             "measured: a multiply cannot use a word of the cycle before; LLVM's tool lacks this rule"),
    "two shifts": ("cortex-m7", "lsl r0 r1 r2|lsr r3 r4 r5", 1, 2, 2, "measured: plain shifts pair"),
    "requantisation": ("cortex-m7", SCALE, 11, 12, 12, "measured: plain shifts pair"),
    "a load beside a product": ("cortex-m7", "sxtb16 r7 r8|smlad r0 r4 r5 r0|smlad r1 r4 r5 r1|ldr r6 @0", 2, 3, 3,
                                "measured: they pair; the tool lets no result come before an older one's"),
    "byte stores": ("cortex-m7", "|".join(f"strb @{at} r0" for at in range(5)), 12, 5, 5,
                    "measured: 2.4 cycles each in a stream; the tool has no store buffer"),
    "copied double words": ("u74", "ld x25 @0|sd @64 x25|ld x25 @8|sd @72 x25", 4, 8, 6,
                            "GCC's description of the core forwards a load to store data in 1 cycle, LLVM's in 3"),
    "one by four products": ("u74", PRODUCTS, 9, 11, 10,
                             "the tool gives the older of a pair a pipe that the younger needs"),
}  # fmt: skip
CASES = {f"{row[0]}: {name}": row for table in (AGREE, DIFFER) for name, row in table.items()}


def block(text: str) -> tuple[Instruction, ...]:
    """Read "smlad r0 r9 r5 r0|str @4 r0": destination, then sources; @4 is memory."""

    def operand(word):
        return Address("b", int(word[1:])) if word[0] == "@" else int(word) if word.isdigit() else word

    lines = [line.split() for line in re.split(r"\||\n", text) if line.strip()]
    return tuple(Instruction(op, operand(first), tuple(map(operand, rest))) for op, first, *rest in lines)


def steady(name: str, instructions: tuple[Instruction, ...]) -> float:
    """Return the cycles per iteration without those that fetch takes after a taken branch."""
    core = load_core(name)
    found = block_cost(issues_of(instructions, core, core.isa()), core)
    return found.steady - found.again.branch


def assembly(name: str, instructions: tuple[Instruction, ...]) -> str:
    """Return a block as GNU assembly; addresses keep their offset modulo 256 from a register nothing writes."""
    if name == "u74":
        return "\n".join(map(_riscv, instructions)) + "\n"
    return ".syntax unified\n.thumb\n" + "\n".join(map(_thumb, instructions)) + "\n"


def _thumb(one: Instruction) -> str:
    def text(operand):
        if isinstance(operand, Address):
            return f"[sp, #{operand.offset % 256}]"
        return operand if isinstance(operand, str) else f"#{operand}"

    op, first, rest = one.op, one.destination, list(map(text, one.sources))
    if isinstance(first, Address):
        first, rest = rest[0], [text(first)]
    if op == "smlal":
        rest.insert(0, f"r{int(first[1:]) + 1}")
    after = {"sxtb16.ror8": ["ror #8"], "pkhbt": ["lsl #16"], "pkhtb": ["asr #16"]}
    return f"{op.removesuffix('.ror8')} {', '.join([first, *rest, *after.get(op, [])])}"


def _riscv(one: Instruction) -> str:
    def text(operand):
        return f"{operand.offset % 256}(x31)" if isinstance(operand, Address) else str(operand)

    operands = [text(operand) for operand in (one.destination, *one.sources)]
    return f"{one.op} {', '.join(reversed(operands) if isinstance(one.destination, Address) else operands)}"


def llvm_mca(version: int) -> str:
    """Return the path of llvm-mca of a version; skip the test where it is not installed."""
    for path in filter(None, map(shutil.which, (f"llvm-mca-{version}", "llvm-mca"))):
        told = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        if f"LLVM version {version}." in told:
            return path
    pytest.skip(f"llvm-mca {version} is not installed")


def told(tool: str, name: str, instructions: tuple[Instruction, ...]) -> tuple[float, float]:
    """Return cycles per iteration and the bound of the busiest resource, as llvm-mca tells them."""
    totals, bound = [], "nan"
    for iterations in (100, 200):
        run = subprocess.run(
            [tool, *ARGUMENTS[name], f"-iterations={iterations}"], input=assembly(name, instructions),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        totals.append(int(re.search(r"Total Cycles:\s+(\d+)", run.stdout)[1]))
        bound = re.search(r"Block RThroughput:\s+(\S+)", run.stdout)[1]
    return (totals[1] - totals[0]) / 100, float(bound)


@pytest.mark.parametrize("case", [name for name, row in CASES.items() if len(row) == 5])
def test_blocks_take_what_llvm_mca_tells(case):
    name, text, here, _, latest = CASES[case]
    assert steady(name, block(text)) == here
    assert here == pytest.approx(latest, rel=0.05)


@pytest.mark.parametrize("case", [name for name, row in CASES.items() if len(row) == 6])
def test_where_more_is_known_of_the_core_than_llvm_mca_tells_the_core_is_followed(case):
    name, text, here, _, latest, reason = CASES[case]
    assert steady(name, block(text)) == pytest.approx(here)
    assert here != pytest.approx(latest, rel=0.05), reason


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_the_figures_of_llvm_mca_are_what_it_tells(case, version):
    name, text, *figures = CASES[case]
    assert told(llvm_mca(version), name, block(text))[0] == figures[1 + VERSIONS.index(version)]


KERNELS = {
    "1x1": ConvSpec(1, 8, 8, 16, 8, 8, 16, (1, 1)),
    "3x3": ConvSpec(1, 8, 8, 16, 8, 8, 16, (3, 3), padding=(1, 1)),
    "first": ConvSpec(1, 8, 8, 3, 8, 8, 16, (3, 3), padding=(1, 1)),
    "fully connected": MatrixSpec(1, 64, 16),
}


def loops(name: str, spec: ConvSpec | MatrixSpec | FloatSpec, options: Options = DEFAULT):
    """Yield the bodies of a kernel's innermost loops without what closes them: llvm-mca predicts no branches."""
    isa = load_core(name).isa()
    for loop, _ in innermost(generate(spec, isa, options).body):
        body = tuple(one for one in loop.body if isinstance(one, Instruction) and isa.meaning(one.op).kind != "control")
        if not {"movlt", "strb"} & {one.op for one in body}:  # IT is unknown to llvm-mca, the store buffer too
            yield body


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_generated_loops_lie_between_the_bound_and_the_schedule_of_llvm_mca(name, kernel):
    """Its schedule knows each rule of the model or a stricter one (see DIFFER), but one: words for products."""
    tool, found = llvm_mca(19), 0
    for body in loops(name, KERNELS[kernel]):
        cycles, bound = told(tool, name, body)
        assert bound <= steady(name, body) <= cycles * 1.05
        found += 1
    assert found


@pytest.mark.parametrize("lowering", ["direct", "winograd", "winograd-4x4"])
def test_generated_float_loops_of_the_u74_lie_between_the_bound_and_the_schedule_of_llvm_mca(lowering):
    """The tool lets no load give its result before an older multiply-add, which takes three cycles more."""
    tool, found = llvm_mca(19), 0
    for body in loops("u74", FloatSpec(KERNELS["3x3"], ("low",)), Options(lowering=lowering)):
        cycles, bound = told(tool, "u74", body)
        assert bound <= steady("u74", body) <= cycles * 1.05
        found += 1
    assert found


def cmsis(loads_apart: bool):
    """16 products of CMSIS-NN's DSP matrix multiply: 4 word loads, 8 SXTB16 and 8 SMLAD."""
    loads = [Instruction("ldr", f"r{index}", (Address("b", 4 * index),)) for index in range(4)]
    extends = [Instruction("sxtb16", f"r{4 + index % 4}", (f"r{index % 4}",)) for index in range(8)]
    products = [Instruction("smlad", f"r{8 + index % 4}", ("r12", "r13", f"r{8 + index % 4}")) for index in range(8)]
    mixed = [one for pair in zip(extends, products, strict=True) for one in pair]
    if not loads_apart:
        return (*loads, *mixed)
    return tuple(one for index in range(4) for one in (loads[index], *mixed[4 * index : 4 * index + 4]))


# 20 instructions for 16 products. M7: 20 / 2, and 8 of both SMLAD and SXTB16. M4: 20 and a cycle for each load alone.
@pytest.mark.parametrize(("name", "apart", "cycles"), [("cortex-m7", False, 10), ("cortex-m4", True, 24)])
def test_sixteen_products_of_cmsis_nn_take_the_published_cycles(name, apart, cycles):
    assert steady(name, cmsis(apart)) == cycles


# MLPerf Tiny v1.2, ResNet-8: the best measured networks stay above the bound of the inner loop, and near it on the M4.
@pytest.mark.parametrize(("name", "apart", "measured"), [("cortex-m7", False, 0.92), ("cortex-m4", True, 1.58)])
def test_the_inner_loop_is_a_bound_of_the_best_measured_networks(name, apart, measured):
    assert 0.6 * measured < steady(name, cmsis(apart)) / 16 < measured


@pytest.mark.parametrize(
    ("name", "text", "cycles"),
    [
        ("cortex-m4", "ldr r0 @0|add r1 r2 r3", 3),  # a load alone takes two
        ("cortex-m4", "ldr r0 @0|ldr r1 @4|add r2 r3 r3", 4),  # two loads three, three four
        ("cortex-m4", "ldr r0 @0|ldr r1 @4|ldr r2 @8|add r3 r3 r3", 5),
        ("cortex-m4", "ldr r0 @0|str @4 r1|add r2 r3 r3", 3),  # a store takes the load's second cycle
        ("cortex-m4", "str @4 r1|add r2 r3 r3", 2),
        ("cortex-m4", "str @4 r1|ldr r2 @8", 3),  # a load waits for a store
        ("cortex-m4", "ldrd r0 @0|add r3 r3 r3", 4),  # 1 + 2
        ("cortex-m4", "smlad r0 r1 r2 r0|smlad r0 r1 r2 r0", 2),
        ("cortex-m33", "ldr r0 @0|add r1 r0 r2", 3),  # load to use: two
        ("cortex-m33", "ldr r0 @0|smlad r0 r1 r2 r0", 2),  # to an accumulator one
        ("cortex-m33", "ldr r0 @0|str @4 r0", 2),  # to a store one
        ("cortex-m33", "smlad r0 r1 r2 r0|smlad r0 r1 r2 r0", 2),  # accumulators chain
        ("cortex-m33", "smlad r0 r1 r2 r0|add r3 r0 r4", 3),
        ("cortex-m33", "ldrd r0 @0|add r3 r4 r5", 3),
        ("cortex-m7", "ldrsb r0 @0|mul r1 r0 r2", 3),  # bytes reach a multiply as they reach the late ALU
        ("cortex-m7", "ldr r0 @0|str @4 r0", 1),  # a store takes any result of its cycle
        ("cortex-m7", "and r0 r1 r2|pkhbt r3 r4 r0", 3),  # a shifted operand is needed a cycle early
        ("u74", "lw x5 @0|add x6 x5 x7", 2),  # no delay in the late ALU
        ("u74", "lw x5 @0|mul x6 x5 x7", 4),  # three to a multiply
        ("u74", "add x5 x6 x7|mul x8 x5 x7", 2),  # one from the early ALU
        ("ibex", "add x5 x6 x7|lw x8 @0|sw @4 x8", 5),  # 1 + 2 + 2
        ("ibex", "mul x5 x6 x7|mulh x8 x6 x7|div x9 x6 x7", 45),  # 3 + 4 + 38
    ],
)  # fmt: skip
def test_cores_follow_the_rules_of_their_manuals_and_of_measurements(name, text, cycles):
    core = load_core(name)
    assert block_cost(issues_of(block(text), core, core.isa()), core).first == cycles


# Counting down: M4 and M33 refill after each taken branch, Ibex stalls for two cycles, the others predict.
@pytest.mark.parametrize(
    ("name", "body", "cycles"),
    [
        ("cortex-m4", ("subs", "bne"), 3),
        ("cortex-m33", ("subs", "bne"), 3),
        ("cortex-m7", ("subs", "bne"), 1),
        ("ibex", ("addi", "bne"), 4),
        ("u74", ("addi", "bne"), 1),
    ],
)
def test_a_countdown_takes_the_published_cycles_per_trip(name, body, cycles):
    core = load_core(name)
    found = block_cost(issues_of(tuple(map(Instruction, body)), core, core.isa()), core)
    assert found.steady == cycles
    assert found.again.branch == (core.timing.branch.taken.value if core.timing.branch.taken else 0)
