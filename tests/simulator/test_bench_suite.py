"""Suite files: what they stand for, and every fault of one at once."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from simulator.bench.naming import describe, printable
from simulator.bench.shapes import OPERATORS
from simulator.bench.suite import find_suite, load_suite
from workloads.codegen.specs import (
    ConcatSpec,
    ConvSpec,
    CopySpec,
    ElementwiseSpec,
    MatrixSpec,
    PoolSpec,
    SoftmaxSpec,
    specify,
)
from workloads.codegen.specs_images import ResizeSpec, TransposedSpec
from workloads.errors import InputError
from workloads.models import build
from workloads.options import Options
from workloads.passes.prepare import prepare


def written(folder: Path, text: str) -> Path:
    (folder / "suite.toml").write_text(text, encoding="utf-8")
    return folder / "suite.toml"


HEAD = 'schema = 1\ntitle = "Mine"\ndevices = ["stm32h7a3"]\n'


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_suite(written(folder, text))
    return list(caught.value.problems)


def shape_of(spec):
    """Write a specification as a user would, with explicit padding; and the operator's name."""
    match spec:
        case ConvSpec():
            below, right = (
                (size - 1) * stride + (kernel - 1) * dilation + 1 - extent - before
                for size, stride, kernel, dilation, extent, before in zip(
                    (spec.height_out, spec.width_out), spec.stride, spec.kernel, spec.dilation,
                    (spec.height, spec.width), spec.padding, strict=True,
                )
            )  # fmt: skip
            sides = [*spec.padding, max(0, below), max(0, right)]
            shape = {"input": [spec.batch, spec.height, spec.width, spec.channels], "kernel": list(spec.kernel),
                     "stride": list(spec.stride), "padding": sides, "dilation": list(spec.dilation)}  # fmt: skip
            if spec.depthwise:
                return "depthwise_conv2d", shape | {"multiplier": spec.channels_out // spec.channels}
            return "conv2d", shape | {"outputs": spec.channels_out, "groups": spec.groups}
        case PoolSpec(mean=True):
            return "mean", {"input": [spec.batch, spec.height, spec.width, spec.channels]}
        case PoolSpec():
            sides = [*spec.padding, *spec.padding]
            return f"{spec.kind}_pool2d", {"input": [spec.batch, spec.height, spec.width, spec.channels],
                                           "kernel": list(spec.kernel), "stride": list(spec.stride), "padding": sides,
                                           "rescale": spec.rescale, "count_padding": spec.count_padding}  # fmt: skip
        case MatrixSpec():
            return "fully_connected", {
                "rows": spec.rows,
                "depth": spec.depth,
                "columns": spec.columns,
                "batch": spec.batch,
            }
        case ElementwiseSpec():
            return spec.kind, {"elements": spec.elements, "period": spec.period}
        case SoftmaxSpec():
            return "softmax", {"rows": spec.rows, "columns": spec.columns}
        case CopySpec():
            return "copy", {"elements": spec.elements, "run": spec.run}


def network_specs(name):
    graph = prepare(build(name), "int8")
    return {spec for layer in graph.layers if (spec := specify(graph, layer)) is not None}


@pytest.mark.parametrize("name", ["resnet8", "dscnn_kws", "mobilenet_v1_025_96", "fc_autoencoder", "resnet50"])
def test_every_kernel_of_a_network_can_be_written_as_operator_and_shape(name):
    for spec in network_specs(name):
        operator, shape = shape_of(spec)
        model, to_spec = OPERATORS[operator]
        assert to_spec(model.model_validate(shape)) == spec


def test_operators_that_make_larger_images_are_written_by_their_shapes():
    def spec_of(operator, **shape):
        model, to_spec = OPERATORS[operator]
        return to_spec(model.model_validate(shape))

    larger = spec_of("transposed_conv2d", input=[8, 8, 16], outputs=4, kernel=4, stride=2, crop=1)
    assert larger == TransposedSpec(1, 8, 8, 16, 16, 16, 4, (4, 4), (2, 2), (1, 1))
    assert describe(larger) == "transposed 4x4 s2 8x8x16 > 16x16x4 crop=(1,1)"
    resized = spec_of("bilinear_resize2d", input=[8, 8, 16], size=24, half_pixel_centers=True)
    assert resized == ResizeSpec(1, 8, 8, 16, 24, 24, half_pixel_centers=True)
    assert describe(resized) == "bilinear 8x8x16 > 24x24x16 half_pixel_centers=True"
    joined = spec_of("concat", inputs=[[8, 8, 16], [8, 8, 4]], rescaled=[False, True])
    assert joined == ConcatSpec(((1, 8, 8, 16), (1, 8, 8, 4)), 3, (False, True))


@pytest.mark.parametrize(
    ("operator", "shape", "fault"),
    [
        ("transposed_conv2d", "input = [2, 2, 3], kernel = 2, outputs = 4, crop = 2", "leaves -1 x -1 pixels"),
        ("transposed_conv2d", "input = [2, 2, 3], kernel = 2, outputs = 4, groups = 2", r"groups \(2\) must divide"),
        ("concat", "inputs = [[2, 2, 3], [2, 3, 3]], rescaled = [true, true]", "differ in their channels only"),
        ("concat", "inputs = [[2, 2, 3], [2, 2, 1]], rescaled = [true]", "differ in their channels only"),
    ],
)
def test_extents_that_do_not_fit_each_other_are_refused(tmp_path, operator, shape, fault):
    (found,) = faults(tmp_path, f'{HEAD}[[kernels]]\noperator = "{operator}"\nshapes = [{{ {shape} }}]\n')
    assert re.search(fault, found)


def test_same_padding_and_one_image_are_what_is_meant_unless_said():
    model, to_spec = OPERATORS["conv2d"]
    spec = to_spec(model.model_validate({"input": [32, 32, 16], "outputs": 32, "kernel": 3, "stride": 2}))
    assert spec == ConvSpec(1, 32, 32, 16, 16, 16, 32, (3, 3), (2, 2), (0, 0))
    valid = to_spec(model.model_validate({"input": [32, 32, 16], "outputs": 32, "kernel": 3, "padding": "valid"}))
    assert (valid.height_out, valid.padding) == (30, (0, 0))


def test_different_kernels_have_different_names():
    specs = set().union(*(network_specs(name) for name in ("resnet8", "dscnn_kws", "mobilenet_v1_025_96", "resnet50")))
    base = ConvSpec(1, 9, 9, 8, 9, 9, 8, (3, 3), (1, 1), (1, 1))
    changes = itertools.product([1, 2], [(1, 1), (2, 2)], [1, 2], [False, True], [(1, 1), (1, 0)])
    specs |= {
        ConvSpec(batch, 9, 9, 8, 9, 9, 8, (3, 3), (1, 1), padding, dilation, groups, depthwise)
        for batch, dilation, groups, depthwise, padding in changes
    }
    pool = (1, 9, 9, 8, 9, 9, (3, 3), (1, 1))
    for kind, counted, rescale in itertools.product(["max", "average"], [False, True], [False, True]):
        specs.add(PoolSpec(kind, *pool, (1, 1), counted, rescale=rescale))
    specs |= {
        ElementwiseSpec("add", 8, 8),
        ElementwiseSpec("add", 8, 4),
        CopySpec(8, 8),
        CopySpec(8, 4),
        SoftmaxSpec(2, 4),
    }
    specs |= {MatrixSpec(2, 3, 4), MatrixSpec(2, 3, 4, 5), MatrixSpec(3, 2, 4), base}
    assert len({describe(spec) for spec in specs}) == len(specs)
    assert describe(base) == "conv2d 3x3 p1 9x9x8 > 9x9x8"
    assert describe(ConvSpec(2, 9, 9, 8, 5, 5, 8, (3, 3), (2, 2), (1, 0), depthwise=True)) == (
        "dwconv 3x3 s2 p1x0 batch 2 9x9x8 > 5x5x8"
    )


def test_a_name_has_no_character_that_xml_cannot_hold():
    assert printable("a\x00b\n c\x1f") == "a b c"


def test_all_faults_of_a_suite_are_told_at_once(tmp_path):
    found = faults(
        tmp_path,
        """schema = 1
titel = "Mine"
devices = ["stm32h7a4", "jh7110"]
threads = 0
frequency = 280

[[kernels]]
model = "resnet5"
options = { rowz = 2 }

[[kernels]]
operator = "conv2"
shapes = [{ input = [8, 8, 4] }]

[[kernels]]
operator = "conv2d"
shapes = [{ input = [8, 8], outputs = 4, kernel = 3 }, { input = [8, 8, 4], outputs = 4, kernl = 3, padding = "full" }]

[[kernels]]
model = "resnet8"
program = "a.json"
""",
    )
    expected = [
        "title: required key is missing",
        "titel: unknown key; did you mean 'title'?",
        "devices[0]: 'stm32h7a4' is unknown; did you mean 'stm32h7a3'?",
        "threads: 0;",
        "frequency: 280 has no unit; write it as text",
        "kernels[0].model[0]: 'resnet5' is neither a model file",
        "kernels[0].options[0].rowz: unknown key; did you mean 'rows'?",
        "kernels[1].operator: 'conv2' is unknown; did you mean 'conv2d'?",
        "kernels[2].shapes[0].input: [8, 8]; expected [height, width, channels]",
        "kernels[2].shapes[1].kernl: unknown key; did you mean 'kernel'?",
        "kernels[2].shapes[1].kernel: required key is missing",
        'kernels[2].shapes[1].padding: \'full\'; expected "same", "valid" or [above, left, below, right]',
        "kernels[3]: found model and program; expected one of operator, model, generator and program",
    ]
    missing = [text for text in expected if not any(text in fault for fault in found)]
    assert not missing, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "kernels: required key is missing"),
        ("kernels = []", "kernels: []"),
        ("[[kernels]]", "kernels[0]: found none; expected one of operator"),
        ('[[kernels]]\noperator = "add"', "kernels[0]: operator and shapes belong together"),
        ('[[kernels]]\nmodel = "resnet8"\narguments = {a = 1}', "kernels[0]: arguments are for a generator"),
        ('[[kernels]]\nmodel = "resnet8"\nchoice = "all"', 'kernels[0]: choice = "all" is for operators'),
        (
            '[[kernels]]\nmodel = "resnet8"\nchoice = "worst"',
            "kernels[0].choice: 'worst'; expected 'best', 'own' or 'all'",
        ),
        ('[[kernels]]\ngenerator = "a:b"\nchoice = "own"', "kernels[0]: choice says which of our generator's options"),
        ('[[kernels]]\nprogram = "a.json"\noptions = {rows = 2}', "kernels[0]: a saved Program has no options"),
        ('[[kernels]]\nmodel = "resnet8"\noptions = {rows = "2"}', "kernels[0].options[0].rows: '2'"),
        (
            '[[kernels]]\nmodel = "resnet8"\ninstruction_sets = "rvw"',
            "kernels[0].instruction_sets: stm32h7a3 executes none of rvw; it has thumb2-dsp",
        ),
        (
            '[[kernels]]\noperator="conv2d"\nshapes = {input = [3, 3, 4], outputs = 1, kernel = 5, padding = "valid"}',
            "kernels[0].shapes[0]: a window of (5, 5)",
        ),
        (
            '[[kernels]]\noperator = "conv2d"\nshapes = {input = [8, 8, 4], outputs = 4, kernel = 3, groups = 3}',
            "kernels[0].shapes[0]: groups (3) must divide the 4 channels in and the 4 out",
        ),
    ],
)
def test_a_fault_is_one_clear_line(tmp_path, text, fault):
    found = faults(tmp_path, HEAD + text)
    assert any(line.startswith(fault) for line in found), found


