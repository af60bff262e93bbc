"""Inference on the user's arrays: names, types, shapes, batches, and files that are never half written."""

from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workloads.builder import GraphBuilder
from workloads.errors import InputError
from workloads.execute import execute
from workloads.infer import infer, read_inputs, write_outputs
from workloads.operators import Add, FullyConnected
from workloads.tensor import Quantization


def per_tensor(scale, zero_point=0):
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int32))


def network(batch=1):
    """Two int8 inputs, their sum, and a product with constant weights."""
    builder = GraphBuilder("two")
    image = builder.input("image", (batch, 3), "int8", per_tensor(0.5, 1))
    mask = builder.input("mask", (batch, 3), "int8", per_tensor(0.25))
    total = builder.layer(Add(), [image, mask], output="total", dtype="int8", quantization=per_tensor(0.5))
    w = builder.constant("w", (2, 3), np.array([[1, 2, 3], [-4, 5, 6]], np.int8), "int8", per_tensor(0.1))
    y = builder.layer(FullyConnected(), [total, w], output="y", dtype="int8", quantization=per_tensor(0.7, -3))
    return builder.build([y], "litert")


def arrays(samples, seed=0):
    random = np.random.default_rng(seed)
    return {name: random.integers(-128, 128, (samples, 3)).astype(np.int8) for name in ("image", "mask")}


def test_only_the_outputs_of_the_model_come_back():
    graph = network()
    given_arrays = arrays(1)
    found = infer(graph, given_arrays)
    assert list(found) == ["y"]
    np.testing.assert_array_equal(found["y"], execute(graph, given_arrays)["y"])
    single = infer(graph, given_arrays, profile="tflite-single")["y"]
    np.testing.assert_array_equal(single, execute(graph, given_arrays, profile="tflite-single")["y"])


@pytest.mark.parametrize("batch", [1, 2])
def test_more_samples_than_the_model_takes_are_run_piece_by_piece(batch):
    given_arrays = arrays(6)
    found = infer(network(batch), given_arrays)["y"]
    alone = [infer(network(), {k: v[i : i + 1] for k, v in given_arrays.items()})["y"] for i in range(6)]
    np.testing.assert_array_equal(found, np.concatenate(alone))


def test_all_wrong_arrays_are_reported_at_once():
    with pytest.raises(InputError) as caught:
        infer(network(), {"imag": np.zeros((1, 3), np.int8), "mask": np.zeros((1, 4), np.uint8)})
    assert caught.value.problems == (
        "array 'imag' is not an input of the model; did you mean 'image'?",
        "array 'image' is missing; expected int8 of shape [1, 3], or a multiple of 1 along axis 0",
        "array 'mask' has type uint8; expected int8 of shape [1, 3], or a multiple of 1 along axis 0",
        "array 'mask' has shape [1, 4]; expected int8 of shape [1, 3], or a multiple of 1 along axis 0",
    )


@pytest.mark.parametrize("shape", [(3, 3), (0, 3), (3,), ()])
def test_a_batch_that_does_not_divide_is_refused(shape):
    with pytest.raises(InputError, match="a multiple of 2 along axis 0"):
        infer(network(2), {"image": np.zeros(shape, np.int8), "mask": np.zeros((2, 3), np.int8)})


def test_inputs_with_different_numbers_of_samples_are_refused():
    with pytest.raises(InputError, match="'image' holds 2, 'mask' holds 3"):
        infer(network(), {"image": np.zeros((2, 3), np.int8), "mask": np.zeros((3, 3), np.int8)})


def test_an_unknown_profile_is_refused_with_the_closest_name():
    with pytest.raises(InputError, match="did you mean 'onnxruntime'"):
        infer(network(), arrays(1), profile="onnx-runtime")


def test_float_inputs_must_be_finite():
    builder = GraphBuilder("float")
    x = builder.input("x", (1, 2))
    graph = builder.build([builder.layer(Add(), [x, x])])
    with pytest.raises(InputError, match="NaN or infinite"):
        infer(graph, {"x": np.array([[1, np.nan]], np.float32)})


def test_arrays_come_back_from_a_file_as_they_were_written(tmp_path):
    path = tmp_path / "out.npz"
    written = {"y": np.arange(6, dtype=np.int8).reshape(2, 3), "serving/default:0": np.float32([1.5])}
    write_outputs(path, written)
    found = read_inputs(path)
    assert list(found) == list(written)
    for name, array in written.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert [item.name for item in tmp_path.iterdir()] == ["out.npz"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "out.npz"
    write_outputs(path, {"y": np.arange(3)})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_outputs(path, {"y": np.arange(3), "z": np.array([object()])})
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["out.npz"]
    with pytest.raises(InputError, match="cannot be written"):
        write_outputs(tmp_path / "absent" / "out.npz", {"y": np.arange(3)})


def test_pickled_objects_are_never_loaded(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="cannot be read as \\.npz"):
        read_inputs(path)


def test_files_that_are_no_npz_are_refused(tmp_path):
    for name, data in (("empty", b""), ("text", b"hello"), ("zip", b"PK\x03\x04" + bytes(40))):
        path = tmp_path / f"{name}.npz"
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"write it with numpy\.savez"):
            read_inputs(path)
    with pytest.raises(InputError, match="No such file"):
        read_inputs(tmp_path / "absent.npz")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("notes.txt", "no array")
    with pytest.raises(InputError, match=r"member 'notes\.txt' is not an array"):
        read_inputs(tmp_path / "other.npz")


def test_an_archive_that_unpacks_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros(100_000, np.int8))
    monkeypatch.setattr("workloads.infer.MAX_INPUT_BYTES", 50_000)
    with pytest.raises(InputError, match="more than the limit of 50000"):
        read_inputs(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), min_size=1, max_size=6))
def test_flipped_bytes_of_an_archive_never_raise_anything_else(flips, tmp_path):
    path = tmp_path / "mutated.npz"
    np.savez_compressed(path, image=np.arange(30, dtype=np.int8), mask=np.ones((2, 3), np.float32))
    data = bytearray(path.read_bytes())
    for position, mask in flips:
        data[position % len(data)] ^= mask
    path.write_bytes(data)
    try:
        found = read_inputs(path)
    except InputError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())


def test_a_device_file_is_never_replaced_by_the_outputs(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="no regular file"):
        write_outputs(pipe, {"y": np.zeros(1, np.int8)})
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_keeps_pointing_to_the_file_that_is_written(tmp_path):
    link = tmp_path / "link.npz"
    link.symlink_to(tmp_path / "real.npz")
    write_outputs(link, {"y": np.ones(1, np.int8)})
    assert link.is_symlink()
    assert np.load(tmp_path / "real.npz")["y"].tolist() == [1]
