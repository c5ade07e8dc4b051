# SPDX-License-Identifier: GPL-2.0-or-later
"""Medians and their intervals, by scipy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from scipy.stats import binom, bootstrap

CONFIDENCE = 0.95
RESAMPLES = 9999
SEED = 7


@dataclass(frozen=True)
class Estimate:
    value: float
    low: float
    high: float
    confidence: float
    n: int


def median(values: Sequence[float]) -> Estimate:
    """Median with its order-statistic interval; below six values that is their range, at less than 95 %."""
    ordered = sorted(values)
    n = len(ordered)
    tails = binom.cdf(numpy.arange((n + 1) // 2), n, 0.5)  # cutting k+1 values a side misses this often
    cut = max(int((tails <= (1 - CONFIDENCE) / 2).sum()) - 1, 0)
    confidence = 1 - 2 * float(binom.cdf(cut, n, 0.5))
    return Estimate(float(numpy.median(ordered)), ordered[cut], ordered[n - 1 - cut], confidence, n)


def ratio(after: Sequence[float], before: Sequence[float]) -> Estimate:
    """Ratio of medians with a percentile bootstrap interval; runs are the unit, the seed is fixed."""
    def statistic(x: Any, y: Any, axis: int = -1) -> Any:
        return numpy.median(x, axis=axis) / numpy.median(y, axis=axis)

    value = float(statistic(numpy.asarray(after), numpy.asarray(before)))
    n = min(len(after), len(before))
    if n < 2:
        return Estimate(value, value, value, 0.0, n)
    interval = bootstrap((after, before), statistic, n_resamples=RESAMPLES, confidence_level=CONFIDENCE,
                         method="percentile", vectorized=True, random_state=SEED).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high), CONFIDENCE, n)
