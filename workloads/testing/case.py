"""A test case: one operator with its integer constants and inputs, its true result, and its file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.arithmetic import (
    FIXED_POINT,
    effective_scales,
    profile_of,
    quantize_multipliers,
    requantize,
    requantize_fixed,
)
from workloads.errors import InputError, did_you_mean
from workloads.operands import Factors, Operands, Stated
from workloads.operators import Add, Conv2d, DepthwiseConv2d, FullyConnected, MatMul, Mul, Pool2d, Quantize, Softmax

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workloads.operators import Operator
    from workloads.tensor import Array

OPS: Mapping[str, type] = {
    "conv2d": Conv2d, "depthwise_conv2d": DepthwiseConv2d, "fully_connected": FullyConnected, "matmul": MatMul,
    "add": Add, "mul": Mul, "average_pool2d": Pool2d, "max_pool2d": Pool2d, "softmax": Softmax, "requantize": Quantize,
}  # fmt: skip
PRODUCTS = frozenset({"conv2d", "depthwise_conv2d", "fully_connected", "matmul"})
WIDE_OPS = tuple(op for op in OPS if op not in ("matmul", "softmax"))  # with 16-bit activations
CASE_SCHEMA = 1
STORED = (  # constants that a saved case holds besides the stated factors
    "input_scales", "input_zero_points", "output_scale", "output_zero_point", "low", "high", "weights",
    "weight_scales", "weight_zero_point", "bias", "scales", "dtype", "wide",
)  # fmt: skip


@dataclass(frozen=True)
class Widths:
    """Element types of a layer: inputs and output ("int8" or "int16"), weights ("int8" or "int4"), 64-bit sums."""

    dtype: str = "int8"
    weights: str = "int8"
    wide: bool = False


def widths_of(profile: str) -> Widths:
    """Return the element types that a profile is for: int8, or what its name or its accumulator says."""
    wide = profile_of(profile).accumulator == "int64"
    dtype = "int16" if wide or "-s16" in profile else "int8"
    return Widths(dtype, "int4" if profile.endswith("-s4") else "int8", wide)


@dataclass(frozen=True, eq=False)
class Case:
    """One example.

    Parameters
    ----------
    op
        A key of ``OPS``.
    operator
        Stride, padding and the like; its activation is not used: ``operands`` holds the integer clamp.
    operands
        The integer constants; for "requantize" the factors are ``operands.stated.output``.
    inputs
        One or two integer arrays; for "requantize" the accumulators (rows, channels).
    """

    op: str
    operator: Operator
    operands: Operands
    inputs: tuple[Array, ...]


def check_op(op: str) -> str:
    """Return ``op`` if the kit can make cases of it.

    Raises
    ------
    InputError
        It cannot; the message suggests the closest.
    """
    if op not in OPS:
        raise InputError("--op", [f"operator {op!r} is unknown to the kit; {did_you_mean(op, OPS)}"])
    return op


def expected(case: Case, profile: str) -> Array:
    """Return the result of a case as the profile defines it."""
    from workloads.kernels import integer

    operands, operator, inputs = case.operands, case.operator, case.inputs
    match operator:
        case Conv2d():
            return integer.conv2d(inputs[0], operands, operator, profile)
        case DepthwiseConv2d():
            return integer.depthwise_conv2d(inputs[0], operands, operator, profile)
        case FullyConnected():
            return integer.fully_connected(inputs[0], operands, operator, profile)
        case MatMul():
            return integer.matmul(inputs[0], inputs[1], operands, operator, profile)
        case Add():
            return integer.add(inputs[0], inputs[1], operands, operator, profile)
        case Mul():
            return integer.mul(inputs[0], inputs[1], operands, operator, profile)
        case Pool2d():
            return integer.pool2d(inputs[0], operands, operator, profile)
        case Softmax():
            return integer.softmax(inputs[0], operands, operator, profile)
    return requantized(case, inputs[0], profile)


def requantized(case: Case, sums: Array, profile: str) -> Array:
    """Requantise accumulators (..., channels) with the constants of a case; bias included already."""
    operands = case.operands
    bounds = (operands.output_zero_point, operands.low, operands.high)
    stated = operands.stated.output if operands.stated is not None else None
    if stated is not None and profile in FIXED_POINT:
        return requantize_fixed(sums, stated.multipliers, stated.shifts, *bounds, profile).astype(operands.dtype)
    scales = effective_scales(operands, profile) if stated is None else stated.scales
    return requantize(sums, scales, *bounds, profile, operands.output_scale).astype(operands.dtype)


def factors(case: Case) -> Factors:
    """Return the fixed-point factors from accumulator to output, one per output channel or one for all."""
    stated = case.operands.stated
    if stated is not None and stated.output is not None:
        return stated.output
    return Factors(*quantize_multipliers(effective_scales(case.operands, "tflite-double")))


def save(path: Path, case: Case, profile: str, notes: Mapping[str, str], results: Mapping[str, Array]) -> None:
    """Write a case as .npz: its arrays, its constants as JSON, and what was found."""
    from workloads.infer import write_outputs

    operands = case.operands
    stored = {name: getattr(operands, name) for name in STORED}
    constants = {name: value for name, value in stored.items() if not isinstance(value, np.ndarray)}
    operator = {name: value for name, value in asdict(case.operator).items() if name != "activation"}
    header = {
        "schema": CASE_SCHEMA, "op": case.op, "operator": operator, "operands": constants, "profile": profile,
        "notes": dict(notes),
    }  # fmt: skip
    arrays = {f"input{index}": array for index, array in enumerate(case.inputs)}
    arrays |= {f"operands.{name}": value for name, value in stored.items() if isinstance(value, np.ndarray)}
    if operands.stated is not None and operands.stated.output is not None:
        arrays |= {"multipliers": operands.stated.output.multipliers, "shifts": operands.stated.output.shifts}
    arrays |= {f"result.{name}": array for name, array in results.items()}
    write_outputs(path, {"case": np.array(json.dumps(header)), **arrays})


def load(path: Path) -> tuple[Case, str, dict[str, str]]:
    """Read a saved case: the case, its profile and its notes.

    Raises
    ------
    InputError
        The file is missing, damaged, or no saved case.
    """
    from workloads.infer import read_inputs

    arrays = read_inputs(path)
    try:
        header: dict[str, Any] = json.loads(arrays["case"].item())
        if header["schema"] != CASE_SCHEMA:
            raise InputError(path, [f"schema {header['schema']!r} is unknown; this version reads {CASE_SCHEMA}"])
        op = check_op(header["op"])
        operator = OPS[op](**{name: _tupled(value) for name, value in header["operator"].items()})
        constants = {name: _tupled(value) for name, value in header["operands"].items()}
        found = {name.removeprefix("operands."): a for name, a in arrays.items() if name.startswith("operands.")}
        stated = Stated(Factors(arrays["multipliers"], arrays["shifts"])) if "multipliers" in arrays else None
        operands = Operands(**(constants | found), stated=stated)
        inputs = tuple(arrays[name] for name in ("input0", "input1") if name in arrays)
        return Case(op, operator, operands, inputs), str(header["profile"]), dict(header["notes"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(path, [f"is no saved case of presage fuzz: {type(error).__name__}: {error}"]) from error


def with_inputs(case: Case, *inputs: Array) -> Case:
    """Return the case with other inputs."""
    return replace(case, inputs=tuple(np.ascontiguousarray(array) for array in inputs))


def with_operands(case: Case, **changes: Any) -> Case:
    """Return the case with some constants changed."""
    return replace(case, operands=replace(case.operands, **changes))


def _tupled(value: Any) -> Any:
    return tuple(_tupled(each) for each in value) if isinstance(value, list) else value
