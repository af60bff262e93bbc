"""Generated kernels as C, compiled by public compilers and run: every byte equals what the executor leaves."""

import numpy as np
import pytest

from workloads.codegen import choices, generate, pack
from workloads.codegen.specs import (
    ConcatSpec,
    ConvSpec,
    CopySpec,
    ElementwiseSpec,
    LookupSpec,
    MatMulSpec,
    MatrixSpec,
    PoolSpec,
    SoftmaxSpec,
)
from workloads.codegen.specs_images import ResizeSpec, TransposedSpec
from workloads.isa import load_isa
from workloads.operands import Operands

SPECS = (
    ConvSpec(1, 6, 5, 3, 6, 5, 9, (3, 3), padding=(1, 1)),
    ConvSpec(2, 7, 9, 20, 3, 4, 37, (3, 2), (2, 2), (0, 0), (1, 2)),
    ConvSpec(1, 5, 5, 12, 5, 5, 10, (3, 3), padding=(1, 1), groups=2),
    ConvSpec(1, 4, 7, 33, 4, 7, 70, (1, 1)),
    ConvSpec(1, 8, 9, 21, 8, 9, 21, (3, 3), padding=(1, 1), depthwise=True),
    ConvSpec(1, 7, 7, 6, 3, 3, 12, (3, 3), (2, 2), depthwise=True),
    MatrixSpec(1, 77, 10),
    MatrixSpec(5, 130, 67),
    PoolSpec("max", 1, 7, 7, 43, 3, 3, (3, 3), (2, 2)),
    PoolSpec("max", 1, 6, 6, 5, 3, 3, (3, 3), (2, 2), (1, 1), rescale=True),
    PoolSpec("average", 1, 6, 6, 19, 3, 3, (3, 3), (2, 2), (1, 1)),
    PoolSpec("average", 2, 5, 5, 7, 3, 3, (2, 2), (2, 2), (1, 1), count_padding=True, rescale=True),
    PoolSpec("average", 1, 5, 6, 40, 1, 1, (5, 6), (1, 1), mean=True),
    ElementwiseSpec("add", 1010, 101),
    ElementwiseSpec("mul", 333, 111),
    ElementwiseSpec("requantize", 271, 271),
    ElementwiseSpec("clamp", 271, 271),
    CopySpec(1003, 59),
    SoftmaxSpec(3, 77),
    LookupSpec(333),
    MatMulSpec(7, 19, 43, 2),
    TransposedSpec(1, 5, 4, 21, 10, 8, 19, (3, 3), (2, 2), (0, 1)),
    ResizeSpec(1, 5, 4, 21, 9, 11, half_pixel_centers=True),
    ResizeSpec(1, 3, 5, 3, 5, 10),
    ConcatSpec(((3, 5, 77), (3, 5, 6)), 2, (True, False)),
)


def job(toolchains, spec, isa, seed):
    """Return the Program of a layer with random weights, scales and inputs; layers differ in what they choose."""
    random = np.random.default_rng(seed)
    offered = choices(spec, isa)
    program = generate(spec, isa, offered[seed % len(offered)])
    given = {
        buffer.name: random.integers(-128, 128, buffer.bytes).astype(np.int8)
        for buffer in program.buffers
        if buffer.role == "input"
    }
    return toolchains.Job(program, given | pack(program, spec, operands_of(spec, random)))


def operands_of(spec, random):
    """Draw constants; scales reach above 1, so that left shifts occur."""
    if isinstance(spec, SoftmaxSpec):
        return Operands((float(random.uniform(0.01, 0.5)),), (3,), 1 / 256, -128, -128, 127, weight_scales=np.empty(0))
    low = int(random.integers(-128, 0))
    same = isinstance(spec, PoolSpec) and not spec.rescale and not spec.mean
    same |= isinstance(spec, ElementwiseSpec) and spec.kind == "clamp"
    scales, zeros = 2.0 ** random.uniform(-8, 1, 2), random.integers(-128, 128, 3).tolist()
    scales = tuple(float(np.float32(scale)) for scale in scales)
    drawn = {
        "input_scales": scales, "input_zero_points": tuple(zeros[:2]), "low": low,
        "high": int(random.integers(low, 128)), "output_scale": scales[0] if same else 2.0 ** random.uniform(-6, 1),
        "output_zero_point": zeros[0] if same else zeros[2],
    }  # fmt: skip
    if not isinstance(spec, ConvSpec | MatrixSpec | TransposedSpec):
        one = not isinstance(spec, ElementwiseSpec | MatMulSpec | ConcatSpec)
        one |= isinstance(spec, ElementwiseSpec) and spec.kind in ("requantize", "clamp")
        kept = 1 if one else 2
        drawn |= {"input_scales": scales[:kept], "input_zero_points": tuple(zeros[:kept])}
        table = random.integers(-128, 128, 256).astype(np.int8) if isinstance(spec, LookupSpec) else None
        return Operands(weight_scales=np.empty(0), table=table, **drawn)
    columns = spec.columns if isinstance(spec, MatrixSpec) else spec.channels_out
    shape = (
        (columns, spec.depth) if isinstance(spec, MatrixSpec) else (columns, *spec.kernel, spec.channels // spec.groups)
    )
    if isinstance(spec, ConvSpec) and spec.depthwise:
        shape = (1, *spec.kernel, columns)
    drawn |= {"input_scales": scales[:1], "input_zero_points": tuple(zeros[:1])}
    return Operands(
        weights=random.integers(-128, 128, shape).astype(np.int8),
        bias=random.integers(-30000, 30000, columns, np.int32),
        weight_scales=2.0 ** random.uniform(-10, 1, columns),
        **drawn | {"output_scale": 2.0 ** random.uniform(-6, 6)},
    )


@pytest.mark.parametrize(
    "name",
    [
        "host thumb2-dsp", "host rv32im", "host rv64gc", "host avx2", "host avx512-vnni", "simde avx512-vnni",
        "arm thumb2-dsp", "riscv rv32im", "riscv rv64gc",
    ],
)  # fmt: skip
def test_compiled_kernels_leave_the_bytes_of_the_executor(name, c_toolchains, tmp_path):
    isa = load_isa(c_toolchains.toolchain(name).isa)
    c_toolchains.compare(name, [job(c_toolchains, spec, isa, seed) for seed, spec in enumerate(SPECS)], tmp_path)


@pytest.mark.parametrize(("vlen", "machine"), [(128, 128), (256, 256), (512, 512), (128, 512)])
def test_compiled_vector_kernels_leave_the_bytes_of_the_executor_also_on_longer_vectors(
    vlen, machine, c_toolchains, tmp_path
):
    isa = load_isa("rvv", vlen=vlen)
    jobs = [job(c_toolchains, spec, isa, seed) for seed, spec in enumerate(SPECS)]
    c_toolchains.compare(f"clang rvv {machine}", jobs, tmp_path)
