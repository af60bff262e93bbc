"""The built-in networks are the published ones, and cost nothing until they are executed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workloads.errors import InputError
from workloads.graph import layer_macs
from workloads.models import BUILT_IN, build
from workloads.readers.load import load

SHARED = Path(__file__).parents[2].parent / "shared"

# MLPerf Tiny: mlcommons/tiny@1afd2c9820f7; ImageNet: torchvision 0.21 documentation ("GFLOPS" are MACs there).
MACS = {
    "fc_autoencoder": 264_192, "resnet8": 12_501_632, "dscnn_kws": 2_656_768, "mobilenet_v1_025_96": 7_489_664,
    "resnet18": 1_814_073_344, "resnet50": 4_089_184_256, "mobilenet_v2": 300_774_272, "vgg16": 15_470_264_320,
    "squeezenet1_1": 349_151_936,
}  # fmt: skip
# torchvision's "num_params"; networks with batch normalisation have one more per normalised channel there.
PARAMETERS = {"vgg16": 138_357_544, "squeezenet1_1": 1_235_496}
TINY = {
    "fc_autoencoder": "ad01_int8", "resnet8": "ic_resnet8_int8", "dscnn_kws": "kws_dscnn_int8",
    "mobilenet_v1_025_96": "vww_mobilenet025_int8",
}  # fmt: skip


@pytest.mark.parametrize("name", BUILT_IN)
def test_macs_are_the_published_ones(name: str) -> None:
    assert build(name).macs == MACS[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_published_ones(name: str) -> None:
    assert sum(tensor.elements for tensor in build(name).tensors.values() if tensor.is_constant) == PARAMETERS[name]


@pytest.mark.parametrize("name", TINY)
def test_tiny_networks_have_the_layers_of_the_reference_files(name: str) -> None:
    path = SHARED / "models" / "mlperf_tiny" / f"{TINY[name]}.tflite"
    if not path.exists():
        pytest.skip("the sibling folder 'shared' with the reference models is absent")
    reference, ours = load(path), build(name)

    def products(graph):  # type: ignore[no-untyped-def]  # a local helper of the comparison
        return [(layer.op, layer_macs(graph, layer)) for layer in graph.layers if layer_macs(graph, layer)]

    assert sorted(products(ours)) == sorted(products(reference))
    # The reference graph may append a softmax or hold a per-channel bias of its own width: bytes agree but for those.
    weights = {tensor.elements for tensor in reference.tensors.values() if tensor.is_constant and len(tensor.shape) > 1}
    assert weights >= {tensor.elements for tensor in ours.tensors.values() if len(tensor.shape) > 1 and tensor.data}


@pytest.mark.parametrize("name", BUILT_IN)
def test_weights_come_into_being_only_on_request(name: str) -> None:
    assert all(callable(tensor.data) for tensor in build(name).tensors.values() if tensor.is_constant)


def test_weights_are_the_same_in_every_build_and_differ_between_layers() -> None:
    first, second = build("resnet8"), build("resnet8")
    names = [name for name, tensor in first.tensors.items() if tensor.is_constant]
    for name in names:
        np.testing.assert_array_equal(first[name].materialize(), second[name].materialize())
    same_shape = [first[name].materialize() for name in names if first[name].shape == (16, 3, 3, 16)]
    assert len(same_shape) == 2
    assert not np.array_equal(*same_shape)


def test_activations_keep_their_order_of_magnitude() -> None:
    from workloads.execute import execute

    graph = build("resnet8")
    image = np.random.default_rng(3).standard_normal((1, 32, 32, 3), dtype=np.float32)
    values = execute(graph, {"image": image})
    spread = [float(values[layer.outputs[0]].std()) for layer in graph.layers if layer.op == "conv2d"]
    assert all(0.1 < each < 10 for each in spread)
    assert values["probabilities"].sum() == pytest.approx(1, abs=1e-5)


def test_an_unknown_name_suggests_the_closest() -> None:
    with pytest.raises(InputError) as caught:
        build("resnet81")
    assert "did you mean 'resnet8'?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("resnet_50", "did you mean 'resnet50'?"),
        ("no/such/file.onnx", "no such file"),
        ("no/such/file.tflite", "no such file"),
        ("no/such/file.param", "no such file"),
        ("no/such/file.csv#net", "no such file"),
        ("README.md", "ending in .onnx"),
        ("tests", "is a folder"),
    ],
)
def test_load_says_what_it_expected(text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(InputError) as caught:
        load(text)
    assert len(caught.value.problems) == 1
    assert expected in str(caught.value) or (text == "README.md" and "neither" in str(caught.value))


def test_load_refuses_sizes_for_a_network_without_dynamic_axes() -> None:
    with pytest.raises(InputError, match="no dynamic axes"):
        load("resnet8", sizes={"batch": 2})
