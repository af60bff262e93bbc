"""A page of sentences, plots and tables: as text, Markdown and self-contained HTML."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reports.markdown import escape, table_block
from reports.templating import source, template

if TYPE_CHECKING:
    from rich.console import Console

    from reports.canvas import Plot
    from reports.tables import Table


@dataclass(frozen=True)
class Page:
    """What a page says; plots are drawn only where they can be seen."""

    title: str
    headline: tuple[str, ...]
    tables: tuple[Table, ...]
    plots: tuple[Plot, ...] = ()


def html(page: Page) -> str:
    """Return the page as one file that opens without a network."""
    text = template("page.html.j2").render(page=page, style=source("report.css"))
    return f"{text.strip()}\n"


def markdown(page: Page, images: tuple[str, ...] = ()) -> str:
    """Return the page as Markdown; ``images`` are paths of its plots, shown where they are given."""
    blocks = [f"# {escape(page.title)}", *(f"**{escape(sentence)}**" for sentence in page.headline)]
    for plot, path in zip(page.plots, images, strict=False):
        blocks += [f"![{escape(plot.alt)}]({path})", escape(plot.caption)]
    return "\n\n".join([*blocks, *map(table_block, page.tables)]) + "\n"


def image(plot: Plot) -> str:
    """Return a plot as an SVG file of its own, in colors that any background shows."""
    svg = plot.svg.replace("currentColor", "#555555").replace("var(--line)", "#bbbbbb")
    return svg.replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ', 1
    )


def show(page: Page, console: Console) -> None:
    """Print the page without its plots, the summary last: that is what stays in sight."""
    from rich.text import Text

    console.print(Text(page.title, "bold"))
    for table in reversed(page.tables):
        show_table(table, console)
    for sentence in page.headline:
        console.print(Text(sentence))


def show_table(table: Table, console: Console) -> None:
    """Print a table under its title, with its note below."""
    from rich.text import Text

    from reports.text import print_table

    console.print(Text(table.title, "bold"))  # a title inside the table would be as narrow as it
    print_table(replace(table, title="", note=""), console, wrap_first=True, marked=True)
    console.print(Text(f"{table.note}\n" if table.note else ""))
