from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_models.cores import CAUSES, cost, load_core
from device_models.cores.davinci_queues import Nest, Step, machine_of
from device_models.cores.davinci_tables import QUEUES
from workloads.codegen import choices, generate
from workloads.codegen.specs import ConvSpec, CopySpec, ElementwiseSpec, MatrixSpec, PoolSpec
from workloads.errors import InputError
from workloads.isa import load_isa
from workloads.legality import check
from workloads.program import Address, Buffer, Instruction, Loop, Program

FEW = settings(max_examples=40, deadline=None)
CORES = ("davinci-m100", "davinci-c220")  # one without fixpipe, one with
ISA = load_isa("davinci")
NAMES = ("p", "q", "r")


@st.composite
def steps(draw):
    reads = tuple(draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True)))
    writes = draw(st.sampled_from((None, *NAMES)))
    queue = draw(st.sampled_from(("MTE2", "MTE1", "CUBE", "SCALAR")))
    if queue == "SCALAR":
        reads, writes = (), None
    held = 0.0 if queue == "SCALAR" else float(draw(st.integers(0, 9)))
    return Step("op", queue, float(draw(st.integers(0, 2))), held, float(draw(st.integers(0, 9))), reads, writes)


nests = st.recursive(
    st.builds(Nest, st.just("i"), st.integers(1, 5), st.lists(steps(), min_size=1, max_size=4).map(tuple)),
    lambda inner: st.builds(
        Nest, st.just("o"), st.integers(1, 4), st.lists(st.one_of(steps(), inner), min_size=1, max_size=4).map(tuple)
    ),
    max_leaves=4,
)


def unrolled(nest):
    for _ in range(nest.trips):
        for part in nest.parts:
            yield from unrolled(part) if isinstance(part, Nest) else (part,)


class Buffered:
    """A buffer in the plain simulation: one record per tile, newest last."""

    def __init__(self, copies):
        self.copies, self.tiles = copies, [{"filled": 0.0, "read": 0.0, "seen": False}]

    def free(self, opens):
        if not opens:
            return self.tiles[-1]["read"]
        before = len(self.tiles) - self.copies
        return self.tiles[before]["read"] if before >= 0 else 0.0


def simulated(nest, copies):
    """Run every instruction in turn, with event flags as plain Python variables: no matrix, no algebra."""
    issued, queues = 0.0, dict.fromkeys(QUEUES, 0.0)
    buffers = {name: Buffered(count) for name, count in copies.items()}
    latest = 0.0
    for step in unrolled(nest):
        issued += step.issue
        latest = max(latest, issued)
        if step.queue == "SCALAR":
            continue
        start = max(queues[step.queue], issued, *(buffers[name].tiles[-1]["filled"] for name in step.reads))
        target = buffers.get(step.writes)
        updates = step.writes in step.reads
        opens = target is not None and not updates and target.tiles[-1]["seen"]
        if target is not None:
            start = max(start, target.free(opens))
        end = queues[step.queue] = start + step.held
        for name in step.reads:
            tile = buffers[name].tiles[-1]
            tile["read"] = max(tile["read"], end)
            tile["seen"] |= name != step.writes
        if target is not None:
            if opens:
                target.tiles.append({"filled": end + step.delay, "read": end, "seen": False})
            else:
                target.tiles[-1]["filled"] = max(target.tiles[-1]["filled"], end + step.delay)
            latest = max(latest, target.tiles[-1]["filled"])
        latest = max(latest, end)
    return latest, queues


@FEW
@given(nests, st.tuples(*[st.integers(1, 3)] * 3))
def test_powers_of_a_loop_take_the_time_that_its_instructions_take_one_by_one(nest, counts):
    # All three buffers are made flagged: a first step of no time reads and updates each.
    touch = tuple(Step("touch", "CUBE", 0.0, 0.0, 0.0, (name,), name) for name in NAMES)
    whole = Nest("", 1, (*touch, nest))
    copies = dict(zip(NAMES, counts, strict=True))
    program = Program("p", ISA, tuple(Buffer(name, 1, "ub", copies=count) for name, count in copies.items()), ())
    machine = machine_of(program, whole)
    state, _ = machine.run(whole.parts, machine.start(), frozenset())
    expected, queues = simulated(whole, copies)
    # Times of tiles that were written over are forgotten; those of queues and of the newest tiles are all there.
    assert [state[QUEUES.index(name)].item() for name in QUEUES[1:]] == [queues[name] for name in QUEUES[1:]]
    assert state.max() <= expected
    assert state.max() >= max(queues.values())


def pipeline(load, compute, trips, copies):
    """Return a loop of a load of so many bytes and a vector instruction that reads it, on a core without latency."""
    body = (
        Instruction("mte2_ub", Address("tile"), (Address("x"),), shape=(1, load, 0, 0)),
        Instruction("vadds_f16", Address("sum"), (Address("tile"), "x0"), count=compute),
    )
    buffers = (Buffer("x", load, "global"), Buffer("tile", load, "ub", copies=copies), Buffer("sum", 2 * compute, "ub"))
    return Program("pipeline", ISA, buffers, (Loop("i", trips, body),))


