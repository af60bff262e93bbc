"""The arithmetic of known targets: presets of ``RequantProfile`` by name.

``workloads/arithmetic.md`` teaches them with one worked example per rounding. Facts and versions are in each source.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from workloads.errors import did_you_mean
from workloads.requant_profile import RequantProfile, describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["FIXED_POINT", "PROFILES", "RequantProfile", "check_profile", "describe", "narrow", "profile_of"]

_DOUBLE = RequantProfile(
    name="tflite-double",
    version="tflite-micro 90b983c2 (2026-08-20)",
    accumulator="wrap32",
    scale="q31",
    steps=("high:half-up", "shift:half-away"),
    verified=True,
    source="tflite-micro@90b983c2:tensorflow/lite/kernels/internal/common.cc, MultiplyByQuantizedMultiplier; "
    "equal to LiteRT 2.3.0's reference convolutions",
)
_SINGLE = replace(
    _DOUBLE,
    name="tflite-single",
    steps=("product:half-up",),
    source="same function built with TFLITE_SINGLE_ROUNDING (CMSIS_NN_USE_SINGLE_ROUNDING); "
    "equal to LiteRT 2.3.0's reference fully connected",
)
_RUY = replace(
    _DOUBLE,
    name="ruy",
    version="LiteRT 2.3.0",
    steps=("high:half-up", "shift:half-up"),
    source="VQRDMULH then VRSHL, as ruy and TFLite's NEON kernels; measured with ai-edge-litert 2.3.0 on x86, CONV_2D "
    "without delegates: 0 of 40 960 outputs differ",
)
_CMSIS = replace(
    _DOUBLE,
    name="cmsis-nn",
    version="99f736a6 (2026-07-15)",
    source="ARM-software/CMSIS-NN@99f736a6:Include/arm_nnsupportfunctions.h, arm_nn_requantize; its unit-test vectors",
)
_FLOAT32 = RequantProfile(
    name="onnxruntime",
    version="1.31.1",
    accumulator="wrap32",
    scale="float32",
    steps=("real:half-even",),
    clamp="first",
    factor="float32",
    verified=True,
    source="onnxruntime@06414ba6:onnxruntime/core/mlas/lib/quantize.cpp; equal to onnxruntime 1.31.1",
)
_RVV = RequantProfile(
    name="rvv-rnu",
    version="riscv-v-spec 1.0 (2f68ef7)",
    accumulator="wrap32",
    scale="q31",
    steps=("high:half-up", "shift:half-up"),
    verified=False,
    source="riscv-v-spec@2f68ef7, 3.8 and 12: vsmul then vssra, both rounding as vxrm says; not executed",
)
_FIXPIPE = RequantProfile(
    name="ascend-fixpipe",
    version="asc-devkit 0da921b9 (2026-07-23)",
    accumulator="sat32",
    scale="fp19",
    steps=("real:half-even",),
    offset_bits=9,
    limit_bits=9,
    verified=False,
    source="asc-devkit@0da921b9, Mmad.md and SetQuantVector.md (REQ8): saturating sums, scale cut to 19 bits; the "
    "rounding and the order of the sums are not documented",
)

_PRESETS = (
    _DOUBLE,
    _SINGLE,
    _RUY,
    _CMSIS,
    replace(_CMSIS, name="cmsis-nn-s4", source=f"{_CMSIS.source}; weights of 4 bits, else as int8"),
    replace(
        _CMSIS,
        name="cmsis-nn-s16",
        accumulator="int64",
        scale="q15",
        steps=("product:half-up",),
        source="ARM-software/CMSIS-NN@99f736a6, arm_nn_requantize_s64 (16-bit activations, 64-bit bias); its unit-test "
        "vectors",
    ),
    replace(_CMSIS, name="cmsis-nn-s16-int32", source=f"{_CMSIS.source} of 16-bit activations with a 32-bit bias"),
    _FLOAT32,
    RequantProfile(
        name="onnx-reference",
        version="onnx 1.23.2",
        accumulator="wrap32",
        scale="float64",
        steps=("real:half-even",),
        offset="before",
        factor="float32",
        verified=True,
        source="onnx 1.23.2, onnx/reference/ops/op_qlinear_conv.py and op_qlinear_matmul.py; equal to its evaluator",
    ),
    replace(
        _FLOAT32,
        name="xnnpack",
        version="75db3c09 (2026-08-21)",
        source="XNNPACK@75db3c09, qs8 kernels with fp32 requantisation; measured as ai-edge-litert 2.3.0's default",
    ),
    RequantProfile(
        name="xnnpack-rndnu",
        version="75db3c09 (2026-08-21)",
        accumulator="wrap32",
        scale="mantissa24",
        steps=("product:half-up",),
        factor="float32",
        verified=False,
        source="XNNPACK@75db3c09, qs8 kernels with rndnu requantisation (Arm); read, not run",
    ),
    replace(
        _FLOAT32,
        name="x86-vpmaddubsw",
        accumulator="pair16",
        source="onnxruntime issues #6004 and #14642 (x86 without VNNI: vpmaddubsw, then vpmaddwd with ones); "
        "255 * 127 * 4 gives 65534 when measured",
    ),
    _RVV,
    replace(_RVV, name="rvv-rne", steps=("high:half-even", "shift:half-even")),
    replace(_RVV, name="rvv-rdn", steps=("high:floor", "shift:floor")),
    replace(_RVV, name="rvv-rod", steps=("high:odd", "shift:odd")),
    _FIXPIPE,
    replace(
        _FIXPIPE,
        name="ascend-fixpipe-rounded",
        scale="fp19-rounded",
        source=f"{_FIXPIPE.source}; here the scale is rounded to 19 bits (roundMode 1)",
    ),
    RequantProfile(
        name="ascend-dequant-quant",
        version="asc-devkit 0da921b9 (2026-07-23)",
        accumulator="sat32",
        scale="fp16",
        steps=("half:half-even", "half:half-even", "half:half-even", "real:half-even"),
        offset="before",
        verified=False,
        source="asc-devkit@0da921b9, AscendDequant then AscendQuant; read, not run",
    ),
    RequantProfile(
        name="tflm-float",
        version="tflite-micro 90b983c2 (2026-08-20)",
        accumulator="wrap32",
        scale="float64",
        steps=("real:half-away",),
        verified=False,
        source="tflite-micro@90b983c2, fully connected per channel, float-scale overload; read, not run",
    ),
    replace(
        _SINGLE,
        name="truncate",
        version="1",
        steps=("product:floor",),
        source="an arithmetic right shift and no rounding, by definition",
    ),
)


def _litert() -> Iterable[RequantProfile]:
    """Yield what LiteRT 2.3.0 does per operator: by its reference, its built-in (ruy) and its XNNPACK kernels.

    The built-in mean is absent: no form known here reproduces it (23 % of outputs differ by one from the closest).
    """
    xnnpack = replace(_FLOAT32, name="xnnpack")
    # Single rounding agrees but on exact ties of negative sums, which the reference rounds away from zero.
    away = replace(_FLOAT32, factor="float64", scale="float64", steps=("real:half-away",), clamp="last")
    paths = {
        "conv2d": (_DOUBLE, _RUY, xnnpack),
        "depthwise": (_DOUBLE, _RUY, xnnpack),
        "fully-connected": (away, _RUY, xnnpack),
        "mul": (_DOUBLE, _DOUBLE, xnnpack),
        "add": (_DOUBLE, _DOUBLE, _SINGLE),
        "mean": (_DOUBLE, None, xnnpack),
    }
    rare = {"litert-add-builtin": "3 in 49 152", "litert-add-xnnpack": "2 in 245 760"}
    for op, profiles in paths.items():
        for suffix, profile in zip(("", "-builtin", "-xnnpack"), profiles, strict=True):
            if profile is not None:
                name = f"litert-{op}{suffix}"
                source = f"measured with ai-edge-litert 2.3.0 on x86: {rare.get(name, 'none')} of the outputs differ"
                verified = name not in rare
                yield replace(profile, name=name, version="LiteRT 2.3.0", source=source, verified=verified)


PROFILES: Mapping[str, RequantProfile] = MappingProxyType(
    {profile.name: profile for profile in (*_PRESETS, *_litert())}
)
FIXED_POINT = frozenset(name for name, profile in PROFILES.items() if profile.scale in ("q31", "q15"))
"""Presets whose layers take a multiplier of 31 bits and a shift."""


def narrow(profile: str | RequantProfile) -> RequantProfile:
    """Return the arithmetic of the operators that hold 32 bits (add, mul, mean ...) where products hold 64.

    CMSIS-NN and TFLite reduce the multiplier to 15 bits only after 64-bit sums; elsewhere they round as for int8.
    """
    record = profile_of(profile)
    if record.scale != "q15":
        return record
    return replace(record, accumulator="wrap32", scale="q31", steps=_DOUBLE.steps)


def profile_of(profile: str | RequantProfile) -> RequantProfile:
    """Return the record of a profile given by name or as a record.

    Raises
    ------
    ValueError
        No preset has the name; the message suggests the closest.
    """
    return profile if isinstance(profile, RequantProfile) else PROFILES[check_profile(profile)]


def check_profile(profile: str) -> str:
    """Return ``profile`` if it is a key of ``PROFILES``.

    Raises
    ------
    ValueError
        It is not; the message suggests the closest.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile {profile!r} is unknown; {did_you_mean(profile, PROFILES)}")
    return profile
