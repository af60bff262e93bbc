"""Public compilers and emulators that take Programs as C, and the run that compares every byte with the executor."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workloads.c_source import c_file
from workloads.c_source.dialect import load_dialect
from workloads.c_source.function import function_names
from workloads.executor import execute

GUARD = 64  # bytes around each buffer that no kernel may touch
FILL = 0xA5  # of the guards, and of scratch and output before a run

# Bytes in, run, bytes out. BARE needs no C library, so that a compiler for bare metal will do.
DRIVER = """
#ifdef BARE
static long call(long number, long a, long b, long c) {
#ifdef __arm__
    register long n __asm__("r7") = number, r0 __asm__("r0") = a, r1 __asm__("r1") = b, r2 __asm__("r2") = c;
    __asm__ volatile("svc 0" : "+r"(r0) : "r"(n), "r"(r1), "r"(r2) : "memory");
#else
    register long n __asm__("a7") = number, r0 __asm__("a0") = a, r1 __asm__("a1") = b, r2 __asm__("a2") = c;
    __asm__ volatile("ecall" : "+r"(r0) : "r"(n), "r"(r1), "r"(r2) : "memory");
#endif
    return r0;
}
#ifdef __arm__
enum { READ = 3, WRITE = 4, EXIT = 1 };
#else
enum { READ = 63, WRITE = 64, EXIT = 93 };
#endif
static long read(int file, void *at, long bytes) { return call(READ, file, (long)at, bytes); }
static long write(int file, const void *at, long bytes) { return call(WRITE, file, (long)at, bytes); }
int main(void);
void _start(void) { call(EXIT, main(), 0, 0); }
#else
#include <unistd.h>
#endif
static _Alignas(64) uint8_t memory[%(bytes)d];
static int take(long bytes) {
    for (long done = 0, got; done < bytes; done += got)
        if ((got = read(0, memory + done, bytes - done)) <= 0) return 1;
    return 0;
}
static int give(long bytes) {
    for (long done = 0, got; done < bytes; done += got)
        if ((got = write(1, memory + done, bytes - done)) <= 0) return 1;
    return 0;
}
int main(void) {
%(calls)s    return 0;
}
"""
CALL = "    if (take({bytes})) return 1;\n    {name}({places});\n    if (give({bytes})) return 1;\n"
STRICT = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-but-set-variable")  # kernels load words that they never use


@dataclass(frozen=True)
class Toolchain:
    """How the C of one instruction set is compiled and run.

    Parameters
    ----------
    flags
        Of the compiler; None takes those that the text itself names.
    more
        Further flags, of the driver and the machine at hand.
    runner
        The emulator, with its options; empty runs natively.
    needs
        Processor flags without which the result is compiled but not run.
    headers
        Files to put beside the text, and what they say.
    library
        Header that must be installed.
    """

    isa: str
    compilers: tuple[str, ...]
    flags: tuple[str, ...] | None = None
    more: tuple[str, ...] = STRICT
    runner: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    headers: dict[str, str] = field(default_factory=dict)
    library: str = ""

    def compile(self, text: str, folder: Path) -> Path:
        """Compile a C text, or skip where no compiler is installed."""
        compiler = next((name for name in self.compilers if name and shutil.which(name.split()[0])), None)
        if compiler is None:
            pytest.skip(f"none of these is installed: {', '.join(filter(None, self.compilers)) or 'clang 17 or later'}")
        if self.library and not Path("/usr/include", self.library).exists():
            pytest.skip(f"{self.library} is not installed")
        for name, said in {**self.headers, "kernels.c": text}.items():
            (folder / name).write_text(said)
        flags = load_dialect(self.isa).flags if self.flags is None else self.flags
        command = [*compiler.split(), "-std=c11", "-O1", *flags, "kernels.c", *self.more, "-o", "kernels"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:4000]
        return folder / "kernels"

    def run(self, binary: Path, given: bytes) -> bytes:
        """Run what was compiled, or skip where the machine cannot."""
        if missing := self.needs - processor_flags():
            pytest.skip(f"compiled, but not run: this processor has no {', '.join(sorted(missing))}")
        if self.runner and not shutil.which(self.runner[0]):
            pytest.skip(f"compiled, but not run: {self.runner[0]} is not installed")
        done = subprocess.run([*self.runner, str(binary)], input=given, capture_output=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr[:4000]
        return done.stdout


def processor_flags() -> set[str]:
    """Return what an x86 processor says it can do."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^flags\s*:(.*)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return set(found[1].split()) if found else set()


