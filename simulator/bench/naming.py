"""Names of kernels: texts that people read and that no two different kernels share."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from workloads.codegen.float_spec import FloatSpec
from workloads.codegen.specs import (
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workloads.codegen.float_spec import AnySpec
    from workloads.codegen.specs import Spec

_WINDOW = {"batch", "height", "width", "channels", "height_out", "width_out", "kernel", "stride", "padding"}
_TOLD: Mapping[type, set[str]] = {
    ConvSpec: {*_WINDOW, "channels_out", "depthwise"},
    PoolSpec: {*_WINDOW, "kind", "mean"},
    TransposedSpec: {*_WINDOW, "channels_out"},
    ResizeSpec: {*_WINDOW},
    MatrixSpec: {"rows", "depth", "columns", "batch"},
    MatMulSpec: {"rows", "depth", "columns", "batch"},
    ElementwiseSpec: {"kind", "elements", "period"},
    LookupSpec: {"elements"},
    CopySpec: {"elements", "run"},
    SoftmaxSpec: {"rows", "columns"},
}


def describe(spec: AnySpec) -> str:
    """Write a specification: "conv2d 3x3 s2 p1 32x32x16 > 16x16x32"; what words do not tell follows as name=value."""
    if isinstance(spec, FloatSpec):
        return " ".join((describe(spec.shape), "fp32", *spec.bounds))
    told = _TOLD.get(type(spec), set())
    rest = [
        f"{field.name}={getattr(spec, field.name)}".replace(" ", "")
        for field in fields(spec)
        if field.name not in told and getattr(spec, field.name) != field.default
    ]
    return " ".join([*filter(None, _words(spec)), *rest])


def printable(text: str) -> str:
    """Return a name on one line, without characters that a report or XML cannot hold."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _words(spec: Spec) -> Iterator[str]:
    """Yield the words of a description; empty ones for what is as usual."""
    match spec:
        case ConvSpec():
            yield "dwconv" if spec.depthwise else "conv2d"
            yield from _window_words(spec, spec.channels_out)
        case TransposedSpec():
            yield f"transposed {spec.kernel[0]}x{spec.kernel[1]}"
            yield _short("s", spec.stride, 1)
            yield from _images_words(spec, spec.channels_out)
        case ResizeSpec():
            yield "bilinear"
            yield from _images_words(spec, spec.channels)
        case PoolSpec():
            yield "mean" if spec.mean else f"{spec.kind}_pool"
            yield from _window_words(spec, spec.channels)
        case MatrixSpec():
            yield "matmul"
            yield _batch(spec.batch)
            yield f"{spec.rows}x{spec.depth} * {spec.depth}x{spec.columns}"
        case MatMulSpec():
            yield "product"
            yield _batch(spec.batch)
            yield f"{spec.rows}x{spec.depth} * {spec.depth}x{spec.columns}"
        case ElementwiseSpec():
            yield f"{spec.kind} {spec.elements}"
            yield f"repeat {spec.period}" if spec.period != spec.elements else ""
        case LookupSpec():
            yield f"lookup {spec.elements}"
        case CopySpec():
            yield f"copy {spec.elements} in runs of {spec.run}"
        case SoftmaxSpec():
            yield f"softmax {spec.rows}x{spec.columns}"
        case _:
            yield type(spec).__name__.removesuffix("Spec").lower()


def _window_words(spec: ConvSpec | PoolSpec, channels_out: int) -> Iterator[str]:
    yield f"{spec.kernel[0]}x{spec.kernel[1]}"
    yield _short("s", spec.stride, 1)
    yield _short("p", spec.padding, 0)
    yield from _images_words(spec, channels_out)


def _images_words(spec: ConvSpec | PoolSpec | TransposedSpec | ResizeSpec, channels_out: int) -> Iterator[str]:
    yield _batch(spec.batch)
    yield f"{spec.height}x{spec.width}x{spec.channels} > {spec.height_out}x{spec.width_out}x{channels_out}"


def _short(letter: str, pair: tuple[int, int], usual: int) -> str:
    """Write a stride or padding: nothing when usual, "s2" or "s2x1"."""
    if pair == (usual, usual):
        return ""
    return f"{letter}{pair[0]}" if pair[0] == pair[1] else f"{letter}{pair[0]}x{pair[1]}"


def _batch(batch: int) -> str:
    return "" if batch == 1 else f"batch {batch}"
