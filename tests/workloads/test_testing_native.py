"""A C kernel in a shared library is fuzzed through the declared interface, and its crashes are reported."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from workloads.errors import InputError
from workloads.testing import KernelError, NativeKernel, assert_bit_exact, search
from workloads.testing.abi import FIELDS, header

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = r"""
#include "presage_layer.h"
static int32_t scaled(int32_t sum, int32_t multiplier, int32_t shift) {
    int32_t left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
    int64_t value = ((int64_t)(int32_t)((uint32_t)sum << left) * multiplier + (1ll << 30)) >> 31;
    if (right) value = (value + (1ll << (right - 1)) + (value >> 63)) >> right;
    return (int32_t)value;
}
static int32_t product(const presage_layer *l, int sign) {
    const int rows = l->a_shape[2], depth = l->a_shape[3], outputs = l->weights_shape[2];
    const int8_t *a = l->a;
    const int32_t *bias = l->bias;
    int8_t *out = l->output;
    if (l->abi != PRESAGE_ABI || l->input_bytes != 1 || l->channels != outputs) return 7;
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < outputs; o++) {
            int32_t sum = bias ? bias[o] : 0;
            for (int k = 0; k < depth; k++)
                sum += (a[r * depth + k] + sign * l->a_zero_point) * l->weights[o * depth + k];
            int32_t value = scaled(sum, l->multipliers[o], l->shifts[o]) + l->output_zero_point;
            value = value < l->low ? l->low : value > l->high ? l->high : value;
            out[r * outputs + o] = (int8_t)value;
        }
    return PRESAGE_DONE;
}
int32_t right(const presage_layer *l) { return product(l, -1); }
int32_t wrong(const presage_layer *l) { return product(l, 1); }
int32_t crashes(const presage_layer *l) { *(volatile int *)0 = l->abi; return 0; }
int32_t hangs(const presage_layer *l) { for (;;) if (!l) return 0; }
int32_t spills(const presage_layer *l) { ((int8_t *)l->output)[-1] = 3; return 0; }
int32_t fails(const presage_layer *l) { return l->abi + 41; }
int32_t refuses(const presage_layer *l) { return l->abi; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    folder = tmp_path_factory.mktemp("native")
    (folder / "presage_layer.h").write_text(header(), encoding="utf-8")
    (folder / "kernels.c").write_text(SOURCE, encoding="utf-8")
    built = folder / "libkernels.so"
    subprocess.run(
        [compiler, "-Wall", "-Werror", "-O1", "-shared", "-fPIC", str(folder / "kernels.c"), "-o", str(built)],
        check=True,
    )
    return built


def test_a_correct_c_kernel_passes(library: Path) -> None:
    with NativeKernel(library, "right") as kernel:
        finding = assert_bit_exact(kernel, "fully_connected", "cmsis-nn", examples=120)
    assert finding.examples == 120


def test_a_wrong_c_kernel_is_explained(library: Path) -> None:
    with NativeKernel(library, "wrong") as kernel:
        difference = search(kernel, "fully_connected", "cmsis-nn", examples=200).difference
    assert difference is not None
    assert difference.diagnosis.explanation == "the input zero point is added, not subtracted"
    assert difference.case.inputs[0].size <= 4


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("crashes", "crashed: signal SIGSEGV"),
        ("hangs", "did not return within 0.5 s"),
        ("spills", "wrote outside its output"),
        ("fails", "returned 42; expected 0"),
    ],
)
def test_a_c_kernel_that_breaks_its_contract_is_reported(library: Path, symbol: str, words: str) -> None:
    with NativeKernel(library, symbol, time_limit_s=0.5) as kernel, pytest.raises(KernelError, match=words):
        search(kernel, "fully_connected", "cmsis-nn", examples=5)


def test_a_case_that_a_c_kernel_refuses_is_left_out(library: Path) -> None:
    with NativeKernel(library, "refuses") as kernel:
        assert search(kernel, "fully_connected", "cmsis-nn", examples=10).unsupported == 10


def test_a_missing_library_or_symbol_is_refused(library: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no file"):
        NativeKernel(tmp_path / "none.so", "right")
    with pytest.raises(InputError, match="nowhere"):
        NativeKernel(library, "nowhere")
    (tmp_path / "text.so").write_text("no library", encoding="utf-8")
    with pytest.raises(InputError, match="--library"):
        NativeKernel(tmp_path / "text.so", "right")


def test_the_header_declares_every_field_of_the_struct() -> None:
    text = header()
    assert all(f"{name};" in text or f"{name}[" in text for name, *_ in FIELDS)
