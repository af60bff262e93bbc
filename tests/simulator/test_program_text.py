"""``presage listing``: Programs as assembly and as C, and what it refuses."""

import pytest

from simulator import cli
from workloads.codegen import generate
from workloads.codegen.specs import CopySpec
from workloads.isa import load_isa
from workloads.program_file import save


@pytest.fixture
def listing(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["listing", *map(str, arguments)])
        printed = capsys.readouterr()
        return stopped.value.code or 0, printed.out, printed.err

    return call


def test_a_layer_is_listed_like_assembly_and_as_c(listing):
    status, out, _ = listing("resnet8", "--on", "stm32h7a3", "--layer", "dense14")
    assert status == 0
    assert out.startswith("; ")
    assert "Thumb-2 with the DSP extension, profile tflite-double, 640 MAC" in out.splitlines()[0]
    assert "smlad        r0, " in out
    status, out, _ = listing("resnet8", "--on", "stm32h7a3", "--layer", "dense14", "--as", "c")
    assert status == 0
    flags = "-O2 -mcpu=cortex-m7 -mthumb -mfpu=fpv5-sp-d16 -mfloat-abi=softfp -ffp-contract=off"
    assert out.startswith(f"// Thumb-2 with the DSP extension. Compile with: {flags}\n")
    assert "r0 = __smlad(" in out


def test_a_layer_is_listed_in_float32_too(listing):
    status, out, _ = listing("resnet8", "--on", "jh7110", "--layer", "dense14", "--precision", "fp32", "--as", "c")
    assert status == 0
    assert "__builtin_fmaf(" in out
    status, _, error = listing("resnet8", "--on", "jh7110", "--layer", "dense14", "--precision", "fp16")
    assert (status, error) == (2, "--precision: 1 problem\n  'fp16' is unknown; known: fp32, int8\n")
    status, _, error = listing("resnet8", "--on", "esp32-c3", "--layer", "dense14", "--precision", "fp32")
    assert (status, error) == (2, "resnet8: 1 problem\n  rv32im: no kernels are generated in float32\n")


def test_another_instruction_set_of_the_core_can_be_named(listing):
    _, out, _ = listing("resnet8", "--on", "epyc-9v45", "--layer", "dense14", "--isa", "avx2", "--as", "c")
    assert out.startswith("// AVX2 and FMA.")
    status, _, error = listing("resnet8", "--on", "stm32h7a3", "--layer", "dense14", "--isa", "avx2")
    assert (status, error) == (2, "cortex-m7: 1 problem\n  'avx2' is not executed; known: thumb2-dsp\n")


def test_a_saved_program_needs_no_model(listing, tmp_path):
    save(generate(CopySpec(9, 9), load_isa("rv64gc")), tmp_path / "copy.json")
    assert "store_8(output + 8, x25);" in listing(tmp_path / "copy.json", "--as", "c")[1]
    status, _, error = listing("copy.json", "--on", "jh7110", "--layer", "dense14")
    assert status == 2
    assert error == "listing: 1 problem\n  --on, --layer: 'copy.json' is a saved Program; these choose from models\n"


def test_everything_missing_is_said_at_once(listing):
    layers = (
        "add11, add3, add7, average12, conv0, conv1, conv10, conv2, conv4, conv5, conv6, conv8, conv9, dense14, "
        "flatten13, probabilities"
    )
    status, out, error = listing("resnet8")
    assert (status, out) == (2, "")
    assert error == (
        "resnet8: 2 problems\n"
        "  --on: no device given; `presage devices` lists them\n"
        f"  --layer: no layer given; known: {layers}\n"
    )
    assert listing("resnet8", "--as", "rust")[2] == "--as: 1 problem\n  'rust' is unknown; known: assembly, c\n"


@pytest.mark.parametrize(
    ("device", "layer", "fault"),
    [
        ("jh7110", "dense1", "--layer: the model has no layer 'dense1'; did you mean 'dense14'?"),
        ("jh7110", "flatten13", "layer 'flatten13' moves nothing: no Program is generated for it"),
        (
            "ascend310b1",
            "dense14",
            "instruction set 'davinci' has no C form; C is written for those that a public",
        ),
    ],
)
def test_a_layer_without_a_text_is_refused(listing, device, layer, fault):
    status, out, error = listing("resnet8", "--on", device, "--layer", layer, "--as", "c")
    assert (status, out) == (2, "")
    assert error.startswith(f"resnet8: 1 problem\n  {fault}")
