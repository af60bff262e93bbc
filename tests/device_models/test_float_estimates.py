"""Networks in float32 on generated Programs: what is asked of a device, and where that is refused."""

import pytest

from device_models.amounts import layer_amounts
from device_models.costing import layer_kernel
from device_models.device import load_device
from device_models.estimate import Setting, estimate, prepared_for, working_set
from workloads.builder import GraphBuilder
from workloads.codegen.float_spec import FloatSpec, specify
from workloads.codegen.specs import ConvSpec, ElementwiseSpec, MoveSpec, PoolSpec
from workloads.errors import InputError
from workloads.models import build
from workloads.operators import Clamp, Concat, Conv2d, Logistic, Pad, Softmax, Transpose

PEAKS = {
    "ryzen-5600x": 16,
    "epyc-9v45": 32,
    "jh7110": 1,
    "spacemit-k1": 8,
    "stm32h7a3": 1,
}  # MAC/cycle: one core's FMAs


@pytest.mark.parametrize("name", PEAKS)
def test_a_float_network_takes_between_a_quarter_of_the_peak_s_time_and_some_times_it(name):
    """Winograd's F(4x4, 3x3) multiplies at most four times less."""
    device, graph = load_device(name), build("resnet8")
    found = estimate(graph, name, precision="fp32", threads=1)
    least = graph.macs / PEAKS[name] / device.frequency_hz
    assert least / 4 < found.latency_s < 12 * least
    assert (found.precision, found.coverage) == ("fp32", 1.0)


def test_float_tensors_take_four_times_the_bytes():
    fp32, int8 = (estimate(build("resnet8"), "stm32h7a3", precision=precision) for precision in ("fp32", "int8"))
    assert fp32.weights_bytes == pytest.approx(4 * int8.weights_bytes, rel=0.02)
    assert fp32.peak_ram_bytes > 2 * int8.peak_ram_bytes


@pytest.mark.parametrize("name", ["ascend310b1", "stm32l4r5", "esp32-c3"])
def test_a_device_without_float_kernels_says_so(name):
    with pytest.raises(InputError) as caught:
        estimate(build("resnet8"), name, precision="fp32")
    assert list(caught.value.problems) == ["precision: no 'fp32' kernels are generated; supported: int8"]


def floats():
    """Return a network of float32 layers of many kinds."""
    net = GraphBuilder("floats")
    x = net.input("x", (1, 6, 6, 8))
    weights = net.constant("w", (8, 3, 3, 8))
    x = net.layer(Conv2d(padding=(1, 1, 1, 1), activation=Clamp(0.0)), [x, weights])
    x = net.layer(Concat(3), [x, net.layer(Logistic(), [x])])
    x = net.layer(Pad(((0, 0), (1, 1), (0, 2), (0, 0))), [x])
    return net.build([net.layer(Softmax(), [net.layer(Transpose((0, 3, 1, 2)), [x])])])


def test_float_layers_are_specified_by_their_shapes_bounds_and_bytes():
    found = {layer.op: _specified(floats(), layer) for layer in floats().layers}
    assert found["conv2d"] == FloatSpec(ConvSpec(1, 6, 6, 8, 6, 6, 8, (3, 3), padding=(1, 1)), ("low",))
    assert found["concat"] == MoveSpec("concat", ((1, 6, 6, 8, 4),) * 2, (3,))
    assert found["pad"].output_shape == (1, 8, 8, 16, 4)
    assert found["transpose"].output_shape == (1, 16, 8, 8, 4)
    assert found["softmax"] == "no kernel"
    for name, kind in (("resnet8", ElementwiseSpec), ("resnet50", PoolSpec)):
        graph = prepared_for(build(name), "fp32", 1)
        assert any(isinstance(getattr(specify(graph, layer), "shape", None), kind) for layer in graph.layers[:20])


def _specified(graph, layer):
    try:
        return specify(graph, layer)
    except NotImplementedError:
        return "no kernel"


def test_functions_of_floats_cost_an_exponential_each():
    device, graph = load_device("ryzen-5600x"), floats()
    kernels = {layer.op: layer_kernel(graph, layer, device, working_set(graph)) for layer in graph.layers}
    assert kernels["logistic"].cycles == 6 * 6 * 8 * device.operators["exponential"].value
    assert kernels["softmax"].cycles > 0
    assert kernels["conv2d"].detail.macs == 6 * 6 * 8 * 8 * 9


@pytest.mark.parametrize("name", ["jh7110", "ryzen-5600x", "stm32h7a3", "stm32l4r5"])
def test_a_runtime_can_scale_the_cycles_of_float_programs(name):
    device, graph = load_device(name), floats()
    setting, working, layer = Setting(device, 1, device.frequency_hz), working_set(graph), graph.layers[0]
    found = layer_amounts(graph, layer, setting, working, "fp32").seconds
    if name == "stm32l4r5":  # of whose float unit no timing is known
        assert found["program"] is None
        return
    kernel = layer_kernel(graph, layer, device, working)
    assert found["program"] == pytest.approx(kernel.cycles / device.frequency_hz)
    peak = device.compute.fp32_peak
    assert found["peak"] == (None if peak is None else pytest.approx(found["macs"] / peak.value))
