"""Memory plots show every tensor, the peak and the size of the memories, as a file or on a page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from reports.memory_plot import Block, MemoryMap, Store, html, plot, svg

MAP = MemoryMap(
    title="a <net> on a chip",
    steps=("input", "conv", "sum"),
    blocks=(
        Block("image", "input", 0, 16384, 0, 1),
        Block("conv", "activation", 16384, 32768, 1, 2),
        Block("conv (scratch)", "scratch", 49152, 4096, 1, 1),
        Block("sum", "output", 0, 16384, 2, 2),
    ),
    weights_bytes=(0, 9000, 0),
    peak_bytes=53248,
    peak_step=1,
    stores=(
        Store("the chip's sram", 65536.0, (("arena", 53248.0), ("state", 1024.0))),
        Store("the chip's flash", 524288.0, (("weights", 9000.0),)),
    ),
)


def test_the_picture_is_a_file_that_parses_and_tells_the_peak_and_the_memories() -> None:
    text = svg(MAP)
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own text
    for shown in ("peak 52.0 KiB at conv", "end of the chip's sram, 64.0 KiB", "state 1.00 KiB", "weights 8.79 KiB"):
        assert shown.replace("'", "&#x27;") in text or shown in text


def test_the_same_map_gives_the_same_bytes() -> None:
    assert svg(MAP) == svg(MAP)
    assert html(MAP) == html(MAP)


def test_the_page_fetches_nothing_and_escapes_names() -> None:
    page = html(MAP)
    assert "a &lt;net&gt; on a chip" in page
    assert "<net>" not in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page.replace("http://www.w3.org", ""))
    assert re.search(r"<th scope=\"row\">conv</th><td>activation</td><td class=\"number\">32.0 KiB</td>", page)


def test_the_end_of_a_memory_far_away_is_drawn_in_its_own_bar_only() -> None:
    far = replace(MAP, stores=(replace(MAP.stores[0], capacity_bytes=2.0**20), MAP.stores[1]))
    assert "end of" not in svg(far)
    assert "5.2 % of 1.00 MiB" in svg(far)


def test_what_does_not_fit_is_said() -> None:
    small = replace(MAP, stores=(replace(MAP.stores[0], capacity_bytes=32768.0),))
    assert "does not fit" in plot(small).svg


@pytest.mark.parametrize("steps", [2, 200])
def test_networks_of_any_depth_are_drawn(steps: int) -> None:
    names = tuple(f"layer{index}" for index in range(steps))
    blocks = tuple(Block(name, "activation", 64 * (index % 2), 64, index, index) for index, name in enumerate(names))
    deep = replace(MAP, steps=names, blocks=blocks, weights_bytes=(1,) * steps, peak_bytes=128)
    assert ("layer0" in plot(deep).svg) == (steps == 2)
