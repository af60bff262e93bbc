"""The command ``presage``: reads the options, calls one function, prints the result, sets the exit status."""

from __future__ import annotations

import gc
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator import measurement_commands as measurements
from simulator import record_commands
from simulator.arguments import completed
from simulator.progress import Bar
from workloads.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

FINE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    name="presage",
    help="Predict what an AI model will do on edge hardware, in a deployment, before anyone buys a board.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """How a command prints its result."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="Text for people or JSON for programs.")]
SizeOption = Annotated[
    list[str] | None,
    typer.Option("--size", help="A size for a dynamic dimension of the model, e.g. batch=1. May be repeated."),
]


def _console() -> Console:
    from rich.console import Console

    # Where nothing tells the width (a pipe, a log), a table must not be squeezed into 80 columns.
    width = None if sys.stdout.isatty() else 140
    return Console(width=width, soft_wrap=False)


def _sizes(options: list[str] | None) -> dict[str, int]:
    """Read ``name=value`` options; all faults at once."""
    sizes: dict[str, int] = {}
    problems = []
    for option in options or []:
        name, _, value = option.partition("=")
        if name and value.isdecimal() and int(value) > 0:
            sizes[name] = int(value)
        else:
            problems.append(f"{option!r} is not of the form name=value with a positive whole number, e.g. batch=1")
    if problems:
        raise InputError("--size", problems)
    return sizes


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"presage {version('presage')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Predict what an AI model will do on edge hardware, in a deployment, before anyone buys a board."""


@app.command()
def run(
    scenario: Annotated[Path, typer.Argument(help="A scenario file (TOML), or the name of a shipped one.")],
    output: Annotated[Path, typer.Option(help="Folder that receives one folder per scenario.")] = Path("out"),
    seed: Annotated[int | None, typer.Option(help="Use this seed instead of the scenario's.")] = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 (the option's public name)
) -> None:
    """Play a deployment through and report latency, energy, battery and carbon."""
    from reports import store, text
    from simulator.run import run as run_scenario
    from simulator.scenario import load_scenario

    loaded = load_scenario(scenario, seed=seed)
    _check_folder(output / scenario.stem)
    try:
        with _progress(format) as progress:
            record = run_scenario(loaded, progress=progress)
        folder = store.write(record, output / scenario.stem)
    except KeyboardInterrupt:
        typer.echo("Interrupted; what had finished before is intact.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if format is Format.JSON:
        typer.echo((folder / "record.json").read_text(encoding="utf-8"))
    else:
        text.render(record, _console())
        typer.echo(f"\nReport: {folder / 'report.html'}")
    if any(verdict.verdict == "violated" for verdict in record.verdicts):
        raise typer.Exit(FAILED)


@app.command()
def predict(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="A model file, table.csv#network, or name.")],
    on: Annotated[list[str], typer.Option("--on", help="A device's name or TOML file. May be repeated.")],
    runtime: Annotated[str, typer.Option(help="The kernel library that runs the layers.")] = "generated",
    precision: Annotated[str, typer.Option(help="int8, fp32, or another that a runtime has.")] = "int8",
    batch: Annotated[int, typer.Option(min=1)] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Cores that share each layer; default: 1, or all of an accelerator.")
    ] = None,
    frequency: Annotated[str | None, typer.Option(help='Core clock, e.g. "280 MHz"; default: the device\'s.')] = None,
    supply_voltage: Annotated[
        str | None, typer.Option(help='Of the chip, e.g. "3.3 V"; default: that of its power figures.')
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Show every layer and what bounds it.")] = False,
    allow_uncovered: Annotated[
        bool, typer.Option("--allow-uncovered", help="Go on where an operator has no cost, and show the share.")
    ] = False,
    numerics: Annotated[
        bool, typer.Option("--numerics", help="Show how far targets' arithmetics agree on the model.")
    ] = False,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="[LAYER]", help="Show how each number of a layer came to be.")
    ] = None,
    memory_plot: Annotated[
        Path | None, typer.Option("--memory-plot", help="Draw the tensors in memory into this .svg or .html file.")
    ] = None,
    size: SizeOption = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 (the option's public name)
) -> None:
    """Predict latency, energy and memory of models on devices."""
    from simulator.predict import Options
    from simulator.predict_command import Request, answer, show

    chosen = Options(
        runtime=runtime, precision=precision, batch=batch, threads=threads, frequency=frequency,
        supply_voltage=supply_voltage, allow_uncovered=allow_uncovered, sizes=_sizes(size),
    )  # fmt: skip
    asked = Request(models, on, chosen, layers, numerics, explain, memory_plot)
    rows = answer(asked)
    if format is Format.JSON:
        typer.echo(json.dumps(rows, indent=2, allow_nan=False))
    else:
        show(asked, rows, _console())


