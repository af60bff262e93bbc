"""Random layers for the tests of code generators, and the check that a Program computes what the kernels compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from workloads.codegen import PROFILE_OF, generate, pack
from workloads.codegen.specs import ConvSpec, ElementwiseSpec, MatrixSpec, PoolSpec
from workloads.executor import execute
from workloads.kernels import integer
from workloads.operands import Operands
from workloads.operators import Activation, Add, Clamp, Conv2d, DepthwiseConv2d, FullyConnected, Mean, Mul, Pool2d, Sub
from workloads.options import DEFAULT, Options
from workloads.program import count


@dataclass(frozen=True, eq=False)
class Case:
    """One layer: what is generated, with which constants, from which inputs, and what must come out."""

    spec: Any
    operator: Any
    operands: Operands
    inputs: tuple[np.ndarray, ...]

    def expected(self, profile: str) -> np.ndarray:
        """Return the output of the integer kernels."""
        compute = {
            Conv2d: integer.conv2d, DepthwiseConv2d: integer.depthwise_conv2d, FullyConnected: integer.fully_connected,
            Pool2d: integer.pool2d, Mean: integer.mean, Add: integer.add, Sub: integer.sub, Mul: integer.mul,
            Activation: integer.rescale,
        }[type(self.operator)]  # fmt: skip
        return compute(*self.inputs, self.operands, self.operator, profile)


def check(case: Case, isa: Any, profile: str | None = None, options: Options = DEFAULT) -> None:
    """Generate, run, and compare values with the kernels and counts with the closed form."""
    program = generate(case.spec, isa, options)
    names = ("input", "input2")
    buffers = {name: np.ascontiguousarray(x).reshape(-1) for name, x in zip(names, case.inputs, strict=False)}
    execution = execute(program, buffers | pack(program, case.spec, case.operands))
    counts = count(program)
    assert execution.instructions == counts.instructions
    assert execution.loaded_bytes == counts.loaded_bytes
    assert execution.stored_bytes == counts.stored_bytes
    expected = case.expected(profile or PROFILE_OF[isa.name])
    found = execution.buffers["output"].view(np.int8).reshape(expected.shape)
    np.testing.assert_array_equal(found, expected)


def random_int8(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return int8 values with the extremes among them."""
    generator = np.random.default_rng(seed)
    values = generator.integers(-128, 128, shape)
    return np.where(generator.random(shape) < 0.05, generator.choice([-128, 127], shape), values).astype(np.int8)


@st.composite
def _quantization(draw: Any, channels: int = 0, *, inputs: int = 1) -> dict[str, Any]:
    """Draw scales, zero points and bounds; scales reach above 1 so that left shifts occur."""
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    low = draw(st.integers(-128, 20))
    zero_points = draw(st.tuples(*[st.integers(-128, 127)] * inputs))
    drawn = {
        "input_scales": tuple(float(np.float32(2.0 ** generator.uniform(-8, 1))) for _ in range(inputs)),
        "input_zero_points": zero_points,
        "output_scale": float(np.float32(2.0 ** generator.uniform(-6, 6 if channels else 1))),
        "output_zero_point": draw(st.integers(-128, 127)),
        "low": low,
        "high": draw(st.integers(low, 127)),
    }
    if channels:
        drawn["weight_scales"] = (2.0 ** generator.uniform(-10, 1, channels)).astype(np.float32).astype(np.float64)
        drawn["bias"] = generator.integers(-30000, 30000, channels).astype(np.int32) if draw(st.booleans()) else None
    return drawn


