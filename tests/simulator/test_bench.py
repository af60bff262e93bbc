"""presage bench as a user meets it: prices, baseline, regression and exit status; the same figures every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from device_models.costing import best_options, generated
from device_models.device import load_device
from device_models.energy import Activity, energy
from device_models.estimate import estimate
from simulator import cli
from simulator.bench.command import gate_of, measure
from simulator.bench.plan import jobs
from simulator.bench.suite import load_suite
from workloads.codegen import choices, generate
from workloads.codegen.specs import ConvSpec
from workloads.errors import InputError
from workloads.isa import load_isa
from workloads.models import build
from workloads.program_file import save

if TYPE_CHECKING:
    from collections.abc import Callable

PRESAGE = Path(sys.executable).with_name("presage")
GENERATOR = """
from workloads.isa import load_isa
from workloads.program import Address, Buffer, Instruction, Loop, Program

def emit(depth=64, extra=EXTRA):
    load = [Instruction("ldr", f"r{n}", (Address(name, 0, (("i", 4),)),)) for n, name in ((1, "a"), (2, "b"))]
    add = [Instruction("add", "r5", ("r5", "r1"))] * extra
    body = (*load, *add, Instruction("smlad", "r0", ("r1", "r2", "r0")), Instruction("subs"), Instruction("bne"))
    inputs = Buffer("a", 4 * depth, role="input"), Buffer("b", 4 * depth, role="weights")
    buffers = (*inputs, Buffer("y", 4, role="output"))
    store = Instruction("str", Address("y"), ("r0",))
    return Program("dot", load_isa("thumb2-dsp"), buffers, (Loop("i", depth, body), store), macs=2 * depth)

def ours(spec, isa, options):
    from workloads.codegen import generate
    return generate(spec, isa, options)

def wrong():
    return 7

def illegal():
    return Program("bad", load_isa("thumb2-dsp"), (), (Instruction("ldr", "r0", (Address("nowhere"),)),))

def broken():
    return {}["key"]
"""
SUITE = """schema = 1
title = "Mine"
devices = ["stm32h7a3"]