@app.command()
def infer(
    model: Annotated[str, typer.Argument(help="A quantised .tflite or .onnx model, or a built-in name.")],
    inputs: Annotated[Path, typer.Argument(help="An .npz of arrays named by the model's inputs.")],
    output: Annotated[Path, typer.Option(help="The .npz to write, arrays named by the model's outputs.")],
    profile: Annotated[str | None, typer.Option(help="Requantise every layer as this profile does.")] = None,
    programs: Annotated[str | None, typer.Option(help="Run the Programs generated for this device.")] = None,
    size: SizeOption = None,
) -> None:
    """Run a quantised model bit-exactly: raw integers in, raw integers out."""
    from simulator.infer import infer_file

    for line in infer_file(model, inputs, output, profile=profile, programs=programs, sizes=_sizes(size)):
        typer.echo(line)


@app.command()
def quantize(
    model: Annotated[str, typer.Argument(help="A float .onnx or .tflite model, or a built-in name.")],
    output: Annotated[Path, typer.Argument(help="The quantised .onnx file to write.")],
    calibration: Annotated[
        Path | None, typer.Option(help="An .npz of sample inputs; without it, seeded normal numbers.")
    ] = None,
    method: Annotated[str, typer.Option(help="How ranges are picked: min-max, percentile or mse.")] = "min-max",
    percentile: Annotated[float, typer.Option(help="The share of values kept by --method percentile, in per cent.")] = (
        99.99
    ),
    form: Annotated[str, typer.Option(help="qoperator or qdq.")] = "qoperator",
    size: SizeOption = None,
) -> None:
    """Quantise a float model to int8 and write it as ONNX."""
    from simulator.quantize import quantize_file

    typer.echo(
        quantize_file(
            model,
            output,
            calibration=calibration,
            method=method,
            percentile=percentile,
            form=form,
            sizes=_sizes(size),
        )
    )


@app.command()
def fuzz(
    kernel: Annotated[
        str | None, typer.Argument(metavar="[KERNEL]", help="A Python kernel as module:function.")
    ] = None,
    library: Annotated[Path | None, typer.Option(help="A shared library with a C kernel; see --abi.")] = None,
    symbol: Annotated[str | None, typer.Option(help="The C kernel's name in the library.")] = None,
    op: Annotated[str | None, typer.Option("--op", help="The operator it computes, e.g. conv2d.")] = None,
    profile: Annotated[
        list[str] | None, typer.Option(help="The target's arithmetic; --agreement takes several.")
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="Layers to try.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed tries the same layers.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder that receives a case that differs.")] = Path("out/fuzz"),
    replay: Annotated[Path | None, typer.Option(help="Run this saved case instead.")] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="Run these foreign vectors (.npz) through our operators.")
    ] = None,
    agreement: Annotated[str | None, typer.Option(metavar="MODEL", help="Compare profiles on this model.")] = None,
    layer: Annotated[str | None, typer.Option(help="Of the model compared, only this layer.")] = None,
    abi: Annotated[bool, typer.Option("--abi", help="Print the C header of a kernel instead.")] = False,
    format: FormatOption = Format.TEXT,  # noqa: A002 (the option's public name)
) -> None:
    """Compare a quantised kernel with the exact arithmetic of a target, and find the smallest difference."""
    from simulator.fuzz_command import Request, answer

    asked = Request(
        kernel=kernel, library=library, symbol=symbol, op=op, profiles=tuple(profile or ()), examples=examples,
        seed=seed, output=output, replay=replay, vectors=vectors, agreement=agreement, layer=layer, abi=abi,
    )  # fmt: skip
    with _progress(format) as progress:
        found = answer(asked, progress)
    if format is Format.JSON:
        typer.echo(json.dumps(found.data, indent=2, allow_nan=False))
    else:
        found.show(_console())
    if found.failed:
        raise typer.Exit(FAILED)


