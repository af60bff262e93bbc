"""Reports on the terminal: the answer, the comparison, the evidence in brief; predictions and devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports import summary, tables
from reports.formats import MISSING, band, duration, engineering, percent, significant, size
from reports.tables import Cell, Table, cells

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from reports.record import Record


SHORT = 12  # a number of so many characters is not broken over lines


def render(record: Record, console: Console) -> None:
    """Print the answer in sentences, then the tables, then what it rests on."""
    console.print(_plain(record.title, "bold"))
    if record.question:
        console.print(_plain(record.question, "italic"))
    console.print()
    for sentence in summary.headline(record):
        console.print(_plain(sentence))
    for table in (*tables.comparison(record), tables.verdicts(record), tables.models(record)):
        if table:
            console.print()
            print_table(table, console)
    console.print()
    for sentence in summary.caveats(record):
        console.print(_plain(sentence, "yellow"))
    if record.assumptions:
        console.print(_plain(f"It rests on {len(record.assumptions)} assumptions, listed in the report.", "dim"))
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    console.print(_plain(f"Simulated {duration(record.duration_s)} with seed {record.seed}; {versions}.", "dim"))


def print_table(table: Table, console: Console, *, wrap_first: bool = False, marked: bool = False) -> None:
    """Print one table; the best of a column is green, what needs attention red.

    Parameters
    ----------
    wrap_first
        Whether the first column wraps where there is no room; short numbers never do.
    marked
        Whether what needs attention is marked where there are no colors.
    """
    import rich.box
    import rich.table

    plain = marked and (console.color_system is None or console.no_color)
    rows, titles, numbers = table.rows, table.columns, table.numeric
    if table.grouped:
        rows, titles, numbers = _under_groups(table), (", ".join(titles[:2]), *titles[2:]), numbers[1:]
    shown = rich.table.Table(
        title=_plain(table.title),
        title_justify="left",
        title_style="bold",
        box=rich.box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        caption=_plain(table.note) if table.note else None,
        caption_justify="left",
    )
    for index, (title, numeric) in enumerate(zip(titles, numbers, strict=True)):
        whole = all(len(row[index].text) <= SHORT for row in rows) if numeric else index == 0 and not wrap_first
        shown.add_column(
            _plain(title),
            justify="right" if numeric else "left",
            overflow="ellipsis" if whole else "fold",
            no_wrap=whole,
        )
    for row in rows:
        shown.add_row(*(_plain(_marked(cell) if plain else cell.text, _style(cell)) for cell in row))
    console.print(shown)


def _marked(cell: Cell) -> str:
    """Return a cell's text, marked if it needs attention."""
    return f"! {cell.text}" if cell.alarm else cell.text


def _under_groups(table: Table) -> tuple[tuple[Cell, ...], ...]:
    """Return the rows without their first cell, which stands once above those that have it in common."""
    rows: list[tuple[Cell, ...]] = []
    last = None
    for group, name, *rest in table.rows:
        if group.text != last:
            last = group.text
            rows.append((group, *(Cell("") if name.text else each for each in rest)))
        if name.text:
            rows.append((Cell(f"  {name.text}"), *rest))
    return tuple(rows)


def predictions_table(rows: Sequence[Mapping[str, Any]], console: Console, *, layers: bool = False) -> None:
    """Print predictions, rows with the keys of ``presage predict --format json``; with ``layers`` each layer too."""
    columns = [_prediction(row) for row in rows]
    titles = list(columns[0]) if columns else []
    # What is the same for all is said once, so that the rest fits a screen.
    common = [title for title in _SETTINGS if len({row[title].text for row in columns}) == 1]
    shown = [title for title in titles if title not in common and any(row[title].text for row in columns)]
    settings = ", ".join(f"{title} {columns[0][title].text}" for title in common)
    heading = f"Predictions ({settings})" if settings else "Predictions"
    body = tuple(tuple(row[title] for title in shown) for row in columns)
    numeric = tuple(title not in ("model", "device", "runtime", "precision", "bound by") for title in shown)
    print_table(Table(heading, tuple(shown), body, numeric), console)
    remarks: dict[str, list[str]] = {}
    for row in rows:
        for remark in _remarks(row):
            remarks.setdefault(remark, []).append(f"{row['model']} on {row['device']}")
    for remark, places in remarks.items():
        console.print(_plain(f"{', '.join(places)}: {remark}", "yellow"))
    if layers:
        for row in rows:
            console.print()
            print_table(_layer_table(row), console)


_SETTINGS = ("runtime", "precision", "batch", "threads")


def _prediction(row: Mapping[str, Any]) -> dict[str, Cell]:
    calibrated = bool(row.get("calibrated", False))
    return {
        **{key: Cell(str(row[key])) for key in ("model", "device", *_SETTINGS)},
        "clock": Cell(engineering(row["frequency_hz"], "Hz")),
        "work": Cell(engineering(row["macs"], "MAC")),
        "weights": Cell(size(row["weights_bytes"])),
        "peak RAM": Cell(size(row["peak_ram_bytes"])),
        "fits": Cell("yes" if row["fits"] else "no", alarm=not row["fits"]),
        "latency (error band)": Cell(
            band(row["latency_s"], row["latency_low_s"], row["latency_high_s"], calibrated=calibrated)
        ),
        "energy": Cell(engineering(row["energy_j"], "J")),
        "power": Cell(engineering(row["average_power_w"], "W")),
        "bound by": Cell(_bound(row)),
    }


