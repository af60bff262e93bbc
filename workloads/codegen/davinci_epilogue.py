"""What surrounds a tile of sums on the davinci cube: the bias it starts from, and the way its results go out.

With fixpipe, the bias comes from its table and results leave L0C requantised. Without it, the vector queue puts the
bias into L0C and moves results through its buffer. Unfused, 32-bit sums go to global memory for a pass of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen.common import loop
from workloads.codegen.davinci_plan import result_bytes
from workloads.codegen.davinci_tiles import HEADER_BYTES, Part, Segment, move
from workloads.program import Address, Instruction

if TYPE_CHECKING:
    from workloads.codegen.davinci_jobs import Job
    from workloads.program import Statement

Body = tuple["Statement", ...]
SUMS, NEXT, RESULT, WORKSPACE = "l0c_sums", "l0c_next", "ub_result", "workspace"
BOUNDS = "x0"  # lowest and highest result, a byte each


def bounds() -> Instruction:
    """Load the lowest and the highest result."""
    return Instruction("s_load_u16", BOUNDS, (Address("parameters", 2),))


def parameter_bytes(jobs: tuple[Job, ...]) -> int:
    """Bytes of the parameter buffer: scalars, biases, then a word per padded column or a factor per channel."""
    last = jobs[-1]
    if last.fused:
        return last.words_at + 8 * (last.columns_at + last.block.trips * last.columns)
    return last.words_at + 4 * last.spec.channels_out


def constants(job: Job, part: Part) -> Body:
    """Bring bias and quantisation words of one tile of output channels."""
    outputs = job.padded(part.size)
    column = job.columns_at + part.start
    steps = {"block": job.columns, "part": outputs}
    bias = Address("parameters", HEADER_BYTES + 4 * column).plus(0, **{key: 4 * step for key, step in steps.items()})
    words = Address("parameters", job.words_at + 8 * column).plus(0, **{key: 8 * step for key, step in steps.items()})
    if job.fixpipe:
        body = [
            move("mte2_bias", Address(_bias(job)), bias, (1, outputs)),
            move("mte2_quant", Address(_quant(job)), words, (1, outputs)),
        ]
    else:
        body = [
            move("mte2_ub", Address(_bias(job)), bias, (1, 4 * outputs)),
            move("mte2_ub", Address(_quant(job)), words, (1, 8 * outputs)),
        ]
    return tuple(body if job.fused else body[:1])


def start(job: Job, pixels: int, outputs: int) -> Instruction:
    """Begin a tile of sums with the bias in every row."""
    op = "bias_l0c" if job.fixpipe else "broadcast_l0c"
    return move(op, Address(SUMS), Address(_bias(job)), (pixels, outputs), (0, 4 * outputs))


def finish(job: Job, part: Part, group: Part, row: Segment, column: Segment) -> Body:
    """Move one tile of sums into the output image, requantised, or into the workspace as it is."""
    spec, outputs = job.spec, job.padded(part.size)
    size = result_bytes(job.options)
    pixel, line = size * spec.channels_out, size * spec.width_out * spec.channels_out
    first = job.block.output_at + part.start
    target = Address(
        "output" if job.fused else WORKSPACE,
        (row.start + group.start) * line + column.start * pixel + size * first,
    ).plus(
        block=size * job.block.outputs, part=size * part.size, image=spec.height_out * line, band=row.size * line,
        strip=column.size * pixel, group=group.size * line,
    )  # fmt: skip
    if column.size == spec.width_out:  # whole rows follow each other in the output
        return _out(job, target, Address(SUMS), (group.size * column.size, part.size), pixel)
    sums = Address(SUMS).plus(0, row=column.size * outputs * 4)
    inner = _out(job, target.plus(row=line), sums, (column.size, part.size), pixel)
    return loop(job.isa, "row", group.size, inner)


def _out(job: Job, target: Address, sums: Address, extent: tuple[int, int], pixel: int) -> Body:
    """Move (pixels, channels) of sums to global memory."""
    pitch = 4 * job.padded(extent[1])
    if job.fixpipe:
        return (_leave(job, "fixpipe_s8" if job.fused else "fixpipe_s32", target, sums, (*extent, pitch, pixel)),)
    dense = extent[1] * result_bytes(job.options)
    op = "dequantize_ub_s8" if job.fused else "move_ub_s32"
    inside = _leave(job, op, Address(RESULT), sums, (*extent, pitch, dense))
    return inside, move("mte3", target, Address(RESULT), (extent[0], dense), (dense, pixel))


def _leave(job: Job, op: str, target: Address, sums: Address, shape: tuple[int, ...]) -> Instruction:
    """Take sums out of L0C, requantised by a word per channel where that is fused."""
    sources = (sums, Address(_quant(job)), BOUNDS) if job.fused else (sums,)
    return Instruction(op, target, sources, shape=shape)


def _bias(job: Job) -> str:
    return "bias_table_bias" if job.fixpipe else "ub_bias"


def _quant(job: Job) -> str:
    return "fixpipe_buffer_quant" if job.fixpipe else "ub_quant"