class BenchFormat(StrEnum):
    """How a bench is printed."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    JUNIT = "junit"


@app.command()
def bench(
    suite: Annotated[str, typer.Argument(help="A suite file (TOML), or the name of a shipped one.")],
    baseline: Annotated[Path | None, typer.Option(help="Default: SUITE.baseline.json beside the suite.")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Make today's figures the baseline.")] = False,
    fail_above: Annotated[str, typer.Option(help='Growth that fails: "0", "0.5 %" or "100 cycles".')] = "0",
    gate: Annotated[str, typer.Option(help="Which figures may fail: cycles, energy, bytes, code.")] = (
        "cycles,energy,bytes"
    ),
    timeline: Annotated[str | None, typer.Option(metavar="KERNEL", help="Draw the steady state of a kernel.")] = None,
    brief: Annotated[bool, typer.Option("--brief", help="Totals and differences only.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that price kernels; default: one a core.")
    ] = None,
    format: Annotated[BenchFormat, typer.Option("--format")] = BenchFormat.TEXT,  # noqa: A002 (the option's public name)
) -> None:
    """Price generated kernels on devices, and fail if one became worse than in the baseline."""
    from simulator.bench.command import Request, answer

    asked = Request(suite, baseline, accept, fail_above, gate, timeline, brief, workers)
    try:
        with _progress(Format.TEXT if format is BenchFormat.TEXT else Format.JSON) as progress:
            found = answer(asked, progress)
    except KeyboardInterrupt:
        typer.echo("Interrupted; kernels that were priced are kept.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if format is BenchFormat.TEXT:
        found.show(_console())
    else:
        typer.echo(found.text(format.value), nl=False)
    if found.failed:
        raise typer.Exit(FAILED)


@app.command()
def listing(
    source: Annotated[str, typer.Argument(metavar="MODEL", help="A model file or name, or a saved Program (.json).")],
    on: Annotated[str | None, typer.Option("--on", help="A device's name or TOML file.")] = None,
    layer: Annotated[str | None, typer.Option(help="The model's layer.")] = None,
    isa: Annotated[str | None, typer.Option("--isa", help="The core's instruction set; default: its best.")] = None,
    form: Annotated[str, typer.Option("--as", help="assembly, or c: a function that a compiler takes.")] = "assembly",
    precision: Annotated[str, typer.Option(help="int8 or fp32.")] = "int8",
    size: SizeOption = None,
) -> None:
    """Print the Program generated for a layer on a device."""
    from simulator.listing import listing_text

    text = listing_text(source, on=on, layer=layer, isa=isa, form=form, precision=precision, sizes=_sizes(size))
    typer.echo(text, nl=False)


@app.command()
def devices(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="A device's name or file.")] = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 (the option's public name)
) -> None:
    """List the devices, or show the figures of some with their sources."""
    from simulator.show_devices import describe, overview

    if format is Format.JSON:
        typer.echo(json.dumps([describe(name) for name in names] if names else overview(), indent=2))
        return
    from reports.text import device_tables, overview_table

    if not names:
        overview_table(overview(), _console())
    for name in names or []:
        device_tables(describe(name), _console())


@app.command()
def check(
    scenario: Annotated[
        Path | None, typer.Argument(help="A scenario file (TOML), or the name of a shipped one.")
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema for editors instead.")] = False,
) -> None:
    """Check a scenario file without running it."""
    from simulator.scenario import json_schema, load_scenario

    if schema:
        typer.echo(json.dumps(json_schema(), indent=2))
    elif scenario is None:
        raise InputError("check", ["no scenario given; name a file, or ask for --schema"])
    else:
        loaded = load_scenario(scenario)
        typer.echo(f"{scenario}: fine ({loaded.title})")


for _command in (record_commands.report, record_commands.compare, measurements.calibrate, measurements.validate):
    app.command()(_command)
app.command()(measurements.runtimes)


def _progress(format: Format) -> Bar:  # noqa: A002 (the option's public name)
    return Bar(shown=format is Format.TEXT and sys.stderr.isatty())


def _check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made, before hours of work are spent on what goes there."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise InputError("--output", [f"{existing} is a file; expected a folder"])
    if not os.access(existing, os.W_OK):
        raise InputError("--output", [f"{existing} cannot be written; choose another folder"])


def _wrong_input() -> tuple[type[ValueError], ...]:
    """Return the errors that mean wrong input; the record's own is known only once reports is loaded."""
    store = sys.modules.get("reports.store")
    return (InputError, *([store.RecordError] if store else []))


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 fine, 1 an expectation failed, 2 wrong input."""
    # Nearly all objects of a command live to its end: looking for garbage among them takes a tenth of the time.
    gc.set_threshold(200_000, 20, 100)
    try:
        app(completed(sys.argv[1:] if arguments is None else arguments))
    except ValueError as error:
        if not isinstance(error, _wrong_input()):
            raise
        typer.echo(str(error), err=True)
        sys.exit(WRONG_INPUT)
