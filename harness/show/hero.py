# SPDX-License-Identifier: GPL-2.0-or-later
"""The claim in three rows of numbers: what an I/O costs in each mode, counted here, and IOPS of hardware, published by others."""

from statistics import median
from typing import Any

from ..record.rows import select
from . import published

JOB = "randread-4k"
TITLES = {"user": "ordinary registered memory", "dmabuf": "registered dma-buf"}
COUNTED = ("map", "unmap", "flush")

Row = dict[str, Any]


def modes(record: Row) -> list[str]:
    """From the cheapest to the one that protects most; none of a record that has not all that is shown."""
    plan = record["plan"]
    if not (JOB in plan["jobs"] and record["cost"] and record["operations"] and TITLES.keys() <= set(plan["registrations"])
            and published.IOPS.keys() <= set(plan["modes"])):
        return []
    return sorted(published.IOPS, key=lambda mode: -published.IOPS[mode])


def numbers(record: Row) -> list[Row]:
    """A row for each mode and registration: instructions and IOMMU operations per I/O, published IOPS."""
    found = []
    for registration in TITLES:
        for mode in modes(record):
            where = {"job": JOB, "mode": mode, "registration": registration}
            operations, = select(record["operations"], **where)
            found.append({"mode": mode, "registration": registration,
                          "instructions_per_io": median(row["instructions_per_io"] for row in select(record["cost"], **where)),
                          "operations_per_io": sum(operations[f"{name}_per_io"] or 0 for name in COUNTED),
                          "published_iops": published.IOPS[mode] if registration == "user" else published.IOPS_DMABUF})
    return found


def text(record: Row) -> list[str]:
    """For a mail."""
    rows = numbers(record)
    if not rows:
        return []
    lines = [f"  {'4 KiB random reads':<36}" + "".join(f"{mode.upper():>13}" for mode in modes(record))]
    for title, value, form in (("instructions per I/O, counted here", "instructions_per_io", "{:,.0f}".format),
                               ("IOMMU operations per I/O, counted here", "operations_per_io", "{:.2f}".format),
                               (f"IOPS of hardware, published, not ours: {published.SOURCE}", "published_iops", published.rate)):
        lines.append(f" {title}")
        for registration, name in TITLES.items():
            lines.append(f"  {name:<36}" + "".join(f"{form(row[value]):>13}" for row in rows if row["registration"] == registration))
    return lines
