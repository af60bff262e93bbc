"""Bilinear resizing on the davinci vector unit: single precision, exact because no number takes more than 24 bits.

The neighbours of a row of outputs are moved to four images of its own size, so that all lanes work alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import loop, nest
from workloads.codegen.davinci_tiles import copies_of, half, move, on_chip, split
from workloads.codegen.resize import runs, sides
from workloads.kernels.resize import ONE
from workloads.options import DEFAULT, Options
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.davinci_tiles import Part
    from workloads.codegen.specs_images import ResizeSpec
    from workloads.isa import InstructionSet
    from workloads.program import Operand
    from workloads.tensor import Array

IMAGES = ("ub_upper_left", "ub_upper_right", "ub_lower_left", "ub_lower_right")
NARROW, OUT, FRONT, AFTER = "ub_half", "ub_out", "ub_front", "ub_after"
UPPER, LOWER, SPARE, UPPER_WHOLE, LOWER_WHOLE = (f"ub_{name}" for name in ("upper", "lower", "spare", "whole", "other"))
LANE_BYTES = dict.fromkeys((*IMAGES, OUT), 1) | {NARROW: 2} | dict.fromkeys(
    (FRONT, AFTER, UPPER, LOWER, SPARE, UPPER_WHOLE, LOWER_WHOLE), 4
)  # fmt: skip
ROW_FRONT, ROW_AFTER = "x0", "x1"  # weights of a row
WORD = 4
AWAY = 1 + 2.0**-20  # moves what lies halfway between integers, and nothing else, to the side away from zero


def generate(spec: ResizeSpec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Generate a bilinear resize.

    Raises
    ------
    NotImplementedError
        The channels of one pixel do not fit the vector buffer.
    """
    pixels = half(isa, "ub") // sum(LANE_BYTES.values()) // spec.channels
    if not pixels:
        raise NotImplementedError(f"{isa.name}: {spec.channels} channels of a pixel to resize exceed the vector buffer")
    line = spec.width_out * spec.channels
    body: Body = ()
    for part in split(spec.width_out, pixels):
        for start in range(part.start, part.start + part.trips * part.size, part.size):
            body += _strip(spec, isa, start, part)
    used = {name.replace("_", ":", 1): min(pixels * spec.channels, line) * size for name, size in LANE_BYTES.items()}
    buffers = (
        Buffer("input", spec.batch * spec.height * spec.width * spec.channels, "global", "input"),
        Buffer("parameters", 2 * WORD * (line + spec.height_out), "global", "parameters"),
        Buffer("output", spec.batch * spec.height_out * line, "global", "output"),
        *on_chip(isa, used, copies_of(used, options)),
    )
    return Program("davinci_resize", isa, buffers, body, profile="ascend-vector")


def _strip(spec: ResizeSpec, isa: InstructionSet, start: int, part: Part) -> Body:
    """Resize to some output columns."""
    channels, line_out = spec.channels, spec.width_out * spec.channels
    line, count = spec.width * channels, part.size * channels
    weights = tuple(
        move("mte2_ub", Address(name), Address("parameters", WORD * (number * line_out + start * channels)),
             (1, WORD * count))
        for number, name in enumerate((FRONT, AFTER))
    )  # fmt: skip
    body: Body = ()
    for row in runs(sides(spec, 0)[0]):
        upper = Address("input", row.first * line).plus(image=spec.height * line, rows=row.step * line)
        out = Address("output", row.place * line_out + start * channels).plus(
            image=spec.height_out * line_out, rows=row.apart * line_out, row=line_out
        )
        at = Address("parameters", 2 * WORD * (line_out + row.place)).plus(rows=2 * WORD * row.apart, row=2 * WORD)
        inner = (
            Instruction("s_load_f32", ROW_FRONT, (at,)),
            Instruction("s_load_f32", ROW_AFTER, (at.plus(WORD),)),
            *_neighbors(spec, start, part.size, upper),
            *compute(count),
            move("mte3", out, Address(OUT), (1, count)),
        )
        body += nest(isa, (("rows", row.number), ("row", row.size)), inner)
    return (*weights, *loop(isa, "image", spec.batch, body))