def clang() -> tuple[str, ...]:
    """Return the command of a clang that knows RVV 1.0 intrinsics (17 or later); PRESAGE_CLANG may name one."""
    for name in (os.environ.get("PRESAGE_CLANG", ""), "clang", *(f"clang-{version}" for version in range(17, 40))):
        if name and shutil.which(name.split()[0]):
            said = subprocess.run([*name.split(), "--version"], capture_output=True, text=True, check=False).stdout
            version = re.search(r"clang version (\d+)", said)
            if version and int(version[1]) >= 17:
                return (name,)
    return ()


def toolchain(name: str) -> Toolchain:
    """Return a tool chain by name."""
    host, x86, riscv = ("gcc", "clang", "cc"), ("gcc", "clang"), ("riscv64-linux-gnu-gcc",)
    quick = ("-O0", *STRICT, "-lm")
    bare = ("-DBARE", "-ffreestanding", "-nostdlib", "-static", *STRICT)
    simde = {"immintrin.h": Path(__file__).with_name("simde_avx512.h").read_text()}
    vnni = frozenset({"avx512bw", "avx512vl", "avx512_vnni"})
    if name.startswith("clang rvv"):
        # Lanes past vl are filled with ones where an instruction may leave anything in them.
        cpu = f"rv64,v=true,vext_spec=v1.0,vlen={name.split()[-1]},rvv_ta_all_1s=true,rvv_ma_all_1s=true"
        target = ("--target=riscv64-linux-gnu", "-static", *STRICT)
        return Toolchain("rvv", clang(), more=target, runner=("qemu-riscv64", "-cpu", cpu))
    return {
        "host thumb2-dsp": Toolchain("thumb2-dsp", host, (), more=quick),
        "host rv32im": Toolchain("rv32im", host, (), more=quick),
        "host rv64gc": Toolchain("rv64gc", host, (), more=quick),
        "host avx2": Toolchain("avx2", x86, needs=frozenset({"avx2", "fma"})),
        "host avx512-vnni": Toolchain("avx512-vnni", x86, needs=vnni),
        # Intrinsics in plain C, for processors without AVX-512.
        "simde avx512-vnni": Toolchain(
            "avx512-vnni", x86, ("-I.", "-ffp-contract=off"), ("-lm",), headers=simde, library="simde/x86/avx512.h"
        ),
        "arm thumb2-dsp": Toolchain(
            "thumb2-dsp", ("arm-none-eabi-gcc", "arm-linux-gnueabihf-gcc"),
            more=bare, runner=("qemu-arm",),
        ),
        "riscv rv32im": Toolchain("rv32im", riscv, more=bare, runner=("qemu-riscv32",)),
        "riscv rv64gc": Toolchain("rv64gc", riscv, more=("-static", *STRICT), runner=("qemu-riscv64",)),
    }[name]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Job:
    """A Program and the contents of the buffers that it is given."""

    program: Any
    given: dict[str, np.ndarray]

    def contents(self) -> dict[str, np.ndarray]:
        """Return every buffer as bytes; scratch and output begin filled."""
        blank = {buffer.name: np.full(buffer.bytes, FILL, np.uint8) for buffer in self.program.buffers}
        return blank | {name: np.ascontiguousarray(x).reshape(-1).view(np.uint8) for name, x in self.given.items()}


def places(program: Any) -> tuple[dict[str, int], int]:
    """Return the first byte of each buffer, and the end; guards lie between them."""
    found, at = {}, GUARD
    for buffer in program.buffers:
        found[buffer.name] = at
        at += -(-buffer.bytes // 64) * 64 + GUARD
    return found, at


def image(program: Any, contents: dict[str, np.ndarray]) -> np.ndarray:
    """Return the memory that a kernel sees, guards included."""
    at, end = places(program)
    found = np.full(end, FILL, np.uint8)
    for name, values in contents.items():
        found[at[name] : at[name] + values.size] = values
    return found


def compare(name: str, jobs: list[Job], folder: Path) -> None:
    """Compile all Programs in one file, run each, and compare all memory with what the executor leaves."""
    chain = toolchain(name)
    programs = [job.program for job in jobs]
    calls = ""
    for program, called in zip(programs, function_names(programs, load_dialect(chain.isa)), strict=True):
        at, end = places(program)
        pointers = ", ".join(f"memory + {at[buffer.name]}" for buffer in program.buffers)
        calls += CALL.format(bytes=end, name=called, places=pointers)
    biggest = max(places(program)[1] for program in programs)
    binary = chain.compile(c_file(programs) + DRIVER % {"bytes": biggest, "calls": calls}, folder)
    before = [image(job.program, job.contents()) for job in jobs]
    found = np.frombuffer(chain.run(binary, b"".join(x.tobytes() for x in before)), np.uint8)
    for job, first, start in zip(jobs, before, np.cumsum([0, *(x.size for x in before)]), strict=False):
        expected = image(job.program, dict(execute(job.program, job.contents()).buffers))
        np.testing.assert_array_equal(found[start : start + first.size], expected, err_msg=job.program.name)
