"""ncnn descriptions become networks with the published counts, or an error that names the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from workloads.errors import InputError
from workloads.operators import Clamp, Unmodelled
from workloads.readers.load import load

NCNN = Path(__file__).parents[2].parent / "shared" / "models" / "ncnn"
# MACs from the architecture: VGG-16 and MobileNet as published; ResNet-50 with the stride in its 1x1 convolutions.
PUBLISHED = {"vgg16": 15_470_264_320, "mobilenet": 568_740_352, "resnet50": 3_857_973_248}
SMALL = """\
Input data 0 1 data 0=9 1=8 2=3
Convolution c1 1 1 data c1 0=4 1=3 3=2 4=1 5=1 6=108 9=1
Split s 1 2 c1 s_0 s_1
ConvolutionDepthWise c2 1 1 s_0 c2 0=4 1=3 4=1 5=0 6=36 7=4 9=3 -23310=2,0.0,6.0
Eltwise e 2 1 c2 s_1 e 0=1
Pooling p 1 1 e p 0=0 1=2 2=2
Convolution c3 1 1 p c3 0=8 1=1 5=1 6=32 9=4
Pooling g 1 1 c3 g 0=1 4=1
InnerProduct f 1 1 g f 0=5 1=1 2=40
Softmax y 1 1 f y 0=0
"""


def write(path: Path, body: str = SMALL, magic: str = "7767517", count: int | None = None) -> Path:
    layers = body.splitlines()
    path.write_text("\n".join([magic, f"{len(layers) if count is None else count} 99", *layers]) + "\n")
    return path


def test_layers_get_the_shapes_and_activations_of_ncnn(tmp_path: Path) -> None:
    graph = load(write(tmp_path / "net.param"))
    shapes = {layer.op: graph[layer.outputs[0]].shape for layer in graph.layers}
    assert graph["data"].shape == (1, 8, 9, 3)
    assert graph["c1"].shape == (1, 4, 5, 4)
    assert shapes["max_pool2d"] == (1, 2, 3, 4)  # pad mode 0: the last column is covered
    assert shapes["softmax"] == (1, 5)
    depthwise = next(layer for layer in graph.layers if layer.op == "depthwise_conv2d")
    assert depthwise.operator.activation == Clamp(0.0, 6.0)  # type: ignore[union-attr]  # it is the convolution
    assert Unmodelled("Sigmoid") in [layer.operator for layer in graph.layers]
    assert graph.macs == 4 * 5 * 4 * 27 + 4 * 5 * 4 * 9 + 2 * 3 * 8 * 4 + 8 * 5
    assert not graph.executable
    assert graph.outputs == ("y",)


def test_the_int8_flag_makes_an_int8_network(tmp_path: Path) -> None:
    graph = load(write(tmp_path / "net.param", SMALL.replace("6=108 9=1", "6=108 8=2 9=1")))
    assert graph["c1"].dtype == "int8"
    assert graph["c1/bias"].dtype == "int32"


FAULTS = {
    ("6=108", "6=109"): "line 4: Convolution 'c1' announces 109 weights; its shapes give 108",
    ("c2 s_1 e", "c2 s_9 e"): "line 7: Eltwise 'e' reads 's_9'; did you mean 's_",
    ("Split s 1 2 c1 s_0 s_1", "Split s 1 2 c1 s_0 c1"): "makes 'c1' again",
    ("1=3 3=2 4=1 5=1 6=108", "1=30 3=2 4=1 5=1 6=10800"): "line 4: a window of (30, 30)",
    ("0=4 1=3 3=2", "0=4 1=three 3=2"): "parameter 1 is 'three', expected an integer",
    ("0=9 1=8 2=3", "0=-9 1=8 2=3"): "extent below 1",
    ("0=9 1=8 2=3", "0=99999 1=99999 2=3"): "at most 1073741824 are read",
    ("6=36 7=4", "6=36 7=3"): "4 channels in 3 groups",
    ("-23310=2,0.0,6.0", "-23310=2,a,b"): "are not numbers",
    ("Softmax y 1 1 f y", "Softmax y 1 2 f y"): "names 2 blobs, expected 1 + 2",
}


@pytest.mark.parametrize("change", FAULTS)
def test_a_wrong_line_is_refused_by_number(change: tuple[str, str], tmp_path: Path) -> None:
    assert change[0] in SMALL
    with pytest.raises(InputError) as caught:
        load(write(tmp_path / "net.param", SMALL.replace(*change)))
    assert FAULTS[change] in str(caught.value)
    assert "line " in str(caught.value)


def test_a_truncated_description_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="announces 12 layers, the file has 10"):
        load(write(tmp_path / "net.param", count=12))


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the first line is not 7767517"):
        load(write(tmp_path / "net.param", magic="7767518"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_have_their_macs(name: str) -> None:
    if not NCNN.exists():
        pytest.skip("the sibling folder 'shared' with ncnn's descriptions is absent")
    assert load(NCNN / f"{name}.param").macs == PUBLISHED[name]


def test_every_description_at_hand_is_read() -> None:
    if not NCNN.exists():
        pytest.skip("the sibling folder 'shared' with ncnn's descriptions is absent")
    for path in sorted(NCNN.glob("*.param")):
        graph = load(path)
        assert len(graph.outputs) == 1, path
        weights = {tensor.dtype for tensor in graph.tensors.values() if tensor.is_constant}
        assert weights == ({"int8", "int32"} if "int8" in path.name else {"float32"}), path
