"""Kernels that go row by row as C, compiled by public compilers and run: every byte equals what the executor leaves."""

import contextlib

import numpy as np
import pytest

from workloads.codegen import generate, pack
from workloads.codegen.specs_rows import LayerNormSpec, LstmSpec, SvdfSpec
from workloads.isa import load_isa
from workloads.kernels.recurrent import Gate, LstmConstants, SvdfConstants
from workloads.operands import Factors, Normalization, Operands


def layer_norm(random, isa):
    """Return a Program and what it is given."""
    spec = LayerNormSpec(3, 77)
    own = Normalization(*random.normal(0.5, 1, (2, 77)).astype(np.float32), 1e-5)
    operands = Operands((0.05,), (3,), 0.03, -5, -120, 127, weight_scales=np.empty(0), normalization=own)
    program = generate(spec, isa)
    return program, {"input": random.integers(-128, 128, (3, 77)).astype(np.int8), **pack(program, spec, operands)}


def filter_over_time(random, isa):
    """Return a Program and what it is given."""
    spec = SvdfSpec(2, 13, 21, 2, 7)
    own = SvdfConstants(
        bytes_of(random, 42, 13), random.integers(-999, 999, (42, 7)), None, 2, 3, -4, factor(-6), factor(-20),
        -(2**15), 2**15 - 1, -128, 127,
    )  # fmt: skip
    state = random.integers(-(2**15), 2**15, 2 * 42 * 7).astype(np.int16)
    return made(spec, isa, own, {"input": bytes_of(random, 2, 13), "state": state})


def memory(random, isa):
    """Return a Program and what it is given."""
    spec = LstmSpec(3, 1, 13, 21, -11)
    parts = [Gate(bytes_of(random, 21, 13), bytes_of(random, 21, 21), None, factor(-7), factor(-7)) for _ in range(4)]
    own = LstmConstants(tuple(parts), 3, -4, factor(-22), -11, 2**15)
    given = {"hidden": bytes_of(random, 21), "cell": random.integers(-9000, 9000, 21).astype(np.int16)}
    return made(spec, isa, own, {"input": bytes_of(random, 3, 13), **given})


def made(spec, isa, own, given):
    """Return the Program of a layer with a state, and what it is given."""
    program = generate(spec, isa)
    return program, given | pack(program, spec, Operands((1.0,), (0,), 1.0, 0, -128, 127, recurrent=own))


def bytes_of(random, *shape):
    return random.integers(-128, 128, shape).astype(np.int8)


def factor(power):
    return Factors(np.array([1518500250], np.int32), np.array([power], np.int32))


def jobs(toolchains, isa):
    """Return the Programs that the set has."""
    found = []
    for seed, make in enumerate((layer_norm, filter_over_time, memory)):
        with contextlib.suppress(NotImplementedError):
            found.append(toolchains.Job(*make(np.random.default_rng(seed), isa)))
    assert found
    return found


@pytest.mark.parametrize(
    "name", ["host thumb2-dsp", "host avx2", "simde avx512-vnni", "arm thumb2-dsp", "riscv rv32im", "riscv rv64gc"]
)
def test_compiled_kernels_leave_the_bytes_of_the_executor(name, c_toolchains, tmp_path):
    isa = load_isa(c_toolchains.toolchain(name).isa)
    c_toolchains.compare(name, jobs(c_toolchains, isa), tmp_path)


def test_compiled_vector_kernels_leave_the_bytes_of_the_executor_also_on_longer_vectors(c_toolchains, tmp_path):
    c_toolchains.compare("clang rvv 512", jobs(c_toolchains, load_isa("rvv", vlen=128)), tmp_path)
