"""Layer tables become networks whose counts agree with the table, or an error that names the line."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from workloads.errors import InputError
from workloads.execute import execute
from workloads.models import build
from workloads.operators import Unmodelled
from workloads.passes.memory_plan import plan
from workloads.readers import table
from workloads.readers.load import load

MEASURED = Path(__file__).parents[2].parent / "shared" / "measured" / "mcu_layers.csv"
HEADER = "network,index,op,input_shape,weight_shape,output_shape,kernel,stride,macs,params,dtype"
RESNET8 = """\
CONV_2D,1x32x32x3,16x3x3x3,1x32x32x16,3x3,1x1,442368,448
CONV_2D,1x32x32x16,16x3x3x16,1x32x32x16,3x3,1x1,2359296,2320
CONV_2D,1x32x32x16,16x3x3x16,1x32x32x16,3x3,1x1,2359296,2320
ADD,1x32x32x16,,1x32x32x16,,,0,0
CONV_2D,1x32x32x16,32x3x3x16,1x16x16x32,3x3,2x2,1179648,4640
CONV_2D,1x16x16x32,32x3x3x32,1x16x16x32,3x3,1x1,2359296,9248
CONV_2D,1x32x32x16,32x1x1x16,1x16x16x32,1x1,2x2,131072,544
ADD,1x16x16x32,,1x16x16x32,,,0,0
CONV_2D,1x16x16x32,64x3x3x32,1x8x8x64,3x3,2x2,1179648,18496
CONV_2D,1x8x8x64,64x3x3x64,1x8x8x64,3x3,1x1,2359296,36928
CONV_2D,1x16x16x32,64x1x1x32,1x8x8x64,1x1,2x2,131072,2112
ADD,1x8x8x64,,1x8x8x64,,,0,0
AVERAGE_POOL_2D,1x8x8x64,,1x1x1x64,,,0,0
RESHAPE,1x1x1x64,,1x64,,,0,0
FULLY_CONNECTED,1x64,10x64,1x10,,,640,650
SOFTMAX,1x10,,1x10,,,0,0"""


def write(path: Path, rows: str, network: str = "net") -> Path:
    """Write rows without network, index and dtype (INT8 unless given)."""
    lines = [HEADER]
    for index, row in enumerate(rows.splitlines()):
        lines.append(f"{network},{index},{row}" + ("" if row.count(",") == 8 else ",INT8"))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_of_resnet8_equals_the_built_in_network(tmp_path: Path) -> None:
    graph = load(f"{write(tmp_path / 'table.csv', RESNET8)}#net")
    ours = build("resnet8")
    assert graph.macs == ours.macs == 12_501_632
    assert Counter(layer.op for layer in graph.layers) == Counter(layer.op for layer in ours.layers)
    assert plan(graph).peak_bytes == 3 * 32 * 32 * 16
    assert len(graph.inputs) == len(graph.outputs) == 1


def test_a_residual_sum_reaches_back_over_the_block(tmp_path: Path) -> None:
    graph = table.read(write(tmp_path / "table.csv", RESNET8))
    makers = {layer.outputs[0]: index for index, layer in enumerate(graph.layers)}
    sums = [{makers[name] for name in layer.inputs} for layer in graph.layers if layer.op == "add"]
    assert sums == [{0, 2}, {5, 6}, {9, 10}]


def test_a_table_can_be_costed_but_not_executed(tmp_path: Path) -> None:
    graph = table.read(write(tmp_path / "table.csv", RESNET8))
    assert not graph.executable
    with pytest.raises(InputError, match="known by its shapes only"):
        execute(graph, {})


def test_an_operator_without_a_model_stays_visible(tmp_path: Path) -> None:
    rows = "CONV_2D,1x4x4x3,8x1x1x3,1x4x4x8,1x1,1x1,384,32\nCUMSUM,1x4x4x8,,1x4x4x8,,,0,0"
    graph = table.read(write(tmp_path / "table.csv", rows))
    assert graph.layers[-1].operator == Unmodelled("CUMSUM")


def test_shape_arithmetic_is_free_only_when_it_is_about_shapes(tmp_path: Path) -> None:
    rows = "MEAN,1x4x4x8,,1x8,,,0,0\nSHAPE,1x8,,2,,,0,0,INT32\nSTRIDED_SLICE,2,,,,,0,0,INT32\nPACK,,,4,,,0,0,INT32\n"
    free = table.read(write(tmp_path / "table.csv", rows + "RESHAPE,1x8,,1x1x1x8,,,0,0"))
    assert [layer.op for layer in free.layers] == ["mean", "reshape"]
    real = table.read(write(tmp_path / "table.csv", "STRIDED_SLICE,1x8x8x4,,1x4x4x4,,,0,0"))
    assert real.layers[0].operator == Unmodelled("STRIDED_SLICE")


def test_operators_of_other_kinds_follow_from_their_shapes(tmp_path: Path) -> None:
    rows = """\
