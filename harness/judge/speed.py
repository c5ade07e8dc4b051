# SPDX-License-Identifier: GPL-2.0-or-later
"""IOPS of a cell over those of `user`, by the pairs of boots in which nothing else had the processor."""

from dataclasses import replace
from typing import Any

from ..measure.disturbance import MOST, worst
from ..record.rows import select
from ..record.schema import AGAIN
from . import stats


def verdict(record: dict[str, Any], job: str, mode: str, registration: str) -> stats.Verdict:
    """A boot in which one of the cells was disturbed is no pair. Too few are left: no verdict, and why; the ratio is then that of all."""
    rows = {name: select(record["speed"], job=job, mode=mode, registration=name) for name in (registration, "user", AGAIN)}
    every = [row for each in rows.values() for row in each]
    shares = {number: worst(row for row in every if row["round"] == number) for number in dict.fromkeys(row["round"] for row in every)}
    good = [number for number, share in shares.items() if share <= MOST]

    def of(name: str, numbers: Any) -> list[float]:
        return stats.rounds((row for row in rows[name] if row["round"] in numbers), "iops")

    enough = len(good) >= min(stats.PAIRS, len(shares))
    kept = good if enough else list(shares)
    found = stats.verdict(of(registration, kept), of("user", kept), of(AGAIN, kept))
    if len(good) == len(shares):
        return found
    why = f"{len(shares) - len(good)} of {len(shares)} pairs disturbed, others had up to {max(shares.values()):.0%} of the processor"
    return replace(found, called=found.called if enough else "", reason="; ".join(filter(None, [found.reason if enough else "", why])))
