"""Kernels that go row by row as C, compiled by public compilers and run: every byte equals what the executor leaves."""

import numpy as np
import pytest

from workloads.codegen import generate, pack
from workloads.codegen.specs_rows import LayerNormSpec
from workloads.isa import load_isa
from workloads.operands import Normalization, Operands


def layer_norm(random, isa):
    """Return a Program and what it is given."""
    spec = LayerNormSpec(3, 77)
    own = Normalization(*random.normal(0.5, 1, (2, 77)).astype(np.float32), 1e-5)
    operands = Operands((0.05,), (3,), 0.03, -5, -120, 127, weight_scales=np.empty(0), normalization=own)
    program = generate(spec, isa)
    return program, {"input": random.integers(-128, 128, (3, 77)).astype(np.int8), **pack(program, spec, operands)}


MAKERS = (layer_norm,)


def jobs(toolchains, isa):
    """Return the Programs that the set has."""
    made = [make(np.random.default_rng(seed), isa) for seed, make in enumerate(MAKERS)]
    return [toolchains.Job(program, given) for program, given in made]


@pytest.mark.parametrize("name", ["host rv64gc", "host avx2", "host avx512-vnni", "simde avx512-vnni", "riscv rv64gc"])
def test_compiled_kernels_leave_the_bytes_of_the_executor(name, c_toolchains, tmp_path):
    isa = load_isa(c_toolchains.toolchain(name).isa)
    c_toolchains.compare(name, jobs(c_toolchains, isa), tmp_path)


@pytest.mark.parametrize(("vlen", "machine"), [(128, 128), (128, 512)])
def test_compiled_vector_kernels_leave_the_bytes_of_the_executor(vlen, machine, c_toolchains, tmp_path):
    c_toolchains.compare(f"clang rvv {machine}", jobs(c_toolchains, load_isa("rvv", vlen=vlen)), tmp_path)