TRANSPOSE,1x8x6x4,,1x6x8x4,,,0,0
PAD,1x6x8x4,,1x7x10x4,,,0,0
DEPTHWISE_CONV_2D,1x7x10x4,1x3x3x8,1x5x8x8,3x3,1x1,2880,80
MAX_POOL_2D,1x5x8x8,,1x3x4x8,2x2,2x2,0,0
CONCATENATION,1x3x4x8,,1x3x4x11,,,0,0
REDUCE_MAX,1x3x4x11,,1x11,,,0,0
FULLY_CONNECTED,1x11,2x11,1x2,,,22,22
DEQUANTIZE,1x2,,1x2,,,0,0,FLOAT32"""
    graph = table.read(write(tmp_path / "table.csv", rows))
    assert [layer.op for layer in graph.layers] == [
        "transpose", "pad", "depthwise_conv2d", "max_pool2d", "concat", "max_pool2d", "reshape", "fully_connected",
        "dequantize",
    ]  # fmt: skip
    assert graph.layers[0].operator.permutation == (0, 2, 1, 3)  # type: ignore[union-attr]  # it is the transpose
    assert graph.layers[2].operator.multiplier == 2  # type: ignore[union-attr]  # it is the depthwise convolution
    assert len(graph.layers[7].inputs) == 2
    assert graph[graph.outputs[0]].dtype == "float32"


def test_a_pool_without_a_kernel_takes_the_least_windows_that_cover_the_image(tmp_path: Path) -> None:
    """SqueezeNet's pools are 3x3 with stride 2, but tables made from some files do not say so."""
    graph = table.read(write(tmp_path / "table.csv", "MAX_POOL_2D,1x63x63x4,,1x31x31x4,,,0,0"))
    pool = graph.layers[0].operator
    assert (pool.kernel, pool.stride, pool.padding) == ((3, 3), (2, 2), (0, 0, 0, 0))  # type: ignore[union-attr]  # it is the pool
    with pytest.raises(InputError, match="9 x 9 windows do not fit an image of 5 x 5"):
        table.read(write(tmp_path / "table.csv", "MAX_POOL_2D,1x5x5x4,,1x9x9x4,,,0,0"))


def test_a_clamp_by_constants_does_not_reach_for_an_earlier_layer(tmp_path: Path) -> None:
    rows = """\
CONV_2D,1x4x4x3,8x1x1x3,1x4x4x8,1x1,1x1,384,32
LOGISTIC,1x4x4x8,,1x4x4x8,,,0,0
MINIMUM,1x4x4x8,,1x4x4x8,,,0,0
MAXIMUM,1x4x4x8,,1x4x4x8,,,0,0
PRELU,1x4x4x8,,1x4x4x8,,,0,0
SUB,1x4x4x8,,1x4x4x8,,,0,0
RESIZE_BILINEAR,1x4x4x8,,1x8x12x8,,,0,0
TILE,1x8x12x8,,1x8x24x8,,,0,0
TILE,1x8x24x8,,1x8x24x8,,,0,0
RELU6,1x8x24x8,,1x8x24x8,,,0,0"""
    graph = table.read(write(tmp_path / "table.csv", rows))
    assert [layer.op for layer in graph.layers] == [
        "conv2d", "logistic", "minimum", "maximum", "prelu", "sub", "bilinear_resize2d", "concat", "concat",
        "activation",
    ]  # fmt: skip
    assert [graph[layer.inputs[1]].shape for layer in graph.layers[2:5]] == [(1,), (1,), (8,)]
    assert len(set(graph.layers[7].inputs)) == 1
    assert plan(graph).peak_bytes == 2 * 8 * 24 * 8