def _bound(row: Mapping[str, Any]) -> str:
    """Which resource binds most of the time, and its share; empty without layers."""
    if row.get("bound"):
        return str(row["bound"])
    times: dict[str, float] = {}
    for layer in row.get("layers", ()):
        times[layer["bound"]] = times.get(layer["bound"], 0.0) + layer["latency_s"]
    total = sum(times.values())
    if not total:
        return ""
    largest = max(times, key=lambda bound: times[bound])
    return f"{largest} ({percent(times[largest] / total, 0)})"


def _remarks(row: Mapping[str, Any]) -> list[str]:
    found = [str(note) for note in row.get("notes", ())]
    if row["coverage"] < 1:
        names = ", ".join(str(name) for name in row.get("uncovered", ())) or "see the coverage"
        found.insert(0, f"only {percent(row['coverage'])} of the layers carry a cost; without one: {names}")
    return found


def _layer_table(row: Mapping[str, Any]) -> Table:
    total_s = row["latency_s"]
    titles = (
        "layer", "operator", "MAC", "cycles", "compute", "memory", "overhead", "latency", "share", "energy", "moved",
        "bound by",
    )  # fmt: skip
    body = tuple(
        (
            *cells((layer["name"], layer["op"], engineering(layer["macs"], ""), engineering(layer["cycles"], ""))),
            *cells(engineering(layer[key], "s") for key in ("compute_s", "memory_s", "overhead_s", "latency_s")),
            Cell(percent(layer["latency_s"] / total_s) if total_s else MISSING),
            Cell(engineering(layer["energy_j"], "J")),
            Cell(size(layer["bytes"])),
            Cell(layer["bound"]),
        )
        for layer in row.get("layers", ())
    )
    title = f"{row['model']} on {row['device']}, layer by layer"
    return Table(title, titles, body, (False, False, *(True,) * 9, False))


def overview_table(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print a table per family with one line per device: the other keys of the rows are the columns, in their order."""
    if not rows:
        console.print("No device is known.")
        return
    titles = tuple(title for title in rows[0] if title != "family")
    numeric = tuple(_is_number(rows[0][title]) for title in titles)
    for family in dict.fromkeys(row.get("family", "Devices") for row in rows):
        shown = [row for row in rows if row.get("family", "Devices") == family]
        body = tuple(cells(_shown(title, row.get(title)) for title in titles) for row in shown)
        print_table(Table(family, tuple(_heading(title) for title in titles), body, numeric), console)


def device_tables(device: Mapping[str, Any], console: Console) -> None:
    """Print the figures of a device, section by section, with their sources.

    Parameters
    ----------
    device
        ``title`` and ``name`` (text), ``sections`` (name of the section to its figures, each of name, value text,
        source text and range text, or the same as a mapping) and ``sources`` (key to full reference).
    """
    console.print(_plain(str(device.get("title") or device.get("name", "")), "bold"))
    for name, figures in device.get("sections", {}).items():
        quads = [_figure(figure) for figure in figures]
        width = 4 if any(quad[3] for quad in quads) else 3
        titles = ("figure", "value", "source", "range")[:width]
        body = tuple(cells(quad[:width]) for quad in quads)
        console.print()
        is_number = not any(";" in quad[1] for quad in quads)  # a list of timings is text
        table = Table(str(name), titles, body, (False, is_number, False, False)[:width])
        print_table(table, console, wrap_first=True)
    references = device.get("sources", {})
    if references:
        console.print()
        body = tuple(cells((str(key), str(text))) for key, text in references.items())
        print_table(Table("Sources", ("key", "reference"), body, (False, False)), console)


def _figure(figure: Any) -> tuple[str, str, str, str]:
    found = [figure.get(key) for key in ("name", "value", "source", "range")] if isinstance(figure, dict) else figure
    texts = ["" if text is None else str(text) for text in found]
    name, value, source, spread = [*texts, "", "", ""][:4]
    return name, value, source, spread


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(key: str, value: object) -> str:
    """Text of a value by the unit in its key's suffix."""
    if value is None:
        return MISSING
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    units = {"_hz": "Hz", "_w": "W", "_j": "J", "_s": "s", "_macs_per_s": "MAC/s", "_bytes_per_s": "B/s"}
    if key.endswith("_bytes"):
        return size(value)
    unit = next((units[suffix] for suffix in sorted(units, key=len, reverse=True) if key.endswith(suffix)), None)
    if unit:
        return engineering(value, unit)
    return str(value) if isinstance(value, int) else significant(value)


def _heading(key: str) -> str:
    for suffix in ("_macs_per_s", "_bytes_per_s", "_bytes", "_hz", "_w", "_j", "_s"):
        key = key.removesuffix(suffix)
    return key.replace("_", " ")


def _style(cell: Cell) -> str:
    return "bold red" if cell.alarm else "green" if cell.best else ""


def _plain(text: str, style: str = "") -> Any:
    """Text that rich prints as it is: brackets in a name are no markup."""
    from rich.text import Text

    return Text(text, style=style)
