"""The sets that compute in float32, as the float generators use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen import avx2, avx512_vnni, x86
from workloads.codegen.float_set import FLOAT_BYTES, FloatSet, Rates
from workloads.codegen.schedule import Tuning
from workloads.program import Instruction

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.x86 import Dialect
    from workloads.isa import InstructionSet
    from workloads.program import Address

_GROUPS = (1, 2, 4)  # registers of a vector group that RVV is offered with
_TAILS = (4, 2, 1)  # floats that AVX2 moves at once besides whole vectors


def kits_of(isa: InstructionSet) -> tuple[FloatSet, ...]:
    """Return how a set can be used for float32.

    Raises
    ------
    NotImplementedError
        No float kernels are generated for it.
    """
    match isa.name:
        case "avx2":
            return (_x86(isa, avx2.DIALECT, _TAILS),)
        case "avx512-vnni":
            return (_x86(isa, avx512_vnni.DIALECT, ()),)
        case "rv64gc":
            return (_rv64gc(isa),)
        case "thumb2-dsp":
            return (_thumb2(isa),)
        case "rvv":
            return tuple(_rvv(isa, group) for group in _GROUPS)
    raise NotImplementedError(f"{isa.name}: no kernels are generated in float32")


def _x86(isa: InstructionSet, dialect: Dialect, widths: tuple[int, ...]) -> FloatSet:
    """Return AVX2 or AVX-512, whose multiply-adds read weights from memory where each is used once."""

    def load(register: str, address: Address, lanes: int) -> Body:
        return (x86.load(dialect, register, address, FLOAT_BYTES * lanes),)

    def store(register: str, address: Address, lanes: int) -> Body:
        return x86.store(dialect, register, address, FLOAT_BYTES * lanes)

    return FloatSet(
        isa, tuple(map(dialect.register, range(dialect.registers))), (), dialect.lanes,
        {"splat": "vpbroadcastd.load", "multiply_add": "vfmadd231ps", "multiply_add_each": "vfmadd231ps",
         "add": "vaddps", "subtract": "vsubps", "maximum": "vmaxps", "maximum_each": "vmaxps", "minimum": "vminps",
         "move": x86.move(dialect, "", "").op},
        load, store, Rates(multiply_add=0.5, load=0.5, splat=0.5, latency=4.0), widths, memory_operands=True,
    )  # fmt: skip


def _rv64gc(isa: InstructionSet) -> FloatSet:
    """Return RV64GC, one float at a time; its order suits the U74: floats in one pipe, memory in the other."""
    floats = ("fadd.s", "fsub.s", "fmadd.s")
    others = ("fmin.s", "fmax.s", "fmv.s")
    tuning = Tuning(
        width=2,
        unit=dict.fromkeys(("flw", "fsw"), "memory") | dict.fromkeys((*floats, *others), "float"),
        latency={"flw": (2, 2)} | dict.fromkeys(floats, (5, 5)) | dict.fromkeys(others, (3, 3)),
    )
    return FloatSet(
        isa, tuple(f"f{number}" for number in range(32)), (), 1,
        {"splat": "flw", "multiply_add": "fmadd.s", "multiply_add_each": "fmadd.s", "add": "fadd.s",
         "subtract": "fsub.s", "maximum": "fmax.s", "maximum_each": "fmax.s", "minimum": "fmin.s", "move": "fmv.s"},
        lambda register, address, _: (Instruction("flw", register, (address,)),),
        lambda register, address, _: (Instruction("fsw", address, (register,)),),
        Rates(multiply_add=1.0, load=1.0, splat=1.0, latency=5.0), tuning=tuning,
    )  # fmt: skip


def _rvv(isa: InstructionSet, group: int) -> FloatSet:
    """Return RVV with groups of some registers; factors are scalar registers.

    More units compute the larger of a register and itself than move it.
    """

    def load(register: str, address: Address, lanes: int) -> Body:
        return (Instruction("vle32.v.e32", register, (address,), lanes),)

    def store(register: str, address: Address, lanes: int) -> Body:
        return (Instruction("vse32.v.e32", address, (register,), lanes),)

    return FloatSet(
        isa, tuple(f"v{number}" for number in range(0, 32, group)), tuple(f"f{number}" for number in range(32)),
        isa.parameters["vlen"] * group // 32,
        {"splat": "flw", "multiply_add": "vfmacc.vf.e32", "multiply_add_each": "vfmacc.vv.e32", "add": "vfadd.vv.e32",
         "subtract": "vfsub.vv.e32", "maximum": "vfmax.vf.e32", "minimum": "vfmin.vf.e32",
         "maximum_each": "vfmax.vv.e32", "move": "vfmax.vv.e32"},
        load, store, Rates(multiply_add=group, load=2.0 * group, splat=0.5, latency=5.0), counted=True, lmul=group,
    )  # fmt: skip


def _thumb2(isa: InstructionSet) -> FloatSet:
    """Return Thumb-2 with a float unit, one float at a time; its order suits the Cortex-M7."""
    moves, sums = ("vldr", "vstr"), ("vadd.f32", "vsub.f32", "vfma.f32", "vminnm.f32", "vmaxnm.f32", "vmov.f32")
    tuning = Tuning(
        width=2, unit=dict.fromkeys((*moves, *sums), "float"), latency={"vldr": (1, 1)} | dict.fromkeys(sums, (3, 3))
    )
    return FloatSet(
        isa, tuple(f"s{number}" for number in range(32)), (), 1,
        {"splat": "vldr", "multiply_add": "vfma.f32", "multiply_add_each": "vfma.f32", "add": "vadd.f32",
         "subtract": "vsub.f32", "maximum": "vmaxnm.f32", "maximum_each": "vmaxnm.f32", "minimum": "vminnm.f32",
         "move": "vmov.f32"},
        lambda register, address, _: (Instruction("vldr", register, (address,)),),
        lambda register, address, _: (Instruction("vstr", address, (register,)),),
        Rates(multiply_add=1.0, load=1.0, splat=1.0, latency=3.0, overlap=False), tuning=tuning,
    )  # fmt: skip
