"""Quantisation of a float model to a quantised ONNX file, as ``presage quantize`` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.passes.calibration import load_inputs
from workloads.passes.fuse import fuse
from workloads.passes.quantize import quantize
from workloads.readers.load import load
from workloads.writers.onnx import write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def quantize_file(
    model: str,
    output: Path,
    *,
    calibration: Path | None = None,
    method: str = "min-max",
    percentile: float = 99.99,
    form: str = "qoperator",
    sizes: Mapping[str, int] | None = None,
) -> str:
    """Quantise a float model to int8, write it as ONNX and return what to tell the user.

    Parameters
    ----------
    calibration
        An .npz with one array per input, samples stacked along the first axis; without it, seeded normal numbers.
    form
        "qoperator" or "qdq".

    Raises
    ------
    InputError
        A wrong model, calibration file, method or form.
    """
    graph = load(model, sizes=sizes)
    inputs = None if calibration is None else load_inputs(fuse(graph), calibration)
    quantized = quantize(graph, inputs, method, percentile=percentile)
    write(quantized, output, form)
    source = "seeded normal numbers, which say nothing of real data" if calibration is None else str(calibration)
    return f"{output}: {len(quantized.layers)} layers in int8, {form} form, {method} ranges from {source}"
