"""float32 layers for the tests of code generators, and oracles that do a kernel's operations in its stated order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from workloads.codegen import generate, pack
from workloads.codegen.float_spec import FloatOperands, FloatSpec
from workloads.codegen.specs import ConvSpec, MatrixSpec
from workloads.executor import execute
from workloads.options import DEFAULT
from workloads.program import count

UNIT = 2.0**-24  # half a unit in the last place of 1


@dataclass(frozen=True, eq=False)
class Layer:
    """A specification with constants and an input."""

    spec: FloatSpec
    operands: FloatOperands
    x: np.ndarray

    @property
    def conv(self) -> ConvSpec:
        """The layer as a convolution; a product sees its rows as pixels."""
        shape = self.spec.shape
        if isinstance(shape, ConvSpec):
            return shape
        return ConvSpec(1, 1, shape.rows, shape.depth, 1, shape.rows, shape.columns, (1, 1))

    @property
    def filters(self) -> np.ndarray:
        """Weights as (O, KH, KW, C per group)."""
        w = self.operands.weights
        return w.transpose(3, 1, 2, 0) if self.conv.depthwise else w.reshape(len(w), *self.conv.kernel, -1)

    @property
    def bias(self) -> np.ndarray:
        """One float32 per output channel."""
        given = self.operands.bias
        return np.zeros(self.conv.channels_out, np.float32) if given is None else given

    @property
    def padded(self) -> np.ndarray:
        """The input with the zeros that windows see, and more behind."""
        conv = self.conv
        found = np.zeros((conv.batch, conv.padded_height + 8, conv.padded_width + 8, conv.channels), np.float32)
        top, left = conv.padding
        inner = self.x.reshape(conv.batch, conv.height, conv.width, conv.channels)
        inner = inner[:, : found.shape[1] - top, : found.shape[2] - left]
        found[:, top : top + inner.shape[1], left : left + inner.shape[2]] = inner
        return found

    def bounded(self, y: np.ndarray) -> np.ndarray:
        """Apply the bounds that the specification names."""
        y = np.maximum(y, y.dtype.type(self.operands.low)) if "low" in self.spec.bounds else y
        return np.minimum(y, y.dtype.type(self.operands.high)) if "high" in self.spec.bounds else y

    def direct(self) -> np.ndarray:
        """Begin with the bias; add fused products by kernel row, tap and input channel."""
        return self.bounded(self._summed(np.float32, fused))

    def exact(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the result in float64, and the sum of the magnitudes of its terms."""
        return self.bounded(self._summed(np.float64, lambda a, b, c: a * b + c)), self._summed(
            np.float64, lambda a, b, c: abs(a * b) + abs(c)
        )

    def winograd(self, outputs: int) -> np.ndarray:
        """Transform columns then rows, multiply from zero by input channel, transform back, add the bias."""
        conv, (before, after, g, divisor) = self.conv, WINOGRAD[outputs]
        points, image = outputs + 2, self.padded
        rows, columns = -(-conv.height_out // outputs), -(-conv.width_out // outputs)
        y = np.zeros((conv.batch, rows * outputs, columns * outputs, conv.channels_out), np.float32)
        weights = (g @ self.filters.transpose(0, 3, 1, 2).astype(np.float64) @ g.T / divisor**2).astype(np.float32)
        for row in range(rows):
            for column in range(columns):
                at = row * outputs, column * outputs
                tile = image[:, at[0] : at[0] + points, at[1] : at[1] + points]
                tile = np.stack(before([tile[:, i] for i in range(points)]), 1)
                tile = np.stack(before([tile[:, :, j] for j in range(points)]), 2)
                sums = np.zeros((*tile.shape[:3], conv.channels_out), np.float32)
                for c in range(conv.channels):
                    sums = fused(tile[..., c, None], weights[:, c].transpose(1, 2, 0), sums)
                sums = np.stack(after([sums[:, i] for i in range(points)]), 1)
                sums = np.stack(after([sums[:, :, j] for j in range(points)]), 2)
                y[:, at[0] : at[0] + outputs, at[1] : at[1] + outputs] = sums + self.bias
        return self.bounded(y[:, : conv.height_out, : conv.width_out])

    def magnitudes(self, outputs: int) -> np.ndarray:
        """Return |A| (|G| |w| |G| * |B| |x| |B|) |A| + |bias|, which bounds every intermediate of the algorithm."""
        conv, (before, after, g, divisor) = self.conv, WINOGRAD[outputs]
        points, image = outputs + 2, np.abs(self.padded.astype(np.float64))
        b, a = (np.abs(np.array(transform(list(np.eye(points)))).astype(np.float64)) for transform in (before, after))
        weights = abs(g) @ np.abs(self.filters.transpose(0, 3, 1, 2)).astype(np.float64) @ abs(g).T / divisor**2
        y = np.zeros((conv.batch, conv.height_out + 4, conv.width_out + 4, conv.channels_out))
        for row in range(0, conv.height_out, outputs):
            for column in range(0, conv.width_out, outputs):
                tile = image[:, row : row + points, column : column + points]
                sums = np.einsum("pi,nijc,qj,ocpq->npqo", b, tile, b, weights)
                y[:, row : row + outputs, column : column + outputs] = np.einsum("pi,nijo,qj->npqo", a, sums, a)
        return y[:, : conv.height_out, : conv.width_out] + abs(self.bias)

    def _summed(self, dtype: Any, add: Any) -> np.ndarray:
        conv, image, filters = self.conv, self.padded.astype(dtype), self.filters.astype(dtype)
        y = np.broadcast_to(self.bias.astype(dtype), (conv.batch, conv.height_out, conv.width_out, conv.channels_out))
        per_group = filters.shape[3]
        group = np.arange(conv.channels_out) // (conv.channels_out // (conv.channels // per_group))
        for i in range(conv.kernel[0]):
            for j in range(conv.kernel[1]):
                rows, columns = (
                    slice(k * d, k * d + (size - 1) * s + 1, s)
                    for k, d, s, size in zip(
                        (i, j), conv.dilation, conv.stride, (conv.height_out, conv.width_out), strict=True
                    )
                )
                window = image[:, rows, columns]
                for c in range(per_group):
                    y = add(window[..., group * per_group + c], filters[:, i, j, c], y)
        return y


def fused(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return float32 a * b + c rounded once: where the float64 sum is a tie by rounding, its error decides."""
    product, addend = a.astype(np.float64) * b, np.asarray(c, np.float64)
    total = product + addend
    part = total - product
    error = (product - (total - part)) + (addend - part)
    tie = (total.view(np.int64) & (2**29 - 1)) == 2**28
    return np.where(tie & (error != 0), np.nextafter(total, np.where(error > 0, np.inf, -np.inf)), total).astype(
        np.float32
    )


def before_2(x: list[np.ndarray]) -> list[np.ndarray]:
    return [x[0] - x[2], x[1] + x[2], x[2] - x[1], x[1] - x[3]]


def after_2(x: list[np.ndarray]) -> list[np.ndarray]:
    return [x[0] + (x[1] + x[2]), (x[1] - x[2]) - x[3]]


def before_4(x: list[np.ndarray]) -> list[np.ndarray]:
    even, odd = scaled(-4, x[2], x[4]), scaled(-4, x[1], x[3])
    near, far = x[4] - x[2], x[3] - x[1]
    first, last = scaled(4, x[0], scaled(-5, x[2], x[4])), scaled(4, x[1], scaled(-5, x[3], x[5]))
    return [first, even + odd, even - odd, scaled(2, far, near), scaled(-2, far, near), last]


def after_4(x: list[np.ndarray]) -> list[np.ndarray]:
    s, d, p, q = x[1] + x[2], x[1] - x[2], x[3] + x[4], x[3] - x[4]
    return [x[0] + s + p, scaled(2, q, d), scaled(4, p, s), scaled(8, q, d) + x[5]]


def scaled(factor: float, a: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return factor * a + c rounded once."""
    return fused(np.asarray(a, np.float32), np.full_like(a, factor, np.float32), np.asarray(c, np.float32))


# Lavin and Gray 2016: one axis of the transforms before and after the products, the matrix G and its divisor.
WINOGRAD = {
    2: (before_2, after_2, np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]), 2),
    4: (
        before_4, after_4,
        np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]), 24,
    ),
}  # fmt: skip


