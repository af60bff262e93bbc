"""The measured int8 loops as C with intrinsics, timed on the machine at hand and compared with its core model.

Run with ``pytest tests/benchmarks/test_x86_loops.py -s``. Loops that the processor lacks are left out. Cycles come from
the time stamp counter, in units of a chain of dependent additions that runs in between; the least of many short runs
counts, because other work on the machine only ever adds.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from device_models.cores import cost, load_core
from workloads.program import Address

MODULE = Path(__file__).parents[1] / "device_models" / "x86_loops.py"
SPEC = importlib.util.spec_from_file_location("x86_loops", MODULE)
x86_loops = importlib.util.module_from_spec(SPEC)
sys.modules["x86_loops"] = x86_loops
SPEC.loader.exec_module(x86_loops)

TRIPS, ROUNDS, CHAIN = 1000, 20_000, 64
FLAGS = {"avx2": ("avx2",), "avx512-vnni": ("avx512f", "avx512bw", "avx512_vnni", "avx512_vpopcntdq")}
WIDE = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512vnni", "-mavx512vpopcntdq")
CORES = (  # vendor, family, models, core
    ("AuthenticAMD", 25, {*range(0x10), *range(0x20, 0x60)}, "zen3"),
    ("AuthenticAMD", 25, {*range(0x10, 0x20), *range(0x60, 0xB0)}, "zen4"),
    ("AuthenticAMD", 26, set(range(0x100)), "zen5"),
    ("GenuineIntel", 6, {85}, "cascade-lake"),
    ("GenuineIntel", 6, {106}, "ice-lake-sp"),
)
C = {  # one instruction as C: {d} the destination, {a} and {b} the sources, {w} 256 or 512
    "vmovdqu.load": "_mm256_loadu_si256({a})",
    "vmovdqu.store": "_mm256_storeu_si256({d}, {a})",
    "vmovdqu8.load": "_mm512_loadu_si512({a})",
    "vmovdqu8.store": "_mm512_storeu_si512({d}, {a})",
    "vmovdqu8.ymm.load": "_mm512_castsi256_si512(_mm256_loadu_si256({a}))",
    "vpbroadcastd.load": "_mm512_set1_epi32(*{a})",
    "vpmovsxbw.load": "_mm256_cvtepi8_epi16(_mm_loadu_si128({a}))",
    "vpmovsxbd.load": "_mm512_cvtepi8_epi32(_mm_loadu_si128({a}))",
    "vpmovzxbd.load": "_mm512_cvtepu8_epi32(_mm_loadu_si128({a}))",
    "vpmovsdb.store": "_mm_storeu_si128({d}, _mm512_cvtsepi32_epi8({a}))",
    "movzx.load": "*(const uint8_t *){a}",
    "movsx.load": "*(const int8_t *){a}",
    "imul": "{a} * {b}",
    "add": "{a} + {b}",
    "vpmaddubsw": "_mm{w}_maddubs_epi16({a}, {b})",
    "vpmaddwd": "_mm{w}_madd_epi16({a}, {b})",
    "vpmullw": "_mm{w}_mullo_epi16({a}, {b})",
    "vpmulld": "_mm{w}_mullo_epi32({a}, {b})",
    "vpmuldq": "_mm{w}_mul_epi32({a}, {b})",
    "vpaddb": "_mm{w}_add_epi8({a}, {b})",
    "vpaddd": "_mm{w}_add_epi32({a}, {b})",
    "vpaddq": "_mm{w}_add_epi64({a}, {b})",
    "vpaddsw": "_mm{w}_adds_epi16({a}, {b})",
    "vpandd": "_mm{w}_and_si512({a}, {b})",
    "vpmaxsb": "_mm{w}_max_epi8({a}, {b})",
    "vpmaxsd": "_mm{w}_max_epi32({a}, {b})",
    "vpackssdw": "_mm{w}_packs_epi32({a}, {b})",
    "vpacksswb": "_mm{w}_packs_epi16({a}, {b})",
    "vpermq": "_mm256_permute4x64_epi64({a}, 0xD8)",
    "vpshufb": "_mm{w}_shuffle_epi8({a}, {b})",
    "vpsrad": "_mm{w}_srai_epi32({a}, {b})",
    "vpsraq": "_mm{w}_srai_epi64({a}, {b})",
    "vpsrlq": "_mm{w}_srli_epi64({a}, {b})",
    "vpsrlw": "_mm{w}_srli_epi16({a}, {b})",
    "vpblendmd": "_mm512_mask_blend_epi32(0xAAAA, {a}, {b})",
    "vpternlogq": "_mm512_ternarylogic_epi64({a}, {b}, {b}, 0x99)",
    "vpopcntq": "_mm512_popcnt_epi64({a})",
    "vpdpbusd": "_mm512_dpbusd_epi32({d}, {a}, {b})",
    "vpdpwssd": "_mm512_dpwssd_epi32({d}, {a}, {b})",
    "vpdpbusd.ymm": "_mm512_castsi256_si512(_mm256_dpbusd_epi32(_mm512_castsi512_si256({d}), "
    "_mm512_castsi512_si256({a}), _mm256_loadu_si256({b})))",
}
TYPES = {"y": ("__m256i", "x"), "z": ("__m512i", "v"), "r": ("int", "r")}


def processor() -> tuple[str, frozenset[str]]:
    """The core model of this processor, and its features; skips where there is none."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    fields = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", text.split("\n\n")[0], re.MULTILINE))
    if platform.machine() != "x86_64" or "vendor_id" not in fields:
        pytest.skip("this machine is no x86 with /proc/cpuinfo")
    vendor, family, model = fields["vendor_id"], int(fields["cpu family"]), int(fields["model"])
    core = next((name for v, f, models, name in CORES if (v, f) == (vendor, family) and model in models), None)
    if core is None:
        pytest.skip(f"no core model for {vendor} family {family} model {model}")
    return core, frozenset(fields["flags"].split())


