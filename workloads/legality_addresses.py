"""Where memory operands reach, over all trips of the loops around them: exact bounds and alignment."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from workloads.isa import ELEMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workloads.isa import Meaning
    from workloads.program import Address, Buffer, Instruction


def span(instruction: Instruction, meaning: Meaning, role: str, elements: int, size: int) -> int:
    """Return the bytes from the first to the last that an operand touches.

    Parameters
    ----------
    role
        "destination", or "source" and its position.
    elements, size
        How many elements it has, of how many bytes each.
    """
    shape = instruction.shape
    match meaning.kind, role:
        case ("load", "source 0") | ("store", "destination") if shape:
            return _rows(elements, shape[0], size)
        case "copy_block", _:
            return _rows(shape[0], shape[2 if role == "source 0" else 3], shape[1] * size)
        case "requantize_block", "destination" | "source 0" if len(shape) >= 4:
            return _rows(shape[0], shape[2 if role == "source 0" else 3], shape[1] * size)
        case "fill_block", "destination":
            return _rows(shape[0], shape[2], shape[1] * size)
        case "matrix_multiply", "source 0" if len(shape) >= 6:
            return _rows(shape[0], shape[3], shape[1] * size)
        case "matrix_multiply", "source 1" if len(shape) >= 6:
            return _rows(shape[2], shape[4], shape[1] * size)
        case "matrix_multiply", _ if len(shape) >= 6:
            return _rows(shape[0], shape[5], shape[2] * size)
        case "gather", "source 0":  # where the elements lie is known when it runs
            return size
        case "gather", "source 0":  # where the others lie is known when it runs
            return size
        case "extend", "source 0":
            return (meaning.start + (elements - 1) * meaning.step + 1) * size
    return elements * size


def _rows(rows: int, pitch: int, nbytes: int) -> int:
    """Return where ``rows`` runs of ``nbytes`` reach, each ``pitch`` bytes after the last."""
    return (rows - 1) * pitch + nbytes


def address_faults(
    buffer: Buffer, address: Address, kind: str, nbytes: int, trips: Mapping[str, int], align: int
) -> Iterator[str]:
    """Yield the faults of an address: unknown variables, bytes outside the buffer, misalignment."""
    strides: defaultdict[str, int] = defaultdict(int)
    for variable, stride in address.strides:
        if variable in trips:
            strides[variable] += stride
        else:
            yield f"address in {buffer.name!r} moves with {variable!r}, which no loop around it counts"
    ends = [stride * (trips[variable] - 1) for variable, stride in strides.items()]
    low = address.offset + sum(min(end, 0) for end in ends)
    high = address.offset + nbytes + sum(max(end, 0) for end in ends)
    if low < 0 or high > buffer.bytes:
        yield f"touches bytes {low}..{high} of {buffer.name!r}, which has {buffer.bytes}"
    needed = max(align, ELEMENT_BYTES[kind] if kind[0] == "f" else 1)
    steps = (address.offset, *(stride for variable, stride in strides.items() if trips[variable] > 1))
    if any(step % needed for step in steps):
        yield f"address in {buffer.name!r} is not always a multiple of {needed} bytes"
