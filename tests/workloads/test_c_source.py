import os
import re
import subprocess
import sys

import pytest

from workloads.c_source import c_file, c_text
from workloads.c_source.dialect import load_dialect
from workloads.c_source.function import function_names, identifier
from workloads.codegen import generate
from workloads.codegen.specs import CopySpec
from workloads.isa import load_isa
from workloads.program import Address, Buffer, Instruction, Loop, Program

IN, OUT = Buffer("input", 256, role="input"), Buffer("output", 256, role="output")


def program(name, *body, buffers=(IN, OUT), **parameters):
    return Program("kernel", load_isa(name, **parameters), buffers, body)


def test_a_copy_reads_like_c():
    assert c_text(generate(CopySpec(21, 21), load_isa("thumb2-dsp"))).partition("#endif\n")[2] == (
        "\n"
        "static inline int8_t load_s8(const uint8_t *at) { return (int8_t)*at; }\n"
        "static inline int32_t load_32(const uint8_t *at) {\n"
        "    int32_t value;\n"
        "    __builtin_memcpy(&value, at, sizeof value);\n"
        "    return value;\n"
        "}\n"
        "static inline void store_8(uint8_t *at, uint8_t value) { *at = value; }\n"
        "static inline void store_32(uint8_t *at, uint32_t value) { __builtin_memcpy(at, &value, sizeof value); }\n"
        "\n"
        "// thumb2-dsp_copy for Thumb-2 with the DSP extension, profile tflite-double, 0 MAC\n"
        "//   input: 21 B, memory, input\n"
        "//   output: 21 B, memory, output\n"
        "void thumb2_dsp_copy(const uint8_t *restrict input, uint8_t *restrict output) {\n"
        "    uint32_t r14 = 0;\n"
        "    r14 = load_32(input);\n"
        "    store_32(output, r14);\n"
        "    r14 = load_32(input + 4);\n"
        "    store_32(output + 4, r14);\n"
        "    r14 = load_32(input + 8);\n"
        "    store_32(output + 8, r14);\n"
        "    r14 = load_32(input + 12);\n"
        "    store_32(output + 12, r14);\n"
        "    r14 = load_32(input + 16);\n"
        "    store_32(output + 16, r14);\n"
        "    r14 = load_s8(input + 20);\n"
        "    store_8(output + 20, r14);\n"
        "}\n"
    )


def test_loops_count_and_addresses_are_affine_in_their_variables():
    at = Address("input", 200, (("row", -8), ("row", 4), ("tap", 1), ("still", 0)))
    body = Loop("still", 2, (Loop("row", 3, (Loop("tap", 2, (Instruction("ldrsb", "r0", (at,)),)),)),))
    text = c_text(program("thumb2-dsp", body, Instruction("strb", Address("output"), ("r0",))))
    assert "for (ptrdiff_t row = 0; row < 3; ++row) {\n            for (ptrdiff_t tap = 0; tap < 2; ++tap) {" in text
    assert "r0 = load_s8(input + 200 - 4 * row + tap);\n" in text


def test_a_text_says_how_it_is_compiled_and_holds_only_the_functions_that_it_uses():
    text = c_text(generate(CopySpec(64, 64), load_isa("avx2")))
    assert text.startswith("// AVX2 and FMA. Compile with: -O2 -mavx2 -mfma -ffp-contract=off\n")
    assert re.findall(r"static inline \S+ (\w+)", text) == ["load_256"]


def test_the_text_does_not_depend_on_the_process():
    code = (
        "from workloads.c_source import c_text; from workloads.codegen import generate; "
        "from workloads.codegen.specs import MatrixSpec; from workloads.isa import load_isa; "
        "print(c_text(generate(MatrixSpec(3, 77, 10), load_isa('rvv'))))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "12"
    }
    assert len(texts) == 1


def test_names_become_c_names_of_their_own():
    buffers = (Buffer("for", 8, role="input"), Buffer("r1", 8, role="input"), Buffer("a b", 8, role="output"))
    body = Loop("a_b", 2, (Instruction("ldr", "r1", (Address("for"),)), Instruction("str", Address("a b"), ("r1",))))
    text = c_text(program("thumb2-dsp", body, buffers=buffers))
    assert "void kernel(const uint8_t *restrict for_, const uint8_t *restrict r1_, uint8_t *restrict a_b) {" in text
    assert "for (ptrdiff_t a_b_ = 0; a_b_ < 2; ++a_b_) {" in text
    assert identifier("3x3 conv") == "_3x3_conv"


def test_equal_names_of_functions_get_numbers():
    one = generate(CopySpec(8, 8), load_isa("rv64gc"))
    assert function_names([one] * 3, load_dialect("rv64gc")) == ["rv64gc_copy", "rv64gc_copy_2", "rv64gc_copy_3"]
    assert c_file([one, one]).count("void rv64gc_copy") == 2