FAULTS = {
    "TILE,1x4x4,,1x8x8,,,0,0": "cannot be repeated along one axis",
    "RESIZE_BILINEAR,1x4x4x3,,1x8x8x4,,,0,0": "cannot be resized",
    "CONV_2D,1x4x4x3,8x1x1x3,1x4x4x8,1x1,1x1,385,32": "line 2 (CONV_2D): the macs column says 385, the shapes give 384",
    "CONV_2D,1x4x4x3,8x1x1x3,1x4x4x8,1x1,1x1,384,33": "the params column says 33; weights and bias give 32",
    "CONV_2D,1x4x4x3,8x1x1x3,1x4x4x9,1x1,1x1,384,32": "do not fit kernel (1, 1) and output (1, 4, 4, 9)",
    "CONV_2D,1x4x4x3,8x3x3x3,1x9x9x8,3x3,1x1,384,32": "does not take (1, 4, 4, 3) to (1, 9, 9, 8)",
    "CONV_2D,1x4x4,8x1x1x3,1x4x4x8,1x1,1x1,384,32": "expected four axes",
    "FULLY_CONNECTED,1x10,3x4,1x3,,,30,33": "weights (3, 4) do not fit an input of shape (1, 10)",
    "RESHAPE,1x10,,1x11,,,0,0": "shape (1, 10) cannot become (1, 11)",
    "TRANSPOSE,1x2x3,,1x3x4,,,0,0": "cannot be transposed",
    "SOFTMAX,1x10,,1x11,,,0,0": "differ",
    "ADD,4,x,4,,,0,0": "weight_shape is 'x', expected extents like 1x32x32x3",
    "ADD,4,,,,,0,0": "input_shape and output_shape must be given",
    "ADD,4,,4,,,-1,0": "macs is '-1', expected a count",
    "ADD,4,,0,,,0,0": "extent below 1",
    "ADD,99999x99999,,4,,,0,0": "at most 1073741824 are read",
    "ADD,4,,4,,,0,0,INT88": "dtype 'INT88' is unknown; did you mean 'INT8'?",
}


@pytest.mark.parametrize("row", FAULTS)
def test_a_wrong_row_is_refused_with_its_line(row: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        table.read(write(tmp_path / "table.csv", row))
    assert FAULTS[row] in str(caught.value)
    assert "line 2" in str(caught.value)


def test_all_wrong_rows_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        table.read(write(tmp_path / "table.csv", "ADD,4,x,4,,,0,0\nADD,4,,4,,,-1,0\nADD,4,,4,,,0,0,INT88"))
    assert len(caught.value.problems) == 3


def test_a_layer_whose_input_nothing_makes_is_refused(tmp_path: Path) -> None:
    rows = "CONV_2D,1x4x4x3,8x1x1x3,1x4x4x8,1x1,1x1,384,32\nSOFTMAX,1x77,,1x77,,,0,0"
    with pytest.raises(InputError, match=r"line 3 .*no row before it makes an output of shape 1x77"):
        table.read(write(tmp_path / "table.csv", rows))


def test_the_network_must_be_named_when_there_are_several(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    first = write(path, "SOFTMAX,1x4,,1x4,,,0,0", "first").read_text()
    path.write_text(first + "second,0,SOFTMAX,1x5,,1x5,,,0,0,INT8\n")
    assert table.networks(path) == ("first", "second")
    assert load(f"{path}#second").outputs
    with pytest.raises(InputError, match="add '#' and one of: first, second"):
        load(str(path))
    with pytest.raises(InputError, match="did you mean 'second'"):
        load(f"{path}#secnd")


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("network,index,op\nn,0,ADD\n")
    with pytest.raises(InputError, match="columns input_shape, weight_shape"):
        table.read(path)


def test_every_published_network_is_read_and_its_macs_agree() -> None:
    if not MEASURED.exists():
        pytest.skip("the sibling folder 'shared' with the published layer tables is absent")
    totals: Counter[str] = Counter()
    with MEASURED.open() as file:
        for row in csv.DictReader(file):
            totals[row["network"]] += int(row["macs"])
    assert len(table.networks(MEASURED)) == 48
    for name in table.networks(MEASURED):
        graph = table.read(MEASURED, name)
        assert not any(isinstance(layer.operator, Unmodelled) for layer in graph.layers), name
        assert graph.macs == totals[name], name
        assert len(graph.inputs) == 1, name
        result = plan(graph)
        assert result.peak_bytes >= max(graph[layer.outputs[0]].nbytes for layer in graph.layers), name
