"""Micro-operations compiled for fixed types: which there are, as data; others run lane by lane on any type."""

from __future__ import annotations

from typing import NamedTuple

from workloads.executor import codes as k


class Form(NamedTuple):
    """One lane-wise operation on contiguous lanes of fixed types.

    Parameters
    ----------
    operation
        Its general opcode.
    types
        Element types: result, then sources. A product sum without a third source starts from zero.
    held
        Type that the destination keeps.
    single
        One lane, as in scalar sets.
    scalars
        Positions of sources that give one element to all lanes.
    saturate, rounds, shift, group
        As of the instruction's meaning.
    step
        Elements from lane to lane of the first source.
    indices
        Of a permutation, which has as many lanes in all.
    """

    operation: int
    types: tuple[str, ...]
    held: str
    single: bool = False
    scalars: tuple[int, ...] = ()
    saturate: bool = False
    rounds: bool = False
    shift: int = 0
    group: int = 1
    step: int = 1
    indices: tuple[int, ...] = ()


_OPERATIONS = {
    "copy": k.COPY, "add": k.ADD, "sub": k.SUBTRACT, "mul": k.MULTIPLY, "mad": k.MULTIPLY_ADD, "high": k.MULTIPLY_HIGH,
    "min": k.MINIMUM, "max": k.MAXIMUM, "and": k.AND, "or": k.OR, "xor": k.XOR, "shl": k.SHIFT_LEFT,
    "shr": k.SHIFT_RIGHT, "less": k.LESS_THAN, "div": k.DIVIDE, "dot": k.DOT, "float": k.TO_FLOAT,
    "round": k.TO_INTEGER, "pick": k.PERMUTE,
}  # fmt: skip

# operation, result:held, sources (* gives one element to all lanes), then: sat, up, shift, group, step, indices
_SINGLE = """
copy s32 s32; copy s32 s8; copy s8 s32; copy s16 s32; copy s32 s16; copy s64 s64; copy s64 s8; copy s64 s32
copy s16 s16; copy s8 s8; copy s32 s64; copy s8 s64; copy s8:s64 s8; copy s32:s64 s32
add s32 s32 s32; sub s32 s32 s32; mul s32 s32 s32; and s32 s32 s32; or s32 s32 s32; xor s32 s32 s32
add s32 s32 s32 sat; min s32 s32 s32; max s32 s32 s32; mad s32 s32 s32 s32; mul s64 s32 s32; mad s64 s32 s32 s64
shl s32 s32 u8; shr u32 u32 u8; shr s32 s32 u8; copy s8:s32 s32 sat; copy u8:s32 s32 sat; dot s32 s16 s16 s32 group 2
add s64 s64 s64; sub s64 s64 s64; mul s64 s64 s64; and s64 s64 s64; or s64 s64 s64; xor s64 s64 s64
add s32:s64 s32 s32; sub s32:s64 s32 s32; mul s32:s64 s32 s32; min s64 s64 s64; max s64 s64 s64; less s64 s64 s64
add f32 f32 f32; sub f32 f32 f32; mul f32 f32 f32; min f32 f32 f32; max f32 f32 f32; mad f32 f32 f32 f32
shl s64 s64 u8; shr s64 s64 u8; shr u32 u32 u32; pick s16 s16 s16 indices 0,2; pick s16 s16 s16 indices 3,1
"""
_MANY = """
copy s64 s64; copy s32 s32; copy s16 s16; copy s8 s8; copy s16 s8; copy s32 s8; copy u32 u16; copy s32 s16
copy s16 s8 step 2; copy s8 s8*; copy s16 s16*; copy s32 s32*; copy s8 s32 sat; copy s16 s32 sat
add s8 s8 s8; sub s8 s8 s8 sat; sub s16 s16 s16
add s32 s32 s32; add s32 s32 s32*; sub s32 s32 s32; sub s32 s32 s32*; mul s32 s32 s32; xor s32 s32 s32
xor u32 u32 u32; and s32 s32 s32; add s32 s32 s16; sub s16 s16 s16*; add s16 s16 s16* sat
mul s16 s8 s8; mul s16 s8 s8*; mul s32 s16 s16; mul s32 s16 s16*
mad s32 s16* s16 s32; mad s32 s16 s16 s32; mad s16 s8 s8 s16; mad s16 s8* s8 s16; mad s32 s32 s32 s32
mad s32 s32* s32 s32
min s8 s8 s8; max s8 s8 s8; min s8 s8 s8*; max s8 s8 s8*; min s32 s32 s32; max s32 s32 s32
shl s32 s32 u32; shl s32 s32 u32*; shr s32 s32 u32 up; shr s32 s32 u32* up; shr s32 s32 u32; shr s32 s32 u32*
shr u32 u32 u32*; shr s16 s32 s32* sat up; shr s16 s32 s32 sat up; shr s8 s16 s16* sat up; shr s8 s16 s16 sat up
high s32 s32 s32 sat up shift 31; high s32 s32 s32* sat up shift 31; high u32 u32 u32* shift 32
dot s32 s16 s16 group 2; dot s32 s16 s16 s32 group 2; dot s32 u8 s8 s32 group 4; dot s32 s8 s8 s32 group 4
add f32 f32 f32; sub f32 f32 f32; mul f32 f32 f32; div f32 f32 f32; min f32 f32 f32; max f32 f32 f32
mad f32 f32 f32 f32; mad f32 f32* f32 f32; float f32 s32; round s32 f32; round s32 f32 sat
add f32 f32 f32*; mul f32 f32 f32*; min f32 f32 f32*; max f32 f32 f32*
"""


def _form(text: str, *, single: bool) -> Form:
    """Read one entry of the tables above."""
    operation, result, *rest = text.split()
    kind, _, held = result.partition(":")
    numbers = {word: int(rest[rest.index(word) + 1]) for word in ("shift", "group", "step") if word in rest}
    indices = rest[rest.index("indices") + 1].split(",") if "indices" in rest else []
    sources = [word for word in rest if word[0] in "suf" and word[1:].rstrip("*").isdigit()]
    return Form(
        _OPERATIONS[operation], (kind, *(word.rstrip("*") for word in sources)), held or kind, single,
        tuple(place for place, word in enumerate(sources) if word.endswith("*")),
        saturate="sat" in rest, rounds="up" in rest, indices=tuple(map(int, indices)), **numbers,
    )  # fmt: skip


def _read(table: str, *, single: bool) -> tuple[Form, ...]:
    """Read a table of forms."""
    return tuple(_form(text, single=single) for text in table.replace("\n", ";").split(";") if text.strip())


FORMS = (*_read(_SINGLE, single=True), *_read(_MANY, single=False))
OPCODE_OF = {form: k.FIRST_FORM + number for number, form in enumerate(FORMS)}
