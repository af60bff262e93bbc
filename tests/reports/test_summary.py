"""The answer in a sentence: who is best in what, honest about ties, bands and empty batteries."""

import pytest

from reports import summary


def _with_node(record, label, **changes):
    """Return the record with some figures of the phone under one policy replaced."""
    runs = []
    for run in record.runs:
        nodes = [
            node.model_copy(update=changes) if run.label == label and node.node == "phone" else node
            for node in run.nodes
        ]
        runs.append(run.model_copy(update={"nodes": tuple(nodes)}))
    return record.model_copy(update={"runs": tuple(runs)})


def test_each_node_gets_one_sentence_that_names_the_best_policy_and_the_worst(record):
    assert summary.headline(record) == [
        (
            "On phone, local is best in every respect: 95 % of answers within 5.00 ms (equal to battery-aware), "
            "none late or lost, 80.0 % of the battery left and 15.1 mg CO2e; remote and deadline serve worst "
            "(95 % of answers within 320 ms, with 2 of 10 requests late or lost)."
        ),
        (
            "On wristband, local is best in every respect: 95 % of answers within 100 ms (equal to battery-aware), "
            "none late or lost, 88.0 % of the battery left and 30.0 µg CO2e; remote and deadline serve worst "
            "(95 % of answers within 1.60 s, with 2 of 10 requests late or lost); the battery reaches its cut-off "
            "under remote after 42.0 s and under deadline after 42.0 s."
        ),
    ]


def test_different_winners_are_named_with_what_they_win(record):
    changed = _with_node(record, "remote", battery_end=0.85, carbon_g=0.001)
    assert summary.headline(changed)[0].startswith(
        "On phone, remote is easiest on the battery (85.0 % of the battery left) and lowest in carbon (1.00 mg CO2e); "
        "local and battery-aware tie as fastest (95 % of answers within 5.00 ms); "
        "local is most dependable (none late or lost)"
    )


def test_a_lead_within_the_error_band_is_said_to_be_open(record):
    # The band is a factor of 1.6, so 7 ms may be as good as 5 ms and 9 ms may not.
    changed = _with_node(_with_node(record, "battery-aware", latency_p95_s=0.007), "deadline", latency_p95_s=0.009)
    assert (
        "95 % of answers within 5.00 ms (battery-aware is within the error band of that)"
        in (summary.headline(changed)[0])
    )


def test_the_band_of_a_node_is_the_widest_of_its_own_model_and_the_cloud(record):
    wide = record.models[1].model_copy(update={"latency_low_s": 0.01})
    changed = record.model_copy(update={"models": (record.models[0], wide, record.models[2])})
    assert summary.band_factor(changed, "phone") == pytest.approx(1.6)
    assert summary.band_factor(changed, "wristband") == pytest.approx(10)


def test_policies_that_do_the_same_are_called_alike(record):
    twins = record.model_copy(update={"runs": tuple(record.runs[0].model_copy(update={"label": x}) for x in "abc")})
    assert summary.headline(twins)[0] == (
        "On phone, all 3 are alike: 95 % of answers within 5.00 ms, none late or lost, 1.00 W on average "
        "and 15.1 mg CO2e."
    )


def test_a_single_run_is_described_without_comparison(record):
    assert summary.headline(record.model_copy(update={"runs": record.runs[:1]}))[0] == (
        "On phone, answers take 5.00 ms at the median and 5.00 ms at the 95th percentile; all 10 requests are answered "
        "in time; the battery goes from 90.0 % to 80.0 %; carbon is 15.1 mg CO2e."
    )
    assert summary.headline(record.model_copy(update={"runs": record.runs[1:2]}))[1].endswith(
        "8 of 10 requests are answered in time, 1 late, 1 never; the battery goes from 90.0 % to 5.0 %; "
        "carbon is 3.76 mg CO2e; the battery reaches its cut-off after 42.0 s."
    )


def test_a_node_without_requests_or_without_answers_still_gets_its_sentence(record):
    none = {"latency_mean_s": None, "latency_p50_s": None, "latency_p95_s": None, "latency_p99_s": None}
    single = record.model_copy(update={"runs": record.runs[:1]})
    idle = _with_node(single, "local", requests=0, served=0, **none)
    assert summary.headline(idle)[0] == "On phone, no request arrived."
    lost = _with_node(single, "local", served=0, lost=10, battery_end=None, **none)
    assert summary.headline(lost)[0] == (
        "On phone, 0 of 10 requests are answered in time, 0 late, 10 never; carbon is 15.1 mg CO2e."
    )  # fmt: skip
    dead = _with_node(record, "local", served=0, lost=10, **none)
    assert "battery-aware is fastest" in summary.headline(dead)[0]


def test_caveats_name_violations_what_does_not_fit_and_every_band(record):
    verdict = record.verdicts[0].model_copy(update={"verdict": "violated", "predicted": "200 ms"})
    unfit = record.models[1].model_copy(update={"fits": False})
    changed = record.model_copy(update={"verdicts": (verdict,), "models": (record.models[0], unfit)})
    assert summary.caveats(changed) == [
        "Expectation violated: latency.p95 of local is 200 ms, expected at most 100 ms.",
        "mobilenet does not fit mcu (node wristband).",
        ("Latencies fitted to measurements, and the error to expect: mobilenet on npu (generated) 0.62 to 1.6 times."),
        (
            "Uncalibrated latencies, fitted to no measurement, and the error to expect: "
            "mobilenet on mcu (generated) 0.62 to 1.6 times."
        ),
    ]


def test_a_device_that_costs_nothing_has_no_band(record):
    free = record.models[0].model_copy(update={"latency_s": 0.0, "latency_low_s": 0.0, "latency_high_s": 0.0})
    changed = record.model_copy(update={"models": (free,)})
    assert summary.band_factor(changed, "phone") == 1.0
    assert summary.caveats(changed)[0].endswith("mobilenet on npu (generated) 1.0 to 1.0 times.")