def operand(value, instruction) -> str:
    """One operand as C; a source in memory is loaded by the instruction that reads it."""
    if not isinstance(value, Address):
        return str(value)
    if instruction.op.startswith("vpbroadcast"):
        return f"(int *)({value.buffer} + {value.offset})"
    pointer = f"(void *)({value.buffer} + {value.offset})"
    return pointer if "." in instruction.op else f"_mm{width(instruction)}_loadu_si{width(instruction)}({pointer})"


def width(instruction) -> int:
    """Bits of the vector registers of an instruction."""
    return 256 if "ymm" in repr(instruction) else 512


def statement(instruction) -> str:
    """One instruction as C; what it computed is then unknown to the compiler, which so keeps it as it is."""
    names = [operand(each, instruction) for each in instruction.sources]
    destination = operand(instruction.destination, instruction)
    text = C[instruction.op].format(d=destination, a=names[0], b=names[-1], w=width(instruction))
    if isinstance(instruction.destination, Address):
        return f"    {text};\n"
    constraint = TYPES[destination[0]][1]
    return f'    {destination} = {text}; __asm__ volatile("" : "+{constraint}"({destination}));\n'


def function(name: str, loop) -> str:
    """One loop as a C function that returns the ticks of ``TRIPS`` iterations."""
    registers = sorted(set(re.findall(r"\b(?:[yz]mm|r)\d+\b", repr(loop.body))))
    lines = [f"static __attribute__((noinline)) uint64_t {name}(char *a, char *b) {{\n"]
    for register in registers:
        kind, constraint = TYPES[register[0]]
        lines.append(f'  {kind} {register}; __asm__ volatile("" : "={constraint}"({register}));\n')
    lines.append(f"  const uint64_t start = __rdtsc();\n  for (int i = 0; i < {TRIPS}; i++) {{\n")
    lines += [statement(instruction) for instruction in loop.body]
    lines.append('    __asm__ volatile("" ::: "memory");\n  }\n  return __rdtsc() - start;\n}\n\n')
    return "".join(lines)


def source(loops) -> str:
    """A C program that prints, per loop, cycles per iteration."""
    chain = "addq $1, %%rax\\n" * CHAIN
    names = ["chain", *loops]
    return f"""#include <stdint.h>
#include <stdio.h>
#include <x86intrin.h>
static _Alignas(4096) char A[4096], B[4096];
static __attribute__((noinline)) uint64_t chain(char *a, char *b) {{
  const uint64_t start = __rdtsc();
  for (int i = 0; i < {TRIPS}; i++) __asm__ volatile("{chain}" ::: "rax", "cc");
  return __rdtsc() - start;
}}

{"".join(function(name, loop) for name, loop in loops.items())}
int main(void) {{
  uint64_t (*all[])(char *, char *) = {{{", ".join(names)}}}, best[{len(names)}];
  for (int k = 0; k < {len(names)}; k++) best[k] = UINT64_MAX;
  for (int round = 0; round < {ROUNDS}; round++)
    for (int k = 0; k < {len(names)}; k++) {{
      const uint64_t ticks = all[k](A, B);
      if (ticks < best[k]) best[k] = ticks;
    }}
  for (int k = 1; k < {len(names)}; k++) printf("%f\\n", (double)best[k] / best[0] * {CHAIN});
}}
"""


def test_the_loops_take_the_cycles_that_the_core_model_says(tmp_path, capsys):
    name, features = processor()
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    core = load_core(name)
    loops = {
        key: loop
        for key, loop in x86_loops.LOOPS.items()
        if loop.isa in core.instruction_sets and features >= set(FLAGS[loop.isa])
    }
    (tmp_path / "loops.c").write_text(source(loops), encoding="utf-8")
    sets = WIDE if any(loop.isa != "avx2" for loop in loops.values()) else ()
    command = ["gcc", "-O2", "-fno-tree-vectorize", "-mavx2", *sets, "-o", "loops", "loops.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "loops"], capture_output=True, text=True, check=True).stdout.split()
    lines, errors = [f"\n{core.title}: cycles per iteration"], []
    for (key, loop), measured in zip(loops.items(), map(float, printed), strict=True):
        predicted = cost(loop.program(key, 30), core).cycles / 30
        errors.append(predicted / measured - 1)
        lines.append(f"{key:24} measured {measured:6.3f}  presage {predicted:6.3f}  {errors[-1]:+6.1%}")
    lines.append(f"median error {median(map(abs, errors)):.1%} over {len(errors)} loops")
    with capsys.disabled():
        sys.stdout.write("\n".join(lines) + "\n")
    assert median(map(abs, errors)) <= 0.10


def test_every_loop_reads_as_c_that_compiles(tmp_path):
    if shutil.which("gcc") is None or platform.machine() != "x86_64":
        pytest.skip("gcc for x86 is not installed")
    (tmp_path / "loops.c").write_text(source(x86_loops.LOOPS), encoding="utf-8")
    command = ["gcc", "-O2", "-mavx2", *WIDE, "-Wall", "-Werror", "-Wno-uninitialized", "-c", "loops.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
