# SPDX-License-Identifier: GPL-2.0-or-later
"""Medians and their intervals, by scipy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from scipy.stats import binom, bootstrap, mannwhitneyu

CONFIDENCE = 0.95
RESAMPLES = 9999
SEED = 7
SIGNIFICANT = 0.01  # two-sided; five against five runs can reach 0.008
EFFECT = 0.05  # below it, no wall-clock ratio of an emulated machine is called anything


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


@dataclass(frozen=True)
class Verdict:
    """A change is called only if interval, effect, rank test and every boot by itself agree."""

    ratio: Estimate
    band: float  # how far the A/A pair of this cell is from 1, interval included; 0 if there is none
    p: float
    objections: tuple[str, ...]

    def __str__(self) -> str:
        return "~" if self.objections else "more" if self.ratio.value > 1 else "less"


def distance(estimate: Estimate) -> float:
    """Of the far end of the interval from 1."""
    return max(abs(estimate.low - 1), abs(estimate.high - 1))


def verdict(after: Sequence[float], before: Sequence[float], again: Sequence[float]) -> Verdict:
    """`again` is `before` measured once more; the n-th values come from one boot, which is how a boot confirms another."""
    estimate = ratio(after, before)
    band = distance(ratio(again, before)) if len(again) > 1 else 0.0
    p = float(mannwhitneyu(after, before, alternative="two-sided", method="exact").pvalue)
    least = max(EFFECT, 2 * band)
    side = 1 if estimate.value > 1 else -1
    alone = [side * (x / y - 1) > least for x, y in zip(after, before, strict=True)]
    objections = {
        "no repetition": estimate.n < 2,
        "no A/A pair": len(again) < 2,
        "interval holds 1": estimate.low <= 1 <= estimate.high,
        f"effect <= {least:.0%}": abs(estimate.value - 1) <= least,
        f"p >= {SIGNIFICANT:g}": p >= SIGNIFICANT,
        f"not in {alone.count(False)} of {len(alone)} boots": not all(alone),
    }
    return Verdict(estimate, band, p, tuple(text for text, holds in objections.items() if holds))
