"""Constants of convolutions and products on scalar sets: weights as the tiles read them, a record per channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales, quantize_multipliers
from workloads.codegen import scalar as shared
from workloads.codegen.common import Image, split
from workloads.codegen.geometry import Convolution, product
from workloads.codegen.scalar_plan import STEP, Plan, plan_of, window_of
from workloads.options import DEFAULT, Options

if TYPE_CHECKING:
    from workloads.codegen.scalar import Scalar
    from workloads.codegen.specs import ConvSpec, MatrixSpec
    from workloads.operands import Operands
    from workloads.tensor import Array


def pack(
    spec: ConvSpec | MatrixSpec, operands: Operands, scalar: Scalar, options: Options = DEFAULT
) -> dict[str, Array]:
    """Lay out weights, and parameters with the input's zero point folded into the biases."""
    conv = product(spec)
    filters = conv.filters(operands)
    zero_point = operands.input_zero_points[0]
    scales = np.broadcast_to(effective_scales(operands, scalar.profile), (conv.channels_out,))
    head = shared.header(zero_point, operands.output_zero_point, operands.low, operands.high)
    body = shared.records(scalar, conv.bias(operands, zero_point), *quantize_multipliers(scales))
    weights = pack_weights(conv, filters, plan_of(spec, scalar, options))
    return {"weights": weights, "parameters": shared.as_bytes(head + body)}


def pack_weights(conv: Convolution, filters: Array, plan: Plan) -> Array:
    """Return weights by group, tile of channels, run, step: four bytes a channel, then the rest byte by byte."""
    window = window_of(conv, Image("input", 1, 1, conv.channels))
    per_group = conv.channels_out // conv.groups
    runs = filters.reshape(conv.groups, per_group, window.rows * window.columns, window.run)
    if plan.gather is not None:  # every run is filled up, and all of them are one
        full = np.zeros((*runs.shape[:3], plan.gather.run(window.run)), np.int8)
        full[..., : window.run] = runs
        runs = full.reshape(conv.groups, per_group, 1, -1)
    number, run = runs.shape[2:]
    whole = run // STEP * STEP
    parts = []
    for first, channels, trips in split(per_group, plan.channels):
        shape = (conv.groups, trips, channels, number)
        part = runs[:, first : first + trips * channels].reshape(*shape, run)
        deep = part[..., :whole].reshape(*shape, whole // STEP, STEP).transpose(0, 1, 3, 4, 2, 5)
        rest = part[..., whole:].transpose(0, 1, 3, 4, 2)
        lead = (conv.groups, trips, number, -1)
        both = np.concatenate([deep.reshape(*lead[:3], whole * channels), rest.reshape(lead)], axis=3)
        parts.append(both.reshape(conv.groups, -1))
    return np.ascontiguousarray(np.concatenate(parts, axis=1)).reshape(-1)