@st.composite
def convolutions(
    draw: Any, *, depthwise: bool | None = None, max_channels: int = 9, max_extent: int = 7, max_kernel: int = 3
) -> Case:
    """Draw a convolution: plain, grouped or depthwise, with any stride, dilation, padding and channel tail."""
    extent, channel = st.integers(1, max_extent), st.integers(1, max_channels)
    depthwise = draw(st.booleans()) if depthwise is None else depthwise
    groups = 1 if depthwise else draw(st.sampled_from([1, 1, 2, 3]))
    per_group, multiplier = draw(channel), draw(st.sampled_from([1, 1, 2, 3]))
    channels = per_group if depthwise else groups * draw(st.integers(1, -(-max_channels // groups)))
    channels_out = channels * multiplier if depthwise else groups * per_group
    kernel = draw(st.tuples(*[st.integers(1, max_kernel)] * 2))
    stride, dilation = draw(st.tuples(*[st.integers(1, 3)] * 2)), draw(st.tuples(*[st.integers(1, 2)] * 2))
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    batch, height, width = draw(st.integers(1, 2)), draw(extent), draw(extent)
    sizes = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
    height, width = max(height, sizes[0] - padding[0] - padding[2]), max(width, sizes[1] - padding[1] - padding[3])
    height, width = max(height, 1), max(width, 1)
    rows = (height + padding[0] + padding[2] - sizes[0]) // stride[0] + 1
    columns = (width + padding[1] + padding[3] - sizes[1]) // stride[1] + 1
    spec = ConvSpec(batch, height, width, channels, rows, columns, channels_out, kernel, stride, padding[:2], dilation,
                    groups, depthwise)  # fmt: skip
    shape = (1, *kernel, channels_out) if depthwise else (channels_out, *kernel, channels // groups)
    seed = draw(st.integers(0, 2**32 - 1))
    operands = Operands(weights=random_int8(seed + 1, shape), **draw(_quantization(channels_out)))
    operator = (
        DepthwiseConv2d(stride, padding, dilation, multiplier)
        if depthwise
        else Conv2d(stride, padding, dilation, groups)
    )
    return Case(spec, operator, operands, (random_int8(seed, (batch, height, width, channels)),))


@st.composite
def products(draw: Any, *, max_extent: int = 40) -> Case:
    """Draw a fully connected layer."""
    rows, depth, columns = draw(st.integers(1, 5)), draw(st.integers(1, max_extent)), draw(st.integers(1, max_extent))
    seed = draw(st.integers(0, 2**32 - 1))
    operands = Operands(weights=random_int8(seed + 1, (columns, depth)), **draw(_quantization(columns)))
    return Case(MatrixSpec(rows, depth, columns), FullyConnected(), operands, (random_int8(seed, (rows, depth)),))


@st.composite
def pools(draw: Any, *, kinds: tuple[str, ...] = ("average", "max", "mean"), rescale: bool = True) -> Case:
    """Draw a pooling layer; every window holds at least one element of the image."""
    kind = draw(st.sampled_from(kinds))
    batch, height, width, channels = (draw(st.integers(1, top)) for top in (2, 7, 7, 9))
    x = random_int8(draw(st.integers(0, 2**32 - 1)), (batch, height, width, channels))
    quantization = draw(_quantization())
    changed = rescale and draw(st.booleans())
    if not changed and kind != "mean":
        quantization |= {
            "output_scale": quantization["input_scales"][0],
            "output_zero_point": quantization["input_zero_points"][0],
        }
    operands = Operands(weight_scales=np.empty(0), **quantization)
    if kind == "mean":
        spec = PoolSpec("average", batch, height, width, channels, 1, 1, (height, width), (1, 1), mean=True)
        return Case(spec, Mean((1, 2)), operands, (x,))
    kernel = (draw(st.integers(1, min(3, height))), draw(st.integers(1, min(3, width))))
    padding = tuple(draw(st.integers(0, size - 1)) for size in (*kernel, *kernel))
    stride = draw(st.tuples(*[st.integers(1, 3)] * 2))
    rows = (height + padding[0] + padding[2] - kernel[0]) // stride[0] + 1
    columns = (width + padding[1] + padding[3] - kernel[1]) // stride[1] + 1
    counted = kind == "average" and draw(st.booleans())
    spec = PoolSpec(kind, batch, height, width, channels, rows, columns, kernel, stride, padding[:2], counted,
                    rescale=changed)  # fmt: skip
    return Case(spec, Pool2d(kind, kernel, stride, padding, counted), operands, (x,))


@st.composite
def elementwise(draw: Any, *, kinds: tuple[str, ...] = ("add", "mul", "requantize", "clamp")) -> Case:
    """Draw an elementwise layer; the second input of a sum or product may repeat."""
    kind = draw(st.sampled_from(kinds))
    period, repeats = draw(st.integers(1, 70)), draw(st.integers(1, 4))
    seed = draw(st.integers(0, 2**32 - 1))
    two = kind in ("add", "sub", "mul")
    quantization = draw(_quantization(inputs=2 if two else 1))
    if kind == "clamp":
        quantization |= {
            "output_scale": quantization["input_scales"][0],
            "output_zero_point": quantization["input_zero_points"][0],
        }
    x = random_int8(seed, (repeats, period))
    inputs = (x, random_int8(seed + 1, (period,))) if two else (x,)
    operator = {"add": Add(), "sub": Sub(), "mul": Mul()}.get(kind, Activation(Clamp()))
    spec = ElementwiseSpec(kind, repeats * period, period if two else repeats * period)
    return Case(spec, operator, Operands(weight_scales=np.empty(0), **quantization), inputs)
