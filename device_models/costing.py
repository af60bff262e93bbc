"""The cost of one layer on a device: the generated Program's cycles, or cycles per element where none is generated."""

from __future__ import annotations

import json
from dataclasses import asdict, astuple, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from device_models.cores import cost
from device_models.kernel_cache import fingerprint, remembered
from device_models.memory import Traffic, Working, traffic

if TYPE_CHECKING:
    from device_models.cores import Core, CoreCost
    from device_models.device import Device
    from workloads.codegen.specs import Spec
    from workloads.graph import Graph, Layer
    from workloads.program import Program


@dataclass(frozen=True)
class Kernel:
    """What a layer costs before clock, threads and overheads.

    Parameters
    ----------
    cycles
        Of one core with all data near. [cycle]
    bound
        What binds the core.
    moved
        Traffic by memory level, nearest first.
    distinct_bytes, scratch_bytes
        Bytes touched at least once; working memory beside the layer's tensors. [B]
    low, high
        Factors of an assumed rate's range; 1 for a Program.
    """

    cycles: float
    bound: str
    moved: tuple[Traffic, ...] = ()
    distinct_bytes: int = 0
    scratch_bytes: int = 0
    low: float = 1.0
    high: float = 1.0


FREE = Kernel(0.0, "none")


def layer_kernel(graph: Graph, layer: Layer, device: Device, working: Working) -> Kernel | None:
    """Return what a layer costs on a device; None when nothing is known about its operator."""
    from workloads.codegen.specs import specify

    try:
        spec = specify(graph, layer)
        if spec is None:
            return FREE
        return generated(spec, device, working)
    except NotImplementedError:
        return _per_element(graph, layer, device)


def _per_element(graph: Graph, layer: Layer, device: Device) -> Kernel | None:
    """Return a layer's cost from the device's cycles per element of its larger side, for that operator."""
    rate = device.operators.get(layer.op)
    if rate is None:
        return None
    tensors = [graph[name] for name in (*layer.inputs, *layer.outputs)]
    nbytes = sum(tensor.nbytes for tensor in tensors)
    elements = max(tensor.elements for tensor in tensors)
    ends = (rate.lowest / rate.value, rate.highest / rate.value) if rate.value else (1.0, 1.0)
    return Kernel(elements * rate.value, layer.op, distinct_bytes=nbytes, low=ends[0], high=ends[1])


@lru_cache(maxsize=4096)
def generated(spec: Spec, device: Device, working: Working) -> Kernel:
    """Return the cost of the Program generated for a kernel.

    Raises
    ------
    NotImplementedError
        No kernel is generated for it on this device's instruction set.
    """
    kept = json.loads(remembered(f"{spec!r} {working!r} {fingerprint(device)}", lambda: _cost(spec, device, working)))
    return Kernel(**{**kept, "moved": tuple(Traffic(*level) for level in kept["moved"])})


def _cost(spec: Spec, device: Device, working: Working) -> str:
    """Return the kernel's cost as JSON, which keeps every float exactly."""
    program, cycles = _priced(spec, device.core)
    found = traffic(program, device, working)
    scratch = sum(buffer.bytes for buffer in program.buffers if _is_scratch(program, buffer.name))
    moved = [astuple(level) for level in found.levels]
    kernel = Kernel(cycles.cycles, cycles.bound, (), found.distinct_bytes, scratch)
    return json.dumps({**asdict(kernel), "moved": moved})


def _is_scratch(program: Program, name: str) -> bool:
    """Whether a buffer is working memory in the memory that also holds activations."""
    buffer = program.buffer(name)
    return buffer.role == "scratch" and buffer.space == program.isa.spaces[0]


@lru_cache(maxsize=4096)
def _priced(spec: Spec, core: Core) -> tuple[Program, CoreCost]:
    """Return the Program generated for a kernel on a core's best instruction set, and its cycles."""
    from workloads.codegen import generate

    program = generate(spec, core.isa())
    return program, cost(program, core)
