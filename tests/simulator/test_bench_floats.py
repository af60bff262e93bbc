"""presage bench in float32: the same operators and shapes, with Winograd's algorithm among the options."""

import pytest

from simulator.bench.measure import Clocking, bench
from simulator.bench.plan import jobs
from simulator.bench.suite import load_suite
from workloads.errors import InputError

SUITE = """schema = 1
title = "Floats"
devices = ["jh7110", "xeon-8275cl"]
[[kernels]]
operator = "conv2d"
precision = "fp32"
choice = "{choice}"
shapes = {{ input = [16, 16, 32], outputs = 32, kernel = 3 }}
"""


def rows(tmp_path, text):
    path = tmp_path / "suite.toml"
    path.write_text(text, encoding="utf-8")
    return bench("floats", jobs(load_suite(path)), Clocking()).kernels


def test_float_kernels_are_priced_by_lowering_and_the_best_is_winograd_s(tmp_path):
    every = rows(tmp_path, SUITE.format(choice="all"))
    assert {row.kernel for row in every} == {"conv2d 3x3 p1 16x16x32 > 16x16x32 fp32"}
    for device, isa in (("jh7110", "rv64gc"), ("xeon-8275cl", "avx512-vnni")):
        cycles = {row.options: row.cycles for row in every if (row.device, row.isa) == (device, isa)}
        direct, winograd = (
            min(value for options, value in cycles.items() if f"lowering={lowering}" in options)
            for lowering in ("direct", "winograd")
        )
        assert winograd < direct
    for row in rows(tmp_path, SUITE.format(choice="best")):
        assert "lowering=winograd" in row.chosen
        assert row.cycles == min(one.cycles for one in every if one.device == row.device)


def test_a_network_in_float32_has_a_row_per_kernel_and_shares_of_the_float_peak(tmp_path):
    text = SUITE.format(choice="own").split("[[kernels]]")[0] + '[[kernels]]\nmodel = "resnet8"\nprecision = "fp32"\n'
    found = rows(tmp_path, text.replace('["jh7110", "xeon-8275cl"]', '["jh7110"]'))
    convolutions = [row for row in found if row.kernel.startswith("conv2d 3x3 p1")]
    assert convolutions
    assert all(row.kernel.endswith("fp32") or row.kernel.endswith("fp32 low") for row in convolutions)
    assert all(row.share_of_peak == pytest.approx(row.macs_per_cycle / 1) for row in convolutions)
    assert {row.isa for row in found} >= {"rv64gc"}


def test_the_same_suite_gives_the_same_record(tmp_path):
    assert rows(tmp_path, SUITE.format(choice="own")) == rows(tmp_path, SUITE.format(choice="own"))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            'operator = "softmax"\nshapes = { columns = 8 }',
            "in fp32 only conv2d, depthwise_conv2d, fully_connected are",
        ),
        ('program = "saved.json"', "precision is for operators and networks"),
    ],
)
def test_what_has_no_float_kernel_is_refused_where_it_stands(tmp_path, line, fault):
    text = f'schema = 1\ntitle = "Floats"\ndevices = ["jh7110"]\n[[kernels]]\nprecision = "fp32"\n{line}\n'
    with pytest.raises(InputError, match=fault) as caught:
        rows(tmp_path, text)
    assert caught.value.problems[0].startswith("kernels[0]")


def test_a_device_without_float_kernels_is_named(tmp_path):
    text = SUITE.format(choice="own").replace('"jh7110", "xeon-8275cl"', '"ascend310b1"')
    with pytest.raises(InputError, match="ascend310b1: davinci: no kernels are generated in float32"):
        rows(tmp_path, text)
