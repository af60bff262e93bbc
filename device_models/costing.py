"""The cost of one layer on a device: the generated Program's cycles, or cycles per element where none is generated."""

from __future__ import annotations

import hashlib
import json
import operator
from dataclasses import asdict, astuple, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from device_models.cores import cost
from device_models.kernel_cache import fingerprint, kept, remembered
from device_models.memory import WEIGHT_ROLES, Traffic, Working, memory_time, traffic
from device_models.search import ranked
from workloads.operators import Function, Softmax
from workloads.options import DEFAULT, Options

if TYPE_CHECKING:
    from device_models.cores import Core, CoreCost
    from device_models.device import Device
    from workloads.codegen.float_spec import AnySpec
    from workloads.graph import Graph, Layer
    from workloads.program import Program

Amounts = tuple[tuple[str, float], ...]  # by name, sorted


@dataclass(frozen=True)
class Detail:
    """What a kernel's Program executes, and why its core takes so many cycles.

    Parameters
    ----------
    program
        Digest of what is executed.
    options
        What its generator was told or chose, as text.
    macs
        Multiply-accumulates. [MAC]
    code_bytes
        Encoded size; None where the instruction set's encoding is not known. [B]
    loaded_bytes, stored_bytes
        Moved by the instructions executed, from and to the set's first space. [B]
    instructions
        Executed, by mnemonic.
    by_cause, by_resource
        Cycles, as in ``CoreCost``.
    """

    program: str
    options: str
    macs: int
    code_bytes: int | None
    loaded_bytes: int
    stored_bytes: int
    instructions: Amounts
    by_cause: Amounts
    by_resource: Amounts


@dataclass(frozen=True)
class Kernel:
    """What a layer costs before clock, threads and overheads.

    Parameters
    ----------
    cycles
        Of one core with all data near. [cycle]
    bound
        What binds the core.
    moved, weights_moved
        Traffic by memory level, nearest first; the part of it that fetches weights.
    distinct_bytes, scratch_bytes
        Bytes touched at least once; working memory beside the layer's tensors. [B]
    low, high
        Factors of an assumed rate's range; 1 for a Program.
    detail
        None for a rate.
    """

    cycles: float
    bound: str
    moved: tuple[Traffic, ...] = ()
    distinct_bytes: int = 0
    scratch_bytes: int = 0
    low: float = 1.0
    high: float = 1.0
    detail: Detail | None = None
    weights_moved: tuple[Traffic, ...] = ()


FREE = Kernel(0.0, "none")


def precisions_of(device: Device) -> tuple[str, ...]:
    """Return the precisions that Programs are generated in for a device's best set, and that its core executes."""
    from workloads.codegen.float_kits import kits_of

    try:
        kit = kits_of(device.core.isa())[0]
    except NotImplementedError:
        return ("int8",)
    lacking = {name for lack in getattr(device.core.timing, "lacks", ()) for name in lack.instructions}
    return ("int8", "fp32") if lacking.isdisjoint(kit.op.values()) else ("int8",)


def layer_kernel(graph: Graph, layer: Layer, device: Device, working: Working) -> Kernel | None:
    """Return what a layer costs on a device; None when nothing is known about its operator."""
    from workloads.codegen.float_spec import spec_of

    try:
        spec = spec_of(graph, layer)
        if spec is None:
            return FREE
        return generated(spec, device, working, best_options(spec, device, working))
    except NotImplementedError:
        return _per_element(graph, layer, device)


def _per_element(graph: Graph, layer: Layer, device: Device) -> Kernel | None:
    """Return a layer's cost from the device's cycles per element of its larger side, for that operator.

    A softmax, or a function of one value, of floats takes at least an exponential for each.
    """
    rate = device.operators.get(layer.op)
    if rate is None and graph[layer.outputs[0]].dtype == "float32" and isinstance(layer.operator, Softmax | Function):
        rate = device.operators.get("exponential")
    if rate is None:
        return None
    tensors = [graph[name] for name in (*layer.inputs, *layer.outputs)]
    nbytes = sum(tensor.nbytes for tensor in tensors)
    elements = max(tensor.elements for tensor in tensors)
    ends = (rate.lowest / rate.value, rate.highest / rate.value) if rate.value else (1.0, 1.0)
    return Kernel(elements * rate.value, layer.op, distinct_bytes=nbytes, low=ends[0], high=ends[1])


@lru_cache(maxsize=4096)
def best_options(spec: AnySpec, device: Device, working: Working | None, isa: str | None = None) -> Options:
    """Return the options of the fastest kernel whose layer takes no longer than the generator's own choice.

    Parameters
    ----------
    working, isa
        As for ``generated``.

    Raises
    ------
    NotImplementedError
        No kernel is generated for it on that instruction set.
    """
    key = _best_key(spec, device, working, isa)
    return Options(**json.loads(remembered(key, lambda: json.dumps(asdict(_best(spec, device, working, isa))))))


