"""The cache on disk changes no figure, notices every edit, and is never needed."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from device_models import costing, kernel_cache
from device_models.device import load_device
from device_models.memory import Working
from workloads.codegen import generate
from workloads.codegen.specs import ConvSpec
from workloads.options import Options
from workloads.program import count

ROOT = Path(__file__).parents[2]
SPEC = ConvSpec(1, 8, 8, 16, 8, 8, 24, (3, 3), padding=(1, 1))
WORKING = Working(10_000, 20_000)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget()
    yield tmp_path
    forget()


def forget():
    kernel_cache.cache_file.cache_clear()
    costing.generated.cache_clear()


@pytest.mark.parametrize("name", ["stm32h7a3", "epyc-9v45", "ascend310b1"])
def test_a_kept_cost_is_the_made_one_to_the_last_bit(folder, monkeypatch, name):
    device = load_device(name)
    made = costing.generated(SPEC, device, WORKING)
    costing.generated.cache_clear()
    monkeypatch.setattr(costing, "_cost", lambda *_: pytest.fail("the cost was made again"))
    assert costing.generated(SPEC, device, WORKING) == made


def test_without_a_folder_costs_are_made_all_the_same(folder, monkeypatch):
    kept = costing.generated(SPEC, load_device("jh7110"), WORKING)
    monkeypatch.setenv("PRESAGE_NO_CACHE", "1")
    forget()
    assert kernel_cache.cache_file() is None
    assert costing.generated(SPEC, load_device("jh7110"), WORKING) == kept


def test_a_damaged_file_is_not_believed(folder):
    device = load_device("jh7110")
    made = costing.generated(SPEC, device, WORKING)
    kernel_cache.cache_file().write_bytes(b"no database")
    costing.generated.cache_clear()
    assert costing.generated(SPEC, device, WORKING) == made


def test_another_device_working_set_or_shape_has_another_cost(folder):
    device = load_device("jh7110")
    costs = {
        costing.generated(SPEC, device, WORKING),
        costing.generated(SPEC, load_device("stm32h7a3"), WORKING),
        costing.generated(SPEC, device, Working(10**9, 20_000)),
        costing.generated(replace(SPEC, channels_out=32), device, WORKING),
    }
    assert len(costs) == 4


def test_a_device_of_the_same_name_with_other_memories_is_another_device(folder, tmp_path):
    text = (ROOT / "device_models" / "catalog" / "jh7110.toml").read_text(encoding="utf-8")
    assert "32 KiB" in text
    (tmp_path / "jh7110.toml").write_text(text.replace("32 KiB", "16 KiB"), encoding="utf-8")
    other = load_device(str(tmp_path / "jh7110.toml"))
    assert kernel_cache.fingerprint(other) != kernel_cache.fingerprint(load_device("jh7110"))


@pytest.mark.parametrize(
    "edited",
    ["workloads/codegen/common.py", "workloads/isa/rvv.toml", "workloads/encoding.toml", "device_models/memory.py"],
)
def test_an_edit_of_any_source_starts_a_new_file(tmp_path, edited):
    for package in ("device_models", "workloads"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))

    def found():
        code = "from device_models.kernel_cache import source_hash; print(source_hash())"
        run = [sys.executable, "-c", code]
        return subprocess.run(run, check=True, capture_output=True, text=True, cwd=tmp_path).stdout

    before = found()
    assert found() == before
    with (tmp_path / edited).open("a", encoding="utf-8") as file:
        file.write("\n# edited\n")
    assert found() != before


@pytest.mark.parametrize("name", ["stm32h7a3", "epyc-9v45", "ascend310b1"])
def test_a_program_costs_what_the_kernel_costs_that_it_was_generated_for(folder, name):
    device = load_device(name)
    kernel = costing.generated(SPEC, device)
    assert costing.priced(generate(SPEC, device.core.isa()), device) == kernel
    assert kernel.detail.macs == SPEC.macs == 8 * 8 * 24 * 9 * 16
    assert dict(kernel.detail.instructions) == count(generate(SPEC, device.core.isa())).instructions


def test_a_kernel_alone_finds_its_data_where_it_left_them(folder):
    # 4 KiB of weights and less of activations stay in the 32 KiB first-level cache from run to run.
    device = load_device("jh7110")
    assert sum(level.read_bytes for level in costing.generated(SPEC, device).moved) == 0
    assert sum(level.read_bytes for level in costing.generated(SPEC, device, Working(10**9, 10**9)).moved) > 0


def test_options_and_instruction_set_have_a_cost_of_their_own(folder):
    device = load_device("xeon-8275cl")
    sets = {isa: costing.generated(SPEC, device, isa=isa) for isa in device.core.instruction_sets}
    assert len({kernel.detail.program for kernel in sets.values()}) == len(sets) > 1
    with pytest.raises(ValueError, match="does not offer"):
        costing.generated(SPEC, device, options=Options(rows=99))


def test_a_program_of_ones_own_set_is_not_taken_for_one_of_the_shipped_set(folder):
    device = load_device("stm32h7a3")
    program = generate(SPEC, device.core.isa())
    lengthened = replace(program.isa.instructions["ldr"], lanes=2)
    isa = replace(program.isa, instructions={**program.isa.instructions, "ldr": lengthened})
    costs = [costing.priced(each, device) for each in (program, replace(program, isa=isa))]
    assert costs[0].distinct_bytes < costs[1].distinct_bytes
