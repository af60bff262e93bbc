"""Bit-exact inference of a model file on an .npz of inputs, as ``presage infer`` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_models.device import load_device
from workloads import infer
from workloads.errors import InputError
from workloads.readers.load import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from workloads.run_programs import Fallback


def infer_file(
    model: str,
    inputs: Path,
    output: Path,
    *,
    profile: str | None = None,
    programs: str | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Iterator[str]:
    """Run ``model`` on the arrays of ``inputs``, write the results to ``output``, and yield what to tell the user.

    Parameters
    ----------
    profile
        A requantisation profile for every layer; None for the arithmetic the model was made for.
    programs
        A device whose generated Programs run the layers; excludes ``profile``.

    Raises
    ------
    InputError
        A wrong model, array, profile or device.
    """
    if profile is not None and programs is not None:
        raise InputError("infer", ["--profile and --programs exclude each other: a device's Programs fix the profile"])
    graph = load(model, sizes=sizes)
    arrays = infer.read_inputs(inputs)
    fallbacks: tuple[Fallback, ...] = ()
    try:
        if programs is None:
            results = infer.infer(graph, arrays, profile=profile)
            how = f"profile {profile}" if profile else f"{graph.arithmetic} arithmetic"
        else:
            device = load_device(programs)
            results, fallbacks = infer.infer_programs(graph, arrays, device.core.isa())
            how = f"Programs generated for {device.name}"
    except InputError as error:
        raise InputError(inputs if error.path == "inputs" else error.path, error.problems) from None
    infer.write_outputs(output, results)
    for layer in fallbacks:
        yield f"{layer.layer}: no Program, so the integer kernel of the same arithmetic ran: {layer.reason}"
    for name, array in results.items():
        yield f"{name}: {array.dtype} {'x'.join(map(str, array.shape))}"
    yield f"{output}: {len(results)} array{'s' if len(results) != 1 else ''}, {how}"
