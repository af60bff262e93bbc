"""The comparison and the evidence as cells, checked against sums one can do in the head."""

from reports import evidence, tables


def _texts(table, label):
    row = next(row for row in table.rows if any(cell.text == label for cell in row))
    return dict(zip(table.columns, (cell.text for cell in row), strict=True))


def test_the_comparison_has_a_table_per_node_and_a_row_per_run(record):
    phone, wristband = tables.comparison(record)
    assert [phone.title, wristband.title] == ["On phone", "On wristband"]
    assert [row[0].text for row in phone.rows] == ["local", "remote", "deadline", "battery-aware"]
    assert _texts(phone, "remote") == {
        "run": "remote", "requests": "10", "in time": "80.0 %", "late": "1", "lost": "1", "median": "50.0 ms",
        "p95": "320 ms", "p99": "464 ms", "local": "0 %", "energy": "120 J", "mean power": "1.20 W",
        "battery left": "78.0 %", "battery life": "11.8 min", "carbon": "18.8 mg",
    }  # fmt: skip


def test_how_to_read_the_comparison_is_said_once(record):
    assert [bool(table.note) for table in tables.comparison(record)] == [False, True]


def test_equal_text_shares_the_best_mark_and_all_equal_has_none(record):
    phone = tables.comparison(record)[0]
    p95 = [row[phone.columns.index("p95")] for row in phone.rows]
    assert [cell.best for cell in p95] == [True, False, False, True]
    same = tables.comparison(record.model_copy(update={"runs": record.runs[:1]}))[0]
    assert not any(cell.best for row in same.rows for cell in row)


def test_late_and_lost_requests_are_marked_for_attention(record):
    phone = tables.comparison(record)[0]
    alarms = {
        (row[0].text, title) for row in phone.rows for title, cell in zip(phone.columns, row, strict=True) if cell.alarm
    }
    assert alarms == {("remote", "late"), ("remote", "lost"), ("deadline", "late"), ("deadline", "lost"),
                      ("battery-aware", "lost")}  # fmt: skip


def test_a_metric_that_no_run_has_gets_no_column(record):
    def on_mains(run):
        nodes = (x.model_copy(update={"battery_end": None, "battery_life_s": None}) for x in run.nodes)
        return run.model_copy(update={"nodes": tuple(nodes)})

    mains = record.model_copy(update={"runs": tuple(on_mains(run) for run in record.runs)})
    assert not {"battery left", "battery life"} & set(tables.comparison(mains)[0].columns)


def test_verdicts_are_shown_with_their_reasons(record):
    table = tables.verdicts(record)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["expectation", "latency.p95", "local", "at most 100 ms", "5.00 ms", "met", "-"],
        ["claim", "latency.p95", "remote", "83 ms", "320 ms", "optimistic", "The outage is not in the claim."],
    ]
    assert [row[5].alarm for row in table.rows] == [False, True]
    assert tables.verdicts(record.model_copy(update={"verdicts": ()})) is None


def test_models_are_shown_with_band_and_fit(record):
    unfit = record.models[1].model_copy(update={"fits": False})
    table = tables.models(record.model_copy(update={"models": (record.models[0], unfit)}))
    assert _texts(table, "node wristband")["latency (error band)"] == "100 ms (62-160 ms, uncalibrated)"
    assert [row[table.columns.index("fits")].alarm for row in table.rows] == [False, True]
    assert tables.models(record.model_copy(update={"models": ()})) is None


def test_decisions_count_every_request_with_its_reason(record):
    rows = [[cell.text for cell in row] for row in evidence.decisions(record).rows]
    assert ["phone", "deadline", "local", "fast enough here", "5", "50.0 %"] in rows
    assert ["phone", "battery-aware", "remote", "the link is good", "1", "10.0 %"] in rows
    assert sum(int(row[4]) for row in rows) == 4 * 2 * 10


def test_phases_are_means_over_the_requests_that_have_them(record):
    rows = [[cell.text for cell in row] for row in evidence.phases(record).rows]
    # Of ten, eight take 25 ms up, one 250 ms, one is lost before it starts: 45 ms in the mean.
    remote = dict(
        zip(evidence.phases(record).columns, next(r for r in rows if r[:2] == ["phone", "remote"]), strict=True)
    )
    assert (remote["uplink"], remote["compute"], remote["network"]) == ("45.0 ms", "-", "-")


def test_energy_is_shown_by_part_and_elsewhere(record):
    row = _texts(evidence.energies(record), "deadline")
    assert (row["compute"], row["radio"], row["idle"]) == ("250 mJ", "10.0 J", "100 J")
    assert (row["cloud (elsewhere)"], row["network (elsewhere)"]) == ("2.50 J", "-")


def test_sampling_says_when_a_percentile_cannot_be_bounded(record):
    row = _texts(evidence.sampling(record), "remote")
    assert row["p95 within"] == "-"
    assert row["late or lost within"] == "5.7 % .. 51.0 %"


def test_columns_of_a_node_are_empty_where_the_run_lacks_them(record):
    run = record.runs[0]
    assert evidence.column(run, "phone", "downlink_s") == [None] * 10
    assert evidence.column(run, "nobody", "latency_s") == []
    assert evidence.latencies_s(record.runs[1], "phone") == [0.05] * 8 + [0.5]
