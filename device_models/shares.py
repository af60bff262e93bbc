"""What share of a core's peak the generated kernels reach, beside the best published figure: a page of tables."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from device_models.cores import cost, load_core
from device_models.figures import Figure, Sourced, read_toml, source_faults
from device_models.search import fastest
from workloads.codegen.float_spec import FloatSpec
from workloads.codegen.specs import ConvSpec, MatrixSpec
from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workloads.codegen.float_spec import AnySpec
    from workloads.options import Options

LAYERS: dict[str, tuple[str, ConvSpec | MatrixSpec]] = {
    "3x3": ("3x3, 64 to 64 channels, 56x56", ConvSpec(1, 56, 56, 64, 56, 56, 64, (3, 3), padding=(1, 1))),
    "1x1": ("1x1, 256 to 256 channels, 56x56", ConvSpec(1, 56, 56, 256, 56, 56, 256, (1, 1))),
    "depthwise": (
        "depthwise 3x3, 144 channels, 56x56",
        ConvSpec(1, 56, 56, 144, 56, 56, 144, (3, 3), padding=(1, 1), groups=144, depthwise=True),
    ),
    "fully_connected": ("fully connected, 1024 to 1024", MatrixSpec(1, 1024, 1024)),
}


class Reference(Sourced):
    """A core's peak, and the best that others publish by layer. [MAC/cycle]"""

    name: str
    isa: str
    peak: Figure[float]
    published: dict[str, Figure[float]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Share:
    """One layer on one core: the generator's own choice, and the fastest that is offered. [MAC/cycle]"""

    core: str
    isa: str
    layer: str
    own: float
    best: float
    options: Options
    peak: float
    published: float | None
    source: str

    @property
    def share(self) -> float:
        """Of the peak."""
        return self.best / self.peak


def references(precision: str = "int8") -> tuple[tuple[Reference, ...], dict[str, str]]:
    """Return the peaks and published figures of a precision, "int8" or "fp32", and all sources.

    Raises
    ------
    InputError
        A figure lacks its source, or a source its figure.
    """
    path = Path(str(files("device_models") / "shares.toml"))
    table = read_toml(path)
    found = {key: tuple(Reference.model_validate(entry) for entry in table[key]) for key in ("int8", "fp32")}
    if faults := source_faults([*found["int8"], *found["fp32"]], table["sources"]):
        raise InputError(path, faults)
    return found[precision], table["sources"]


def shares(precision: str = "int8") -> tuple[Share, ...]:
    """Price every layer on every core, with all data near; in float32 with a ReLU."""
    return tuple(
        _share(reference, layer, FloatSpec(spec, ("low",)) if precision == "fp32" else spec)
        for reference in references(precision)[0]
        for layer, (_, spec) in LAYERS.items()
    )


def _share(reference: Reference, layer: str, spec: ConvSpec | MatrixSpec | FloatSpec) -> Share:
    """Price one layer on one core."""
    core = load_core(reference.name)
    found = fastest(spec, core, reference.isa)
    published = reference.published.get(layer)
    return Share(
        core=reference.name,
        isa=reference.isa,
        layer=layer,
        own=spec.macs / _own_cycles(spec, reference),
        best=spec.macs / found.cost.cycles,
        options=found.options,
        peak=reference.peak.value,
        published=None if published is None else published.value,
        source="" if published is None else published.source,
    )


def _own_cycles(spec: AnySpec, reference: Reference) -> float:
    """Return the cycles of the generator's own choice. [cycle]"""
    from workloads.codegen import generate

    core = load_core(reference.name)
    return cost(generate(spec, core.isa(reference.isa)), core).cycles


_HEAD = """# What share of a core's peak the generated kernels reach

`device_models.shares.page()` makes this page and a test keeps it so. Figures are multiply-accumulates per cycle, first
in int8, of one core with all data in its nearest memory, as its core model prices them; "own" is what the generator
chooses by itself, "best" what the search over its options finds. Published figures are measured on boards and machines,
memory and all, unless their source says otherwise: they say what is credible, and nothing is tuned to them.
"""


_FLOATS = """
# In float32

The same layers, each followed by a ReLU. Winograd's algorithm does the work of more multiply-accumulates than it
executes, so that its share of the peak may exceed one.
"""


def page() -> str:
    """Return the page in Markdown."""
    int8, fp32, sources = shares(), shares("fp32"), references()[1]
    parts = [_HEAD, *_tables(int8), _FLOATS, *_tables(fp32)]
    used = {reference.peak.source for precision in ("int8", "fp32") for reference in references(precision)[0]}
    used |= {share.source for share in (*int8, *fp32)}
    parts.append("\n## Sources\n\n")
    parts += [f"- {name}: {text}\n" for name, text in sources.items() if name in used]
    return "".join(parts)


def _tables(found: tuple[Share, ...]) -> Iterator[str]:
    """Yield a table per layer."""
    for layer, (title, _) in LAYERS.items():
        yield f"\n## {title[0].upper()}{title[1:]}\n\n"
        yield "| core | set | own | best | with | peak | share | published | source |\n"
        yield "|---|---|--:|--:|---|--:|--:|--:|---|\n"
        yield from (_line(share) for share in found if share.layer == layer)


def _line(share: Share) -> str:
    """Return a share as a row of a table."""
    published = "-" if share.published is None else f"{share.published:.3g}"
    cells = (
        share.core, share.isa, f"{share.own:.3g}", f"{share.best:.3g}", str(share.options), f"{share.peak:g}",
        f"{share.share:.0%}", published, share.source or "none is public",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |\n"