def run(layer: Layer, isa: Any, options: Any = DEFAULT) -> np.ndarray:
    """Generate and run a layer; its counts must equal the closed form."""
    program = generate(layer.spec, isa, options)
    execution = execute(program, {"input": layer.x} | pack(program, layer.spec, layer.operands))
    counts = count(program)
    assert execution.instructions == counts.instructions
    assert execution.loaded_bytes == counts.loaded_bytes
    assert execution.stored_bytes == counts.stored_bytes
    conv = layer.conv
    found = execution.buffers["output"].view(np.float32)
    return found.reshape(conv.batch, conv.height_out, conv.width_out, conv.channels_out)


def layer(shape: ConvSpec | MatrixSpec, bounds: tuple[str, ...] = (), seed: int = 0, biased: bool = True) -> Layer:
    """Return a layer with random constants."""
    random = np.random.default_rng(seed)

    def drawn(*extents: int) -> np.ndarray:
        return random.normal(size=extents).astype(np.float32)

    if isinstance(shape, MatrixSpec):
        columns, weights, x = shape.columns, drawn(shape.columns, shape.depth), drawn(shape.rows, shape.depth)
    else:
        columns = shape.channels_out
        weights = drawn(columns, *shape.kernel, shape.channels // shape.groups)
        if shape.depthwise:
            weights = drawn(1, *shape.kernel, columns)
        x = drawn(shape.batch, shape.height, shape.width, shape.channels)
    operands = FloatOperands(weights, drawn(columns) if biased else None, -0.5, 1.5)
    return Layer(FloatSpec(shape, bounds), operands, x)


BOUNDS = st.sampled_from([(), ("low",), ("high",), ("low", "high")])


@st.composite
def layers(draw: Any, shapes: Any) -> Layer:
    """Draw a layer of some shape."""
    return layer(draw(shapes), draw(BOUNDS), draw(st.integers(0, 2**32 - 1)), draw(st.booleans()))


PRODUCTS = st.builds(MatrixSpec, st.integers(1, 9), st.integers(1, 40), st.integers(1, 60))
