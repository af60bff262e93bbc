"""Two records side by side."""

from reports.compare import compare, comparison


def _swapped(record):
    """Return the record with what remote did under the label local."""
    local = record.runs[0].model_copy(update={"nodes": record.runs[1].nodes})
    return record.model_copy(update={"runs": (local, *record.runs[1:])})


def test_a_record_compared_with_itself_shows_no_change(record):
    text = compare(record, record)
    assert "- Scenario, seed, duration and versions are the same." in text
    assert "- phone, local: nothing changed." in text
    assert "|" not in text


def test_figures_stand_side_by_side_with_difference_and_relative_change(record):
    text = compare(record, _swapped(record))
    assert "### phone, local\n\n| metric | A | B | B - A | change |" in text
    assert "| p95 | 5.00 ms | 320 ms | +315 ms | ×64 (!) |" in text  # noqa: RUF001 (the sign of multiplication)
    assert "| in time | 100 % | 80.0 % | -20.0 points | -20.0 % (!) |" in text
    assert "| energy | 100 J | 120 J | +19.5 J | +19.4 % (!) |" in text
    assert "- phone, remote: nothing changed." in text


def test_improvements_are_marked_as_such(record):
    table = comparison(_swapped(record), record)[0]
    marks = {row[0].text: (row[-1].best, row[-1].alarm) for row in table.rows}
    assert marks["p95"] == (True, False)
    assert marks["battery left"] == (True, False)
    assert marks["local"] == (False, False)


def test_single_runs_are_compared_whatever_their_labels(record):
    first, second = (record.model_copy(update={"runs": (run,)}) for run in record.runs[:2])
    assert "### phone, local and remote" in compare(first, second)


def test_what_differs_in_the_question_is_said_first(record):
    other = record.model_copy(
        update={"seed": 8, "duration_s": 200.0, "scenario": "", "versions": {"presage": "0.2.0", "python": "3.11"}}
    )
    lines = compare(record, other).splitlines()[2:6]
    assert lines == [
        "- The seeds differ: 7 and 8; part of any change is chance.",
        "- The durations differ: 100 s and 3.33 min.",
        "- The scenario files differ.",
        "- The version of presage differs: 0.1.0 and 0.2.0.",
    ]


def test_runs_and_models_without_a_partner_are_listed(record):
    fewer = record.model_copy(update={"runs": record.runs[:2], "models": record.models[:2]})
    text = compare(record, fewer)
    assert "- Only in A: phone, battery-aware" in text
    assert "- Only in A: mobilenet server generated int8" in text
    assert "- Only in B" not in text


def test_a_model_that_became_slower_is_shown(record):
    slower = record.models[0].model_copy(update={"latency_s": 0.006})
    text = compare(record, record.model_copy(update={"models": (slower, *record.models[1:])}))
    assert "| mobilenet npu generated int8 | latency | 5.00 ms | 6.00 ms | +1.00 ms | +20.0 % |" in text
