"""Constants of an ONNX file: initialisers, also outside the file, checked before they are trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.readers import limits

if TYPE_CHECKING:
    from workloads.tensor import Array, Quantization

# ONNX element type: numpy type; other types are refused by name
ELEMENT_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant in the file's own layout; with ``quantization`` it stands for the dequantised real numbers."""

    name: str
    array: Array
    quantization: Quantization | None = None

    def real(self) -> Array:
        """Return the numbers that the constant stands for."""
        if self.quantization is None:
            return self.array
        return dequantized(self.array, self.quantization)


def dequantized(array: Array, quantization: Quantization) -> Array:
    """Return scale * (integer - zero point) in float32, per channel along the axis."""
    along = [1] * array.ndim
    if quantization.axis is not None:
        along[quantization.axis] = -1
    scale, zero_point = quantization.scale.reshape(along), quantization.zero_point.reshape(along)
    return np.asarray((array.astype(np.int32) - zero_point).astype(np.float32) * scale.astype(np.float32))


def constant(name: str, proto: Any, folder: Path | None) -> Constant:
    """Return an ONNX TensorProto as a Constant.

    Raises
    ------
    ValueError
        Its type, shape, length, place or numbers are not acceptable.
    """
    from onnx import TensorProto, numpy_helper

    if proto.data_type not in ELEMENT_TYPES:
        known = {number: word for word, number in TensorProto.DataType.items()}
        raise ValueError(f"element type {known.get(proto.data_type, proto.data_type)} is not supported")
    dtype, shape = np.dtype(ELEMENT_TYPES[proto.data_type]), tuple(proto.dims)
    if any(extent < 0 for extent in shape) or len(shape) > limits.MAX_RANK:
        raise ValueError(f"shape {list(shape)} is not a shape of at most {limits.MAX_RANK} axes")
    if math.prod(shape) > limits.MAX_TENSOR_ELEMENTS:
        raise ValueError(f"shape {list(shape)} has more than {limits.MAX_TENSOR_ELEMENTS} elements")
    if proto.data_location == TensorProto.EXTERNAL:
        array = np.frombuffer(_external_bytes(proto, folder, math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
    else:
        try:
            array = np.asarray(numpy_helper.to_array(proto))
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"the data do not fit shape {list(shape)} of {dtype}: {error}") from error
    if array.shape != shape:
        raise ValueError(f"data of shape {list(array.shape)} for a declared shape {list(shape)}")
    return Constant(name, check_finite(array))


def check_finite(array: Array) -> Array:
    """Return the array if it holds numbers only."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(f"{bad} of {array.size} values are NaN or infinite; the weights must be finite")
    return array


def _external_bytes(proto: Any, folder: Path | None, expected: int) -> bytes:
    """Read the bytes of a constant that lies in another file of the model's own folder."""
    entries = {entry.key: entry.value for entry in proto.external_data}
    location = entries.get("location", "")
    if folder is None or not location or "\0" in location:
        raise ValueError("the data are in another file, but no usable location is given")
    home = folder.resolve()
    path = (home / location).resolve()
    if Path(location).is_absolute() or not path.is_relative_to(home):
        raise ValueError(f"external data at {location!r} lie outside the model's folder; put them beside the model")
    if not path.is_file():
        raise ValueError(f"external data file {location!r} does not exist beside the model")
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", expected))
    except ValueError:
        raise ValueError(f"external data of {location!r} have an offset or length that is not a number") from None
    if offset < 0 or length != expected or offset + length > path.stat().st_size:
        raise ValueError(f"external data: {length} bytes at {offset} of {location!r}; expected {expected} in the file")
    with path.open("rb") as file:
        file.seek(offset)
        data: bytes = file.read(length)
    return data
