"""Options of a code generator: the choices a compiler would make, each left to the generator unless given."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Options:
    """Choices for one kernel; None leaves a choice to the generator.

    Parameters
    ----------
    rows, columns
        Register block: outputs (pixels or matrix rows) by output channels held in accumulators at once.
    unroll
        Steps of the innermost loop written out.
    lowering
        How a convolution becomes products: "direct", "im2col", or by Winograd's F(2x2, 3x3) ("winograd") or F(4x4, 3x3)
        ("winograd-4x4").
    lmul
        Registers in a vector group (RVV).
    buffers
        Tiles in flight per buffer: 1 or 2 (double buffering).
    fuse
        Bias, requantisation and activation happen while the sums are at hand, or in a pass of their own.
    """

    rows: int | None = None
    columns: int | None = None
    unroll: int | None = None
    lowering: str | None = None
    lmul: int | None = None
    buffers: int | None = None
    fuse: bool | None = None

    def agrees(self, other: Options) -> bool:
        """Whether another's choices are these, wherever these are made."""
        return all(getattr(self, field.name) in (None, getattr(other, field.name)) for field in fields(self))

    def __str__(self) -> str:
        """Write what was chosen: "rows=4 columns=2", or "default"."""
        chosen = ((field.name, getattr(self, field.name)) for field in fields(self))
        return " ".join(f"{name}={value}" for name, value in chosen if value is not None) or "default"


DEFAULT = Options()