@pytest.fixture(scope="module")
def quick():
    """Return the 310B's core without latency, issue, start and finish: the figures of a textbook pipeline."""
    core = load_core("davinci-m300")
    timing = core.timing

    def none(figure):
        return figure.model_copy(update={"value": 0.0})

    vector = tuple(
        row.model_copy(update={"start": none(row.start), "finish": none(row.finish)}) for row in timing.vector
    )
    scalar = timing.scalar.model_copy(update={"issue": none(timing.scalar.issue)})
    changed = timing.model_copy(update={"latency": none(timing.latency), "scalar": scalar, "vector": vector})
    return replace(core, timing=changed)


@FEW
@given(load=st.integers(1, 40), compute=st.integers(1, 40), trips=st.integers(2, 100_000))
def test_two_buffers_overlap_load_and_compute_and_one_does_not(quick, load, compute, trips):
    # A repeat of 128 lanes is a cycle, and so are 256 bytes.
    first, second = (cost(pipeline(256 * load, 128 * compute, trips, copies), quick) for copies in (1, 2))
    assert first.cycles == trips * (load + compute)
    assert second.cycles == load + (trips - 1) * max(load, compute) + compute
    assert second.by_cause["latency"] == 0
    assert first.by_cause["latency"] == (trips - 1) * min(load, compute)


SPECS = (
    ConvSpec(1, 28, 28, 64, 28, 28, 96, (3, 3), padding=(1, 1)),
    ConvSpec(2, 14, 14, 48, 7, 7, 48, (3, 3), (2, 2), (1, 1), depthwise=True),
    MatrixSpec(3, 1500, 250),
    PoolSpec("max", 1, 30, 30, 64, 15, 15, (2, 2), (2, 2)),
    ElementwiseSpec("mul", 6400, 64),
    CopySpec(5000, 70),
)


@pytest.mark.parametrize("core", [load_core(name) for name in CORES], ids=lambda core: core.name)
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_causes_add_up_to_the_cycles_for_every_option(core, spec):
    for options in choices(spec, core.isa()):
        found = cost(generate(spec, core.isa(), options), core)
        assert sum(found.by_cause.values()) == found.cycles > 0
        assert found.by_cause.keys() == CAUSES.keys()
        assert min(found.by_cause.values()) >= 0
        assert found.by_cause["issue"] == found.by_resource[found.bound] == max(found.by_resource.values())


@pytest.mark.parametrize("core", [load_core(name) for name in CORES], ids=lambda core: core.name)
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_double_buffering_is_never_slower(core, spec):
    offered = choices(spec, core.isa())
    single = [options for options in offered if options.buffers == 1]
    assert len(single) * 2 == len(offered)
    for options in single:
        one, two = (generate(spec, core.isa(), each) for each in (options, replace(options, buffers=None)))
        assert cost(one, core).cycles >= cost(two, core).cycles
        assert {buffer.copies for buffer in one.buffers} == {1}
        # Without fixpipe the cube's sums have two buffers by name, since the next one is begun before this one is out.
        named = {buffer.name for buffer in two.buffers} & {"l0c_next"}
        single_sums = {"l0c_sums", "l0c_next"} if named else set()
        assert {b.name for b in two.buffers if b.space != "global" and b.copies == 1} == single_sums


@FEW
@given(st.sampled_from(SPECS), st.sampled_from(CORES), st.integers(1, 4))
def test_more_copies_of_a_tile_never_cost_time(spec, name, copies):
    core = load_core(name)
    roomy = replace(core, parameters=dict.fromkeys(core.parameters, 1 << 40))
    program = generate(spec, core.isa())
    few, more = (
        replace(program, buffers=tuple(replace(buffer, copies=count) for buffer in program.buffers))
        for count in (copies, copies + 1)
    )
    assert cost(more, roomy).cycles <= cost(few, roomy).cycles


def test_a_program_for_a_larger_core_is_refused_with_place_and_reason():
    large = generate(MatrixSpec(64, 8000, 512), load_core("davinci-m300").isa())
    check(large)
    with pytest.raises(InputError) as caught:
        cost(large, load_core("davinci-c220"))
    (problem,) = caught.value.problems
    assert problem == (
        "program 'davinci_conv_1x1': space 'l1' has 524288 bytes; its buffers take 1048576: "
        "'l1_input' 2 x 512000, 'l1_weights' 3 x 8192"
    )


def test_a_program_with_a_fixpipe_is_refused_by_a_core_without():
    program = generate(MatrixSpec(16, 32, 16), load_core("davinci-m300").isa())
    with pytest.raises(InputError) as caught:
        cost(program, load_core("davinci-m100"))
    place = "program 'davinci_conv_1x1': space "
    assert caught.value.problems == (
        f"{place}'bias_table' has 0 bytes; its buffers take 128: 'bias_table_bias' 2 x 64",
        f"{place}'fixpipe_buffer' has 0 bytes; its buffers take 256: 'fixpipe_buffer_quant' 2 x 128",
    )


def test_a_buffer_larger_than_its_space_is_refused_before_anything_runs():
    buffers = (Buffer("left", 40_000, "l0a", copies=2), Buffer("ub", 16, "ub"))
    with pytest.raises(ValueError, match="space 'l0a' has 65536 bytes; its buffers take 80000: 'left' 2 x 40000"):
        check(Program("big", ISA, buffers, ()))


def test_an_empty_program_takes_no_time():
    found = cost(Program("none", ISA, (), (Loop("i", 0, (Instruction("s_loop"),)),)), load_core("davinci-m300"))
    assert found.cycles == sum(found.by_cause.values()) == 0