[[kernels]]
generator = "my_bench_kernels:emit"
arguments = [{ depth = 16 }, { depth = 256 }]
"""


@pytest.fixture
def presage(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(SUITE)

    def call(*arguments: object, extra: int = 0) -> tuple[int, str, str]:
        (tmp_path / "my_bench_kernels.py").write_text(GENERATOR.replace("EXTRA", str(extra)))
        sys.modules.pop("my_bench_kernels", None)
        for cached in (tmp_path / "__pycache__").glob("*"):
            cached.unlink()  # an edit within a second may have the same time and size
        with pytest.raises(SystemExit) as stopped:
            cli.main(["bench", *map(str, arguments)])
        printed = capsys.readouterr()
        return int(stopped.value.code or 0), printed.out, printed.err

    yield call
    sys.modules.pop("my_bench_kernels", None)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[[str], Any]:
    def run(text: str) -> Any:
        (tmp_path / "suite.toml").write_text(text)
        suite = load_suite(tmp_path / "suite.toml")
        return measure(suite, jobs(suite))

    return run


def test_a_regression_fails_is_explained_and_can_be_accepted(presage: Any, tmp_path: Path) -> None:
    status, out, _ = presage("mine.toml")
    assert (status, "there is no baseline" in out) == (0, True)
    assert presage("mine.toml", "--accept")[0] == 0
    status, out, _ = presage("mine.toml")
    assert (status, "2 compared: no difference" in out) == (0, True)
    status, out, _ = presage("mine.toml", extra=4)
    assert status == 1
    # 4 additions more in each of 16 and of 256 trips.
    assert "instructions add +1 024" in out
    assert "FAILED: 2 of 2 kernels are worse: cycles or energy or bytes grew at all." in out
    before = (tmp_path / "mine.baseline.json").read_bytes()
    assert presage("mine.toml", "--accept", extra=4)[0] == 0
    assert (tmp_path / "mine.baseline.json").read_bytes() != before
    assert presage("mine.toml", extra=4)[0] == 0


def test_an_improvement_is_shown_and_does_not_fail(presage: Any) -> None:
    presage("mine.toml", "--accept", extra=4)
    status, out, _ = presage("mine.toml")
    assert status == 0
    assert "Better" in out
    assert "instructions add -1 024" in out
    assert "2 compared: 2 better." in out


def test_the_limit_is_a_percentage_of_each_figure_or_cycles_alone(presage: Any) -> None:
    presage("mine.toml", "--accept")
    _, out, _ = presage("mine.toml", "--format", "json", extra=4)
    rows = json.loads(out)["comparison"]["differences"]
    grown = max(row["after"]["cycles"] / row["before"]["cycles"] - 1 for row in rows)
    more = max(row["after"]["cycles"] - row["before"]["cycles"] for row in rows)
    limits = {f"{100 * grown + 0.01:.2f} %": 0, f"{100 * grown - 0.01:.2f} %": 1, f"{more:.0f} cycles": 0,
              f"{more - 1:.0f} cycles": 1}  # fmt: skip
    for limit, expected in limits.items():
        assert presage("mine.toml", "--fail-above", limit, extra=4)[0] == expected, limit
    assert presage("mine.toml", "--gate", "bytes", extra=4)[0] == 0


def test_kernels_that_appeared_or_vanished_are_named(presage: Any, tmp_path: Path) -> None:
    presage("mine.toml", "--accept")
    (tmp_path / "mine.toml").write_text(SUITE.replace("depth = 256", "depth = 32"))
    status, out, _ = presage("mine.toml")
    assert status == 0
    new, old = out.split("New, not in the baseline")[1].split("In the baseline, but no longer measured")
    assert "depth=32 on stm32h7a3" in new
    assert "depth=256 on stm32h7a3" in old


def test_a_gate_that_compares_nothing_fails(presage: Any, tmp_path: Path) -> None:
    presage("mine.toml", "--accept")
    (tmp_path / "mine.toml").write_text(SUITE.replace("depth = 16", "depth = 8").replace("depth = 256", "depth = 4"))
    status, out, _ = presage("mine.toml")
    assert status == 1
    assert "FAILED: Nothing was compared" in out
    status, out, _ = presage("mine.toml", "--format", "junit")
    assert status == 1
    root = ET.fromstring(out)  # noqa: S314 - our own text
    assert root.find(".//testcase[@name='the gate ran']/failure") is not None


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["nowhere.toml"], "nowhere.toml: 1 problem\n  cannot be read"),
        (["mlperf_tin"], "did you mean 'mlperf_tiny'?"),
        (["mine.toml", "--baseline", "nowhere.json"], "nowhere.json: 1 problem\n  cannot be read"),
        (["mine.toml", "--fail-above", "3 J"], "--fail-above: '3 J'; expected a percentage or cycles"),
        (["mine.toml", "--gate", "cycels"], "--gate: 'cycels' is unknown; did you mean 'cycles'?"),
        (["mine.toml", "--timeline", "depth"], "'depth' is part of 2 names; give more of one:"),
        (["mine.toml", "--timeline", "width=16"], "no kernel's name holds 'width=16'"),
    ],
)
def test_wrong_input_is_exit_status_two(presage: Any, arguments: list[str], fault: str) -> None:
    status, out, err = presage(*arguments)
    assert (status, out) == (2, "")
    assert fault in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ('generator = "my_bench_kernels:emti"', "has no 'emti'; did you mean 'emit'?"),
        ('generator = "nowhere:emit"', "module 'nowhere' cannot be imported"),
        ('generator = "my_bench_kernels:wrong"', "wrong: returned int; expected a workloads.program.Program"),
        ('generator = "my_bench_kernels:broken"', "broken: failed: KeyError: 'key'"),
        (
            'generator = "my_bench_kernels:illegal"',
            "Program 'bad': body[0] ldr r0, [nowhere]: there is no buffer 'nowhere'",
        ),
        (
            'generator = "my_bench_kernels:emit"\narguments = {dept = 3}',
            "has no parameter 'dept'; did you mean 'depth'?",
        ),
        ('generator = "my_bench_kernels:ours"', "needs 'spec'; give it under arguments"),
        ('generator = "my_bench_kernels:emit"\noptions = {rows = 2}', "has no parameter 'options'"),
        ('generator = "my_bench_kernels:emit"\narguments = [{}, {}]', "dot on stm32h7a3 (thumb2-dsp) is there already"),
        ('generator = "my_bench_kernels:emit"\ndevices = "jh7110"', "does not execute 'thumb2-dsp'"),
        ('program = "nowhere.json"', "cannot be read"),
        ('operator = "softmax"\nshapes = {columns = 10}\noptions = {rows = 77}', "softmax"),
        ('operator = "conv2d"\nshapes = {input = [8,8,8], outputs = 8, kernel = 3}\noptions = {rows = 77}', "rows=77"),
    ],
)
def test_what_cannot_be_priced_is_refused_with_a_reason(presage: Any, tmp_path: Path, entry: str, fault: str) -> None:
    (tmp_path / "mine.toml").write_text(SUITE + f"\n[[kernels]]\n{entry}\n")
    status, out, err = presage("mine.toml")
    assert (status, out) == (2, "")
    assert fault in err, err
    assert "kernels[1]" in err


def test_a_broken_baseline_is_refused_and_replaced_by_accepting(presage: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.baseline.json").write_text('{"schema": 9}')
    status, _, err = presage("mine.toml")
    assert status == 2
    assert "schema: found 9; this version reads 1; accept a new baseline" in err
    assert presage("mine.toml", "--accept")[0] == 0
    assert presage("mine.toml")[0] == 0


def test_a_failing_generator_leaves_the_baseline_alone(presage: Any, tmp_path: Path) -> None:
    presage("mine.toml", "--accept")
    before = (tmp_path / "mine.baseline.json").read_bytes()
    (tmp_path / "mine.toml").write_text(SUITE + '\n[[kernels]]\ngenerator = "my_bench_kernels:broken"\n')
    assert presage("mine.toml", "--accept")[0] == 2
    assert (tmp_path / "mine.baseline.json").read_bytes() == before


def test_the_timeline_of_a_kernel_is_drawn(presage: Any) -> None:
    status, out, _ = presage("mine.toml", "--timeline", "depth=16")
    assert status == 0
    assert "smlad" in out
    assert out.startswith("my_bench_kernels:emit: depth=16 on stm32h7a3 (thumb2-dsp)\n")


def test_a_core_that_draws_no_timeline_says_so(presage: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(SUITE.replace("stm32h7a3", "unit"))
    status, _, err = presage("mine.toml", "--timeline", "depth=16")
    assert status == 2
    assert "'fixed' cores draw no timeline" in err


def test_the_rows_of_a_network_add_up_to_its_estimate(bench: Callable[[str], Any]) -> None:
    names = ["stm32h7a3", "spacemit-k1", "ascend310b1"]
    text = 'schema = 1\ntitle = "x"\ndevices = {}\n[[kernels]]\nmodel = "dscnn_kws"'
    found = bench(text.replace("{}", json.dumps(names)))
    for name in names:
        expected = estimate(build("dscnn_kws"), name, threads=1)
        rows = [row for row in found.kernels if row.device == name]
        assert sum(row.times * row.time_s for row in rows) == pytest.approx(expected.latency_s)
        assert sum(row.times * row.energy_j for row in rows) == pytest.approx(expected.energy_j)
        assert sum(row.times * row.macs for row in rows) == expected.macs
        costed = {layer.name for layer in expected.layers if layer.latency_s}
        assert {layer for row in rows for layer in row.layers} == costed


def test_a_row_follows_from_the_kernel_and_the_device(bench: Callable[[str], Any]) -> None:
    found = bench(
        'schema = 1\ntitle = "x"\ndevices = "stm32h7a3"\nfrequency = "140 MHz"\n[[kernels]]\noperator = "conv2d"\n'
        "shapes = { input = [8, 8, 16], outputs = 24, kernel = 3 }"
    )
    (row,) = found.kernels
    device, spec = load_device("stm32h7a3"), ConvSpec(1, 8, 8, 16, 8, 8, 24, (3, 3), padding=(1, 1))
    kernel = generated(spec, device, None, best_options(spec, device, None))
    flash = device.read_bytes_per_s("flash", 140e6) or 0.0
    moved = {level.level: level for level in kernel.moved}
    waiting = moved["flash"].read_bytes / flash * 140e6 if "flash" in moved else 0.0
    assert row.cycles == pytest.approx(kernel.cycles + waiting + device.overhead.layer.value, abs=1e-3)
    assert sum(row.causes.values()) == pytest.approx(row.cycles, abs=0.01)
    assert row.time_s == pytest.approx(row.cycles / 140e6)
    assert row.energy_j == pytest.approx(energy(device, Activity(row.time_s, row.macs, 0), 1, 140e6))
    assert row.macs_per_cycle == pytest.approx(8 * 8 * 24 * 16 * 9 / row.cycles)
    assert row.share_of_peak == pytest.approx(row.macs_per_cycle / device.compute.int8_peak.value)
    assert row.name == "operators: conv2d 3x3 p1 8x8x16 > 8x8x24 on stm32h7a3 (thumb2-dsp)"


def test_the_best_the_own_and_every_choice_of_a_kernel_can_be_benched(bench: Callable[[str], Any]) -> None:
    text = """schema = 1
