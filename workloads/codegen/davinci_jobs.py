"""Jobs of the davinci cube: one block of a convolution with its plan, and where its constants lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workloads.codegen.davinci_plan import (
    Block,
    Depth,
    Plan,
    axes,
    blocks,
    depths,
    has_fixpipe,
    make_plan,
    result_bytes,
    total_depth,
)
from workloads.codegen.davinci_tiles import HEADER_BYTES, Part, half, largest, round_up, split

if TYPE_CHECKING:
    from workloads.codegen.specs import ConvSpec
    from workloads.isa import InstructionSet
    from workloads.options import Options


@dataclass(frozen=True)
class Job:
    """One block with its plan, and where its constants start.

    Parameters
    ----------
    weights_at
        Byte in the weights buffer of the first product's panels.
    columns_at
        Output channels, padded, of the blocks before this one.
    words_at
        Byte in the parameters buffer of the first quantisation word of all blocks.
    """

    spec: ConvSpec
    isa: InstructionSet
    options: Options
    block: Block
    plan: Plan
    found: tuple[Depth, ...]
    weights_at: int = 0
    columns_at: int = 0
    words_at: int = 0

    @property
    def depth(self) -> int:
        """Depth rows of one product, padded."""
        return total_depth(self.found)

    @property
    def columns(self) -> int:
        """Output channels of one product, each tile padded."""
        return sum(part.trips * self.padded(part.size) for part in self.parts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Tiles of output channels."""
        return split(self.block.outputs, self.plan.outputs)

    def padded(self, outputs: int) -> int:
        """Output channels padded to the cube's block."""
        return round_up(outputs, self.isa.parameters["cube_n"])

    @property
    def line(self) -> int:
        """Bytes of one row of the band in L1."""
        return axes(self.spec)[1].needed(self.plan.columns) * self.block.channels

    @property
    def fixpipe(self) -> bool:
        """Whether sums leave by fixpipe; else by the vector queue through its buffer."""
        return has_fixpipe(self.isa)

    @property
    def fused(self) -> bool:
        """Whether sums are requantised on their way out; else in a pass of their own."""
        return self.options.fuse is not False

    @property
    def ahead(self) -> bool:
        """Whether the vector queue starts a tile of sums before it finishes the one in front: in two buffers."""
        return not self.fixpipe and self.options.buffers != 1

    @property
    def spaces(self) -> dict[str, int]:
        """Bytes used on chip, by ``space:purpose``."""
        deepest = max(depth.pitch for depth in self.found)
        outputs = self.padded(self.plan.outputs)
        rows = self.plan.rows * self.plan.columns
        used = {
            "l1:input": axes(self.spec)[0].needed(self.plan.band_rows) * self.line,
            "l1:weights": (self.depth if self.plan.staged else deepest) * outputs,
            "l0a:left": rows * deepest,
            "l0b:right": deepest * outputs,
            "l0c:sums": rows * outputs * 4,
            "bias_table:bias" if self.fixpipe else "ub:bias": outputs * 4,
        }
        if self.fused:
            used["fixpipe_buffer:quant" if self.fixpipe else "ub:quant"] = outputs * 8
        if self.ahead:
            used["l0c:next"] = used["l0c:sums"]
        if not self.fixpipe:
            used["ub:result"] = rows * outputs * result_bytes(self.options)
        return used


def make_jobs(spec: ConvSpec, isa: InstructionSet, options: Options) -> tuple[Job, ...]:
    """Plan every block and lay out its constants one after the other.

    Blocks share their buffers. Where those of L1 exceed it, each the largest of all blocks, half of it is planned with.
    """
    jobs = _jobs(spec, isa, isa, options)
    used = largest(*(job.spaces for job in jobs))
    if used["l1:input"] + used["l1:weights"] <= half(isa, "l1"):
        return jobs
    return _jobs(spec, isa, replace(isa, parameters={**isa.parameters, "l1_bytes": half(isa, "l1")}), options)


def _jobs(spec: ConvSpec, isa: InstructionSet, planned: InstructionSet, options: Options) -> tuple[Job, ...]:
    """Plan every block for a set that may have less room than there is."""
    jobs: list[Job] = []
    weights_at = columns_at = 0
    for block in blocks(spec, isa):
        plan = make_plan(spec, block, planned, options)
        job = Job(spec, isa, options, block, plan, depths(spec, block, plan.taps, isa), weights_at, columns_at)
        jobs.append(job)
        weights_at += block.trips * job.depth * job.columns
        columns_at += block.trips * job.columns
    words_at = round_up(HEADER_BYTES + 4 * columns_at, 8)
    return tuple(replace(job, words_at=words_at) for job in jobs)
