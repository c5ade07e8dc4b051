# SPDX-License-Identifier: GPL-2.0-or-later
"""Known samples, known answers."""

import random

import pytest

from harness import stats


def test_median_and_its_range():
    estimate = stats.median([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (3.0, 1.0, 5.0, 5)
    assert estimate.confidence == 1 - 2 / 2**5  # that all five lie on one side of the median


def test_more_values_cut_the_tails():
    estimate = stats.median([float(value) for value in range(20)])
    assert (estimate.low, estimate.high) == (5.0, 14.0)
    assert 0.95 <= estimate.confidence < 0.97


def test_one_value_has_no_confidence():
    assert stats.median([4.0]).confidence == 0


def test_ratio_of_medians():
    assert stats.ratio([10.0, 20.0, 30.0], [5.0, 10.0, 15.0]).value == 2.0


def test_the_interval_holds_the_truth_as_often_as_it_says():
    source = random.Random(1)
    hits = 0
    for _ in range(40):
        after, before = ([source.gauss(mean, 1) for _ in range(15)] for mean in (20, 10))
        estimate = stats.ratio(after, before)
        hits += estimate.low <= 2 <= estimate.high
    assert 33 <= hits


def test_the_same_seed_every_time():
    assert stats.ratio([1.0, 2.0, 4.0], [1.0, 1.5, 2.0]) == stats.ratio([1.0, 2.0, 4.0], [1.0, 1.5, 2.0])


NOISE = [100.0, 101, 102, 103, 104]


def test_a_clear_change_is_called():
    found = stats.verdict([200.0, 201, 202, 203, 204], NOISE, [101.0, 100, 103, 102, 104])
    assert str(found) == "more" and found.objections == () and found.p < 0.01
    assert str(stats.verdict([50.0, 51, 52, 53, 54], NOISE, NOISE)) == "less"


@pytest.mark.parametrize("after, again, objection", (
    ([103.0, 101, 104, 102, 100], NOISE, "interval holds 1"),
    ([103.0, 104, 105, 106, 107], NOISE, "effect <= "),  # significant, and too small to matter
    ([115.0, 116, 117, 118, 119], [113.0, 112, 90, 112, 113], "effect <= "),  # no larger than twice what user and user differ by
    ([200.0, 201, 202, 203, 101], NOISE, "p >= 0.01"),
    ([200.0, 201, 202, 203, 106], NOISE, "not in 1 of 5 boots"),
    ([200.0, 201, 202, 203, 204], [], "no A/A pair"),
))
def test_each_objection_is_enough(after, again, objection):
    found = stats.verdict(after, NOISE, again)
    assert str(found) == "~" and any(text.startswith(objection) for text in found.objections)


def test_three_against_three_can_never_be_called():
    assert "p >= 0.01" in stats.verdict([200.0, 201, 202], NOISE[:3], NOISE[:3]).objections
