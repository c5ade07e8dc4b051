# SPDX-License-Identifier: GPL-2.0-or-later
"""Medians of a cell, and ratios of pairs: the n-th values of two cells come from one boot.

A boot measures each registration forth and back (harness/measure/bench.py), so a pair is free of what drifts within a boot, and of what one boot
has and another has not.  Statistics are of the logarithms of ratios: a half is as far from 1 as a double.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

import numpy
from scipy.stats import binom, gmean

CONFIDENCE = 0.95  # what is sought
INTERVAL = 0.90  # what has less is a range, and not called an interval
PAIRS = 5  # 4 reach 87.5 %: too little for a verdict
EFFECT = 0.05  # below it, no wall-clock ratio of an emulated machine is called anything


@dataclass(frozen=True)
class Estimate:
    value: float
    low: float
    high: float
    confidence: float
    n: int

    @property
    def named(self) -> str:
        """What low and high are: an interval, with its confidence, or what was seen."""
        return f"{self.confidence:.1%} of {self.n}" if self.confidence >= INTERVAL else f"range of {self.n}" if self.n > 1 else "one"


def median(values: Sequence[float]) -> Estimate:
    """Median with its order-statistic interval; below six values that is their range, at less than 95 %."""
    ordered = sorted(values)
    n = len(ordered)
    tails = binom.cdf(numpy.arange((n + 1) // 2), n, 0.5)  # cutting k+1 values a side misses this often
    cut = max(int((tails <= (1 - CONFIDENCE) / 2).sum()) - 1, 0)
    confidence = 1 - 2 * float(binom.cdf(cut, n, 0.5))
    return Estimate(float(numpy.median(ordered)), ordered[cut], ordered[n - 1 - cut], confidence, n)


def rounds(rows: Iterable[dict[str, Any]], value: str) -> list[float]:
    """One number a boot, in the order of the rounds: the geometric mean of the passes of a cell."""
    found: dict[int, list[float]] = {}
    for row in rows:
        found.setdefault(row["round"], []).append(row[value])
    return [float(gmean(passes)) if len(passes) > 1 else passes[0] for _, passes in sorted(found.items())]


@cache
def signed_ranks(n: int) -> Any:
    """How often the sum of the signed ranks of n pairs is at most 0, 1, 2, ... if each sign is a coin's (Wilcoxon, 1945)."""
    ways: Any = reduce(numpy.convolve, (numpy.eye(1, rank + 1, 0)[0] + numpy.eye(1, rank + 1, rank)[0] for rank in range(1, n + 1)))
    return numpy.cumsum(ways) / 2**n


def ratio(after: Sequence[float], before: Sequence[float]) -> Estimate:
    """Typical ratio of a pair, with the interval that inverts the exact signed-rank test (Hodges and Lehmann, 1963).

    It supposes that noise is as likely to raise a pair's ratio as to lower it by the same factor, and no distribution. n pairs reach
    1 - 2^(1-n) at most, as range: 75 % with 3, 93.75 % with 5, 96.9 % with 6.  Beyond six the tails are cut down to 95 %.
    """
    logs = numpy.log(numpy.asarray(after, float) / numpy.asarray(before, float))
    n = len(logs)
    averages = numpy.sort(((logs[:, None] + logs) / 2)[numpy.triu_indices(n)])
    tails = signed_ranks(n)
    cut = max(int((tails <= (1 - CONFIDENCE) / 2 + 1e-12).sum()) - 1, 0)
    low, value, high = numpy.exp([averages[cut], numpy.median(averages), averages[-1 - cut]])
    return Estimate(float(value), float(low), float(high), max(1 - 2 * float(tails[cut]), 0.0), n)


def factor(estimate: Estimate) -> float:
    """From 1 to the far end of the interval, in the logarithm: 1.25 is 0.8 as well."""
    return max(estimate.high, 1 / estimate.low)


@dataclass(frozen=True)
class Verdict:
    """more, less or alike; or none, and why."""

    ratio: Estimate
    band: float  # the factor that the A/A pairs of this cell reach, interval included; 1 if there are none
    called: str  # empty: no verdict
    reason: str

    def __str__(self) -> str:
        return f"{self.called}{self.reason and f' ({self.reason})'}" if self.called else f"no verdict: {self.reason}"


def verdict(after: Sequence[float], before: Sequence[float], again: Sequence[float], effect: float = EFFECT) -> Verdict:
    """`again` is `before` measured once more.  Called is what lies beyond `effect` and beyond the A/A band with its whole interval.

    Pairs that are noise alone are all on one side once in 2^(n-1) times: 6 % with 5, 3 % with 6; and rarely beyond the A/A band then.
    """
    estimate = ratio(after, before)
    band = factor(ratio(again, before)) if len(again) else 1.0
    near = max(estimate.low, 1 / estimate.high)  # below 1: the interval holds 1
    least = 1 + effect

    def none(reason: str) -> Verdict:
        return Verdict(estimate, band, "", reason)

    if not len(again):
        return none("no A/A pair")
    if estimate.n < PAIRS:
        return none(f"{estimate.n} of {PAIRS} pairs")
    if near > max(least, band):
        return Verdict(estimate, band, "more" if estimate.value > 1 else "less", "")
    if factor(estimate) <= least and band <= least:
        return Verdict(estimate, band, "alike", f"within {effect:.0%}")
    if near <= 1 and factor(estimate) > least:
        return none("may be 1")
    if near <= least and factor(estimate) > least:
        return none(f"may be less than {effect:.0%}")
    return none(f"A/A band x{band:.2f}")
