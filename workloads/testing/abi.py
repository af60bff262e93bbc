"""The C interface of a kernel under test: one struct, its ctypes form, and the header that declares it."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.tensor import Array

VERSION = 1
DONE, UNSUPPORTED = 0, 1
GUARD_BYTES = 64  # on each side of the output, to notice writes outside it
GUARD = 0xA5
RANK = 4

_TYPES: dict[str, tuple[Any, str]] = {
    "int32": (ctypes.c_int32, "int32_t"), "double": (ctypes.c_double, "double"),
    "const void *": (ctypes.c_void_p, "const void *"), "void *": (ctypes.c_void_p, "void *"),
    "const int8_t *": (ctypes.c_void_p, "const int8_t *"), "const int32_t *": (ctypes.c_void_p, "const int32_t *"),
    "const double *": (ctypes.c_void_p, "const double *"),
}  # fmt: skip
# (name, type, length of an array or 0, meaning); the struct and the header are both made from this.
FIELDS: tuple[tuple[str, str, int, str], ...] = (
    ("a", "const void *", 0, "first input, channels last"),
    ("b", "const void *", 0, "second input of matmul, add, mul; else NULL"),
    (
        "weights",
        "const int8_t *",
        0,
        "conv2d (O,KH,KW,C/groups), depthwise (1,KH,KW,O), fully_connected (O,K); or NULL",
    ),
    ("bias", "const void *", 0, "one per output channel, bias_bytes each; NULL without bias"),
    ("multipliers", "const int32_t *", 0, "one per channel: factor = multiplier * 2^(shift - 31)"),
    ("shifts", "const int32_t *", 0, "one per channel; positive shifts left"),
    ("scales", "const double *", 0, "the same factors as real numbers"),
    ("output", "void *", 0, "to be written, row-major"),
    ("a_scale", "double", 0, "add: real scales of the tensors; softmax: of the input"),
    ("b_scale", "double", 0, ""),
    ("output_scale", "double", 0, ""),
    ("beta", "double", 0, "softmax"),
    ("abi", "int32", 0, "PRESAGE_ABI"),
    ("input_bytes", "int32", 0, "bytes of an element of a and b: 1 int8, 2 int16; requantize: 4 int32, 8 int64"),
    ("output_bytes", "int32", 0, "bytes of an element of the output: 1 int8, 2 int16"),
    ("bias_bytes", "int32", 0, "4 or 8; 0 without bias"),
    ("channels", "int32", 0, "how many multipliers, shifts and scales there are"),
    ("rank", "int32", 0, "axes of the output"),
    ("a_shape", "int32", RANK, "extents; unused ones in front are 1"),
    ("b_shape", "int32", RANK, ""),
    ("weights_shape", "int32", RANK, ""),
    ("output_shape", "int32", RANK, ""),
    ("stride", "int32", 2, "vertical, horizontal"),
    ("padding", "int32", 4, "top, left, bottom, right"),
    ("dilation", "int32", 2, "vertical, horizontal"),
    ("window", "int32", 2, "pools: height, width"),
    ("groups", "int32", 0, "conv2d"),
    ("channel_multiplier", "int32", 0, "depthwise_conv2d: outputs per input channel"),
    ("a_zero_point", "int32", 0, "subtracted from a"),
    ("b_zero_point", "int32", 0, "subtracted from b"),
    ("weight_zero_point", "int32", 0, "subtracted from weights"),
    ("output_zero_point", "int32", 0, "added after requantisation"),
    ("low", "int32", 0, "bounds of the result"),
    ("high", "int32", 0, ""),
    ("left_shift", "int32", 0, "add, in TFLite's form: both inputs shifted left, then by their factors, then summed"),
    ("a_multiplier", "int32", 0, ""),
    ("a_shift", "int32", 0, ""),
    ("b_multiplier", "int32", 0, ""),
    ("b_shift", "int32", 0, ""),
    ("output_multiplier", "int32", 0, ""),
    ("output_shift", "int32", 0, ""),
    ("input_multiplier", "int32", 0, "softmax, in TFLite's form"),
    ("input_left_shift", "int32", 0, ""),
    ("diff_min", "int32", 0, ""),
    ("packed_weights", "const int8_t *", 0, "two 4-bit weights a byte, low half first; NULL where one needs more bits"),
)
_RENAMED = {"a": "x", "a_zero_point": "input_zero_point", "a_scale": "input_scale"}  # what Python kernels call them


class Layer(ctypes.Structure):
    """The struct ``presage_layer``."""

    _fields_ = [
        (_name, _TYPES[_type][0] * _length if _length else _TYPES[_type][0]) for _name, _type, _length, _ in FIELDS
    ]


def header() -> str:
    """Return the C header that declares the interface."""
    lines = [
        "/* presage_layer.h: what presage hands to a kernel under test. */",
        "#ifndef PRESAGE_LAYER_H",
        "#define PRESAGE_LAYER_H",
        "#include <stdint.h>",
        "",
        f"#define PRESAGE_ABI {VERSION}",
        f"#define PRESAGE_DONE {DONE}",
        f"#define PRESAGE_UNSUPPORTED {UNSUPPORTED} /* the example is left out */",
        "",
        "typedef struct presage_layer {",
    ]
    for name, kind, length, meaning in FIELDS:
        declared = _TYPES[kind][1]
        space = "" if declared.endswith("*") else " "
        text = f"    {declared}{space}{name}{f'[{length}]' if length else ''};"
        lines.append(f"{text:<40}/* {meaning} */" if meaning else text)
    lines += [
        "} presage_layer;",
        "",
        "/* A kernel has this type, under any name: presage fuzz --library libk.so --symbol name --op conv2d ...",
        "   It returns PRESAGE_DONE, PRESAGE_UNSUPPORTED, or anything else for an error. */",
        "typedef int32_t (*presage_kernel)(const presage_layer *layer);",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def run(function: Any, values: Mapping[str, Any]) -> tuple[int, Array, bool]:
    """Call a C function on the arguments of a case; returns (status, output, whether only the output was written)."""
    layer = Layer()
    named = {name: values.get(name, values.get(_RENAMED.get(name, ""))) for name, *_ in FIELDS}
    if "accumulators" in values:
        named["a"] = values["accumulators"]
    kept = {name: _contiguous(value) for name, value in named.items() if isinstance(value, np.ndarray)}
    shape, dtype = tuple(values["output_shape"]), np.dtype(values["dtype"])
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.full(size + 2 * GUARD_BYTES, GUARD, np.uint8)
    for name, kind, length, _ in FIELDS:
        if kind.endswith("*"):
            if name in kept:
                setattr(layer, name, kept[name].ctypes.data)
        elif length == 0 and named[name] is not None:
            setattr(layer, name, named[name])
        elif length and not name.endswith("_shape"):
            getattr(layer, name)[:] = named[name] if named[name] is not None else (_neutral(name),) * length
    shapes = {name: kept[name].shape for name in ("a", "b", "weights") if name in kept} | {"output": shape}
    for name, extents in shapes.items():
        getattr(layer, f"{name}_shape")[:] = (*(1,) * (RANK - len(extents)), *extents)
    layer.output = memory.ctypes.data + GUARD_BYTES
    layer.abi, layer.rank, layer.channels = VERSION, len(shape), kept["multipliers"].size
    layer.input_bytes, layer.output_bytes = kept["a"].itemsize, dtype.itemsize
    layer.bias_bytes = kept["bias"].itemsize if "bias" in kept else 0
    status = int(function(ctypes.byref(layer)))
    inside = memory[GUARD_BYTES : GUARD_BYTES + size].copy().view(dtype).reshape(shape)
    clean = bool((memory[:GUARD_BYTES] == GUARD).all() and (memory[GUARD_BYTES + size :] == GUARD).all())
    return status, inside, clean


def _neutral(name: str) -> int:
    return 0 if name == "padding" else 1


def _contiguous(array: Array) -> Array:
    return np.ascontiguousarray(array)
