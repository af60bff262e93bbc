"""The Markdown report: the same order, and names that stay names."""

from reports import markdown


def test_the_answer_comes_first_then_the_comparison_then_the_evidence(record):
    text = markdown.render(record)
    parts = ["# Screening", "## Answer", "**On phone, local is best", "## Comparison", "### On phone", "## Evidence",
             "### Models and devices", "### Where requests went", "### Assumptions", "### Sources", "### Versions",
             "with seed 7", "```toml"]  # fmt: skip
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_tables_have_as_many_cells_in_every_row(record):
    for block in markdown.render(record).split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.replace(r"\|", "").count("|") for line in rows}) <= 1


def test_names_cannot_become_markup():
    assert markdown.escape("a|b\n<script> *x* [l](u) `c` _d_") == (
        r"a\|b \<script\> \*x\* \[l\](u) \`c\` \_d\_"
    )  # fmt: skip


def test_a_scenario_with_a_fence_gets_a_longer_one():
    assert markdown.fenced("a\n````\nb", "toml") == "`````toml\na\n````\nb\n`````"
