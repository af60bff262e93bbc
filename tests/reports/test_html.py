"""The page: self-contained, answer first, safe against names, and quiet in a real browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from reports import html

SECTIONS = ["answer", "comparison", "plots", "evidence"]


@pytest.fixture(scope="module")
def page(record):
    return html.render(record)


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def _parsed(page):
    parser = _Tags()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_the_answer_comes_first_then_the_table_then_the_evidence(page):
    tags = _parsed(page).tags
    assert [attrs["id"] for tag, attrs in tags if tag == "section"] == SECTIONS
    places = [
        page.index(part) for part in ("On phone, local is best", "<table>", "<svg", "Models and devices", "<details>")
    ]
    assert places == sorted(places)


def test_the_evidence_names_models_sources_bands_assumptions_seed_versions_and_scenario(page):
    evidence = page[page.index('id="evidence"') :]
    for part in ("mobilenet", "62-160 ms, uncalibrated", "A data sheet, table 3", "tail is one second", "seed 7",
                 "presage 0.1.0", "python 3.11", "duration = &#34;100 s&#34;"):  # fmt: skip
        assert part in evidence


def test_nothing_is_fetched_and_nothing_is_executed(page):
    parser = _parsed(page)
    for tag, attrs in parser.tags:
        assert tag not in {"script", "iframe", "object", "embed", "base", "form"}
        assert not any(name.startswith("on") for name in attrs)
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert attrs.get(name, "#").startswith(("#", "data:"))
    assert "@import" not in page
    assert re.findall(r"url\((?!#|\"#)", page) == []
    assert "http://" not in page
    assert "https://" not in page


def test_the_page_itself_forbids_what_it_does_not_need(page):
    policy = next(attrs["content"] for tag, attrs in _parsed(page).tags if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_it_is_small(page):
    assert len(page.encode()) < 1_000_000


def test_every_table_has_headings_and_every_plot_an_alternative(page):
    tags = _parsed(page).tags
    assert sum(tag == "table" for tag, _ in tags) == 8
    assert all(attrs.get("aria-label") for tag, attrs in tags if attrs.get("role") == "img")
    assert sum(tag == "svg" for tag, _ in tags) == sum(attrs.get("role") == "img" for _, attrs in tags) == 9


def test_names_with_markup_are_shown_and_not_executed(record):
    attack = "</title><script>alert(1)</script><img src=x onerror=alert(2)>"
    run = record.runs[0].model_copy(update={"label": attack})
    layer = record.models[0].layers[0].model_copy(update={"name": attack})
    model = record.models[0].model_copy(update={"model": attack, "layers": (layer,)})
    changed = {"title": attack, "runs": (run,), "models": (model,), "question": attack, "scenario": f"</pre>{attack}",
               "assumptions": (attack,), "sources": {attack: attack}, "versions": {attack: attack}}  # fmt: skip
    parser = _parsed(html.render(record.model_copy(update=changed)))
    assert not {"script", "img"} & {tag for tag, _ in parser.tags}
    assert attack in parser.texts


def test_a_record_without_runs_or_models_still_has_its_page(record):
    empty = record.model_copy(update={"runs": (), "models": (), "verdicts": (), "assumptions": (), "sources": {}})
    assert "The record holds no run." in html.render(empty)


def test_the_page_opens_in_a_browser_without_errors_or_requests(page, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    # A copy without the policy tells on itself: what it fetched and what went wrong.
    probe = """<script>
        const told = document.documentElement.dataset;
        addEventListener('error', event => told.error = event.message, true);
        addEventListener('load', () => {
            told.fetched = performance.getEntriesByType('resource').length;
            told.width = document.documentElement.scrollWidth <= innerWidth ? 'fits' : 'overflows';
            told.drawn = [...document.querySelectorAll('svg')].every(svg => svg.getBBox().width > 100);
        });
    </script>"""
    told = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', probe, page)
    assert told != page
    for name, text in (("page.html", page), ("told.html", told)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    dom, log = _opened(browser, tmp_path / "page.html", tmp_path / "profile-1")
    for section in SECTIONS:
        assert f'id="{section}"' in dom
    assert "On phone, local is best in every respect" in dom
    assert "CONSOLE" not in log
    dom, log = _opened(browser, tmp_path / "told.html", tmp_path / "profile-2")
    assert "data-error" not in dom
    assert 'data-fetched="0"' in dom
    assert 'data-width="fits"' in dom
    assert 'data-drawn="true"' in dom
    assert "CONSOLE" not in log


def _opened(browser, path, profile):
    """Return the page's elements after loading, and what the browser logged."""
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
         "--window-size=1200,900", f"--user-data-dir={profile}", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout, done.stderr