def test_threads_and_clock_must_be_possible_on_every_device(tmp_path):
    text = HEAD.replace('["stm32h7a3"]', '["stm32h7a3", "jh7110"]') + 'threads = 4\nfrequency = "1 GHz"\n'
    found = faults(tmp_path, text + '[[kernels]]\nmodel = "resnet8"')
    assert [line for line in found if line.startswith("threads: 4; expected 1 to 1")]
    assert [line for line in found if line.startswith("frequency: 1000 MHz; expected") and "(stm32h7a3)" in line]
    assert not any("jh7110" in line for line in found)


def test_an_entry_takes_the_devices_and_sets_of_the_suite_unless_it_has_its_own(tmp_path):
    suite = load_suite(
        written(
            tmp_path,
            """schema = 1
title = "Mine"
devices = ["xeon-8275cl", "spacemit-k1"]
[[kernels]]
model = "resnet8"
[[kernels]]
model = "resnet8"
devices = "xeon-8275cl"
instruction_sets = ["avx2", "avx512-vnni"]
options = [{}, { rows = 2, fuse = false }]
""",
        )
    )
    places = [[(target.device.name, target.isa) for target in entry.targets] for entry in suite.entries]
    assert places == [
        [("xeon-8275cl", "avx512-vnni"), ("spacemit-k1", "rvv")],
        [("xeon-8275cl", "avx2"), ("xeon-8275cl", "avx512-vnni")],
    ]
    assert suite.entries[1].options == (Options(), Options(rows=2, fuse=False))
    assert (suite.frequency_hz, suite.threads, suite.shipped) == (None, 1, False)


def test_every_shipped_suite_loads_and_is_found_by_name():
    folder = find_suite("mlperf_tiny").parent
    for path in folder.glob("*.toml"):
        suite = load_suite(find_suite(path.stem))
        assert suite.shipped
        assert suite.path.read_text(encoding="utf-8").startswith("# "), "a suite asks a question first"
    with pytest.raises(InputError, match="did you mean 'mlperf_tiny'"):
        find_suite("mlperf_tin")


def test_the_suite_of_the_readme_loads(tmp_path):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    suite = load_suite(written(tmp_path, readme.split("```toml\n")[1].split("```")[0]))
    assert [bool(entry.kernels.generator) for entry in suite.entries] == [False, False, True]