def _best(spec: AnySpec, device: Device, working: Working | None, name: str | None) -> Options:
    """Compare layers at both ends of the clock and of the number of threads: fewer cycles may move more bytes."""
    from workloads.codegen import choices, generate

    isa, core = device.core.isa(name), device.core
    tried, own = ranked(spec, core, name), choices(spec, isa)[0]
    if tried[0][0] == own:
        return DEFAULT
    ends = [
        (frequency.value, threads)
        for frequency in (device.clock.minimum, device.clock.maximum)
        for threads in (1, device.cores)
    ]

    def times(options: Options, cycles: float) -> list[float]:
        program = generate(spec, isa, options)
        moved = traffic(program, device, _alone(program) if working is None else working).levels
        settings = [(frequency, threads, cycles / frequency / threads) for frequency, threads in ends]
        return [
            together(busy_s, memory_time(moved, device, frequency, threads, busy_s)[0], device)
            for frequency, threads, busy_s in settings
        ]

    bounds = times(own, dict(tried)[own])
    faster = tried[: [options for options, _ in tried].index(own)]
    return next((one for one, cycles in faster if all(map(operator.le, times(one, cycles), bounds))), DEFAULT)


def together(compute_s: float, memory_s: float, device: Device) -> float:
    """Return the time of work and memory: an in-order core waits for memory, the others overlap it with work. [s]"""
    return compute_s + memory_s if device.core.model == "inorder" else max(compute_s, memory_s)


@lru_cache(maxsize=4096)
def generated(
    spec: AnySpec, device: Device, working: Working | None = None, options: Options = DEFAULT, isa: str | None = None
) -> Kernel:
    """Return the cost of the Program generated for a kernel.

    Parameters
    ----------
    working
        What the network keeps in memory; None for a kernel that runs alone.
    isa
        One of the core's instruction sets, the best one unless named.

    Raises
    ------
    NotImplementedError
        No kernel is generated for it on that instruction set.
    ValueError
        The generator does not offer these options for it.
    """
    key = _key(spec, device, working, options, isa)
    return _read(remembered(key, lambda: _cost(*_priced(spec, device.core, options, isa), device, working)))


def is_kept(
    spec: AnySpec, device: Device, working: Working | None, options: Options | None, isa: str | None = None
) -> bool:
    """Whether the cost of a kernel lies on disk; with ``options`` None the cost of the one with the best options."""
    if options is None:
        best = kept(_best_key(spec, device, working, isa))
        if best is None:
            return False
        options = Options(**json.loads(best))
    return kept(_key(spec, device, working, options, isa)) is not None


def _best_key(spec: AnySpec, device: Device, working: Working | None, isa: str | None) -> str:
    return f"best {spec!r} {working!r} {isa!r} {fingerprint(device)}"


def _key(spec: AnySpec, device: Device, working: Working | None, options: Options, isa: str | None) -> str:
    return f"{spec!r} {working!r} {options!r} {isa!r} {fingerprint(device)}"


def priced(program: Program, device: Device, working: Working | None = None) -> Kernel:
    """Return the cost of a Program, however it was made.

    Raises
    ------
    InputError
        The device's core does not execute it.
    """
    from workloads.program_file import digest

    isa = hashlib.sha256(repr(program.isa).encode()).hexdigest()  # it may be none of the shipped ones
    key = f"{digest(program)} {isa} {working!r} {fingerprint(device)}"
    return _read(remembered(key, lambda: _cost(program, cost(program, device.core), device, working)))


def _read(text: str) -> Kernel:
    """Return a kernel's cost from its JSON."""
    table = json.loads(text)
    detail: dict[str, Any] = {
        key: tuple(tuple(pair) for pair in value) if isinstance(value, list) else value
        for key, value in table["detail"].items()
    }
    moved = {part: tuple(Traffic(*level) for level in table[part]) for part in ("moved", "weights_moved")}
    return Kernel(**{**table, **moved, "detail": Detail(**detail)})


def _cost(program: Program, cycles: CoreCost, device: Device, working: Working | None) -> str:
    """Return the kernel's cost as JSON, which keeps every float exactly."""
    from workloads.encoding import code_bytes
    from workloads.program import count
    from workloads.program_file import digest

    found = traffic(program, device, _alone(program) if working is None else working)
    scratch = sum(buffer.bytes for buffer in program.buffers if _is_scratch(program, buffer.name))
    moved = {"moved": found.levels, "weights_moved": found.weights}
    executed, space = count(program), program.isa.spaces[0]
    amounts = (executed.instructions, cycles.by_cause, cycles.by_resource)
    detail = Detail(
        digest(program),
        str(program.options),
        program.macs,
        code_bytes(program),
        executed.loaded_bytes.get(space, 0),
        executed.stored_bytes.get(space, 0),
        *(tuple(sorted(each.items())) for each in amounts),
    )
    kernel = Kernel(cycles.cycles, cycles.bound, (), found.distinct_bytes, scratch, detail=detail)
    return json.dumps({**asdict(kernel), **{part: [astuple(level) for level in moved[part]] for part in moved}})


def _alone(program: Program) -> Working:
    """Return what a kernel keeps in memory when nothing else runs."""
    space = program.isa.spaces[0]
    sizes = [(buffer.role in WEIGHT_ROLES, buffer.bytes) for buffer in program.buffers if buffer.space == space]
    return Working(sum(size for fixed, size in sizes if fixed), sum(size for fixed, size in sizes if not fixed))


def _is_scratch(program: Program, name: str) -> bool:
    """Whether a buffer is working memory in the memory that also holds activations."""
    buffer = program.buffer(name)
    return buffer.role == "scratch" and buffer.space == program.isa.spaces[0]


@lru_cache(maxsize=4096)
def _priced(spec: AnySpec, core: Core, options: Options, isa: str | None) -> tuple[Program, CoreCost]:
    """Return the Program generated for a kernel on one of a core's instruction sets, and its cycles."""
    from workloads.codegen import generate

    program = generate(spec, core.isa(isa), options)
    return program, cost(program, core)
