"""Generated kernels load nothing into registers that they never read."""

from __future__ import annotations

import pytest

from workloads.codegen import choices, generate
from workloads.codegen.specs import (
    ConvSpec,
    ElementwiseSpec,
    LookupSpec,
    MatMulSpec,
    MatrixSpec,
    PoolSpec,
    SoftmaxSpec,
)
from workloads.isa import load_isa
from workloads.program import walk

WINDOW = (1, 9, 9, 70, 4, 4, (3, 3), (2, 2), (1, 1))
SPECS = (
    ConvSpec(1, 9, 9, 16, 9, 9, 24, (3, 3), padding=(1, 1)),
    ConvSpec(1, 9, 9, 70, 9, 9, 70, (3, 3), padding=(1, 1), depthwise=True),
    MatrixSpec(3, 77, 10),
    MatMulSpec(3, 20, 10),
    *(PoolSpec(kind, *WINDOW, rescale=rescale) for kind in ("max", "average") for rescale in (False, True)),
    PoolSpec("average", 1, 9, 9, 70, 1, 1, (9, 9), (1, 1), mean=True),
    *(ElementwiseSpec(kind, 1001, 1001) for kind in ("add", "sub", "mul", "requantize", "clamp")),
    SoftmaxSpec(3, 100),
    LookupSpec(100),
)


@pytest.mark.parametrize("name", ["thumb2-dsp", "rv32im", "rv64im", "rv64gc", "rvv", "avx2", "avx512-vnni"])
def test_every_register_that_is_loaded_is_read(name):
    isa = load_isa(name)
    for spec in SPECS:
        for options in choices(spec, isa):
            instructions = [instruction for instruction, _ in walk(generate(spec, isa, options).body)]
            meanings = [isa.meaning(instruction.op) for instruction in instructions]
            read = {source for instruction in instructions for source in instruction.sources}
            pairs = list(zip(instructions, meanings, strict=True))
            read |= {instruction.destination for instruction, meaning in pairs if meaning.accumulate}
            loaded = {
                instruction.destination for instruction, meaning in pairs if meaning.kind in ("load", "broadcast_load")
            }
            assert loaded <= read, (spec, options)
