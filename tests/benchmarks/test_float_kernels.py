"""float32 Programs as C with intrinsics, timed on the machine at hand and compared with its core model.

Run with ``pytest tests/benchmarks/test_float_kernels.py -s``. Data stay in the second cache, of which the core
model knows nothing, so that a kernel takes longer than it says. Cycles come from a chain of dependent additions.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from device_models.cores import cost, load_core
from workloads.c_source import c_file
from workloads.c_source.dialect import load_dialect
from workloads.c_source.function import function_names
from workloads.codegen import choices, generate
from workloads.codegen.float_spec import FloatSpec
from workloads.codegen.specs import ConvSpec, MatrixSpec
from workloads.isa import load_isa

SPEC = importlib.util.spec_from_file_location("x86_loops_benchmark", Path(__file__).with_name("test_x86_loops.py"))
LAYERS = {
    "3x3, 64 to 64, 28x28": ConvSpec(1, 28, 28, 64, 28, 28, 64, (3, 3), padding=(1, 1)),
    "1x1, 128 to 128, 28x28": ConvSpec(1, 28, 28, 128, 28, 28, 128, (1, 1)),
    "depthwise 3x3, 64, 28x28": ConvSpec(1, 28, 28, 64, 28, 28, 64, (3, 3), padding=(1, 1), depthwise=True),
    "96 x 128 * 128 x 128": MatrixSpec(96, 128, 128),
}
CHAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include <x86intrin.h>
static uint64_t chain(void) {
    uint64_t best = -1;
    for (int round = 0; round < 20; round++) {
        const uint64_t start = __rdtsc();
        for (int i = 0; i < 1000; i++) __asm__ volatile("%s" ::: "rax", "cc");
        const uint64_t ticks = __rdtsc() - start;
        if (ticks < best) best = ticks;
    }
    return best;
}
int main(void) {
"""


def programs():
    """Yield (layer, Program) for each lowering that AVX2 is offered with."""
    isa = load_isa("avx2")
    for layer, shape in LAYERS.items():
        spec = FloatSpec(shape, ("low",))
        for options in {one.lowering: one for one in reversed(choices(spec, isa))}.values():
            yield f"{layer}, {options.lowering}", generate(spec, isa, options)


def source(found) -> str:
    """Return a C program that prints the cycles of each Program, the least of many runs."""
    text = c_file(found) + CHAIN.replace("%s", "addq $1, %%rax\\n" * 64)
    for program, name in zip(found, function_names(found, load_dialect("avx2")), strict=True):
        places = [f"b{number}" for number in range(len(program.buffers))]
        text += "    {\n"
        for place, buffer in zip(places, program.buffers, strict=True):
            text += f"        float *{place} = aligned_alloc(64, {-(-buffer.bytes // 64) * 64});\n"
            text += (
                f"        for (int i = 0; i < {buffer.bytes // 4}; i++) {place}[i] = (float)(i % 7) * 0.25f - 0.5f;\n"
            )
        called = ", ".join(f"(uint8_t *){place}" for place in places)
        text += "        double best = 1e18;\n        for (int round = 0; round < 60; round++) {\n"
        text += "            const double unit = chain() / 64000.0;\n            const uint64_t start = __rdtsc();\n"
        text += f"            {name}({called});\n            const double cycles = (__rdtsc() - start) / unit;\n"
        text += '            if (cycles < best) best = cycles;\n        }\n        printf("%f\\n", best);\n    }\n'
    return text + "}\n"


def test_float_kernels_take_little_more_than_the_core_model_says(tmp_path, capsys):
    loops = importlib.util.module_from_spec(SPEC)
    sys.modules[SPEC.name] = loops
    SPEC.loader.exec_module(loops)
    name, features = loops.processor()
    if shutil.which("gcc") is None or not features >= {"avx2", "fma"}:
        pytest.skip("gcc or AVX2 is missing")
    core, found = load_core(name), dict(programs())
    (tmp_path / "kernels.c").write_text(source(list(found.values())), encoding="utf-8")
    command = ["gcc", "-O2", *load_dialect("avx2").flags, "-o", "kernels", "kernels.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "kernels"], capture_output=True, text=True, check=True).stdout.split()
    lines = [f"\n{core.title}: MAC per cycle"]
    ratios = []
    for (key, program), measured in zip(found.items(), map(float, printed), strict=True):
        predicted = cost(program, core).cycles
        ratios.append(measured / predicted)
        rates = f"measured {program.macs / measured:5.1f}  presage {program.macs / predicted:5.1f}"
        lines.append(f"{key:40} {rates}  x {ratios[-1]:.2f}")
    with capsys.disabled():
        sys.stdout.write("\n".join(lines) + "\n")
    assert all(0.9 < ratio < 1.6 for ratio in ratios)
