"""The operations of ``workloads.executor.forms`` in LLVM's language: whole vectors, one machine loop per form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from workloads.executor import codes as k
from workloads.executor.forms import FORMS, OPCODE_OF
from workloads.executor.lane_values import combine, converted, vector_type
from workloads.isa import ELEMENT_BYTES
from workloads.kernels.llvm import I64, load, splat, store

if TYPE_CHECKING:
    from workloads.executor.forms import Form

CHUNKS = (64, 32)  # bytes of results made at once: two AVX registers, one, then single lanes


def _plus(builder: ir.IRBuilder, address: Any, lane: Any, step: int) -> Any:
    """Emit the address of a lane."""
    return builder.add(address, builder.mul(lane, ir.Constant(I64, step))) if lane is not None else address


def _source(builder: ir.IRBuilder, form: Form, place: int, address: Any, lane: Any, lanes: int) -> Any:
    """Emit the lanes of one source: ``group`` vectors side by side for a product sum."""
    kind = form.types[place + 1]
    size = ELEMENT_BYTES[kind]
    if place in form.scalars:
        only = load(builder, vector_type(kind, 1).element, address)
        return splat(builder, only, vector_type(kind, lanes))
    if place == 0 and form.step > 1:
        at = _plus(builder, address, lane, size * form.step)
        return load(builder, vector_type(kind, 1), at)
    elements = form.group if place < 2 else 1
    return load(builder, vector_type(kind, lanes * elements), _plus(builder, address, lane, size * elements))


def _chunk(builder: ir.IRBuilder, form: Form, places: list[Any], lane: Any, lanes: int) -> None:
    """Emit ``lanes`` lanes from ``lane`` on: all sources are read before the result is written."""
    sources = [_source(builder, form, place, places[place + 1], lane, lanes) for place in range(len(form.types) - 1)]
    result = combine(builder, form, sources, lanes)
    held = converted(builder, result, form.types[0], form.held)
    store(builder, held, _plus(builder, places[0], lane, ELEMENT_BYTES[form.held]))


def _loop(builder: ir.IRBuilder, form: Form, places: list[Any], first: Any, end: Any, lanes: int) -> Any:
    """Emit chunks of ``lanes`` lanes from ``first`` while they end by ``end``; return the lane after the last."""
    before, head = builder.block, builder.append_basic_block("head")
    inside, after = builder.append_basic_block("chunk"), builder.append_basic_block("rest")
    builder.branch(head)
    builder.position_at_end(head)
    lane = builder.phi(I64)
    lane.add_incoming(first, before)
    following = builder.add(lane, ir.Constant(I64, lanes))
    builder.cbranch(builder.icmp_signed("<=", following, end), inside, after)
    builder.position_at_end(inside)
    _chunk(builder, form, places, lane, lanes)
    lane.add_incoming(following, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return lane


def _emit(builder: ir.IRBuilder, form: Form, row: Any) -> None:
    """Emit one form on the operands of a row."""

    def column(number: int) -> Any:
        return load(builder, I64, builder.add(row, ir.Constant(I64, 8 * number)))

    places = [column(k.AT_D + place) for place in range(len(form.types))]
    if form.single:
        _chunk(builder, form, places, None, len(form.indices) or 1)
        return
    lane, end = ir.Constant(I64, 0), column(k.LANES)
    if form.step == 1:
        for nbytes in CHUNKS:
            lane = _loop(builder, form, places, lane, end, nbytes // ELEMENT_BYTES[form.held])
    _loop(builder, form, places, lane, end, 1)


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def run_form(typing_context: Any, row: Any, opcode: Any) -> Any:  # noqa: ARG001 - numba's protocol
    """Run the row at an address whose opcode is that of a form."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 - as above
        done = builder.append_basic_block("done")
        none = builder.append_basic_block("none")
        switch = builder.switch(arguments[1], none)
        for form in FORMS:
            case = builder.append_basic_block("form")
            switch.add_case(ir.Constant(I64, OPCODE_OF[form]), case)
            builder.position_at_end(case)
            _emit(builder, form, arguments[0])
            builder.branch(done)
        builder.position_at_end(none)
        builder.unreachable()
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate
