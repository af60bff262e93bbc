"""Operators and shapes of a suite: what a user writes, and the kernel specification that it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from workloads.codegen.specs import (
    ConcatSpec,
    ConvSpec,
    CopySpec,
    ElementwiseSpec,
    LookupSpec,
    MatMulSpec,
    MatrixSpec,
    PoolSpec,
    SoftmaxSpec,
)
from workloads.codegen.specs_images import ResizeSpec, TransposedSpec
from workloads.shapes import same_padding, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workloads.codegen.specs import Spec


def _pair(raw: Any) -> Any:
    """Read 3 as [3, 3]."""
    found = [raw, raw] if isinstance(raw, int) else raw
    if not isinstance(found, list) or len(found) != 2:
        raise ValueError(f"{raw!r}; expected one extent, or [vertical, horizontal]")
    return found


def _images(raw: Any) -> Any:
    """Read [height, width, channels] as a batch of one."""
    if not isinstance(raw, list) or len(raw) not in (3, 4):
        raise ValueError(f"{raw!r}; expected [height, width, channels], after the batch if there is more than one")
    return [1, *raw] if len(raw) == 3 else raw


def _padding(raw: Any) -> Any:
    """Read "same", "valid" or four extents; one check, so that a fault is one line."""
    if raw in ("same", "valid"):
        return raw
    if isinstance(raw, list) and len(raw) == 4 and all(type(side) is int and 0 <= side <= 1000 for side in raw):
        return tuple(raw)
    raise ValueError(f'{raw!r}; expected "same", "valid" or [above, left, below, right]')


Count = Annotated[int, Field(strict=True, ge=1, le=100_000_000)]
Pair = Annotated[tuple[Count, Count], BeforeValidator(_pair)]
Amount = Annotated[int, Field(strict=True, ge=0, le=1000)]
Amounts = Annotated[tuple[Amount, Amount], BeforeValidator(_pair)]
Images = Annotated[tuple[Count, Count, Count, Count], BeforeValidator(_images)]
Padding = Annotated[Any, BeforeValidator(_padding)]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Window(_Shape):
    """A window over ``input``: ([batch,] height, width, channels); padding in numbers is above, left, below, right."""

    input: Images
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = "same"

    @model_validator(mode="after")
    def _fits(self) -> Window:
        _ends(self)
        return self


class Convolution(Window):
    """A convolution to ``outputs`` channels."""

    outputs: Count
    dilation: Pair = (1, 1)
    groups: Count = 1

    @model_validator(mode="after")
    def _divides(self) -> Convolution:
        if self.input[3] % self.groups or self.outputs % self.groups:
            raise ValueError(
                f"groups ({self.groups}) must divide the {self.input[3]} channels in and the {self.outputs} out"
            )
        return self


class Depthwise(Window):
    """A convolution of each channel on its own, to ``multiplier`` channels out."""

    multiplier: Count = 1
    dilation: Pair = (1, 1)


class Transposed(_Shape):
    """A transposed convolution to ``outputs`` channels, from whose sides ``crop`` rows and columns are cut."""

    input: Images
    kernel: Pair
    outputs: Count
    stride: Pair = (1, 1)
    crop: Amounts = (0, 0)
    groups: Count = 1

    @model_validator(mode="after")
    def _remains(self) -> Transposed:
        if self.input[3] % self.groups or self.outputs % self.groups:
            raise ValueError(f"groups ({self.groups}) must divide the {self.input[3]} channels in, {self.outputs} out")
        if min(self.size) < 1:
            raise ValueError(f"crop {list(self.crop)} leaves {self.size[0]} x {self.size[1]} pixels")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the output."""
        height, width = (
            (extent - 1) * stride + kernel - 2 * crop
            for extent, stride, kernel, crop in zip(self.input[1:3], self.stride, self.kernel, self.crop, strict=True)
        )
        return height, width


class Resized(_Shape):
    """Images resized to ``size``; the flags have TensorFlow's meaning."""

    input: Images
    size: Pair
    align_corners: bool = False
    half_pixel_centers: bool = False


class Joined(_Shape):
    """Images side by side along their channels, of which those ``rescaled`` have another quantisation."""

    inputs: tuple[Images, ...]
    rescaled: tuple[bool, ...]

    @model_validator(mode="after")
    def _match(self) -> Joined:
        if len(self.inputs) != len(self.rescaled) or len({shape[:3] for shape in self.inputs}) != 1:
            raise ValueError("inputs must differ in their channels only, with a word of rescaled each")
        return self


class Pooling(Window):
    """A maximum or an average over windows; ``rescale`` to an output of another quantisation."""

    count_padding: bool = False
    rescale: bool = False


class Whole(_Shape):
    """All pixels of each image."""

    input: Images


class Product(_Shape):
    """(rows, depth) by (columns, depth), ``batch`` times."""

    depth: Count
    columns: Count
    rows: Count = 1
    batch: Count = 1


class Elements(_Shape):
    """Element by element; the second operand repeats every ``period``."""

    elements: Count
    period: Count | None = None


class Rows(_Shape):
    """Rows of ``columns`` elements."""

    columns: Count
    rows: Count = 1


class Moved(_Shape):
    """``elements`` bytes in runs of ``run`` contiguous ones."""

    elements: Count
    run: Count


def _ends(shape: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the output's (height, width) and the padding (above, left)."""
    image, dilation = shape.input[1:3], getattr(shape, "dilation", (1, 1))
    sides = (0, 0, 0, 0) if shape.padding == "valid" else shape.padding
    if sides == "same":
        sides = same_padding(image, shape.kernel, shape.stride, dilation)
    return windows(image, shape.kernel, shape.stride, sides, dilation), sides[:2]


def _convolution(shape: Any) -> Spec:
    size, padding = _ends(shape)
    batch, height, width, channels = shape.input
    depthwise = isinstance(shape, Depthwise)
    return ConvSpec(
        batch, height, width, channels, *size,
        channels_out=channels * shape.multiplier if depthwise else shape.outputs,
        kernel=shape.kernel, stride=shape.stride, padding=padding, dilation=shape.dilation,
        groups=1 if depthwise else shape.groups, depthwise=depthwise,
    )  # fmt: skip


def _transposed(shape: Any) -> Spec:
    (batch, height, width, channels), (height_out, width_out) = shape.input, shape.size
    return TransposedSpec(
        batch, height, width, channels, height_out, width_out, shape.outputs, shape.kernel, shape.stride, shape.crop,
        shape.groups,
    )  # fmt: skip


def _resized(shape: Any) -> Spec:
    (batch, height, width, channels), (height_out, width_out) = shape.input, shape.size
    flags = (shape.align_corners, shape.half_pixel_centers)
    return ResizeSpec(batch, height, width, channels, height_out, width_out, *flags)


def _pooling(kind: str) -> Callable[[Any], Spec]:
    def spec(shape: Any) -> Spec:
        size, padding = _ends(shape)
        batch, height, width, channels = shape.input
        counted = shape.count_padding and kind == "average"
        return PoolSpec(kind, batch, height, width, channels, *size, shape.kernel, shape.stride, padding, counted,
                        rescale=shape.rescale)  # fmt: skip

    return spec


def _mean(shape: Any) -> Spec:
    batch, height, width, channels = shape.input
    return PoolSpec("average", batch, height, width, channels, 1, 1, (height, width), (1, 1), mean=True)


def _elementwise(kind: str) -> Callable[[Any], Spec]:
    return lambda shape: ElementwiseSpec(kind, shape.elements, shape.period or shape.elements)


def _matrix(shape: Any) -> Spec:
    return MatrixSpec(shape.rows, shape.depth, shape.columns, shape.batch)


OPERATORS: Mapping[str, tuple[type[_Shape], Callable[[Any], Spec]]] = {
    "conv2d": (Convolution, _convolution),
    "depthwise_conv2d": (Depthwise, _convolution),
    "transposed_conv2d": (Transposed, _transposed),
    "bilinear_resize2d": (Resized, _resized),
    "concat": (Joined, lambda shape: ConcatSpec(shape.inputs, 3, shape.rescaled)),
    "fully_connected": (Product, _matrix),
    "matmul": (Product, lambda shape: MatMulSpec(shape.rows, shape.depth, shape.columns, shape.batch)),
    "max_pool2d": (Pooling, _pooling("max")),
    "average_pool2d": (Pooling, _pooling("average")),
    "mean": (Whole, _mean),
    **{kind: (Elements, _elementwise(kind)) for kind in ("add", "mul", "requantize", "clamp")},
    "softmax": (Rows, lambda shape: SoftmaxSpec(shape.rows, shape.columns)),
    "lookup": (Elements, lambda shape: LookupSpec(shape.elements)),
    "copy": (Moved, lambda shape: CopySpec(shape.elements, shape.run)),
}
FLOATS = frozenset({"conv2d", "depthwise_conv2d", "fully_connected"})  # that are generated in float32 too