def test_lanes_of_avx512_are_a_mask():
    load = Instruction("vmovdqu8.load", "zmm0", (Address("input"),), 33)
    text = c_text(program("avx512-vnni", load, Instruction("vmovdqu8.store", Address("output"), ("zmm0",), 3)))
    assert "zmm0 = _mm512_mask_loadu_epi8(zmm0, 0x1ffffffffull, input);" in text
    assert "_mm512_mask_storeu_epi8(output, 0x7u, zmm0);" in text


def test_a_davinci_program_has_no_c_form():
    with pytest.raises(NotImplementedError, match=r"'davinci' has no C form; .* public compiler takes: avx2, avx512"):
        c_text(generate(CopySpec(64, 64), load_isa("davinci")))


def test_instructions_without_a_c_form_are_all_named():
    body = (
        Instruction("vpaddd", "ymm0", ("ymm1", "ymm2"), 3),
        Instruction("vmovq.load", "ymm0", ("ymm1",)),
        Instruction("vmovdqa", "ymm0", ("ymm1",), 2),
    )
    fault = "avx2 has no C form for vpaddd on 3 lanes, vmovq.load without an address, vmovdqa on 2 lanes"
    with pytest.raises(NotImplementedError, match=re.escape(fault)):
        c_text(program("avx2", *body))


def test_a_program_that_is_not_legal_has_no_c_form():
    with pytest.raises(ValueError, match=r"touches bytes 254\.\.258 of 'input'"):
        c_text(program("thumb2-dsp", Instruction("ldr", "r0", (Address("input", 254),))))


def vectors(*body):
    return c_text(program("rvv", *body, Instruction("vse8.v", Address("output"), ("v0",), 4), vlen=128))


def load(register, lanes):
    return Instruction("vle8.v", register, (Address("input"),), lanes)


def test_a_vector_register_is_a_local_per_type_and_group():
    text = vectors(load("v8", 16), Instruction("vsext.vf4.e32", "v0", ("v8",), 16))
    assert "    vint32m4_t v0_i32m4;\n    vint8m1_t v8_i8m1;\n" in text
    assert "v0_i32m4 = __riscv_vsext_vf4_i32m4(v8_i8m1, 16);" in text
    # read as bytes what was written as words: the same registers under another type, the first of them
    reading = "__riscv_vlmul_trunc_v_i8m4_i8mf4(__riscv_vreinterpret_v_i32m4_i8m4(v0_i32m4))"
    assert f"__riscv_vse8_v_i8mf4((void *)(output), {reading}, 4);" in text


def test_signs_widths_and_small_groups_are_cast_through_types_that_exist():
    text = (
        vectors(load("v8", 2), Instruction("vsrl.vx.e32", "v0", ("v8", "x5"), 1))
        if False
        else vectors(load("v8", 4), Instruction("vmulhu.vx.e32", "v0", ("v8", "x5"), 1))
    )
    assert "__riscv_vreinterpret_v_u8mf2_u32mf2(__riscv_vreinterpret_v_i8mf2_u8mf2(" in text
    assert "__riscv_vlmul_ext_v_i8mf4_i8mf2(v8_i8mf4)" in text


def test_a_group_is_read_in_part_while_its_first_registers_hold_what_was_written():
    assert "v0_i8m4, 4" not in vectors(load("v0", 64), load("v1", 16))
    assert "__riscv_vlmul_trunc_v_i8m4_i8mf4(v0_i8m4), 4" in vectors(load("v0", 64), load("v1", 16))


STORE = Instruction("vse8.v", Address("output"), ("v0",), 16)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ((), "v0 is read as i8mf4 but not written as one group before"),
        ((load("v0", 3),), "v0: 4 lanes are read, 3 were written"),
        ((load("v0", 64), load("v0", 2)), "v0: 4 lanes are read, 2 were written"),
        (
            (load("v0", 64), load("v1", 16), Instruction("vse8.v", Address("output"), ("v0",), 64)),
            "program 'kernel': vse8.v       [output], v0  lanes=64: v0 is read as i8m4 but not written as one group",
        ),
        ((load("v0", 16), Loop("i", 2, (STORE, load("v0", 12)))), "v0: 16 lanes are read, 12 were written"),
        ((load("v0", 16), Loop("i", 2, (STORE, load("v0", 64)))), "v0 is read as i8m1 but not written as one group"),
        ((Loop("i", 2, (STORE, load("v0", 16))),), "v0 is read as i8m1 but not written as one group before"),
    ],
)
def test_vector_lanes_that_no_write_filled_are_refused(body, fault):
    with pytest.raises(ValueError, match=re.escape(fault)):
        vectors(*body)
