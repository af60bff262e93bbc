"""From a suite to its jobs: one kernel on one device each, not priced yet."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from typing import TYPE_CHECKING

from device_models.costing import layer_kernel, priced
from device_models.estimate import prepared_for, working_set
from simulator.bench import emitters
from simulator.bench.naming import describe, printable
from simulator.bench.order import Order
from simulator.bench.shapes import OPERATORS
from simulator.names import read_model
from workloads.codegen import choices
from workloads.codegen.float_spec import FloatSpec, spec_of
from workloads.codegen.specs import ConvSpec, MatrixSpec
from workloads.errors import InputError
from workloads.graph import layer_macs
from workloads.options import DEFAULT, Options
from workloads.program_file import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from device_models.costing import Kernel
    from device_models.memory import Working
    from simulator.bench.suite import Entry, Suite, Target
    from workloads.codegen.float_spec import AnySpec
    from workloads.graph import Graph, Layer
    from workloads.program import Program

OWN = "own"  # the generator's own choice, in names; the best is not named


@dataclass(frozen=True)
class Job:
    """A kernel to price on a device.

    Parameters
    ----------
    place
        In the suite's file.
    price
        Returns the cost.
    program
        Returns the Program; None for a layer that has a rate instead.
    macs
        Of a layer without a Program. [MAC]
    order
        The same as ``price`` for another process; None for what only this one can price.
    precision
        "int8" or "fp32", whose peak the kernel is put beside.
    """

    place: str
    group: str
    kernel: str
    options: str
    target: Target
    price: Callable[[], Kernel]
    program: Callable[[], Program] | None
    layers: tuple[str, ...] = ()
    op: str = ""
    macs: int = 0
    order: Order | None = None
    precision: str = "int8"


def jobs(suite: Suite) -> list[Job]:
    """Return the jobs of a suite, in its order.

    Raises
    ------
    InputError
        With every generator that fails and every saved Program that is wrong.
    """
    found: list[Job] = []
    problems: list[str] = []
    for entry in suite.entries:
        try:
            found += _jobs(entry, suite.folder)
        except InputError as error:
            problems += [f"{entry.place}: {error.path}: {problem}" for problem in error.problems]
    if problems:
        raise InputError(suite.path, problems)
    return found


def _jobs(entry: Entry, folder: Path) -> Iterator[Job]:
    kernels = entry.kernels
    if kernels.model:
        return _model_jobs(entry, folder)
    if kernels.program:
        return _file_jobs(entry, folder)
    return _operator_jobs(entry) if kernels.generator is None else _generator_jobs(entry)


def program_job(program: Program, target: Target, group: str, kernel: str, options: str = "default") -> Job:
    """Return the job of a Program that is at hand."""
    found = replace(target, isa=program.isa.name)
    return Job("", group, kernel, options, found, partial(priced, program, target.device), lambda: program)


def specs(entry: Entry) -> list[AnySpec]:
    """Return the specifications that an entry's operators and shapes stand for."""
    found: list[AnySpec] = []
    for operator, shape in product(entry.kernels.operator, entry.kernels.shapes):
        model, to_spec = OPERATORS[operator]
        spec = to_spec(model.model_validate(shape))
        if entry.kernels.precision == "fp32" and isinstance(spec, ConvSpec | MatrixSpec):
            found.append(FloatSpec(spec))
        else:
            found.append(spec)
    return found


def _operator_jobs(entry: Entry) -> Iterator[Job]:
    for spec, target in product(specs(entry), entry.targets):
        wanted: tuple[Options | None, ...] = _wanted(entry)
        if entry.kernels.choice == "all":
            wanted = choices(spec, target.device.core.isa(target.isa))
        for options in wanted:
            yield _spec_job(entry, "operators", spec, target, options, None)


def _wanted(entry: Entry) -> tuple[Options | None, ...]:
    """Return the options that an entry names; None for the best, which depends on the kernel."""
    if entry.options == (DEFAULT,):
        return (DEFAULT,) if entry.kernels.choice == "own" else (None,)
    return entry.options


def _label(options: Options | None) -> str:
    return "" if options is None else OWN if options == DEFAULT else str(options)


