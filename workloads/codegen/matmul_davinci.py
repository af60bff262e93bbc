"""Products of two activations on the davinci cube, whose zero points are products too.

With zero points a and b, and n products per output, sum (x - a)(y - b) = sum x y - b sum x - a sum y + n a b. The cube
multiplies x by a matrix of -b everywhere: in two halves, because 128 is no signed byte. A row of -a by y gives what the
sums of each column start from, with n a b.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales
from workloads.codegen import davinci_epilogue as epilogue
from workloads.codegen.common import loop, readdressed
from workloads.codegen.davinci_moves import copied
from workloads.codegen.davinci_pack import quantization_words
from workloads.codegen.davinci_plan import has_fixpipe
from workloads.codegen.davinci_tiles import HEADER_BYTES, Part, move, name_of, on_chip, round_up, split
from workloads.codegen.moves import boxes
from workloads.codegen.specs import MoveSpec
from workloads.options import DEFAULT, Options
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.specs import MatMulSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

PROFILE = "ascend-fixpipe"
SUMS, LEFT, RIGHT, ROWS, PANEL, LINES = "l0c_sums", "l0a_left", "l0b_right", "l1_rows", "l1_panel", "l1_lines"
OF_ROWS, OF_COLUMNS = ("l0b_first", "l0b_second"), ("l0a_first", "l0a_second")  # halves of -b, and of -a
STARTS, TURNED = "starts", "turned"  # in global memory: what columns start from; the second operand by columns
WORD, QUANT = 4, 8  # bytes of a sum, and of a quantisation word
SIZES = (128, 64, 32, 16)  # columns of a tile, from the preferred to the last resort


@dataclass(frozen=True)
class Plan:
    """Sizes of a tile, and whether loads transpose it on its way to the cube."""

    spec: MatMulSpec
    isa: InstructionSet
    rows: int
    depth: int
    columns: int
    turns: bool

    @property
    def used(self) -> dict[str, int]:
        """Bytes of each buffer on chip that is used in turn with a copy."""
        panel, tile = self.spec.depth * self.columns, self.rows * self.columns
        used = {
            "l1:rows": self.rows * self.spec.depth, "l1:panel": panel, "l0a:left": self.rows * self.depth,
            "l0b:right": self.depth * self.columns, "l0c:sums": WORD * tile,
        }  # fmt: skip
        if has_fixpipe(self.isa):
            return {**used, "bias_table:bias": WORD * self.columns}
        return {**used, "ub:bias": WORD * self.columns, "ub:result": max(tile, WORD * self.columns)}

    @property
    def kept(self) -> dict[str, int]:
        """Bytes of each buffer on chip that is filled once."""
        quant = "fixpipe_buffer:quant" if has_fixpipe(self.isa) else "ub:quant"
        wide = self.depth * self.columns
        return {
            "l1:lines": 4 * self.depth, "l0b:first": wide, "l0b:second": wide, "l0a:first": self.depth,
            "l0a:second": self.depth, quant: QUANT * self.columns,
        }  # fmt: skip

    @property
    def lines_at(self) -> int:
        """Byte of the parameters from which a line of each half follows the one before."""
        return HEADER_BYTES

    @property
    def start_at(self) -> int:
        """Byte of the parameters where n a b begins, a word per column of a tile."""
        return round_up(self.lines_at + 4 * self.depth, QUANT)

    @property
    def words_at(self) -> int:
        """Byte of the parameters where the quantisation words begin."""
        return self.start_at + round_up(WORD * self.columns, QUANT)


def plan_of(spec: MatMulSpec, isa: InstructionSet) -> Plan:
    """Choose the widest tile that fits.

    Raises
    ------
    NotImplementedError
        Not even the narrowest one does.
    """
    c0, step = isa.parameters["c0_bytes"], isa.parameters["cube_m"]
    turns = bool(isa.parameters["transposing_load"])
    for size in SIZES:
        columns = min(size, spec.columns)
        depth = min(spec.depth, isa.parameters["l0b_bytes"] // (4 * columns) // c0 * c0, 4 * size)
        rows = min(
            (isa.parameters["l0a_bytes"] // depth - 2) // 2, isa.parameters["l0c_bytes"] // (2 * WORD * columns), size
        )
        plan = Plan(spec, isa, min(spec.rows, max(1, rows // step * step)), depth, columns, turns)
        try:
            _buffers(plan, DEFAULT)
        except ValueError:
            continue
        return plan
    raise NotImplementedError(f"{isa.name}: rows of {spec.depth} elements are too long for a product of activations")


def generate(spec: MatMulSpec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Generate a product; three of the cube's products, of which two are for the second operand's zero point."""
    plan = plan_of(spec, isa)
    body = (epilogue.bounds(), *_constants(plan))
    chip = _buffers(plan, options)
    globals_ = [
        Buffer("input", spec.batch * spec.rows * spec.depth, "global", "input"),
        Buffer("input2", spec.batch * spec.depth * spec.columns, "global", "input"),
        Buffer("parameters", plan.words_at + QUANT * plan.columns, "global", "parameters"),
        Buffer(STARTS, WORD * spec.batch * spec.columns, "global"),
        Buffer("output", spec.batch * spec.rows * spec.columns, "global", "output"),
    ]
    if not plan.turns:
        taken = sum(buffer.copies * buffer.bytes for buffer in chip if buffer.space == "ub")
        room = min((isa.parameters["ub_bytes"] - taken) // 2, spec.depth * spec.columns)
        globals_.append(Buffer(TURNED, spec.batch * spec.depth * spec.columns, "global"))
        chip += on_chip(isa, {"ub:rows": room})
        body += _turned(spec, isa, room)
    for phase in (_started, _multiplied):
        inner = tuple(
            statement
            for part in split(spec.columns, plan.columns)
            for statement in loop(isa, "columns", part.trips, (_panel(plan, part), *phase(plan, part)))
        )
        body += loop(isa, "batch", spec.batch, inner)
    return Program("davinci_matmul", isa, (*globals_, *chip), body, spec.macs, PROFILE)


def _buffers(plan: Plan, options: Options) -> tuple[Buffer, ...]:
    copies = dict.fromkeys(plan.kept, 1) | (dict.fromkeys(plan.used, 1) if options.buffers == 1 else {})
    return on_chip(plan.isa, plan.used | plan.kept, copies)


def _constants(plan: Plan) -> Body:
    """Fill matrices with the halves of both zero points, and bring the quantisation words."""
    body: Body = (move("mte2_l1", Address(LINES), Address("parameters", plan.lines_at), (1, 4 * plan.depth)),)
    for number, (name, op, rows) in enumerate(
        [(name, "load2d_l0b", plan.columns) for name in OF_ROWS] + [(name, "img2col_l0a", 1) for name in OF_COLUMNS]
    ):
        line = Address(LINES, number * plan.depth)
        body += (move(op, Address(name), line, (rows, plan.depth), (0, plan.depth)),)
    words = Address("parameters", plan.words_at)
    if has_fixpipe(plan.isa):
        return (*body, move("mte2_quant", Address(_quant(plan)), words, (1, plan.columns)))
    return (*body, move("mte2_ub", Address(_quant(plan)), words, (1, QUANT * plan.columns)))


def _turned(spec: MatMulSpec, isa: InstructionSet, room: int) -> Body:
    """Write the second operand column by column: its bytes are gathered on their way into the vector buffer."""
    names = {"input": "input2", "output": TURNED}
    turn = MoveSpec("transpose", ((spec.batch, spec.depth, spec.columns),), (0, 2, 1))
    moves = tuple(statement for box in boxes(turn) for statement in copied(box, isa, room))
    return readdressed(moves, lambda at: Address(names.get(at.buffer, at.buffer), at.offset, at.strides))


def _panel(plan: Plan, part: Part) -> Instruction:
    """Bring some columns of the second operand to L1."""
    spec, size = plan.spec, part.size
    matrix = spec.depth * spec.columns
    if plan.turns:
        source = Address("input2", part.start).plus(batch=matrix, columns=size)
        return move("mte2_l1", Address(PANEL), source, (spec.depth, size), (spec.columns, size))
    source = Address(TURNED, part.start * spec.depth).plus(batch=matrix, columns=size * spec.depth)
    return move("mte2_l1", Address(PANEL), source, (1, size * spec.depth))


def _right(plan: Plan, part: Part, deep: Part) -> Body:
    """Bring a tile of the panel to the cube, a row per column."""
    if not plan.turns:
        source = Address(PANEL, deep.start).plus(depth=deep.size)
        return (move("load2d_l0b", Address(RIGHT), source, (part.size, deep.size), (plan.spec.depth, deep.size)),)
    source = Address(PANEL, deep.start * part.size).plus(depth=deep.size * part.size, column=1)
    target = Address(RIGHT).plus(column=deep.size)
    column = move("load2d_transpose_l0b", target, source, (deep.size, 1), (part.size, 1))
    return loop(plan.isa, "column", part.size, (column,))


def _product(left: str, right: str, extent: tuple[int, int, int]) -> Instruction:
    return Instruction("mmad_s8", Address(SUMS), (Address(left), Address(right)), shape=extent)


def _start(plan: Plan, rows: int, columns: int, source: Address) -> Body:
    """Begin sums with a word per column."""
    fixpipe = has_fixpipe(plan.isa)
    extent = (1, columns) if fixpipe else (1, WORD * columns)
    bias = Address(name_of("bias_table:bias" if fixpipe else "ub:bias"))
    return (
        move("mte2_bias" if fixpipe else "mte2_ub", bias, source, extent),
        move("bias_l0c" if fixpipe else "broadcast_l0c", Address(SUMS), bias, (rows, columns), (0, WORD * columns)),
    )


def _started(plan: Plan, part: Part) -> Body:
    """Leave what the sums of some columns start from."""
    size = part.size
    body = _start(plan, 1, size, Address("parameters", plan.start_at))
    for deep in split(plan.spec.depth, plan.depth):
        products = tuple(_product(half, RIGHT, (1, deep.size, size)) for half in OF_COLUMNS)
        body += loop(plan.isa, "depth", deep.trips, (*_right(plan, part, deep), *products))
    target = Address(STARTS, WORD * part.start).plus(batch=WORD * plan.spec.columns, columns=WORD * size)
    if has_fixpipe(plan.isa):
        return (*body, move("fixpipe_s32", target, Address(SUMS), (1, size)))
    held = Address("ub_result")
    out = (move("move_ub_s32", held, Address(SUMS), (1, size)), move("mte3", target, held, (1, WORD * size)))
    return (*body, *out)


def _multiplied(plan: Plan, part: Part) -> Body:
    """Multiply all rows by some columns, requantise and store."""
    spec, size = plan.spec, part.size
    starts = Address(STARTS, WORD * part.start).plus(batch=WORD * spec.columns, columns=WORD * size)
    body: Body = ()
    for rows in split(spec.rows, plan.rows):
        source = Address("input", rows.start * spec.depth).plus(
            batch=spec.rows * spec.depth, rows=rows.size * spec.depth
        )
        tile: Body = (
            move("mte2_l1", Address(ROWS), source, (1, rows.size * spec.depth)),
            *_start(plan, rows.size, size, starts),
        )
        for deep in split(spec.depth, plan.depth):
            line = Address(ROWS, deep.start).plus(depth=deep.size)
            left = move("img2col_l0a", Address(LEFT), line, (rows.size, deep.size), (spec.depth, deep.size))
            products = tuple(_product(LEFT, right, (rows.size, deep.size, size)) for right in (RIGHT, *OF_ROWS))
            tile += loop(plan.isa, "depth", deep.trips, (left, *_right(plan, part, deep), *products))
        target = Address("output", rows.start * spec.columns + part.start).plus(
            batch=spec.rows * spec.columns, rows=rows.size * spec.columns, columns=size
        )
        body += loop(plan.isa, "rows", rows.trips, (*tile, *_stored(plan, rows.size, size, target)))
    return body


def _stored(plan: Plan, rows: int, columns: int, target: Address) -> Body:
    """Requantise a tile of sums on its way out."""
    sources = (Address(SUMS), Address(_quant(plan)), epilogue.BOUNDS)
    if has_fixpipe(plan.isa):
        return (Instruction("fixpipe_s8", target, sources, shape=(rows, columns, WORD * columns, plan.spec.columns)),)
    held = Address("ub_result")
    return (
        Instruction("dequantize_ub_s8", held, sources, shape=(rows, columns, WORD * columns, columns)),
        move("mte3", target, held, (rows, columns), (columns, plan.spec.columns)),
    )


def _quant(plan: Plan) -> str:
    return name_of("fixpipe_buffer:quant" if has_fixpipe(plan.isa) else "ub:quant")


def pack(spec: MatMulSpec, operands: Operands, isa: InstructionSet) -> dict[str, Array]:
    """Return the bounds, the halves of both negative zero points, n a b, and the one scale as quantisation words."""
    plan = plan_of(spec, isa)
    result = np.zeros(plan.words_at + QUANT * plan.columns, np.uint8)
    result[2:4] = np.array([operands.low, operands.high], np.int8).view(np.uint8)
    first, second = operands.input_zero_points
    halves = [half for zero_point in (second, first) for half in (-zero_point // 2, -zero_point - -zero_point // 2)]
    lines = np.repeat(np.array(halves, np.int8), plan.depth)
    result[plan.lines_at : plan.lines_at + lines.size] = lines.view(np.uint8)
    starts = np.full(plan.columns, spec.depth * first * second, np.int64).astype(np.int32)
    result[plan.start_at : plan.start_at + starts.nbytes] = starts.view(np.uint8)
    scales = np.full(plan.columns, effective_scales(operands, PROFILE)[0])
    result[plan.words_at :] = quantization_words(scales, operands.output_zero_point).view(np.uint8)
    return {"parameters": result}
