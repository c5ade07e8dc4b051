# SPDX-License-Identifier: GPL-2.0-or-later
"""The two JSON lists that dashboards of benchmarks read: {name, unit, value, range, extra}."""

from pathlib import Path
from statistics import mean
from typing import Any

from ..judge import stats
from ..record import mechanisms, store
from ..record.rows import select

Row = dict[str, Any]
BIGGER, SMALLER = "customBiggerIsBetter.json", "customSmallerIsBetter.json"


def entry(name: str, unit: str, value: float, spread: str = "", extra: str = "") -> Row:
    return {"name": name, "unit": unit, "value": round(value, 6)} | ({"range": spread} if spread else {}) | (
        {"extra": extra} if extra else {})


def mechanism_entries(name: str, counts: Row) -> list[Row]:
    return [entry(f"{name}: {mechanisms.TITLES[each]}", "per I/O", counts[each]) for each in mechanisms.OF_THE_IO
            if counts.get(each) is not None]


def of_history(new: Row) -> list[Row]:
    """Of a record of results/history."""
    found = []
    for cell in new["cells"]:
        name = f"{cell['mode']} {cell['case']} {cell['registration']}"
        found.append(entry(name, "instructions per I/O", mean(cell["rounds"]),
                           f"± {(max(cell['rounds']) - min(cell['rounds'])) / 2:.1f}", f"commit {new['commit'][:12]}"))
        found += mechanism_entries(name, cell["mechanisms"])
    return found


def of_cost(result: Row) -> list[Row]:
    """Of a cost.json."""
    found = []
    for row in (row for row in result["rows"] if row["round"] == 1):
        name = f"{row['mode']} {row['case']} {row['registration']}"
        found += [entry(name, "instructions per I/O", row["instructions_per_io"], extra=f"run {result['id']}"),
                  *mechanism_entries(name, row["mechanisms"])]
    return found


def of_bench(result: Row) -> list[Row]:
    """IOPS of a run.json, as what they are."""
    plan, accel = result["plan"], "/".join(result["accel"]).upper()
    found = []
    for mode in plan["modes"]:
        for job in plan["jobs"]:
            for registration in plan["registrations"]:
                values = stats.rounds(select(result["speed"], mode=mode, job=job, registration=registration), "iops")
                estimate = stats.median(values)
                found.append(entry(f"{mode} {job} {registration}", "IOPS", estimate.value,
                                   f"{estimate.low:.0f}..{estimate.high:.0f}",
                                   f"{accel}, median of {estimate.n}, run {result['id']}"))
    return found


def write(directory: Path, bigger: list[Row] | None = None, smaller: list[Row] | None = None) -> None:
    for name, entries in ((BIGGER, bigger), (SMALLER, smaller)):
        if entries is not None:
            store.write(directory / name, entries)
