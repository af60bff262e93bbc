"""Layers with a state as Programs: how their states, as the integer kernels hold them, lie in buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.specs_rows import LstmSpec, SvdfSpec
from workloads.codegen.svdf import from_program, to_program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from workloads.executor import Executable
    from workloads.tensor import Array

    Advance = Callable[[Sequence[Array], Array], tuple[Array, Array]]


def advance(
    executable: Executable, spec: SvdfSpec | LstmSpec, packed: Mapping[str, Array], shape: tuple[int, ...]
) -> Advance:
    """Return a function from (activations, state) to (output of ``shape``, next state)."""

    def step(arrays: Sequence[Array], state: Array) -> tuple[Array, Array]:
        buffers = executable.run({"input": arrays[0], **_held(spec, state), **packed}).buffers
        return np.array(buffers["output"].view(np.int8).reshape(shape)), _kept(spec, buffers, state)

    return step


def _held(spec: SvdfSpec | LstmSpec, state: Array) -> dict[str, Array]:
    """Return a state as it lies in buffers."""
    if isinstance(spec, SvdfSpec):
        return {"state": to_program(spec, state)}
    return {"hidden": state[0].astype(np.int8), "cell": state[1].astype(np.int16)}


def _kept(spec: SvdfSpec | LstmSpec, buffers: Mapping[str, Array], before: Array) -> Array:
    """Return the state that lies in buffers, of the type of the one before."""
    if isinstance(spec, SvdfSpec):
        return from_program(spec, buffers["state"].view(before.dtype))
    shape = (spec.batch, spec.units)
    parts = (buffers["hidden"].view(np.int8), buffers["cell"].view(np.int16))
    return np.stack([part.reshape(shape).astype(before.dtype) for part in parts])
