"""Tensors of a .tflite file: element types, quantisation and constants, checked one by one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.kernels.packing import unpack
from workloads.readers.limits import shape_problems
from workloads.tensor import ELEMENT_BITS, Quantization, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.readers.tflite_file import RawTensor
    from workloads.tensor import Array

TYPES = {
    "FLOAT32": "float32", "INT8": "int8", "UINT8": "uint8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "INT4": "int4", "BOOL": "bool",
}  # fmt: skip


def convert_tensor(raw: RawTensor, name: str, problems: list[str]) -> Tensor | None:
    """Return the tensor under a unique ``name``, or None after adding its faults to ``problems``.

    An activation keeps the shape of the file; the reader replaces it by the one that follows from the inputs.
    """
    found: list[str] = []
    if raw.type not in TYPES:
        problems.append(f"tensor {name!r}: element type {raw.type}, expected one of {', '.join(sorted(TYPES))}")
        return None
    dtype = TYPES[raw.type]
    if raw.data is not None:
        found += shape_problems("constant", raw.shape)
    quantization = _quantization(raw, dtype, found)
    data = None if found else _data(raw, dtype, found)
    problems.extend(f"tensor {name!r}: {problem}" for problem in found)
    # 4-bit weights are unpacked once, so that every kernel sees whole bytes.
    return None if found else Tensor(name, raw.shape, "int8" if dtype == "int4" else dtype, quantization, data)


def input_shape(raw: RawTensor, name: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return the extents of a graph input, with ``sizes`` in the place of dynamic ones.

    Raises
    ------
    ValueError
        A dynamic axis has neither a size in the file nor a given one, or the shape is beyond the limits.
    """
    extents, problems = [], []
    for axis, extent in enumerate(raw.shape):
        given = sizes.get(f"{name}.{axis}", sizes.get("batch") if axis == 0 else None)
        if is_dynamic(raw, axis) and given is not None:
            extents.append(given)
        elif extent < 1:
            option = "batch" if axis == 0 else f"{name}.{axis}"
            problems.append(f"axis {axis} of shape {list(raw.shape)} is dynamic; give its size, e.g. --size {option}=1")
        else:
            extents.append(extent)
    problems = problems or shape_problems("input", extents)
    if problems:
        raise ValueError("; ".join(problems))
    return tuple(extents)


def is_dynamic(raw: RawTensor, axis: int) -> bool:
    """Whether an axis has no fixed extent."""
    return raw.shape[axis] < 0 or (axis < len(raw.signature) and raw.signature[axis] < 0)


def _quantization(raw: RawTensor, dtype: str, found: list[str]) -> Quantization | None:
    """Return the quantisation, None for float tensors and for integers without one."""
    scales, zero_points, shape = raw.scales, raw.zero_points, raw.shape
    if dtype == "float32" or not scales.size:
        if dtype != "float32" and zero_points.size:
            found.append(f"{zero_points.size} zero points but no scale")
        return None
    if not zero_points.size:
        zero_points = np.zeros(scales.size, np.int64)
    if not np.all(np.isfinite(scales) & (scales > 0)):
        bad = scales[~(np.isfinite(scales) & (scales > 0))]
        found.append(f"{bad.size} of {scales.size} scales are not positive numbers, e.g. {float(bad[0])!r}")
    if zero_points.size != scales.size:
        found.append(f"{scales.size} scales but {zero_points.size} zero points")
    if scales.size > 1 and raw.data is None:
        found.append(f"an activation with {scales.size} scales; expected one")
    elif scales.size > 1 and not (0 <= raw.axis < len(shape) and shape[raw.axis] == scales.size):
        found.append(f"{scales.size} scales for axis {raw.axis} of shape {shape}")
    bits = ELEMENT_BITS[dtype]
    low, high = (0, 2**bits - 1) if dtype in ("uint8", "bool") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if zero_points.size and (int(zero_points.min()) < low or int(zero_points.max()) > high):
        found.append(f"zero point outside {dtype}: {int(zero_points.min())} .. {int(zero_points.max())}")
    if found:
        return None
    axis = raw.axis if scales.size > 1 else None
    return Quantization(scales.astype(np.float32), zero_points.astype(np.int32), axis)


def _data(raw: RawTensor, dtype: str, found: list[str]) -> Array | None:
    """Return a constant's array, a view into the file where possible; None for an activation."""
    if raw.data is None:
        return None
    shape, elements = raw.shape, math.prod(raw.shape)
    expected = (elements * ELEMENT_BITS[dtype] + 7) // 8
    if raw.data.size != expected:
        found.append(f"{raw.data.size} bytes of data for shape {shape} of {dtype}, expected {expected}")
        return None
    if dtype == "int4":
        return unpack(raw.data, elements).reshape(shape)
    array = np.frombuffer(raw.data.tobytes() if raw.data.ctypes.data % 8 else raw.data, np.dtype(dtype)).reshape(shape)
    if dtype == "float32":
        bad = array.size - int(np.count_nonzero(np.isfinite(array)))
        if bad:
            found.append(f"{bad} of {array.size} weights are NaN or infinite")
    return array
