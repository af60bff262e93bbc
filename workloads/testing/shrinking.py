"""Make a failing case smaller while it keeps failing: fewer channels, pixels and products, then simpler numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.operands import Factors
from workloads.operators import Conv2d, DepthwiseConv2d, FullyConnected, MatMul, Pool2d
from workloads.testing.calling import output_shape
from workloads.testing.case import Case, with_inputs, with_operands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workloads.tensor import Array

MAX_TRIALS = 1500


def reduce(case: Case, fails: Callable[[Case], bool], trials: int = MAX_TRIALS) -> Case:
    """Return the smallest failing case found by greedy steps.

    Parameters
    ----------
    fails
        Whether a case still shows the difference; must not raise.
    trials
        The most often it is called.
    """
    left, progress = trials, True
    while progress and left > 0:
        progress = False
        for steps in (_crops, _constants, _operator, _values):
            retry = True
            while retry and left > 0:
                retry = False
                for candidate in steps(case):
                    if left <= 0:
                        break
                    left -= 1
                    if _valid(candidate) and fails(candidate):
                        case, progress, retry = candidate, True, True
                        break
    return case


def _valid(case: Case) -> bool:
    try:
        return 0 not in output_shape(case)
    except ValueError:
        return False


def _parts(extent: int) -> Iterator[slice]:
    """Yield what to keep of an axis: halves first, then all but one quarter, then all but one element."""
    seen: set[tuple[int, int]] = set()
    for pieces in (2, 4, 8, extent):
        size = extent // pieces if pieces else 0
        for start, stop in ((extent - size, extent), (0, size)):
            if 0 < stop - start < extent and (start, stop) not in seen:
                keep = slice(0, start) if stop == extent else slice(stop, extent)
                seen.add((start, stop))
                yield keep


def _crops(case: Case) -> Iterator[Case]:
    """Yield the case with parts of one axis left out."""
    operator, x, weights = case.operator, case.inputs[0], case.operands.weights
    match operator:
        case Conv2d() | DepthwiseConv2d() | FullyConnected() if weights is not None:
            yield from _rows(case, x)
            if isinstance(operator, DepthwiseConv2d):
                yield from (_depthwise_channels(case, keep) for keep in _parts(x.shape[3]))
                return
            groups = getattr(operator, "groups", 1)
            if groups == 1:
                yield from (_outputs(case, keep) for keep in _parts(weights.shape[0]))
                yield from (
                    with_inputs(with_operands(case, weights=weights[..., keep]), x[..., keep])
                    for keep in _parts(x.shape[-1])
                )
            else:
                yield _first_group(case, operator, weights)
        case MatMul():
            b = case.inputs[1]
            yield from (with_inputs(case, x[..., keep, :], b) for keep in _parts(x.shape[-2]))
            yield from (with_inputs(case, x, b[..., keep]) for keep in _parts(b.shape[-1]))
            yield from (with_inputs(case, x[..., keep], b[..., keep, :]) for keep in _parts(x.shape[-1]))
        case Pool2d():
            yield from _rows(case, x)
            yield from (with_inputs(case, x[..., keep]) for keep in _parts(x.shape[3]))
        case _:
            yield from _elements(case)


def _rows(case: Case, x: Array) -> Iterator[Case]:
    """Yield the case with fewer samples, rows or columns."""
    for axis in range(x.ndim - 1):
        for keep in _parts(x.shape[axis]):
            yield with_inputs(case, x[(slice(None),) * axis + (keep,)])


def _elements(case: Case) -> Iterator[Case]:
    """Yield an elementwise case with fewer elements, rows or columns."""
    shape = np.broadcast_shapes(*(array.shape for array in case.inputs))
    full = [np.broadcast_to(array, shape) for array in case.inputs]
    for axis, extent in enumerate(shape):
        if case.op == "softmax" and axis == len(shape) - 1:
            yield from (with_inputs(case, full[0][..., keep]) for keep in _parts(extent))
            continue
        for keep in _parts(extent):
            cut = with_inputs(case, *(array[(slice(None),) * axis + (keep,)] for array in full))
            yield _cut_factors(cut, keep) if case.op == "requantize" and axis == 1 else cut


def _cut_factors(case: Case, keep: slice) -> Case:
    stated = case.operands.stated
    if stated is None or stated.output is None:
        return case
    chosen = Factors(stated.output.multipliers[keep], stated.output.shifts[keep])
    return with_operands(case, stated=replace(stated, output=chosen))


def _outputs(case: Case, keep: slice) -> Case:
    """Return a case with some of its output channels."""
    operands = case.operands
    return with_operands(
        case,
        weights=None if operands.weights is None else operands.weights[keep],
        weight_scales=None if operands.weight_scales is None else operands.weight_scales[keep],
        bias=None if operands.bias is None else operands.bias[keep],
    )


def _depthwise_channels(case: Case, keep: slice) -> Case:
    operands, multiplier = case.operands, getattr(case.operator, "multiplier", 1)
    wide = slice(keep.start * multiplier, keep.stop * multiplier)
    cut = with_operands(
        case,
        weights=None if operands.weights is None else operands.weights[..., wide],
        weight_scales=None if operands.weight_scales is None else operands.weight_scales[wide],
        bias=None if operands.bias is None else operands.bias[wide],
    )
    return with_inputs(cut, case.inputs[0][..., keep])


def _first_group(case: Case, operator: Conv2d | FullyConnected, weights: Array) -> Case:
    groups = getattr(operator, "groups", 1)
    single = _outputs(replace(case, operator=replace(operator, groups=1)), slice(0, weights.shape[0] // groups))  # type: ignore[arg-type]  # only convolutions come here
    return with_inputs(single, case.inputs[0][..., : weights.shape[3]])


def _operator(case: Case) -> Iterator[Case]:
    """Yield the case with one attribute of its operator at its plainest."""
    plain = {"stride": (1, 1), "dilation": (1, 1)}
    for name, value in plain.items():
        if getattr(case.operator, name, value) != value:
            yield replace(case, operator=replace(case.operator, **{name: value}))  # type: ignore[arg-type]  # a field it has
    padding = getattr(case.operator, "padding", ())
    for side, amount in enumerate(padding):
        if amount:
            lower = (*padding[:side], amount - 1, *padding[side + 1 :])
            yield replace(case, operator=replace(case.operator, padding=lower))  # type: ignore[arg-type]  # a field it has


def _constants(case: Case) -> Iterator[Case]:
    """Yield the case with one constant at its plainest."""
    operands = case.operands
    limits = np.iinfo(operands.dtype)
    if operands.bias is not None:
        yield with_operands(case, bias=None)
        yield with_operands(case, bias=np.zeros_like(operands.bias))
        yield with_operands(case, bias=_halved(operands.bias))
    if (operands.low, operands.high) != (limits.min, limits.max):
        yield with_operands(case, low=int(limits.min), high=int(limits.max))
    scales = operands.weight_scales
    if scales is not None and scales.size and scales.max() <= 2.0**-5:
        yield with_operands(case, weight_scales=scales * 16)  # smaller sums then do
    if scales is not None and np.unique(scales).size > 1:
        yield with_operands(case, weight_scales=np.full_like(scales, scales[0]))
    if case.op in ("softmax", "average_pool2d", "max_pool2d"):
        return  # their output's zero point is tied to the input's or fixed
    for point in (0, operands.output_zero_point // 2):
        if abs(point) < abs(operands.output_zero_point):
            yield with_operands(case, output_zero_point=point)
    points = operands.input_zero_points
    for index, point in enumerate(points):
        for smaller in (0, int(point / 2)):
            if abs(smaller) < abs(point):
                yield with_operands(case, input_zero_points=(*points[:index], smaller, *points[index + 1 :]))


def _values(case: Case) -> Iterator[Case]:
    """Yield the case with parts of its arrays at zero or halved."""
    for index, array in enumerate(case.inputs):
        points = case.operands.input_zero_points
        for simpler in _simpler(array, points[min(index, len(points) - 1)]):
            yield with_inputs(case, *case.inputs[:index], simpler, *case.inputs[index + 1 :])
    weights = case.operands.weights
    if weights is not None:
        for simpler in _simpler(weights, 0):
            yield with_operands(case, weights=simpler)


def _simpler(array: Array, rest: int) -> Iterator[Array]:
    """Yield arrays of which a part rests at ``rest``, then with all or single values moved half way to it."""
    flat = array.ravel()
    busy = np.flatnonzero(flat != rest)
    if not busy.size:
        return
    for pieces in dict.fromkeys((1, 2, 4, 8, min(busy.size, 16))):
        for part in np.array_split(busy, pieces):
            if part.size:
                changed = flat.copy()
                changed[part] = rest
                yield changed.reshape(array.shape)
    if busy.size <= 16:
        for where in busy:
            changed = flat.copy()
            changed[where] = rest + int((int(flat[where]) - rest) / 2)
            yield changed.reshape(array.shape)


def _halved(values: Array) -> Array:
    return (values // 2 + (values < 0)).astype(values.dtype) if np.abs(values).max(initial=0) > 1 else values * 0
