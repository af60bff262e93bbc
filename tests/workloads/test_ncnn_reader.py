"""ncnn descriptions become networks with the published counts, or an error that names the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from workloads.errors import InputError
from workloads.operators import Clamp, HardSwish, LeakyRelu, Logistic, Mish
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
    assert Logistic() in [layer.operator for layer in graph.layers]
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
    ("Softmax y 1 1 f y 0=0", "Softmax y 1 1 f y 0=3"): "axis 3 does not exist in shape (1, 5)",
    ("Softmax y 1 1 f y 0=0", "Slice y 1 1 f y -23300=2,1,4"): "has 1 outputs and 2 extents",
    ("Softmax y 1 1 f y 0=0", "Slice y 1 1 f y -23300=1,9"): "9 elements from 0 along axis 1 do not lie",
    ("Softmax y 1 1 f y 0=0", "Reshape y 1 1 f y 0=2 1=3"): "cannot become [2, 3, -233]",
    ("Softmax y 1 1 f y 0=0", "Permute y 1 1 f y 0=3"): "order 3 over (1, 5) is not known",
    ("Pooling g 1 1 c3 g 0=1 4=1", "ShuffleChannel g 1 1 c3 g 0=3"): "8 channels in 3 groups do not fit",
    ("Pooling g 1 1 c3 g 0=1 4=1", "PReLU g 1 1 c3 g 0=3"): "3 constants over (1, 2, 3, 8)",
    ("9=4", "9=9"): "fused activation 9 with 0 values is not known",
}


@pytest.mark.parametrize("change", FAULTS)
def test_a_wrong_line_is_refused_by_number(change: tuple[str, str], tmp_path: Path) -> None:
    assert change[0] in SMALL
    with pytest.raises(InputError) as caught:
        load(write(tmp_path / "net.param", SMALL.replace(*change)))
    assert FAULTS[change] in str(caught.value)
    assert "line " in str(caught.value)


# What follows "Input" (w 10, h 8, c 6): operator, number of outputs, parameters; operators that compute; output shape.
LAYERS = {
    "BatchNorm 1 0=6": ("batch_norm", (8, 10, 6)),
    "BinaryOp 1 0=2 1=1 2=0.5": ("mul", (8, 10, 6)),
    "Crop 1 2=2 3=7 4=8 5=3": ("slice slice", (8, 7, 3)),
    "Crop 1 0=1 1=2 3=-233 4=-233 5=-233": ("slice slice", (6, 9, 6)),
    "Crop 1 -23309=3,1,-4,2 -23310=3,3,-233,-1 -23311=3,0,2,1": ("slice slice slice", (5, 4, 2)),
    "Deconvolution 1 0=4 1=4 3=2 4=1 5=1 6=384": ("transposed_conv2d", (16, 20, 4)),
    "DeconvolutionDepthWise 1 0=6 1=3 3=2 4=1 6=54 7=6 18=1 9=2 -23310=1,0.1": (
        "transposed_conv2d leaky_relu", (16, 20, 6),
    ),
    "Flatten 1": ("transpose reshape", (480,)),
    "GELU 1 0=1": ("gelu", (8, 10, 6)),
    "HardSigmoid 1": ("hard_sigmoid", (8, 10, 6)),
    "HardSwish 1 0=0.16667": ("hard_swish", (8, 10, 6)),
    "Interp 1 0=1 1=2.0 2=1.5": ("nearest_resize2d", (16, 15, 6)),
    "Interp 1 0=2 3=5 4=7 6=1": ("bilinear_resize2d", (5, 7, 6)),
    "LRN 1 2=0.0001": ("local_response_norm", (8, 10, 6)),
    "Mish 1": ("mish", (8, 10, 6)),
    "PReLU 1 0=6": ("prelu", (8, 10, 6)),
    "Padding 1 0=1 1=2 2=3 3=4 7=0 8=2": ("pad", (11, 17, 8)),
    "Permute 1 0=3": ("transpose", (10, 6, 8)),
    "Permute 1 0=5": ("transpose", (8, 6, 10)),
    "Pooling 1 0=1 4=1": ("mean", (1, 1, 6)),
    "ReLU 1 0=0.1": ("leaky_relu", (8, 10, 6)),
    "Reduction 1 0=3 1=0 -23303=2,1,2 4=1 5=1": ("mean", (1, 1, 6)),
    "Reduction 1 0=3": ("mean reshape", (1,)),
    "Reduction 1 0=4 1=0 -23303=1,0": ("reduction", (8, 10)),
    "Reshape 1 0=-1 1=12": ("transpose reshape", (12, 40)),
    "Reshape 1 0=5 1=-1 2=0": ("transpose reshape transpose", (16, 5, 6)),
    "ShuffleChannel 1 0=3": ("reshape transpose reshape", (8, 10, 6)),
    "Sigmoid 1": ("logistic", (8, 10, 6)),
    "Slice 2 -23300=2,2,-233": ("slice slice", (8, 10, 2)),
    "Slice 2 -23300=2,-233,-233 1=-2": ("slice slice", (4, 10, 6)),
    "Softmax 1 0=0": ("softmax", (8, 10, 6)),
    "Softmax 1 0=2": ("transpose softmax transpose", (8, 10, 6)),
    "Swish 1": ("swish", (8, 10, 6)),
    "TanH 1": ("tanh", (8, 10, 6)),
    "DetectionOutput 1 -23330=4,2,6,100,1": ("detectionoutput", (100, 6)),
    "PriorBox 1 -23300=1,60.0 -23302=1,2.0": ("priorbox", (2, 8 * 10 * 3 * 4)),
}  # fmt: skip


@pytest.mark.parametrize("line", LAYERS)
def test_a_layer_type_becomes_its_operators_and_shape(line: str, tmp_path: Path) -> None:
    operator, outputs, *parameters = line.split()
    names = [f"y{index}" for index in range(int(outputs))]
    body = f"Input data 0 1 data 0=10 1=8 2=6\n{operator} l 1 {outputs} data {' '.join(names)} {' '.join(parameters)}"
    graph = load(write(tmp_path / "net.param", body))
    expected, shape = LAYERS[line]
    assert " ".join(layer.op for layer in graph.layers) == expected
    assert graph[graph.outputs[0]].shape == (1, *shape)


ROWS = """\
Input x 0 1 x 0=12 1=5
MemoryData m 0 1 m 0=12 1=1
Concat c 2 1 m x c 0=0
LayerNorm n 1 1 c n 0=12 1=0.000001 2=1
Split s 1 2 n n_0 n_1
MultiHeadAttention a 1 1 n_0 a 0=12 1=3 2=144
BinaryOp b 2 1 a n_1 b 0=0
Gemm g 1 1 b g 3=1 5=1 6=1 8=20 9=12 10=4
Permute p 1 1 g p 0=1
MatMul q 2 1 p g q 0=0
InnerProduct i 1 1 q i 0=7 1=1 2=140
RMSNorm r 1 1 i r 0=7 1=0.00001 2=1
"""


def test_layers_of_a_transformer_keep_their_rows(tmp_path: Path) -> None:
    graph = load(write(tmp_path / "net.param", ROWS))
    assert graph[graph.outputs[0]].shape == (1, 20, 7)
    attention = 6 * (4 * 12 * 12 + 2 * 6 * 12)  # four projections; scores and mixing of 3 heads of 4
    assert graph.macs == attention + 6 * 12 * 20 + 20 * 6 * 20 + 20 * 20 * 7
    assert [layer.op for layer in graph.layers].count("softmax") == 1


@pytest.mark.parametrize(
    ("kind", "operator"), [("2 -23310=1,0.1", LeakyRelu(0.1)), (4, Logistic()), (5, Mish()), (6, HardSwish())]
)
def test_a_fused_function_follows_its_product(kind: object, operator: object, tmp_path: Path) -> None:
    body = f"Input data 0 1 data 0=4 1=4 2=3\nConvolution c 1 1 data c 0=2 1=1 6=6 9={kind}"
    graph = load(write(tmp_path / "net.param", body))
    assert graph.layers[0].op == "conv2d"
    assert graph.layers[1].operator == operator


def test_a_told_shape_must_be_the_inferred_one(tmp_path: Path) -> None:
    body = SMALL.replace("Split s 1 2 c1 s_0 s_1", "Split s 1 2 c1 s_0 s_1 -23330=8,3,5,4,4,3,5,4,9")
    with pytest.raises(
        InputError, match=r"line 5: Split 's' announces 's_1' as \(9, 4, 5\); its inputs give \(4, 4, 5\)"
    ):
        load(write(tmp_path / "net.param", body))


def test_extents_that_the_file_does_not_tell_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "net.param", SMALL.replace(" 0=9 1=8 2=3", ""))
    with pytest.raises(InputError, match=r"Input 'data' has no extents; give sizes width=\.\.\., height=\.\.\."):
        load(path)
    assert load(path, sizes={"width": 9, "height": 8, "channels": 3})["data"].shape == (1, 8, 9, 3)
    with pytest.raises(InputError) as caught:
        load(write(tmp_path / "net.param"), sizes={"width": 9, "depth": 1})
    assert caught.value.problems[0] == "size 'width': the file tells it"
    assert "size 'depth'" in caught.value.problems[1]


def test_only_the_announced_layers_are_read_and_a_noop_gathers_outputs(tmp_path: Path) -> None:
    body = "Input x 0 1 x 0=4\nSlice s 1 2 x a b -23300=2,1,-233\nNoop n 2 1 a b y\nSoftmax z 1 1 y z"
    assert load(write(tmp_path / "net.param", body, count=3)).outputs == ("a", "b")
    assert load(write(tmp_path / "net.param", body, count=4)).outputs == ("b", "z")


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
