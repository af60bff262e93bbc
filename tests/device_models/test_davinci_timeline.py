import re

import pytest

from device_models.cores import cost, load_core, timeline
from workloads.codegen import generate
from workloads.codegen.specs import ConvSpec, CopySpec, ElementwiseSpec, MatrixSpec, PoolSpec
from workloads.options import DEFAULT, Options
from workloads.program import Instruction, Loop, Program

LAYER = ConvSpec(1, 56, 56, 64, 56, 56, 64, (3, 3), padding=(1, 1))


def drawn(name, spec, options=DEFAULT, iterations=2):
    core = load_core(name)
    return timeline(generate(spec, core.isa(), options), core, iterations)


def test_the_steady_state_of_a_convolution_reads_like_this():
    assert drawn("davinci-m300", LAYER) == (
        """\
davinci_conv_3x3 on davinci-m300: loop 'group', trips 1 to 2 of 0..3
digits: the trip that a queue works on   . busy for less than half of the column   blank: waits

cycle      busy  0         500       1,000     1,500     2,000
SCALAR       0% |                                          |
MTE1        38% |11  .1.  1.  .1 1..2.22  22.  2   .2 2 33.| 62% until l0a_left is free
CUBE       100% |111111111111111111111222222222222222222222|
FIXPIPE     43% |000000000           .111111111            | 57% until l0c_sums is filled

CUBE binds: 1,044 cycles a trip, 50 a column
"""
    )


def test_with_one_buffer_the_queues_take_turns():
    text = drawn("davinci-m300", LAYER, Options(buffers=1))
    lanes = dict(re.findall(r"^(\w+) +\d+% \|(.*)\|", text, flags=re.MULTILINE))
    both = [cube != " " and fixpipe not in " ." for cube, fixpipe in zip(lanes["CUBE"], lanes["FIXPIPE"], strict=True)]
    assert not any(both)
    assert "until l0b_right is filled" in text


SPECS = [
    LAYER,
    ConvSpec(2, 14, 14, 48, 7, 7, 48, (3, 3), (2, 2), (1, 1), depthwise=True),
    MatrixSpec(2048, 4096, 512),
    MatrixSpec(16, 32, 16),
    PoolSpec("max", 1, 112, 112, 64, 56, 56, (3, 3), (2, 2), (1, 1)),
    ElementwiseSpec("add", 802_816, 802_816),
    CopySpec(700, 7),
]


@pytest.mark.parametrize("name", ["davinci-m100", "davinci-c220"])
@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_a_timeline_has_a_line_per_queue_and_names_what_binds(name, spec, iterations):
    text = drawn(name, spec, iterations=iterations)
    lines = re.findall(r"^(\w+) +(\d+)% \|(.*)\|", text, flags=re.MULTILINE)
    core = load_core(name)
    found = cost(generate(spec, core.isa()), core)
    assert {queue for queue, _, _ in lines} <= found.by_resource.keys()
    assert len({len(lane) for _, _, lane in lines}) == 1
    assert len(lines[0][2]) <= 64
    assert all(int(share) <= 100 for _, share, _ in lines)
    assert f"\n{found.bound} binds: " in text
    assert max(map(len, text.splitlines())) <= 120
    busy = {queue: int(share) for queue, share, _ in lines}
    assert busy[found.bound] > 0 or found.bound == "SCALAR"
    assert drawn(name, spec, iterations=iterations) == text


def test_as_many_trips_are_drawn_as_are_asked_for():
    spec = MatrixSpec(2048, 4096, 512)
    for iterations in (1, 2, 4):
        text = drawn("davinci-m300", spec, iterations=iterations)
        lane = re.search(r"^CUBE +100% \|(.*)\|", text, flags=re.MULTILINE)[1]
        assert len(set(lane) - {"."}) == iterations
        # 4 x 8 x 8 blocks of a tile and 6 cycles to start: the cube never waits
        assert "CUBE binds: 262 cycles a trip" in text


def test_nothing_to_do_is_said():
    core = load_core("davinci-m300")
    program = Program("none", core.isa(), (), (Loop("i", 0, (Instruction("s_loop"),)),))
    assert timeline(program, core) == "none on davinci-m300: nothing to do\n"