def _spec_job(
    entry: Entry, group: str, spec: AnySpec, target: Target, options: Options | None, working: Working | None
) -> Job:
    order = Order(spec, target.chip, target.isa, options, working)
    return Job(
        entry.place, group, describe(spec), _label(options), target, order.price, order.program, order=order,
        precision=entry.kernels.precision,
    )  # fmt: skip


def _model_jobs(entry: Entry, folder: Path) -> Iterator[Job]:
    """Yield a job per distinct kernel of each network, with the layers that are that kernel."""
    for name, options, target in product(entry.kernels.model, _wanted(entry), entry.targets):
        graph, working = _made_ready(read_model(name, folder), entry.kernels.precision)
        alike: defaultdict[tuple[AnySpec | None, str | None], list[Layer]] = defaultdict(list)
        for layer in graph.layers:
            alike[_identity(graph, layer)].append(layer)
        for (spec, kind), layers in alike.items():
            if spec is None and kind is None:
                continue  # moves nothing
            job = _layer_job(entry, graph, working, spec, layers[0], target, options)
            yield replace(
                job, group=graph.name, options=_label(options), layers=tuple(printable(each.name) for each in layers)
            )


@cache
def _made_ready(graph: Graph, precision: str) -> tuple[Graph, Working]:
    """Return a network as it is costed, and what it keeps in memory."""
    ready = prepared_for(graph, precision, 1)
    return ready, working_set(ready)


def _identity(graph: Graph, layer: Layer) -> tuple[AnySpec | None, str | None]:
    """Return what makes layers the same kernel: the specification, or else operator and shapes; nothing for none."""
    try:
        return spec_of(graph, layer), None
    except NotImplementedError:
        shapes = ["x".join(map(str, graph[name].shape)) for name in (layer.inputs[0], layer.outputs[0])]
        return None, f"{layer.op} {' > '.join(shapes)}"


def _layer_job(
    entry: Entry,
    graph: Graph,
    working: Working,
    spec: AnySpec | None,
    layer: Layer,
    target: Target,
    options: Options | None,
) -> Job:
    """Return the job of a layer: generated where the set's generator has it, else by the device's rate."""

    def rate() -> Kernel:
        found = layer_kernel(graph, layer, target.device, working)
        if found is None:
            raise NotImplementedError(f"operator {layer.op!r} has no cost on {target.device.name}")
        return found

    macs = layer_macs(graph, layer)
    if spec is None:
        kernel = str(_identity(graph, layer)[1])
        return Job(entry.place, "", kernel, "", target, rate, None, op=layer.op, macs=macs)
    job = _spec_job(entry, "", spec, target, options, working)

    def price() -> Kernel:
        try:
            return job.price()
        except NotImplementedError:
            return rate()

    return replace(job, price=price, op=layer.op, macs=macs)


def _file_jobs(entry: Entry, folder: Path) -> Iterator[Job]:
    for name in entry.kernels.program:
        program = load(folder / name)
        for target in _devices(entry):
            yield replace(program_job(program, target, name, printable(program.name)), place=entry.place)


def _generator_jobs(entry: Entry) -> Iterator[Job]:
    """Yield a job per call of a user's generator; it is told specification, set and options if it asks for them."""
    name = str(entry.kernels.generator)
    function = emitters.find(name)
    targets = entry.targets if emitters.asks_for(function, "isa") else _devices(entry)
    wanted: list[AnySpec | None] = [*specs(entry)] or [None]
    for arguments, spec, target, options in product(entry.kernels.arguments, wanted, targets, entry.options):
        given = arguments if spec is None else {"spec": spec, **arguments}
        chosen = {} if options == DEFAULT else {"options": options}
        told = {"isa": target.device.core.isa(target.isa), "options": options}
        program = emitters.emit(function, {**given, **chosen}, told)
        words = [*([describe(spec)] if spec is not None else []), *(f"{key}={arguments[key]}" for key in arguments)]
        kernel = printable(" ".join(words) or program.name)
        label = "" if options == DEFAULT else str(options)
        yield replace(program_job(program, target, name, kernel, label), place=entry.place)


def _devices(entry: Entry) -> list[Target]:
    """Return one target per device, for Programs that bring their own instruction set."""
    return list({target.device.name: target for target in entry.targets}.values())
