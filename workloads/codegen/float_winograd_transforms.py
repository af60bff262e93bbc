"""Winograd's minimal filtering F(m x m, 3 x 3): its transforms of one axis as matrices, and as steps that compute them.

References
----------
.. [1] A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016 (arXiv 1509.09308), section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

Step = tuple[str, str, float, str]  # (result, start, factor, operand): result = start + factor * operand, rounded once
KERNEL = 3
_TILES = 24  # computed together at least, where an image has as many: each use of a weight serves them all


@dataclass(frozen=True)
class Transform:
    """One axis: ``outputs`` results from ``points`` inputs, as many products.

    Parameters
    ----------
    inputs
        Steps from x0, x1 ... of the image to y0, y1 ...: the matrix B transposed.
    results
        Steps from the products x0, x1 ... to y0, y1 ...: the matrix A transposed.
    weights, divisor
        The matrix G, (points, 3), from a kernel's column to its transform: integers over one divisor.
    """

    outputs: int
    inputs: tuple[Step, ...]
    results: tuple[Step, ...]
    weights: tuple[tuple[int, int, int], ...]
    divisor: int

    @property
    def points(self) -> int:
        """Products of one axis."""
        return self.outputs + KERNEL - 1

    @property
    def factors(self) -> tuple[float, ...]:
        """Factors of steps that are more than a sum or a difference."""
        return tuple(sorted({factor for _, _, factor, _ in (*self.inputs, *self.results)} - {1.0, -1.0}))


TRANSFORMS = {
    "winograd": Transform(
        outputs=2,
        inputs=(("y0", "x0", -1, "x2"), ("y1", "x1", 1, "x2"), ("y2", "x2", -1, "x1"), ("y3", "x1", -1, "x3")),
        results=(("s", "x1", 1, "x2"), ("d", "x1", -1, "x2"), ("y0", "x0", 1, "s"), ("y1", "d", -1, "x3")),
        weights=((2, 0, 0), (1, 1, 1), (1, -1, 1), (0, 0, 2)),
        divisor=2,
    ),
    "winograd-4x4": Transform(
        outputs=4,
        inputs=(
            ("e", "x4", -4, "x2"), ("o", "x3", -4, "x1"), ("y1", "e", 1, "o"), ("y2", "e", -1, "o"),
            ("f", "x4", -1, "x2"), ("p", "x3", -1, "x1"), ("y3", "f", 2, "p"), ("y4", "f", -2, "p"),
            ("a", "x4", -5, "x2"), ("y0", "a", 4, "x0"), ("b", "x5", -5, "x3"), ("y5", "b", 4, "x1"),
        ),
        results=(
            ("s", "x1", 1, "x2"), ("d", "x1", -1, "x2"), ("p", "x3", 1, "x4"), ("q", "x3", -1, "x4"),
            ("a", "x0", 1, "s"), ("y0", "a", 1, "p"), ("y1", "d", 2, "q"), ("y2", "s", 4, "p"),
            ("b", "d", 8, "q"), ("y3", "b", 1, "x5"),
        ),
        weights=((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24)),
        divisor=24,
    ),
}  # fmt: skip


def band_of(height: int, width: int, transform: Transform) -> int:
    """Return how many rows of tiles of an output are computed together."""
    rows, columns = (-(-size // transform.outputs) for size in (height, width))
    return min(rows, -(-_TILES // columns))
