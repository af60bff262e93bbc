"""Each instruction alone as C, compiled and run on random registers: every byte equals what the executor leaves."""

import fnmatch
import re

import numpy as np
import pytest

from workloads.c_source import c_text
from workloads.c_source.dialect import load_dialect
from workloads.isa import ELEMENT_BYTES, load_isa
from workloads.legality import faults
from workloads.program import Address, Buffer, Instruction, Program, operand_elements

ROOM = 2048  # bytes of every buffer, at least the largest register group
FIRST = {
    "thumb2-dsp": ("r", 0, 2), "rv32im": ("x", 5, 1), "rv64gc": ("x", 5, 1), "avx2": ("ymm", 0, 1),
    "avx512-vnni": ("zmm", 0, 1), "rvv": ("v", 0, 8),
}  # fmt: skip
FLOATS = {"rv64gc": {"f32": "f", "f64": "d"}, "thumb2-dsp": {"f32": "s"}}  # registers by element type
SCALARS = {"vmovd": "d", "vpextrd": "d", "shr": "da", "mov.word.store": "a", "mov.byte.store": "a"}  # on avx2
IMMEDIATES = {"vpslld", "vpsrad", "vpsrlq"}  # whose last source is never memory
COUNTS = {"avx512-vnni": (None, 1, 5, 16), "rvv": (1, 5, 32)}
INDICES = {
    "vpshufb": [4 * (i % 4) for i in range(32)],
    "vpermd": [0, 4, 0, 4, 0, 4, 0, 4],
    "vpshufb.halves": [4 * (i % 8 // 2) + i % 2 for i in range(32)],
    "vpermd.halves": [0, 1, 4, 5, 0, 1, 4, 5],
}


def fill(isa, register, nbytes):
    """Load a register, or as many as hold the bytes, from the buffer named like its operand."""
    buffer, name = register
    match isa.name, name.rstrip("0123456789"):
        case "thumb2-dsp", "s":
            return [Instruction("vldr", name, (Address(buffer),))]
        case "thumb2-dsp", _:
            return [Instruction("ldr", f"r{int(name[1:]) + i}", (Address(buffer, 4 * i),)) for i in range(nbytes // 4)]
        case "rv32im", _:
            return [Instruction("lw", name, (Address(buffer),))]
        case "rv64gc", "f":
            return [Instruction("flw", name, (Address(buffer),))]
        case "rv64gc", "d":
            return [Instruction("fld", name, (Address(buffer),))]
        case "rv64gc", _:
            return [Instruction("ld", name, (Address(buffer),))]
        case "avx2", "r":
            return [Instruction("vmovdqu.load", "ymm9", (Address(buffer),)), Instruction("vmovd", name, ("ymm9",))]
        case "avx2", _:
            return [Instruction("vmovdqu.load", name, (Address(buffer),))]
        case "avx512-vnni", _:
            return [Instruction("vmovdqu8.load", name, (Address(buffer),))]
        case "rvv", "x":
            return [Instruction("lw", name, (Address(buffer),))]
        case "rvv", "f":
            return [Instruction("flw", name, (Address(buffer),))]
    return [Instruction("vle8.v", name, (Address(buffer),), nbytes)]


def spill(isa, name, nbytes):
    """Store the first bytes of a register, or of as many as hold them."""
    out = Address("out")
    match isa.name, name.rstrip("0123456789"):
        case "thumb2-dsp", "s":
            return [Instruction("vstr", out, (name,))]
        case "thumb2-dsp", _:
            return [Instruction("str", out.plus(4 * i), (f"r{int(name[1:]) + i}",)) for i in range(-(-nbytes // 4))]
        case "rv32im", _:
            return [Instruction("sw", out, (name,))]
        case "rv64gc", "f":
            return [Instruction("fsw", out, (name,))]
        case "rv64gc", "d":
            return [Instruction("fsd", out, (name,))]
        case "rv64gc", _:
            return [Instruction("sd", out, (name,))]
        case "avx2", "r":
            halves = [Instruction("mov.word.store", out.plus(2 * i), (name,)) for i in range(2)]
            return [halves[0], Instruction("shr", name, (name, 16)), halves[1]]
        case "avx2", _:
            stores = {32: "vmovdqu", 16: "vmovdqu.xmm", 8: "vmovq", 4: "vmovd", 2: "vpextrw", 1: "vpextrb"}
            return [Instruction(f"{stores[nbytes]}.store", out, (name,))]
        case "avx512-vnni", _:
            return [Instruction("vmovdqu8.store", out, (name,), nbytes)]
        case "rvv", "x":
            return [Instruction("vmv.v.x.e32", "v0", (name,), 1), Instruction("vse8.v", out, ("v0",), 4)]
        case "rvv", "f":  # the larger of what was loaded and itself
            again = Instruction("vle32.v", "v8", (Address("a"),), 1)
            return [again, Instruction("vfmax.vf.e32", "v0", ("v8", name), 1), Instruction("vse8.v", out, ("v0",), 4)]
    return [Instruction("vse8.v", out, (name,), nbytes)]


def program_of(isa, op, count, memory):
    """Return a Program that runs one instruction between loads and a store; its sources come from memory or not."""
    meaning = isa.meaning(op)
    prefix, first, apart = FIRST[isa.name]
    probe = Instruction(op, Address("out"), ("",) * len(meaning.sources), count)
    written, read = operand_elements(probe, meaning)
    names, body = {}, []
    for place, letter, kind in zip(range(4), "dabc", (meaning.result, *meaning.sources), strict=False):
        own = FLOATS.get(isa.name, {}).get(kind, prefix)
        scalar = (
            letter in SCALARS.get(op, "") if isa.name == "avx2" else isa.name == "rvv" and is_scalar(meaning, place)
        )
        single = "r" if isa.name == "avx2" else "f" if kind == "f32" else "x"
        names[letter] = f"{single}{5 + place}" if scalar else f"{own}{first + place * apart}"
    line = load_dialect(isa.name).line(op)
    sources = []
    for letter, kind, elements in zip("abc", meaning.sources, read, strict=False):
        if f"{{{letter}.at}}" in line or meaning.kind == "load" or (memory and letter == "abc"[len(read) - 1]):
            sources.append(Address(letter))
        elif meaning.kind == "immediate" or (
            letter != "a" and (op in IMMEDIATES or re.search(r"\.[vw]i|^s[lr]ai?$|^sl+i$|^shr$", op))
        ):
            sources.append(3)
        else:
            sources.append(names[letter])
            size = elements * ELEMENT_BYTES[kind] if isa.name == "rvv" else max(4, elements * ELEMENT_BYTES[kind])
            body += fill(isa, (letter, names[letter]), size)
    size = written * ELEMENT_BYTES[meaning.holds or meaning.result]
    if meaning.kind == "store":
        body.append(Instruction(op, Address("out"), tuple(sources), count))
    else:
        if meaning.accumulate or isa.name in ("avx2", "avx512-vnni"):
            body += fill(isa, ("d", names["d"]), size)
        body.append(Instruction(op, names["d"], tuple(sources), count))
        # Masked lanes, and the bytes around an inserted one, stay as they were.
        kept = meaning.lanes * size // written if isa.name == "avx512-vnni" else 32 if "vpinsr" in op else size
        body += spill(isa, names["d"], kept)
    used = sorted({s.buffer for one in body for s in one.sources if isinstance(s, Address)})
    buffers = (*(Buffer(letter, ROOM, role="input") for letter in used), Buffer("out", ROOM, role="output"))
    return Program(f"{op}_{count or 'all'}", isa, buffers, tuple(body))


def is_scalar(meaning, place):
    """Whether an operand of a vector instruction is a scalar register; the destination has place 0."""
    if place == 0:
        return meaning.holds == "s64" or (meaning.kind == "load" and meaning.lanes == 1)
    return place - 1 in meaning.scalar_sources or meaning.kind == "broadcast"


def contents(isa, op, random):
    """Draw what the registers hold: shift amounts below 32, floats that are numbers, bytes with extremes."""
    meaning = isa.meaning(op)
    found = {}
    for letter, kind in zip("dabc", (meaning.result, *meaning.sources, "s8", "s8", "s8"), strict=False):
        if kind in ("f32", "f64"):
            values = random.choice([-0.5, 1.5, 2.5, -1e6, 0.1, 3e5], ROOM // 4) + random.integers(-9, 9, ROOM // 4)
            values = np.abs(values) if meaning.kind == "square_root" else values
            found[letter] = values[: ROOM // ELEMENT_BYTES[kind]].astype(f"f{ELEMENT_BYTES[kind]}")
        elif letter == "b" and ("shift" in meaning.kind or meaning.kind == "narrow"):
            width = ELEMENT_BYTES[kind]
            found[letter] = random.integers(
                0, min(8 * ELEMENT_BYTES[meaning.sources[0]], 32), ROOM // width, f"u{width}"
            )
        elif letter == "b" and meaning.kind == "gather":
            size, width = (ELEMENT_BYTES[source] for source in meaning.sources)
            found[letter] = random.integers(0, min(ROOM // size, 2 ** (8 * width)), ROOM // width, f"u{width}")
        elif letter == "b" and op in INDICES:
            index = np.array(INDICES[op], np.uint8 if op.startswith("vpshufb") else np.int32)
            found[letter] = np.tile(index, ROOM // index.nbytes)
        else:
            extremes = random.choice([-128, -1, 0, 127], ROOM)
            found[letter] = np.where(random.random(ROOM) < 0.2, extremes, random.integers(-128, 128, ROOM)).astype(
                np.int8
            )
    return found


def jobs(c_toolchains, isa):
    """Yield each instruction on all and on some lanes, from registers and from memory, with random contents."""
    random = np.random.default_rng(0)
    dialect, never = load_dialect(isa.name), (*SCALARS, *IMMEDIATES)
    for op, meaning in isa.instructions.items():
        if meaning.kind == "control":
            continue
        scalar = isa.name == "rvv" and meaning.holds
        reaches = dialect.memory and meaning.sources and op not in never and meaning.step == 1
        for count in (None,) if scalar else COUNTS.get(isa.name, (None,)):
            for memory in (False, True) if reaches else (False,):
                if (count or 0) <= meaning.lanes:
                    program, given = program_of(isa, op, count, memory), contents(isa, op, random)
                    names = {buffer.name for buffer in program.buffers}
                    yield c_toolchains.Job(program, {name: x for name, x in given.items() if name in names})


TOOLCHAINS = ("host thumb2-dsp", "host rv32im", "host rv64gc", "host avx2", "host avx512-vnni", "simde avx512-vnni",
              "arm thumb2-dsp", "riscv rv32im", "riscv rv64gc", "clang rvv 256")  # fmt: skip


@pytest.mark.parametrize("name", TOOLCHAINS)
def test_an_instruction_as_c_does_what_it_means(name, c_toolchains, tmp_path):
    isa = load_isa(c_toolchains.toolchain(name).isa)
    c_toolchains.compare(name, list(jobs(c_toolchains, isa)), tmp_path)


@pytest.mark.parametrize("name", FIRST)
def test_every_instruction_of_a_set_has_a_c_form_and_every_c_form_an_instruction(name):
    isa, dialect = load_isa(name), load_dialect(name)
    meant = {op for op, meaning in isa.instructions.items() if meaning.kind != "control"}
    assert not {op for op in meant if not dialect.line(op)}
    assert not {key for key in (*dialect.instructions, *dialect.masked) if not fnmatch.filter(meant, key)}
    assert set(dialect.registers) == set(isa.registers)


@pytest.mark.parametrize("name", FIRST)
def test_programs_of_single_instructions_are_legal_and_read_as_c(name, c_toolchains):
    for job in jobs(c_toolchains, load_isa(name)):
        assert not list(faults(job.program))
        assert c_text(job.program)
