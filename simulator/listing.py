"""A Program as text: the one generated for a layer on a device, or a saved one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_models.device import load_device
from device_models.estimate import prepared_for
from workloads.codegen import generate
from workloads.codegen.float_spec import spec_of
from workloads.errors import InputError, did_you_mean
from workloads.program_file import load as load_program
from workloads.readers.load import load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workloads.graph import Graph
    from workloads.program import Program


FORMS = ("assembly", "c")
PRECISIONS = ("int8", "fp32")


def listing_text(
    source: str,
    *,
    on: str | None = None,
    layer: str | None = None,
    isa: str | None = None,
    form: str = "assembly",
    precision: str = "int8",
    sizes: Mapping[str, int] | None = None,
) -> str:
    """Return the text of a Program.

    Parameters
    ----------
    source
        A saved Program (.json), or a model.
    on, layer
        The device and the model's layer for which the Program is generated.
    isa
        One of the core's instruction sets, the best one unless named.
    form
        One of ``FORMS``.
    precision
        Of a model's layer, "int8" or "fp32".

    Raises
    ------
    InputError
        A wrong file, device or layer, or a Program that has no such text.
    """
    for option, given, known in (("--as", form, FORMS), ("--precision", precision, PRECISIONS)):
        if given not in known:
            raise InputError(option, [f"{given!r} is unknown; {did_you_mean(given, known)}"])
    if source.endswith(".json"):
        if unused := [name for name, given in (("--on", on), ("--layer", layer), ("--isa", isa)) if given]:
            raise InputError(
                "listing", [f"{', '.join(unused)}: {source!r} is a saved Program; these choose from models"]
            )
        program = load_program(source)
    else:
        program = _generated(prepared_for(load(source, sizes=sizes), precision, 1), source, on, layer, isa)
    try:
        return _writer(form)(program)
    except NotImplementedError as error:
        raise InputError(source, [str(error)]) from None


def _writer(form: str) -> Callable[[Program], str]:
    """Return what writes a Program in one form."""
    if form == "c":
        from workloads.c_source import c_text

        return c_text
    from workloads.listing import listing

    return listing


def _generated(graph: Graph, model: str, on: str | None, layer: str | None, isa: str | None) -> Program:
    """Generate the Program of a model's layer on a device."""
    names = [each.name for each in graph.layers]
    problems = [] if on else ["--on: no device given; `presage devices` lists them"]
    if layer not in names:
        found = "no layer given" if layer is None else f"the model has no layer {layer!r}"
        problems.append(f"--layer: {found}; {did_you_mean(layer or '', names)}")
    if on is None or problems:
        raise InputError(model, problems)
    chosen = graph.layers[names.index(str(layer))]
    try:
        spec = spec_of(graph, chosen)
        if spec is None:
            raise NotImplementedError(f"layer {layer!r} moves nothing: no Program is generated for it")
        return generate(spec, load_device(on).core.isa(isa))
    except NotImplementedError as error:
        raise InputError(model, [str(error)]) from None
