# SPDX-License-Identifier: GPL-2.0-or-later
"""Any two records of one kind, cell by cell and metric by metric: before, after, ratio, verdict."""

from math import comb
from statistics import median
from typing import Any

from scipy.stats import mannwhitneyu

from ..fault import Fault
from ..record import mechanisms
from ..record.schema import AGAIN
from . import stats

REPEATS = 0.002  # of instructions: what two runs of one build may differ by
COUNT = 0.02  # operations per I/O: what is done once a batch of 32 is 0.03
SURE = 0.05  # p of the rank test, as benchstat has it; boots of two runs are no pairs. Three against three reach 0.1

Row = dict[str, Any]
Cells = dict[str, list[float]]
INSTRUCTIONS, IOPS = "instructions", "IOPS"


def name_of(row: Row) -> str:
    return f"{row['mode']} {row.get('case') or row['job']} {row['registration']}"


def instructions(result: Row) -> Cells:
    """Per I/O, every round, of any kind of record."""
    found: Cells = {}
    for row in result.get("cells") or result.get("rows") or result.get("cost") or []:
        found.setdefault(name_of(row), []).extend(row.get("rounds") or [row["instructions_per_io"]])
    return found


def medians(result: Row) -> dict[str, float]:
    """Median instructions per I/O."""
    return {name: median(values) for name, values in instructions(result).items()}


def counts(result: Row) -> dict[str, Cells]:
    """Per I/O; of what was counted."""
    found: dict[str, Cells] = {}
    for row in result.get("operations") or result.get("cells") or result.get("rows") or []:
        for name in mechanisms.OF_THE_IO:
            value = row["mechanisms"].get(name) if "mechanisms" in row else row.get(f"{name}_per_io")
            if value is not None:
                found.setdefault(mechanisms.TITLES[name], {}).setdefault(name_of(row), []).append(value)
    return found


def iops(result: Row) -> Cells:
    """One number a boot."""
    rows: dict[str, list[Row]] = {}
    for row in (row for row in result.get("speed") or [] if row["registration"] != AGAIN):
        rows.setdefault(name_of(row), []).append(row)
    return {name: stats.rounds(each, "iops") for name, each in rows.items()}


def kernel(result: Row) -> Row:
    found: Row = result["made_of"]["kernel"]
    return found.get("made_from") or {"bzimage": found.get("bzimage_sha256")}


def verdict(metric: str, before: list[float], after: list[float]) -> str:
    was, now = median(before), median(after)
    side = "more" if now > was else "less"
    if metric == INSTRUCTIONS:
        apart = max(before) < min(after) or max(after) < min(before)
        return "same" if abs(now / was - 1) <= REPEATS else side if apart else "no verdict: rounds overlap"
    if metric != IOPS:
        return "same" if abs(now - was) <= COUNT else side
    if 2 / comb(len(before) + len(after), len(before)) >= SURE:
        return f"no verdict: {len(before)} and {len(after)} boots are too few"
    p = float(mannwhitneyu(after, before, method="exact").pvalue)
    small = abs(now / was - 1) <= stats.EFFECT
    return f"no verdict: p = {p:.2g} of {len(before)} and {len(after)} boots" if p >= SURE else f"less than {stats.EFFECT:.0%}" if small else side


def section(metric: str, before: Cells, after: Cells) -> list[str]:
    common = [name for name in before if name in after]
    text = [f"{metric if metric == IOPS else f'{metric} per I/O':<40}{'before':>12}{'after':>12}{'ratio':>9}  verdict"] if common else []
    form = ",.0f" if metric == IOPS else ",.1f" if metric == INSTRUCTIONS else ",.3f"
    for name in common:
        was, now = median(before[name]), median(after[name])
        ratio = f"{now / was:.4f}" if metric in (INSTRUCTIONS, IOPS) or was > COUNT else "-"
        text.append(f"  {name:<38}{was:>12{form}}{now:>12{form}}{ratio:>9}  {verdict(metric, before[name], after[name])}")
    return text


def text(first: Row, second: Row) -> tuple[str, float]:
    """The text, and the largest difference of instructions."""
    before, after = medians(first), medians(second)
    speeds = [iops(each) for each in (first, second)]
    common = [name for name in before if name in after]
    if not common and not speeds[0].keys() & speeds[1].keys():
        raise Fault("the two records have no cell in common")
    same = kernel(first) == kernel(second)
    lines = [f"{first['circumstances']['date']} -> {second['circumstances']['date']}, "
            + ("one build of the kernel" if same else "DIFFERENT kernels: what differs may be theirs"),
            *section(INSTRUCTIONS, instructions(first), instructions(second))]
    were, are = counts(first), counts(second)
    for title in were:
        lines += section(title, were[title], are.get(title, {}))
    lines += section(IOPS, *speeds)
    changes = {name: after[name] / before[name] - 1 for name in common}
    if common:
        worst = max(common, key=lambda name: abs(changes[name]))
        lines.append(f"largest difference of the instructions of {len(common)} cells: {abs(changes[worst]):.3%} ({worst}); "
                    f"{sum(abs(change) > REPEATS for change in changes.values())} beyond {REPEATS:.1%}")
    if only := sorted((before.keys() ^ after.keys()) | (speeds[0].keys() ^ speeds[1].keys())):
        lines.append(f"  in one of them only: {', '.join(only)}")
    return "\n".join(lines) + "\n", max(map(abs, changes.values()), default=0.0)
