"""Errors: what a wrong name is answered with."""

import pytest

from workloads.errors import did_you_mean

KNOWN = ("cann", "ncnn-2022", "ncnn-2026", "resnet18", "resnet50")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("ncnn", "did you mean 'ncnn-2022' or 'ncnn-2026'?"),
        ("ncnn-2025", "did you mean 'ncnn-2026'?"),
        ("n", "did you mean 'ncnn-2022' or 'ncnn-2026'?"),
        ("resnet", "did you mean 'resnet50'?"),
        ("resnet51", "did you mean 'resnet50'?"),
        ("zebra", "known: cann, ncnn-2022, ncnn-2026, resnet18, resnet50"),
        ("", "known: cann, ncnn-2022, ncnn-2026, resnet18, resnet50"),
    ],
)
def test_a_wrong_name_is_answered_with_what_begins_like_it_or_is_closest(name, answer):
    assert did_you_mean(name, KNOWN) == answer
