# SPDX-License-Identifier: GPL-2.0-or-later
"""Two records of one build, cell by cell: how well do the instructions of an I/O repeat?"""

from statistics import median
from typing import Any

from .fault import Fault

REPEATS = 0.002  # what two runs of one build may differ by

Row = dict[str, Any]


def cells(result: Row) -> dict[str, float]:
    """Median instructions per I/O, of any kind of record."""
    rounds: dict[str, list[float]] = {}
    for row in result.get("cells") or result.get("rows") or result.get("cost") or []:
        name = f"{row['mode']} {row.get('case') or row['job']} {row['registration']}"
        rounds.setdefault(name, []).extend(row.get("rounds") or [row["instructions_per_io"]])
    return {name: median(values) for name, values in rounds.items()}


def kernel(result: Row) -> Row:
    found: Row = result["made_of"]["kernel"]
    return found.get("made_from") or {"bzimage": found.get("bzimage_sha256")}


def render(first: Row, second: Row) -> tuple[str, float]:
    """The text, and the largest difference."""
    before, after = cells(first), cells(second)
    common = [name for name in before if name in after]
    if not common:
        raise Fault("the two records have no cell in common")
    changes = {name: after[name] / before[name] - 1 for name in common}
    worst = max(common, key=lambda name: abs(changes[name]))
    same = kernel(first) == kernel(second)
    text = [f"Instructions per I/O, {first['circumstances']['date']} -> {second['circumstances']['date']}, "
            + ("one build of the kernel" if same else "DIFFERENT kernels: what differs may be theirs"),
            *(f"  {name:<38}{before[name]:>12,.1f}{after[name]:>12,.1f}{changes[name]:>+9.3%}" for name in common),
            f"largest difference of {len(common)} cells: {abs(changes[worst]):.3%} ({worst}); "
            f"{sum(abs(change) > REPEATS for change in changes.values())} beyond {REPEATS:.1%}"]
    if only := sorted(before.keys() ^ after.keys()):
        text.append(f"  in one of them only: {', '.join(only)}")
    return "\n".join(text) + "\n", abs(changes[worst])