title = "x"
devices = "jh7110"
[[kernels]]
operator = "conv2d"
shapes = { input = [8, 8, 16], outputs = 24, kernel = 3 }
"""
    (best,) = bench(text).kernels
    (own,) = bench(text + 'choice = "own"').kernels
    every = bench(text + 'choice = "all"').kernels
    offered = choices(ConvSpec(1, 8, 8, 16, 8, 8, 24, (3, 3), padding=(1, 1)), load_device("jh7110").core.isa())
    assert [row.options for row in every] == [row.chosen for row in every] == list(map(str, offered))
    assert (best.title, own.title) == ("conv2d 3x3 p1 8x8x16 > 8x8x24", "conv2d 3x3 p1 8x8x16 > 8x8x24 [own]")
    assert own.cycles == every[0].cycles
    assert best.cycles == min(row.cycles for row in every)
    partly = bench(text + "options = { fuse = false }").kernels[0]
    assert partly.cycles == next(row.cycles for row in every if "fuse=False" in row.chosen)


def test_layers_that_do_not_offer_the_named_options_run_with_the_best(bench: Callable[[str], Any]) -> None:
    text = 'schema = 1\ntitle = "x"\ndevices = "stm32h7a3"\n[[kernels]]\nmodel = "dscnn_kws"\n'
    best, named = (bench(text + more).kernels for more in ("", "options = { fuse = false }"))
    assert len(best) == len(named)
    pairs = list(zip(best, named, strict=True))
    assert all(one.cycles == other.cycles for one, other in pairs if "fuse=False" not in other.chosen)
    assert any("fuse=False" in other.chosen and one.chosen != other.chosen for one, other in pairs)


def test_a_generator_of_ones_own_gets_specification_set_and_options(presage: Any, tmp_path: Path) -> None:
    operator = 'operator = "conv2d"\nshapes = { input = [8, 8, 16], outputs = 24, kernel = 3 }\n'
    head = SUITE.partition("[[kernels]]")[0].replace('["stm32h7a3"]', '["stm32h7a3", "xeon-8275cl"]')
    for name, line in (("ours", 'choice = "own"\n'), ("mine", 'generator = "my_bench_kernels:ours"\n')):
        (tmp_path / f"{name}.toml").write_text(f"{head}[[kernels]]\n{operator}{line}")
    ours, mine = (json.loads(presage(f"{name}.toml", "--format", "json")[1])["kernels"] for name in ("ours", "mine"))
    assert len(ours) == len(mine) == 2
    for one, other in zip(ours.values(), mine.values(), strict=True):
        assert {**one, "group": "", "options": ""} == {**other, "group": "", "options": ""}


def test_a_saved_program_costs_what_the_kernel_does(bench: Callable[[str], Any], tmp_path: Path) -> None:
    spec = ConvSpec(1, 8, 8, 16, 8, 8, 24, (3, 3), padding=(1, 1))
    save(generate(spec, load_isa("rv64gc")), tmp_path / "conv.json")
    (row,) = bench('schema = 1\ntitle = "x"\ndevices = "jh7110"\n[[kernels]]\nprogram = "conv.json"').kernels
    (same,) = bench(
        'schema = 1\ntitle = "x"\ndevices = "jh7110"\n[[kernels]]\noperator = "conv2d"\n'
        'shapes = { input = [8, 8, 16], outputs = 24, kernel = 3 }\nchoice = "own"'
    ).kernels
    kept = {"group", "kernel", "options"}
    assert row.model_dump(exclude=kept) == same.model_dump(exclude=kept)


def test_the_limit_is_read_as_written() -> None:
    assert (gate_of("0").percent, gate_of("0.5 %").percent, gate_of("1 cycle").cycles) == (0, 0.5, 1)
    assert gate_of("0", "cycles, code").figures == ("cycles", "code")
    with pytest.raises(InputError, match="3 problems"):
        gate_of("much", "cycle,energie")


def test_every_process_prints_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(
        'schema = 1\ntitle = "x"\ndevices = ["stm32h7a3", "xeon-8275cl", "spacemit-k1", "ascend310b1"]\n'
        '[[kernels]]\nmodel = "dscnn_kws"\n[[kernels]]\noperator = "add"\n'
        "shapes = [{ elements = 64 }, { elements = 65 }, { elements = 66 }, { elements = 67 }]\n"
    )
    common = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    runs = [
        (2, {"PYTHONHASHSEED": "0", "NUMBA_NUM_THREADS": "1"}),  # fills the cache, in two more processes
        (3, {"PYTHONHASHSEED": "1", "NUMBA_NUM_THREADS": "2"}),  # reads it
        (1, {"PYTHONHASHSEED": "2", "PRESAGE_NO_CACHE": "1"}),  # has none
    ]
    texts = set()
    for workers, more in runs:
        file = tmp_path / f"{more['PYTHONHASHSEED']}.json"
        command = [PRESAGE, "bench", "suite.toml", "--accept", "--baseline", file, "--workers", str(workers)]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env={**common, **more})
        texts.add(file.read_bytes())
    assert len(texts) == 1
    assert len(json.loads(texts.pop())["kernels"]) == (6 + 4) * 4