def _neighbors(spec: ResizeSpec, start: int, pixels: int, upper: Address) -> Body:
    """Move the four neighbours of each output to its place."""
    channels = spec.channels
    below = min(1, spec.height - 1) * spec.width * channels
    beside = min(1, spec.width - 1) * channels
    body: Body = ()
    for name, offset in zip(IMAGES, (0, beside, below, below + beside), strict=True):
        for run in runs(sides(spec, 1)[0][start : start + pixels]):
            for place in range(run.place, run.place + run.size):
                source, target = upper.plus(offset + run.first * channels), Address(name, place * channels)
                pitches = (run.step * channels, run.apart * channels)
                body += (move("mte2_ub_runs", target, source, (run.number, channels), pitches),)
    return body


def compute(count: int) -> Body:
    """Turn four images of neighbours into bytes.

    Sums of a row are below 2**18. In units of 1024 they split into whole numbers and rests, which the weights of the
    rows, at most 1024, leave below 2**18 and 2**20. Of the rest what is no whole number again only tells the side.
    """
    steps: list[tuple[str, str, tuple[Operand, ...]]] = []

    def add(op: str, target: str, *sources: Operand) -> None:
        held = tuple(Address(one) if isinstance(one, str) and one.startswith("ub_") else one for one in sources)
        steps.append((op, target, held))

    def whole(target: str, source: str) -> None:
        """Split a number in units of 1024: the whole units, and what is left in its place."""
        add("vmuls_f32", target, source, 1 / ONE)
        add("vconv_f32_s32", target, target)
        add("vconv_s32_f32", target, target)
        add("vmuls_f32", SPARE, target, -float(ONE))
        add("vadd_f32", source, source, SPARE)

    for total, unit, images in ((UPPER, UPPER_WHOLE, IMAGES[:2]), (LOWER, LOWER_WHOLE, IMAGES[2:])):
        for image, target, weight in zip(images, (total, SPARE), (FRONT, AFTER), strict=True):
            add("vconv_s8_f16", NARROW, image)
            add("vconv_f16_f32", target, NARROW)
            add("vmul_f32", target, target, weight)
        add("vadd_f32", total, total, SPARE)
        whole(unit, total)
    for upper, lower in ((UPPER, LOWER), (UPPER_WHOLE, LOWER_WHOLE)):
        add("vmuls_f32", upper, upper, ROW_FRONT)
        add("vmuls_f32", lower, lower, ROW_AFTER)
        add("vadd_f32", upper, upper, lower)
    whole(LOWER, UPPER)
    add("vadd_f32", UPPER_WHOLE, UPPER_WHOLE, LOWER)
    add("vmaxs_f32", UPPER, UPPER, -1.0)
    add("vmins_f32", UPPER, UPPER, 1.0)
    add("vmuls_f32", UPPER, UPPER, 0.25 / ONE)
    add("vmuls_f32", UPPER_WHOLE, UPPER_WHOLE, AWAY / ONE)
    add("vadd_f32", UPPER_WHOLE, UPPER_WHOLE, UPPER)
    add("vconv_f32_s32", UPPER_WHOLE, UPPER_WHOLE)
    add("vconv_s32_f16", NARROW, UPPER_WHOLE)
    add("vconv_f16_s8", OUT, NARROW)
    return tuple(Instruction(op, Address(target), sources, count=count) for op, target, sources in steps)


def pack(spec: ResizeSpec) -> dict[str, Array]:
    """Return the weights in front and behind of each lane of a row, then those of each row."""
    rows, columns = (sides(spec, axis)[1] for axis in range(2))
    lanes = np.repeat(columns, spec.channels)
    values = np.concatenate([ONE - lanes, lanes, np.stack([ONE - rows, rows], axis=1).reshape(-1)])
    return {"parameters": values.astype(np.float32).view(np.uint8)}
